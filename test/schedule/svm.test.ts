import { describe, expect, it } from "vitest";
import type { EventName } from "../../src/trace/index.ts";
import { runSvmProgram } from "./svm-program.ts";

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
  "svm:unmapped",
  "svm:again",
  "svm:undo",
  "svm:timeslice",
];

describe("a parent and a child whose device shares their memory", () => {
  it(`lose nothing and mix nothing up in ${RUNS} random schedules`, () => {
    const counts = new Map<EventName, number>();
    for (let seed = 1; seed <= RUNS; seed++) {
      const { world } = runSvmProgram({ seed });
      for (const name of REACHED) {
        counts.set(name, (counts.get(name) ?? 0) + world.tracer.count(name));
      }
    }
    for (const name of REACHED) expect([name, counts.get(name)! > 0]).toEqual([name, true]);
  }, 900_000);
});
