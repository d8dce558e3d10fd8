import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../../../test/replay/replay.ts";
import { countedLoops } from "./counted-loops.ts";

const isCounted = (code: string): boolean => {
  const block = `{ ${code} }`;
  return countedLoops(block).has(block.search(/\bfor\b/));
};

describe("countedLoops", () => {
  it.each([
    "for (var k = 0u; k < 5u; k++) { sum += load_u32(at + 4u * k); }",
    "for (var k: i32 = -2; k <= 2; k++) { }",
    "for(var k=0;k<64;k+=1){ if (k == 3 || k <= a || a >= k) { break; } }",
    "for (var k = 7u; k > 0u; k--) { continue; }",
    "for (var k = 9; k > -1; k -= 1) { }",
    "for (var k = 0; k < 8; k++) { for (var j = 0; j < 8; j++) { s += Node_key(p); } }",
    "for (var k = 3u; k < 3u; k++) { }",
    "for (var half = 32u; half > 0u; half /= 2u) { workgroupBarrier(); }",
    "for (var half = 128u; half > 0u; half >>= 1u) { }",
    "for (var k = 1u; k <= 256u; k *= 2u) { }",
    "for (var k = 1; k < 1000000; k <<= 1u) { }",
  ])("%s", (code) => {
    expect(isCounted(code)).toBe(true);
  });

  it.each([
    ["as long as it takes", "for (var k = 0u; k < n; k++) { }"],
    ["from anywhere", "for (var k = n; k < 9u; k++) { }"],
    ["too long", "for (var k = 0u; k < 65u; k++) { }"],
    [
      "too long with what is in it",
      "for (var k = 0; k < 9; k++) { for (var j = 0; j < 8; j++) { } }",
    ],
    ["with a loop in it that may be endless", "for (var k = 0; k < 2; k++) { while (a) { } }"],
    ["never over: unsigned", "for (var k = 7u; k >= 0u; k--) { }"],
    ["over the end: unsigned", "for (var k = 7u; k > 0u; k -= 2u) { }"],
    ["the other way", "for (var k = 0; k < 5; k--) { }"],
    ["on the spot", "for (var k = 0; k < 5; k += 0) { }"],
    ["halved to what it never is below", "for (var k = 8u; k >= 0u; k /= 2u) { }"],
    ["doubled from nothing", "for (var k = 0u; k < 8u; k *= 2u) { }"],
    ["doubled over the end", "for (var k = 1; k < 1500000000; k *= 2) { }"],
    ["halved upwards", "for (var k = 1u; k < 8u; k /= 2u) { }"],
    ["another's variable", "for (var k = 0; j < 5; k++) { }"],
    ["a variable of the function", "for (; k < 5; k++) { }"],
    ["written in its body", "for (var k = 0; k < 5; k++) { k = 0; }"],
    ["written in its body by an operator", "for (var k = 0; k < 5; k++) { k <<= 1u; }"],
    ["counted back", "for (var k = 0; k < 5; k++) { k--; }"],
    ["written in brackets", "for (var k = 0; k < 5; k++) { (k) = 0; }"],
    ["counted back in brackets", "for (var k = 0; k < 5; k++) { ( (k) )--; }"],
    ["written through a pointer in brackets", "for (var k = 0; k < 5; k++) { *(&(k)) = 0; }"],
    ["with an attribute", "@diagnostic(off, a.b) for (var k = 0; k < 5; k++) { }"],
    ["beside names that are not looked at", "fn \u00e9() { } for (var k = 0; k < 5; k++) { }"],
    ["written through a pointer", "for (var k = 0; k < 5; k++) { *(& k) = 0; }"],
    [
      "with a call of what may take long",
      "fn f() { } fn g() { for (var k = 0; k < 5; k++) { f(); } }",
    ],
  ])("%s: %s is not", (_, code) => {
    expect(isCounted(code)).toBe(false);
  });

  it("counts the passes of what is in a loop with it", () => {
    const code = "{ for (var k = 9; k > -1; k--) { for (var j = 0u; j <= 4u; j += 2u) { } } }";
    expect([...countedLoops(code).values()]).toEqual([30, 3]);
  });

  it("ends after as many passes as it says, in unsigned and signed arithmetic", () => {
    const number = fc.integer({ min: -70, max: 70 });
    const step = fc.integer({ min: -3, max: 3 });
    const test = fc.constantFrom("<", "<=", ">", ">=");
    fc.assert(
      fc.property(number, number, step, test, fc.boolean(), (first, last, by, sign, isSigned) => {
        if (!isSigned && (first < 0 || last < 0)) return;
        const u = isSigned ? "" : "u";
        const change = `${by < 0 ? "-" : "+"}= ${Math.abs(by)}${u}`;
        const code = `for (var k = ${first}${u}; k ${sign} ${last}${u}; k ${change}) { }`;
        if (!isCounted(code)) return;
        const goesOn = { "<": (k: number) => k < last, "<=": (k: number) => k <= last };
        const goesDown = { ">": (k: number) => k > last, ">=": (k: number) => k >= last };
        const holds = { ...goesOn, ...goesDown }[sign];
        let passes = 0;
        for (let k = first; holds(k); k = isSigned ? (k + by) | 0 : (k + by) >>> 0) {
          passes++;
          if (passes > 64) break;
        }
        expect(passes).toBeLessThanOrEqual(64);
      }),
      replayable("counted-loops"),
    );
  });
});
