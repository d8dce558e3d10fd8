import { expect, it } from "vitest";
import { argsHoists } from "./args-hoists.ts";

const LOOP = "for (var k = 0u; k < args.n; k++) { }";

it.each([
  ["in a loop", `fn main(i: u32) { ${LOOP} }`, [17]],
  ["beside a loop", "fn f() { while (a) { } return args . n; }", [8]],
  [
    "in each function by itself",
    `fn f() { ${LOOP} } fn g() { return args.n; } fn h() { ${LOOP} }`,
    [8, 83],
  ],
  ["without a loop", "fn main(i: u32) { store_u32(args.at, i); }", []],
  ["in a loop that does not read them", "fn main(i: u32) { loop { break; } }", []],
  ["that are something else there", `fn main(i: u32) { let args = 5u; ${LOOP} }`, []],
  ["that are a variable there", `fn f() { var<function> args = M(3u); ${LOOP} }`, []],
  ["that a pointer leads to", `fn f() { let p = &(args.n); ${LOOP} }`, []],
  ["that are a member of something", "fn f(m: M) { while (m.args.n > m . args.o) { } }", []],
  ["that are a parameter there", `fn f(args: Mine) { ${LOOP} }`, []],
])("arguments %s", (_, code, places) => {
  const hoists = argsHoists(code);
  expect(hoists.map(({ at }) => at)).toEqual(places);
  for (const { at, text } of hoists) {
    expect([code[at - 1], text]).toEqual(["{", " let args = args;"]);
  }
});
