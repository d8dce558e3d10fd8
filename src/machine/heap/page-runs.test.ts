import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../../test/replay/replay.ts";
import { AssertionError } from "../../base/index.ts";
import { PageRuns } from "./page-runs.ts";

/** All of them owned and free. */
function runsOf(count: number, base = 0): PageRuns {
  const runs = new PageRuns(count, base);
  runs.addFree(0, count);
  return runs;
}

describe("page runs", () => {
  it("come from the front and go back into one run", () => {
    const runs = runsOf(100, 0);
    const taken = [runs.take(10), runs.take(20), runs.take(30)];
    expect(taken).toEqual([0, 10, 30]);
    expect([runs.pagesFree, runs.longest]).toEqual([40, 40]);
    runs.give(10);
    runs.give(0);
    runs.give(30);
    expect([runs.pagesFree, runs.longest]).toEqual([100, 100]);
  });

  it("take the shortest run that is long enough", () => {
    const runs = runsOf(1000, 0);
    const [large, , small] = [runs.take(200), runs.take(1), runs.take(100), runs.take(1)];
    runs.give(large!);
    runs.give(small!);
    expect(runs.take(90)).toBe(small);
    expect(runs.take(150)).toBe(large);
  });

  it("align by the page number, not by the place in the heap", () => {
    const runs = runsOf(64, 5);
    expect(runs.take(4, 16)).toBe(11);
    // What lies before is still free.
    expect(runs.take(11)).toBe(0);
    expect(runs.take(16, 16)).toBe(27);
    expect(runs.take(16, 16)).toBe(43);
    expect(runs.take(16, 16)).toBe(-1);
    expect(runs.pagesFree).toBe(64 - 4 - 11 - 16 - 16);
  });

  it("answer -1 when no run is long enough, however many pages are free", () => {
    const runs = runsOf(10, 0);
    const all = Array.from({ length: 10 }, () => runs.take(1));
    for (const page of all) if (page % 2 === 0) runs.give(page);
    expect([runs.pagesFree, runs.longest]).toEqual([5, 1]);
    expect(runs.take(2)).toBe(-1);
    expect(runs.take(2 ** 41)).toBe(-1);
  });

  it("know which run covers a page", () => {
    const runs = runsOf(20, 0);
    runs.take(5);
    const second = runs.take(5);
    expect([runs.coveredBy(7), runs.coveredBy(4), runs.coveredBy(12)]).toEqual([second, 0, -1]);
    runs.give(second);
    expect(runs.coveredBy(7)).toBe(-1);
    expect(() => runs.give(second)).toThrow(AssertionError);
    expect(() => runs.give(3)).toThrow(AssertionError);
  });

  it("come and go: what is not owned is no run, and joins nothing", () => {
    const runs = new PageRuns(100, 0);
    expect([runs.pagesFree, runs.longest, runs.take(1)]).toEqual([0, 0, -1]);
    runs.addFree(20, 10);
    runs.addFree(40, 10);
    expect([runs.pagesFree, runs.longest, runs.take(11)]).toEqual([20, 10, -1]);
    runs.addTaken(30, 10);
    expect([runs.freeUpTo(30), runs.freeFrom(30), runs.freeFrom(40)]).toEqual([10, 0, 10]);
    expect(runs.give(30)).toBe(20);
    expect([runs.longest, runs.freeFrom(20), runs.freeUpTo(50)]).toEqual([30, 30, 30]);
    runs.removeFree(20, 25, 20);
    expect([runs.pagesFree, runs.freeFrom(20), runs.freeFrom(45), runs.take(6)]).toEqual([
      10, 5, 5, -1,
    ]);
    expect([runs.take(5), runs.take(5), runs.take(1)].sort()).toEqual([-1, 20, 45]);
    expect(runs.anyLengthOf(20)).toBe(5);
    expect(() => runs.addTaken(20, 5)).toThrow(AssertionError);
    expect(() => runs.addFree(95, 6)).toThrow(AssertionError);
    expect(() => runs.removeFree(30, 30, 1)).toThrow(AssertionError);
  });

  it("never overlap, under any mix of operations", () => {
    const step = fc.record({
      pages: fc.oneof(fc.integer({ min: 1, max: 8 }), fc.integer({ min: 1, max: 400 })),
      align: fc.constantFrom(1, 1, 1, 2, 16),
      pick: fc.nat(),
      isTake: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400, size: "max" }), (steps) => {
        const COUNT = 1500;
        const runs = runsOf(COUNT, 3);
        const live: [first: number, pages: number][] = [];
        const owner = new Int32Array(COUNT);
        for (const { pages, align, pick, isTake } of steps) {
          if (isTake) {
            const first = runs.take(pages, align);
            if (first === -1) {
              expect(fits(owner, pages, align)).toBe(false);
              continue;
            }
            expect((first + 3) % align).toBe(0);
            const place = owner.subarray(first, first + pages);
            expect(place.length === pages && place.every((page) => page === 0)).toBe(true);
            place.fill(1);
            live.push([first, pages]);
          } else if (live.length > 0) {
            const [[first, pages]] = live.splice(pick % live.length, 1) as [[number, number]];
            expect(runs.lengthOf(first)).toBe(pages);
            runs.give(first);
            owner.fill(0, first, first + pages);
          }
        }
        expect(runs.pagesFree).toBe(owner.filter((page) => page === 0).length);
        for (const [first] of live) runs.give(first);
        expect([runs.pagesFree, runs.longest]).toEqual([COUNT, COUNT]);
      }),
      replayable("page-runs", { numRuns: 100 }),
    );
  });
});

/** Whether there is a place at all, by looking at every page. */
function fits(owner: Int32Array, pages: number, align: number): boolean {
  for (let first = 0; first + pages <= owner.length; first++) {
    if ((first + 3) % align !== 0) continue;
    if (owner.subarray(first, first + pages).every((page) => page === 0)) return true;
  }
  return false;
}
