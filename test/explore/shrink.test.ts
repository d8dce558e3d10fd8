/** What a failing schedule is made into. */
import { describe, expect, it } from "vitest";
import { execute, formatSchedule, Replay } from "../../src/explore/index.ts";
import { segmentsOf } from "../../src/explore/schedule.ts";
import { shrink } from "../../src/explore/shrink.ts";
import { RandomSearch } from "../../src/explore/strategy/index.ts";
import { randomProgram } from "./random-program.ts";
import { lostUpdate, lostWakeUp, twoLocks } from "./small-models.ts";

/** A failing run of a program under random schedules; `undefined` when none of 30 fails. */
function failing(scenario: Parameters<typeof execute>[0], seed: number) {
  const search = new RandomSearch(seed);
  for (let i = 0; i < 30; i++) {
    search.begin();
    const outcome = execute(scenario, search);
    if (outcome.failure !== undefined) return outcome;
  }
  return undefined;
}

describe("shrink", () => {
  it("gives a schedule that fails in the same way and is no longer, of 150 programs", () => {
    let count = 0;
    let shorter = 0;
    for (let seed = 1; count < 150; seed++) {
      const program = randomProgram({ seed, tasks: 3, steps: 3, cells: 2, hasRule: true });
      const before = failing(program, seed);
      if (before === undefined) continue;
      count++;
      const { outcome: after } = shrink(program, before);
      const words = `program ${seed}: ${formatSchedule(before.schedule)}`;
      expect(after.failure?.kind, words).toBe(before.failure?.kind);
      expect(after.schedule.length, words).toBeLessThanOrEqual(before.schedule.length);
      const [changes, changesBefore] = [after, before].map((each) => segmentsOf(each.schedule));
      expect(changes!.length, words).toBeLessThanOrEqual(changesBefore!.length);
      const again = execute(program, new Replay(after.schedule));
      expect(again.failure, words).toMatchObject({ ...after.failure, error: expect.anything() });
      expect(again.schedule, words).toEqual(after.schedule);
      if (changes!.length < changesBefore!.length) shorter++;
    }
    expect(shorter).toBeGreaterThan(75);
  });

  it.each([
    // Both read before either writes: one change into the second task, and one back.
    { make: lostUpdate, segments: 3 },
    // The sleeper tests, the waker runs whole, the sleeper sleeps.
    { make: lostWakeUp, segments: 3 },
    // The first has a, the second b and waits, the first waits.
    { make: twoLocks, segments: 3 },
  ])("gets to the fewest changes that fail: $segments of $make.name", ({ make, segments }) => {
    for (let seed = 1; seed <= 20; seed++) {
      const before = failing(make(), seed);
      if (before === undefined) continue;
      const { outcome } = shrink(make(), before);
      expect(segmentsOf(outcome.schedule).length, `seed ${seed}`).toBe(segments);
    }
  });
});
