import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../../../test/replay/replay.ts";
import { guardLoops } from "./loop-guards.ts";

const BREAK = " os_left -= 1; if (os_left < 0) { break; }";
const count = (text: string, part: string): number => text.split(part).length - 1;

describe("guardLoops", () => {
  it("checks at the start of every loop body, on the same line", () => {
    const code = "for (var k = 0; k < n; k++) {\n  while (a[k] > f(k)) {\n    a();\n  }\n}";
    const guarded = guardLoops(code, true).code;
    expect(guarded).toBe(
      `for (var k = 0; k < n; k++) {${BREAK}\n  while (a[k] > f(k)) {${BREAK}\n    a();\n  }\n}`,
    );
  });

  it("sees no loop in comments, line or block, nested ones too", () => {
    const code = "// for (;;) {\n/* loop { /* while (x) { */ loop { */\nfn f() {}";
    expect(guardLoops(code, true)).toEqual({ code, insertions: [], isBounded: true });
  });

  it("finds the body behind comments that hold braces", () => {
    const code = "fn f() { while (x /* { */) // {\n { } }";
    expect(guardLoops(code, true).code).toBe(`fn f() { while (x /* { */) // {\n {${BREAK} } }`);
  });

  it("returns a zero value from a loop that has no condition, as its function may not go on", () => {
    const code = "fn f(a: u32) -> vec2<f32> { loop { return vec2f(); } }";
    expect(guardLoops(code, true).code).toContain(
      "loop { os_left -= 1; if (os_left < 0) { return vec2<f32>(); } return",
    );
    expect(guardLoops("fn f() { for (;;) { } }", true).code).toContain(
      "{ os_left -= 1; if (os_left < 0) { return; } }",
    );
    expect(guardLoops("fn f() { for (var a = 1; ; a++) { } }", true).code).toContain("{ return; }");
  });

  it("takes the return type of the function that the loop is in", () => {
    const code = "fn f() -> u32 { return 1u; } fn g() { loop { break; } } fn h() -> i32 {}";
    expect(guardLoops(code, true).code).toContain(
      "loop { os_left -= 1; if (os_left < 0) { return; } break; }",
    );
  });

  it("breaks out of a loop in a continuing block, where no return is allowed", () => {
    const code = "fn f() -> u32 { loop { continuing { loop { break; } } } }";
    expect(guardLoops(code, true).code).toBe(
      "fn f() -> u32 { loop { os_left -= 1; if (os_left < 0) { return u32(); } " +
        `continuing { loop {${BREAK} break; } } } }`,
    );
  });

  it("charges loops that end by themselves before they begin, with those in them", () => {
    const loop = "for (var k = 0; k < 5; k++) { for (var j = 0; j < 4; j++) { } }";
    const code = `fn f() { ${loop} while (a) { ${loop} } }`;
    expect(guardLoops(code, true)).toMatchObject({
      code: `fn f() { os_left -= 20; ${loop} while (a) {${BREAK} os_left -= 20; ${loop} } }`,
      isBounded: false,
    });
  });

  it("says which kernels take no longer than their text is", () => {
    const bounded = (code: string): boolean => guardLoops(code, true).isBounded;
    expect(bounded("fn main(i: u32) { store_u32(args.at, i); } // loop fn f")).toBe(true);
    expect(bounded("fn main(i: u32) { for (var k = 0; k < 2; k++) { } }")).toBe(false);
    expect(bounded("fn f() { } fn main(i: u32) { f(); f(); }")).toBe(false);
    expect(bounded(`fn main(i: u32) { ${"store_u32(args.at, i);".repeat(200)} }`)).toBe(false);
  });

  it("has arguments at hand in functions with loops, where there are any", () => {
    const code = "fn main(i: u32) { while (x < args.n) { } }";
    expect(guardLoops(code, true).code).toContain("{ let args = args; while");
    expect(guardLoops(code, false).code).not.toContain("let args");
  });

  it("leaves names that only contain a keyword alone", () => {
    const code = "fn looping() { let before = 1; forth(before); }";
    expect(guardLoops(code, true).code).toBe(code);
  });

  it("adds nothing but guards, and says where", () => {
    const piece = fc.constantFrom(
      "for (;;) {",
      "while (a) {",
      "loop {",
      "}",
      "/*",
      "*/",
      "//",
      "\n",
      "\r\n",
      "x = 1;",
      " ",
      "(",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const code = pieces.join("");
        const { code: guarded, insertions } = guardLoops(code, true);
        expect(count(guarded, "os_left -=")).toBe(insertions.length);
        expect(
          guarded.replaceAll(/ os_left -= 1; if \(os_left < 0\) \{ (?:break|return); \}/g, ""),
        ).toBe(code);
        expect(guarded.split("\n").length).toBe(code.split("\n").length);
      }),
      replayable("wgsl-loops"),
    );
  });
});
