import { describe, expect, it } from "vitest";
import { EBUSY } from "../../src/base/index.ts";
import { EVENTS_PER_OPERATION, runStorm, STORM_PAGES, type StormResult } from "./storm.ts";

const RUNS = Number(process.env.SCHEDULES ?? 300);
const WRITERS = 3;

const runs = (collisionsMax: number, attemptsMax: number): StormResult[] =>
  Array.from({ length: RUNS }, (_, seed) =>
    runStorm({ seed, writers: WRITERS, collisionsMax, attemptsMax }),
  );

describe(`a reader in ${RUNS} storms of invalidations`, () => {
  it("loses for ever when writers never wait for it", () => {
    const results = runs(Number.POSITIVE_INFINITY, 60);
    const lost = results.filter(({ result }) => result === -EBUSY).length;
    expect(lost / RUNS).toBeGreaterThan(0.5);
  }, 900_000);

  it("commits within the bound when it goes first after four collisions", () => {
    const operations = WRITERS * EVENTS_PER_OPERATION;
    for (const [seed, { result, attempts, attemptsFirst, events }] of runs(4, 1000).entries()) {
      const told = `seed ${seed}: ${result} after ${attempts}, ${attemptsFirst}, ${events}`;
      expect([told, result === 0 || result === -1]).toEqual([told, true]);
      expect([told, attemptsFirst <= events + 2 * STORM_PAGES + 1]).toEqual([told, true]);
      expect([told, events <= operations + 2 * STORM_PAGES]).toEqual([told, true]);
    }
  }, 900_000);
});
