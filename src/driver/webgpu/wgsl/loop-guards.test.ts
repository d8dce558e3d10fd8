import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../../../test/replay/replay.ts";
import { guardLoops } from "./loop-guards.ts";

const BREAK = " os_left -= 1; if (os_left < 0) { break; }";
const count = (text: string, part: string): number => text.split(part).length - 1;

describe("guardLoops", () => {
  it("checks at the start of every loop body, on the same line", () => {
    const code = "for (var k = 0; k < n; k++) {\n  while (a[k] > f(k)) {\n    a();\n  }\n}";
    const guarded = guardLoops(code).code;
    expect(guarded).toBe(
      `for (var k = 0; k < n; k++) {${BREAK}\n  while (a[k] > f(k)) {${BREAK}\n    a();\n  }\n}`,
    );
  });

  it("sees no loop in comments, line or block, nested ones too", () => {
    const code = "// for (;;) {\n/* loop { /* while (x) { */ loop { */\nfn f() {}";
    expect(guardLoops(code)).toEqual({ code, insertions: [], isBounded: true });
  });

  it("finds the body behind comments that hold braces", () => {
    const code = "fn f() { while (x /* { */) // {\n { } }";
    expect(guardLoops(code).code).toBe(`fn f() { while (x /* { */) // {\n {${BREAK} } }`);
  });

  it("returns a zero value from a loop that has no condition, as its function may not go on", () => {
    const code = "fn f(a: u32) -> vec2<f32> { loop { return vec2f(); } }";
    expect(guardLoops(code).code).toContain(
      "loop { os_left -= 1; if (os_left < 0) { return vec2<f32>(); } return",
    );
    expect(guardLoops("fn f() { for (;;) { } }").code).toContain(
      "{ os_left -= 1; if (os_left < 0) { return; } }",
    );
    expect(guardLoops("fn f() { for (var a = 1; ; a++) { } }").code).toContain("{ return; }");
  });

  it("takes the return type of the function that the loop is in", () => {
    const code = "fn f() -> u32 { return 1u; } fn g() { loop { break; } } fn h() -> i32 {}";
    expect(guardLoops(code).code).toContain(
      "loop { os_left -= 1; if (os_left < 0) { return; } break; }",
    );
  });

  it("breaks out of a loop in a continuing block, where no return is allowed", () => {
    const code = "fn f() -> u32 { loop { continuing { loop { break; } } } }";
    expect(guardLoops(code).code).toBe(
      "fn f() -> u32 { loop { os_left -= 1; if (os_left < 0) { return u32(); } " +
        `continuing { loop {${BREAK} break; } } } }`,
    );
  });

  it("leaves names that only contain a keyword alone", () => {
    const code = "fn looping() { let before = 1; forth(before); }";
    expect(guardLoops(code).code).toBe(code);
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
        const { code: guarded, insertions } = guardLoops(code);
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
