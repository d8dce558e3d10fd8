import { describe, expect, it } from "vitest";
import type { EventName } from "../../src/trace/index.ts";
import { missedIn } from "./reached.ts";
import { runSharedProgram } from "./shared-program.ts";

const RUNS = Number(process.env.SCHEDULES ?? 1_000);

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
  "mm:make-exclusive",
  "mm:restore-exclusive",
  "mm:swap-out",
  "mm:swap-in",
];

describe("a parent, its child, two devices, and too little RAM", () => {
  it(`lose nothing and mix nothing up in ${RUNS} random schedules`, () => {
    expect(missedIn("shared", RUNS, REACHED, (seed) => runSharedProgram({ seed }))).toEqual([]);
  }, 900_000);
});
