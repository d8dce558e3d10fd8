import { describe, expect, it } from "vitest";
import type { EventName } from "../../src/trace/index.ts";
import { runDeviceProgram } from "./device-program.ts";
import { missedIn } from "./reached.ts";

const RUNS = Number(process.env.SCHEDULES ?? 250);

/** What so many random schedules must have reached, or they prove little. */
const REACHED: readonly EventName[] = [
  "hmm:retry",
  "notifier:collide",
  "devmem:to-device",
  "devmem:to-ram",
  "devmem:skip",
  "mm:cow",
  "mm:fork",
  "mm:mremap",
  "mm:swap-out",
  "mm:swap-in",
  "devmem:duplicate",
  "device:evict",
  "device:keep",
  "device:timeslice",
];

describe("a parent and a child whose device shares their memory", () => {
  it(`lose nothing and mix nothing up in ${RUNS} random schedules`, () => {
    expect(missedIn("device", RUNS, REACHED, (seed) => runDeviceProgram({ seed }))).toEqual([]);
  }, 900_000);
});
