import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../test/replay/replay.ts";
import { AssertionError } from "./assert.ts";
import { type Handle, IntervalTree } from "./interval-tree.ts";

const PAGE = 4096;
const SPACE = 2 ** 32;

const hitsOf = (tree: IntervalTree, start: number, end: number): number[] =>
  Array.from(tree.hits.subarray(0, tree.query(start, end)));

/** The plain list that is obviously right. */
class Model {
  readonly ranges = new Map<Handle, readonly [number, number]>();

  overlapping(start: number, end: number): Handle[] {
    return [...this.ranges].filter(([, [s, e]]) => s < end && start < e).map(([handle]) => handle);
  }

  expectSame(tree: IntervalTree, start: number, end: number): void {
    const hits = Array.from(tree.hits.subarray(0, tree.query(start, end)));
    const starts = hits.map((hit) => tree.startOf(hit));
    expect(starts).toEqual([...starts].sort((a, b) => a - b));
    expect(hits.sort((a, b) => a - b)).toEqual(this.overlapping(start, end).sort((a, b) => a - b));
  }
}

/** xorshift: the same numbers every run. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

describe("an interval tree", () => {
  it("finds what overlaps and nothing that only touches", () => {
    const tree = new IntervalTree();
    const left = tree.insert(0, PAGE);
    const right = tree.insert(PAGE, 2 * PAGE);
    expect(hitsOf(tree, 0, PAGE)).toEqual([left]);
    expect(hitsOf(tree, PAGE, PAGE + 1)).toEqual([right]);
    expect(hitsOf(tree, PAGE - 1, PAGE + 1)).toEqual([left, right]);
    expect(hitsOf(tree, 2 * PAGE, 3 * PAGE)).toEqual([]);
  });

  it("holds the whole space and its last byte", () => {
    const tree = new IntervalTree();
    const whole = tree.insert(0, SPACE);
    const tail = tree.insert(SPACE - 1, SPACE);
    expect(hitsOf(tree, SPACE - 1, SPACE)).toEqual([whole, tail]);
    expect(hitsOf(tree, 0, SPACE - 1)).toEqual([whole]);
    expect([tree.startOf(tail), tree.endOf(tail)]).toEqual([SPACE - 1, SPACE]);
  });

  it("keeps equal ranges apart", () => {
    const tree = new IntervalTree();
    const handles = Array.from({ length: 200 }, () => tree.insert(PAGE, 2 * PAGE));
    expect(new Set(hitsOf(tree, 0, SPACE))).toEqual(new Set(handles));
    for (const handle of handles.splice(0, 150)) tree.remove(handle);
    expect(new Set(hitsOf(tree, 0, SPACE))).toEqual(new Set(handles));
    expect(tree.size).toBe(50);
  });

  it("recycles the handle that was freed last", () => {
    const tree = new IntervalTree();
    const handles = [tree.insert(0, 1), tree.insert(1, 2), tree.insert(2, 3)];
    tree.remove(handles[0]!);
    tree.remove(handles[1]!);
    expect(tree.insert(5, 6)).toBe(handles[1]);
    expect(tree.insert(6, 7)).toBe(handles[0]);
    expect(tree.insert(7, 8)).toBe(3);
  });

  it("refuses ranges that are empty, reversed, fractional or outside of the space", () => {
    const tree = new IntervalTree();
    for (const [start, end] of [
      [PAGE, PAGE],
      [0, 0],
      [2, 1],
      [-1, 1],
      [0, SPACE + 1],
      [0.5, 2],
      [0, 1.5],
      [Number.NaN, 1],
    ] as const) {
      expect(() => tree.insert(start, end)).toThrow(AssertionError);
      expect(() => tree.query(start, end)).toThrow(AssertionError);
    }
    expect(tree.size).toBe(0);
  });

  it("refuses a handle that names no range", () => {
    const tree = new IntervalTree();
    const handle = tree.insert(0, 1);
    tree.remove(handle);
    expect(() => tree.remove(handle)).toThrow(/handle 0 names no range/);
    expect(() => tree.startOf(handle)).toThrow(AssertionError);
    expect(() => tree.endOf(7)).toThrow(AssertionError);
  });

  it("agrees with a plain list under any mix of operations", () => {
    const start = fc.oneof(fc.nat(400), fc.nat(SPACE - 1));
    const range = fc
      .tuple(start, fc.oneof(fc.nat(50), fc.nat(SPACE - 1)))
      .map(([from, bytes]) => [from, Math.min(from + bytes + 1, SPACE)] as const);
    const operation = fc.record({
      kind: fc.constantFrom("insert", "insert", "insert", "remove", "remove", "query"),
      range,
      pick: fc.nat(),
    });
    const operations = fc.array(operation, { minLength: 1, maxLength: 3000, size: "max" });
    fc.assert(
      fc.property(operations, (steps) => {
        const tree = new IntervalTree();
        const model = new Model();
        const live: Handle[] = [];
        for (const step of steps) {
          if (step.kind === "insert") {
            const handle = tree.insert(...step.range);
            expect(model.ranges.has(handle)).toBe(false);
            model.ranges.set(handle, step.range);
            live.push(handle);
          } else if (step.kind === "remove" && live.length > 0) {
            const [handle] = live.splice(step.pick % live.length, 1);
            tree.remove(handle!);
            model.ranges.delete(handle!);
          } else {
            model.expectSame(tree, ...step.range);
          }
        }
        expect(tree.size).toBe(model.ranges.size);
        model.expectSame(tree, 0, SPACE);
      }),
      replayable("interval-tree", { numRuns: 40 }),
    );
  });

  it("agrees with a plain list while it is emptied in any order and filled again", () => {
    const random = randomNumbers(4711);
    const tree = new IntervalTree();
    const model = new Model();
    for (let round = 0; round < 3; round++) {
      while (tree.size < 4000) {
        const start = random(1 << 20) * PAGE;
        const range = [start, Math.min(start + (1 + random(64)) * PAGE, SPACE)] as const;
        model.ranges.set(tree.insert(...range), range);
      }
      const live = [...model.ranges.keys()];
      // Front to back, back to front, then at random: each empties other nodes first.
      live.sort((a, b) => tree.startOf(a) - tree.startOf(b));
      if (round === 1) live.reverse();
      while (live.length > 0) {
        const at = round === 2 ? random(live.length) : 0;
        const [handle] = live.splice(at, 1);
        tree.remove(handle!);
        model.ranges.delete(handle!);
        if (live.length % 97 === 0) {
          const start = random(1 << 20) * PAGE;
          model.expectSame(tree, start, Math.min(start + 2048 * PAGE, SPACE));
        }
      }
      expect(hitsOf(tree, 0, SPACE)).toEqual([]);
    }
  });

  it("finds each of 100,000 disjoint ranges, and again after half of them are gone", () => {
    const random = randomNumbers(99);
    const tree = new IntervalTree();
    const order = Array.from({ length: 100_000 }, (_, index) => index);
    for (let i = order.length - 1; i > 0; i--) {
      const j = random(i + 1);
      [order[i], order[j]] = [order[j]!, order[i]!];
    }
    const stride = 8 * PAGE;
    const handles = new Map<number, Handle>();
    for (const index of order) {
      handles.set(index, tree.insert(index * stride, index * stride + 3 * PAGE));
    }
    for (const index of order) {
      const at = index * stride;
      if (tree.query(at, at + 1) !== 1 || tree.hits[0] !== handles.get(index)) {
        expect.fail(`range ${index} is not found`);
      }
    }
    expect(tree.query(0, SPACE)).toBe(100_000);
    for (const index of order) if (index % 2 === 0) tree.remove(handles.get(index)!);
    for (const index of order) {
      expect(tree.query(index * stride, index * stride + stride)).toBe(index % 2);
    }
  });
});
