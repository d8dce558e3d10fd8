import { describe, expect, it } from "vitest";
import type { EventName } from "../../src/trace/index.ts";
import { runProgram } from "./program.ts";
import { missedIn } from "./reached.ts";

const RUNS = 10_000;

/** Races that a thousand random schedules must have reached, or they prove little. */
const REACHED: readonly EventName[] = [
  "hmm:retry",
  "notifier:collide",
  "devmem:to-device",
  "devmem:to-ram",
  "devmem:skip",
  "mm:cow",
  "mm:munmap",
  "mm:mprotect",
];

describe("two CPUs, a device and an unmapper over 8 pages", () => {
  it(`keep shadow within fact within intent in ${RUNS} random schedules`, () => {
    expect(missedIn("schedule", RUNS, REACHED, (seed) => runProgram({ seed }))).toEqual([]);
  }, 600_000);

  it("do the same again from the same seed", () => {
    const first = runProgram({ seed: 4711, operations: 12 });
    const second = runProgram({ seed: 4711, operations: 12 });
    expect(second.steps).toBe(first.steps);
    expect(second.world.tracer.last(1000)).toEqual(first.world.tracer.last(1000));
  });
});
