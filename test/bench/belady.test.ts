/** The optimum that oversubscription is measured against, beside trying everything. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { leastMoves } from "../../bench/belady.ts";
import { replayable } from "../replay/replay.ts";

/** Every choice of who goes, whatever comes of it. */
function leastByTrying(trace: readonly number[], capacity: number): number {
  const best = new Map<string, number>();
  const from = (at: number, there: readonly number[]): number => {
    if (at === trace.length) return 0;
    const page = trace[at]!;
    if (there.includes(page)) return from(at + 1, there);
    const key = `${at}:${there.join()}`;
    const known = best.get(key);
    if (known !== undefined) return known;
    const after = (kept: readonly number[]): number =>
      1 +
      from(
        at + 1,
        [...kept, page].sort((a, b) => a - b),
      );
    const choices =
      there.length < capacity ? [there] : there.map((gone) => there.filter((p) => p !== gone));
    const least = Math.min(...choices.map(after));
    best.set(key, least);
    return least;
  };
  return from(0, []);
}

describe("the least number of moves", () => {
  it("is what textbooks say", () => {
    const trace = [7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1];
    expect(leastMoves(Uint32Array.from(trace), 3)).toBe(9);
    const anomalous = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5];
    expect(leastMoves(Uint32Array.from(anomalous), 3)).toBe(7);
    expect(leastMoves(Uint32Array.from(anomalous), 4)).toBe(6);
  });

  it("is every page once when all fit, and every access when one does", () => {
    const trace = Uint32Array.from({ length: 300 }, (_, i) => i % 100);
    expect(leastMoves(trace, 100)).toBe(100);
    expect(leastMoves(trace, 1)).toBe(300);
    expect(leastMoves(new Uint32Array(0), 1)).toBe(0);
    expect(() => leastMoves(trace, 0)).toThrow(/room for 0 pages/);
  });

  it("keeps half of a sweep that comes again", () => {
    const trace = Uint32Array.from({ length: 400 }, (_, i) => i % 100);
    // The first sweep moves all; each other one those that are not kept, and one is on its way.
    expect(leastMoves(trace, 51)).toBeLessThanOrEqual(100 + 3 * 50);
    expect(leastMoves(trace, 51)).toBeGreaterThanOrEqual(100 + 3 * 49);
  });

  it("is what trying every choice finds", () => {
    const page = fc.integer({ min: 0, max: 5 });
    const property = fc.property(
      fc.array(page, { maxLength: 14 }),
      fc.integer({ min: 1, max: 4 }),
      (trace, capacity) => {
        expect(leastMoves(Uint32Array.from(trace), capacity)).toBe(leastByTrying(trace, capacity));
      },
    );
    fc.assert(property, replayable("belady"));
  });
});
