/** Each kind of failure that only some schedules show is found, and can be had again. */
import { describe, expect, it } from "vitest";
import {
  execute,
  explore,
  type FoundFailure,
  parseSchedule,
  Replay,
  type Scenario,
  ScheduleError,
  type StrategyOptions,
  tell,
} from "../../src/explore/index.ts";
import { BLOCK, Scheduler, type Sleeps, TaskState, YIELD } from "../../src/sync/index.ts";
import { lostUpdate, lostWakeUp, scenarioOf, steps, twoLocks } from "./small-models.ts";

const STRATEGIES: readonly StrategyOptions[] = [
  { strategy: "dpor" },
  { strategy: "dfs" },
  { strategy: "dfs", reduces: false },
  { strategy: "dfs", preemptionsMax: 1 },
  { strategy: "pct", seed: 1 },
  { strategy: "random", seed: 1 },
];

function find(scenario: Scenario, options: StrategyOptions): FoundFailure {
  const { failure, isExhaustive } = explore(scenario, options, { schedulesMax: 1000 });
  expect(isExhaustive).toBe(false);
  return failure!;
}

describe.each(STRATEGIES.map((options) => ({ options, title: JSON.stringify(options) })))(
  "$title",
  ({ options }) => {
    it("finds a lost update", () => {
      const { failure } = find(lostUpdate(), options);
      expect(failure).toMatchObject({ kind: "lost-update", message: "the sum is 1", task: 0 });
    });

    it("finds a lost wake-up", () => {
      const { failure } = find(lostWakeUp(), options);
      expect(failure.kind).toBe("deadlock");
      expect(failure.message).toContain("sleeper waits on the flag");
    });

    it("finds two locks that are taken in two orders", () => {
      const { failure } = find(twoLocks(), options);
      expect(failure.kind).toBe("deadlock");
      expect(failure.message).toContain("a first waits on b");
      expect(failure.message).toContain("b first waits on a");
    });

    it.each([lostUpdate, lostWakeUp, twoLocks])("finds again what it found: %o", (make) => {
      const found = find(make(), options);
      for (const text of [found.found, found.shortest]) {
        const { failure, schedule } = execute(make(), new Replay(parseSchedule(text)));
        const { kind, message } = found.failure;
        expect(failure).toMatchObject({ kind, message, step: schedule.length });
        expect(schedule).toEqual(parseSchedule(text));
      }
    });
  },
);

describe("a failure", () => {
  it("is a livelock when there are more than stepsMax steps", () => {
    const spin = scenarioOf((model) => {
      const flag = model.cell("flag", false);
      model.task("spinner", function* (): Sleeps<void> {
        while (!(yield* model.step("looks", () => flag.value)));
      });
      steps(model, "setter", () => {
        flag.value = true;
      });
    }, 40);
    const { failure } = explore(spin, { strategy: "dfs" });
    expect(failure?.failure).toMatchObject({ kind: "livelock", step: 41, task: 1 });
    expect(failure?.failure.message).toContain("no end after 41 steps");
    expect(failure?.failure.message).toContain('"spinner" runnable');
  });

  it("is an error when a task throws, and says which and when", () => {
    const thrower = scenarioOf((model) => {
      steps(model, "fine", () => 1);
      steps(model, "thrower", () => {
        throw new RangeError("no such page");
      });
    });
    const { failure } = explore(thrower, { strategy: "dpor" });
    expect(failure?.failure).toMatchObject({ kind: "error", message: "no such page", task: 2 });
    expect(failure?.failure.error).toBeInstanceOf(RangeError);
    expect(failure?.failure.step).toBe(failure?.shortestSteps);
  });

  it("is a lock that is never given back, or by somebody who has not got it", () => {
    const kept = scenarioOf((model) => {
      const lock = model.lock("door");
      model.task("keeper", () => lock.take());
    });
    expect(explore(kept, { strategy: "dpor" }).failure?.failure).toMatchObject({
      kind: "lock",
      message: "door is never given back",
    });
    const given = scenarioOf((model) => {
      const lock = model.lock("door");
      steps(model, "giver", () => lock.give());
    });
    expect(explore(given, { strategy: "dpor" }).failure?.failure).toMatchObject({
      kind: "lock",
      message: "giver gives back door it lacks",
    });
  });

  it("is a rule that holds only at the end or only in between", () => {
    const between = scenarioOf((model) => {
      const cell = model.cell("c", 0);
      const set = (value: number) => () => {
        cell.value = value;
      };
      steps(model, "there and back", set(1), set(0));
      model.always("imprecise", () => (cell.value === 1 ? "c is 1" : undefined));
      model.finally("leak", () => (cell.value === 1 ? "c stays 1" : undefined));
    });
    const { failure } = explore(between, { strategy: "dpor" });
    expect(failure?.failure).toMatchObject({ kind: "imprecise", message: "c is 1", step: 2 });
  });

  it("may be that the clock stops before somebody is woken", () => {
    const scenario: Scenario = {
      name: "clock",
      about: "one waits for another, who waits for time",
      setUp(strategy) {
        const scheduler = new Scheduler({ strategy });
        let wasLate = false;
        scheduler.spawn(
          "early",
          pause(scheduler, 5, () => undefined),
        );
        scheduler.spawn(
          "late",
          pause(scheduler, 10, () => {
            wasLate = scheduler.nowMs === 10;
          }),
        );
        return {
          scheduler,
          checkEnd() {
            if (!wasLate) throw new Error(`the clock says ${scheduler.nowMs}`);
          },
        };
      },
    };
    // Time is virtual: both wake in the order of their deadlines, in every schedule.
    expect(explore(scenario, { strategy: "dfs", reduces: false })).toMatchObject({
      isExhaustive: true,
      failure: undefined,
    });
  });
});

function* pause(scheduler: Scheduler, deadlineMs: number, act: () => void): Sleeps<void> {
  yield YIELD;
  const task = scheduler.current;
  scheduler.timer(deadlineMs, () => scheduler.wake(task));
  task.state = TaskState.blocked;
  yield BLOCK;
  act();
}

describe("a schedule", () => {
  it("of another scenario is refused, and says at which step", () => {
    const story = () => tell(lostUpdate(), parseSchedule("1x2.3"));
    expect(story).toThrow(ScheduleError);
    expect(story).toThrow(
      "step 3 of the schedule is task 3, which cannot run then (those that can: 1, 2): " +
        "it belongs to another scenario or version",
    );
  });

  it("may end early: whoever runs goes on, then the lowest number", () => {
    const { schedule } = execute(lostUpdate(), new Replay([2]));
    expect(schedule).toEqual([2, 2, 2, 1, 1, 1]);
  });
});
