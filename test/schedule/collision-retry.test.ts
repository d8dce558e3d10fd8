import { describe, expect, it } from "vitest";
import { EBUSY, EPERM } from "../../src/base/index.ts";
import { eachSeed } from "../replay/replay.ts";
import {
  ALL_KINDS,
  BY_FRAME,
  EVENTS_PER_OPERATION,
  runStorm,
  STORM_PAGES,
  type StormOptions,
  type StormResult,
} from "./storm.ts";

const RUNS = Number(process.env.SCHEDULES ?? 60);
const WRITERS = 3;

const runs = (options: Omit<StormOptions, "seed">): StormResult[] =>
  Array.from({ length: RUNS }, (_, seed) => runStorm({ seed, writers: WRITERS, ...options }));

describe.each([
  ["of all kinds", ALL_KINDS],
  ["by frame, which need no mmapLock for writing", BY_FRAME],
  ["of migration only", [0, 1]],
])(`a reader in ${RUNS} storms of invalidations %s`, (_kind, kinds) => {
  it("loses for ever when writers never wait for it", () => {
    const never = Number.POSITIVE_INFINITY;
    const results = runs({ kinds, collisionsMax: never, attemptsMax: 40 });
    const lost = results.filter(({ result }) => result === -EBUSY).length;
    expect(lost / RUNS).toBeGreaterThan(0.5);
  }, 900_000);

  it("commits within the bound when it goes first after four collisions", () => {
    const operations = WRITERS * EVENTS_PER_OPERATION;
    eachSeed("storm", RUNS, (seed) => {
      const it = runStorm({ seed, writers: WRITERS, kinds, collisionsMax: 4, attemptsMax: 200 });
      const told = JSON.stringify(it);
      expect([told, it.result === 0 || it.result === -EPERM]).toEqual([told, true]);
      expect([told, it.attemptsFirst <= it.events + 2 * STORM_PAGES + 1]).toEqual([told, true]);
      expect([told, it.events <= operations, it.stalledMs]).toEqual([told, true, 0]);
    });
  }, 900_000);
});
