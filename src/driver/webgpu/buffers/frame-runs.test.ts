import { expect, it } from "vitest";
import { forEachRun } from "./frame-runs.ts";

function runs(frames: readonly number[], from = 0, to = frames.length): [number, number][] {
  const found: [number, number][] = [];
  forEachRun(Int32Array.from(frames), from, to, (start, end) => found.push([start, end]));
  return found;
}

it("takes neighbours that follow each other together, and nothing else", () => {
  expect(runs([4, 5, 6, 8, 9, 3])).toEqual([
    [0, 3],
    [3, 5],
    [5, 6],
  ]);
  expect(runs([7, 6, 5, 5])).toHaveLength(4);
});

it("sees nothing outside of its range", () => {
  const frames = [1, 2, 3, 4, 5, 6];
  expect(runs(frames, 1, 4)).toEqual([[1, 4]]);
  expect(runs(frames, 5)).toEqual([[5, 6]]);
  expect(runs(frames, 3, 3)).toEqual([]);
});
