/** Models of a line or two, with known answers. */
import type { Scenario } from "../../src/explore/index.ts";
import { Model } from "../../src/museum/index.ts";
import type { Sleeps } from "../../src/sync/index.ts";

/** A scenario of whatever `build` puts into a model. */
export function scenarioOf(build: (model: Model) => void, stepsMax?: number): Scenario {
  return {
    name: "a small model",
    about: "tasks of a few steps",
    ...(stepsMax === undefined ? {} : { stepsMax }),
    setUp(strategy) {
      const model = new Model(strategy);
      build(model);
      return model;
    },
  };
}

/** A task of named steps that come one after the other. */
export function steps(model: Model, name: string, ...acts: readonly (() => unknown)[]): void {
  model.task(name, function* (): Sleeps<void> {
    for (const [i, act] of acts.entries()) yield* model.step(`does ${i + 1}`, act);
  });
}

/** Two tasks add to a cell, each by reading it first: an addition is lost. */
export const lostUpdate = (): Scenario =>
  scenarioOf((model) => {
    const sum = model.cell("sum", 0);
    for (const name of ["a", "b"]) {
      let seen = 0;
      steps(
        model,
        name,
        () => {
          seen = sum.value;
        },
        () => {
          sum.value = seen + 1;
        },
      );
    }
    model.finally("lost-update", () => (sum.value === 2 ? undefined : `the sum is ${sum.value}`));
  });

/** A task tests a flag and then goes to sleep; another sets it and wakes in between. */
export const lostWakeUp = (): Scenario =>
  scenarioOf((model) => {
    const flag = model.cell("flag", false);
    const queue = model.queue("the flag");
    model.task("sleeper", function* (): Sleeps<void> {
      const isSet = yield* model.step("tests the flag", () => flag.value);
      if (!isSet) yield* queue.sleepBlindly();
    });
    steps(model, "waker", () => {
      flag.value = true;
      queue.wakeAll();
    });
  });

/** Two locks in two orders. */
export const twoLocks = (): Scenario =>
  scenarioOf((model) => {
    const locks = [model.lock("a"), model.lock("b")];
    for (const order of [locks, [...locks].reverse()]) {
      model.task(`${order[0]!.name} first`, function* (): Sleeps<void> {
        for (const lock of order) yield* lock.take();
        for (const lock of order) lock.give();
      });
    }
  });
