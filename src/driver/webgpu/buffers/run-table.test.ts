import { expect, it } from "vitest";
import { RunTable } from "./run-table.ts";

const entry = (frame: number, write = false): number => (frame << 8) | (write ? 3 : 1);

function table(entries: Readonly<Record<number, number>>): RunTable {
  const made = new RunTable();
  for (const [page, each] of Object.entries(entries)) made.set(Number(page), each);
  return made;
}

it("finds the longest run of frames that follow each other as their pages do", () => {
  const made = table({
    3: entry(9),
    10: entry(4),
    11: entry(5, true),
    12: entry(6, true),
    13: entry(8),
  });
  expect(made.longestRuns()).toEqual({
    all: { firstPage: 10, firstFrame: 4, pages: 3 },
    writable: { firstPage: 11, firstFrame: 5, pages: 2 },
  });
});

it("finds the longest run that may be written also where that is elsewhere", () => {
  const made = table({
    10: entry(4, true),
    11: entry(5),
    12: entry(6),
    20: entry(1, true),
    21: entry(2, true),
    22: entry(4, true),
  });
  expect(made.longestRuns()).toEqual({
    all: { firstPage: 10, firstFrame: 4, pages: 3 },
    writable: { firstPage: 20, firstFrame: 1, pages: 2 },
  });
});

it("forgets it when an entry changes, and finds nothing where nothing is", () => {
  const made = table({ 10: entry(4), 11: entry(5), 12: entry(6) });
  expect(made.longestRuns().all.pages).toBe(3);
  made.set(11, 0);
  expect(made.longestRuns()).toMatchObject({ all: { pages: 1 }, writable: { pages: 0 } });
  made.set(10, 0);
  made.set(12, 0);
  expect([made.longestRuns().all.pages, made.isDense]).toEqual([0, false]);
});

it("is dense while a run has seven of eight pages", () => {
  const made = table({ 100: entry(50), 0: entry(60) });
  for (let page = 101; page < 106; page++) made.set(page, entry(page - 50));
  expect(made.isDense).toBe(false);
  made.set(106, entry(56));
  expect(made.isDense).toBe(true);
  made.set(1, entry(70));
  expect(made.isDense).toBe(false);
});
