/** What searches must not pass over: kills, clocks that stand, rules when every run is repeated. */
import { describe, expect, it } from "vitest";
import { explore, type StrategyOptions } from "../../src/explore/index.ts";
import type { Model } from "../../src/museum/index.ts";
import { BLOCK, type Sleeps, type Task, TaskState, YIELD } from "../../src/sync/index.ts";
import { scenarioOf, steps } from "./small-models.ts";

const EXHAUSTIVE: readonly StrategyOptions[] = [
  { strategy: "dpor" },
  { strategy: "dfs" },
  { strategy: "dfs", reduces: false },
];

/** Two cells that are both 1 only in between, in some schedules. */
const passingState = () =>
  scenarioOf((model) => {
    const [a, b] = [model.cell("a", 0), model.cell("b", 0)];
    for (const [name, cell] of Object.entries({ a, b })) {
      steps(
        model,
        name,
        () => {
          cell.value = 1;
        },
        () => {
          cell.value = 0;
        },
      );
    }
    model.always("assertion", () => (a.value + b.value === 2 ? "both are 1" : undefined));
  });

/** Whether "looker" touches c hangs on what it finds in f: c and f are set by different tasks. */
const looksFurther = () =>
  scenarioOf((model) => {
    const [c, f, g] = [model.cell("c", 0), model.cell("f", 0), model.cell("g", 0)];
    const queue = model.queue("g");
    steps(model, "looker", () => {
      if (f.value === 0 && c.value === 1) model.fail("contract", "c was set before f");
    });
    steps(
      model,
      "setter of f",
      () => {
        g.value = 1;
        queue.wakeAll();
      },
      () => {
        f.value = 1;
      },
    );
    model.task("setter of c", function* (): Sleeps<void> {
      yield* queue.until(() => g.value === 1);
      yield* model.step("sets c", () => {
        c.value = 1;
      });
    });
  });

/** A task kills one that could run; `isRight` judges how far that one came. */
const kill = (isRight: (steps: number) => boolean, count: number) =>
  scenarioOf((model) => {
    const done = model.cell("done", 0);
    const victim: { task?: Task } = {};
    steps(
      model,
      "killer",
      () => 1,
      () => model.scheduler.kill(victim.task!),
    );
    victim.task = model.scheduler.spawn("victim", counting(model, done, count)) as Task;
    model.finally("assertion", () =>
      isRight(done.value) ? undefined : `the victim has done ${done.value} steps`,
    );
  });

function* counting(model: Model, done: { value: number }, count: number): Sleeps<void> {
  for (let i = 0; i < count; i++) yield* model.step("counts", () => done.value++);
}

describe.each(EXHAUSTIVE)("a search, $strategy $reduces", (options) => {
  it.each([false, true])("sees a state that passes (every run twice: %s)", (isTwice) => {
    const found = explore(passingState(), options, { isTwice });
    expect(found.failure?.failure.message).toBe("both are 1");
  });

  it("finds what hangs on a step that touches other places by what it finds", () => {
    const found = explore(looksFurther(), options);
    expect(found.failure?.failure.message).toBe("c was set before f");
  });

  it("tries a task before the step that kills it, however far it comes", () => {
    for (const far of [0, 1, 2, 3]) {
      const found = explore(
        kill((did) => did !== far, 3),
        options,
      );
      expect(found.failure?.failure.message).toBe(`the victim has done ${far} steps`);
    }
    expect(
      explore(
        kill((did) => did <= 3, 3),
        options,
      ).isExhaustive,
    ).toBe(true);
  });

  it("ends when there is nobody to run", () => {
    const nobody = scenarioOf((model) => {
      const cell = model.cell("c", 0);
      model.always("assertion", () => (cell.value === 0 ? undefined : "changed"));
    });
    const found = explore(nobody, options, { schedulesMax: 9 });
    expect(found).toMatchObject({ isExhaustive: true, schedules: 1 });
  });

  it("knows that everybody waited for a timer that was due at once", () => {
    const due = scenarioOf((model) => {
      const cell = model.cell("c", 0);
      model.task("waiter", function* (): Sleeps<void> {
        yield YIELD;
        const { scheduler } = model;
        const task = scheduler.current;
        scheduler.timer(scheduler.nowMs, () => scheduler.wake(task));
        task.state = TaskState.blocked;
        yield BLOCK;
        model.expect(cell.value === 2, "assertion", "the clock came too early");
        cell.value = 3;
      });
      const add = (): void => {
        cell.value++;
      };
      steps(model, "other", add, add);
    });
    expect(explore(due, options)).toMatchObject({ isExhaustive: true, failure: undefined });
  });
});
