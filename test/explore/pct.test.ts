/** The promise of probabilistic concurrency testing, on bugs of known depth. */
import { describe, expect, it } from "vitest";
import { execute, explore, type Scenario } from "../../src/explore/index.ts";
import { PctSearch } from "../../src/explore/strategy/index.ts";
import { Model } from "../../src/museum/index.ts";

type Acts = readonly (() => void)[];

/** Tasks of as many steps as there are acts, and one before them that does nothing. */
function scenarioOf(build: (model: Model) => Readonly<Record<string, Acts>>): Scenario {
  return {
    name: "a bug of known depth",
    about: "tasks of a few steps",
    setUp(strategy) {
      const model = new Model(strategy);
      for (const [name, acts] of Object.entries(build(model))) {
        model.task(name, function* () {
          for (const act of acts) yield* model.step("acts", act);
        });
      }
      return model;
    },
  };
}

const NOTHING = (): void => undefined;

/** The share of `count` schedules that fail. */
function shareOf(scenario: Scenario, depth: number, count: number): number {
  const search = new PctSearch(7, depth);
  let failures = 0;
  for (let i = 0; i < count; i++) {
    search.begin();
    if (execute(scenario, search).failure !== undefined) failures++;
  }
  return failures / count;
}

/** Depth 1: two tasks, and the second must have its step before the first has. */
const uninitialized = scenarioOf((model) => {
  const isReady = model.cell("is ready", false);
  const use = (): void => model.expect(isReady.value, "error", "used before it was ready");
  const init = (): void => {
    isReady.value = true;
  };
  return { maker: [init, NOTHING, NOTHING], user: [use, NOTHING, NOTHING] };
});

/** Depth 2: the second task must come while the first is between two of its steps. */
const torn = scenarioOf((model) => {
  const isOpen = model.cell("is open", false);
  const set = (value: boolean) => () => {
    isOpen.value = value;
  };
  const look = (): void => model.expect(!isOpen.value, "error", "seen half done");
  return { writer: [NOTHING, set(true), set(false), NOTHING], reader: [NOTHING, look, NOTHING] };
});

/** Depth 3: both must be stopped between two of their steps. */
const crossed = scenarioOf((model) => {
  const a = model.cell("a is open", false);
  const b = model.cell("b saw a open and is", false);
  const acts: Record<string, Acts> = {
    a: [
      () => {
        a.value = true;
      },
      () => model.expect(!b.value, "error", "a goes on while b is in between"),
      () => {
        a.value = false;
      },
    ],
    b: [
      () => {
        b.value = a.value;
      },
      () => {
        b.value = false;
      },
    ],
  };
  return acts;
});

/**
 * Also decided by where two tasks are stopped; but the one that was stopped last has to go on
 * before the one that was stopped first.
 */
const nested = scenarioOf((model) => {
  const outer = model.cell("outer", false);
  const inner = model.cell("inner", false);
  const seen = model.cell("seen", false);
  return {
    outer: [
      () => {
        outer.value = true;
      },
      () => {
        outer.value = false;
      },
    ],
    inner: [
      () => {
        inner.value = outer.value;
      },
      () => model.expect(!(outer.value && seen.value), "error", "seen within both"),
    ],
    looker: [
      () => {
        seen.value = inner.value;
      },
    ],
  };
});

describe("pct", () => {
  // The bound is 1 / (tasks * steps ^ (depth - 1)); a task has one step more than acts. The
  // margin is for chance: at least four standard deviations.
  it.each([
    { name: "1", scenario: uninitialized, depth: 1, bound: 1 / 2, runs: 500 },
    { name: "2", scenario: torn, depth: 2, bound: 1 / (2 * 9), runs: 4000 },
    { name: "3", scenario: crossed, depth: 3, bound: 1 / (2 * 7 ** 2), runs: 6000 },
    { name: "3, nested", scenario: nested, depth: 3, bound: 1 / (6 * 8 ** 2), runs: 12_000 },
  ])("finds a bug of depth $name with its least chance", ({ scenario, depth, bound, runs }) => {
    expect(shareOf(scenario, depth, runs)).toBeGreaterThan(0.7 * bound);
  });

  it("does not find a bug that is deeper than it looks", () => {
    expect(shareOf(torn, 1, 500)).toBe(0);
    expect(shareOf(crossed, 2, 500)).toBe(0);
  });

  it("says how likely a bug of its depth was to be found", () => {
    const fine = scenarioOf((model) => {
      const cell = model.cell("c", 0);
      const add = (): void => {
        cell.value++;
      };
      return { a: [add, add, add], b: [add, add, add], c: [add] };
    });
    const chanceOf = (runs: number): number =>
      explore(fine, { strategy: "pct", seed: 1, depth: 2 }, { schedulesMax: runs }).chance!;
    // 3 tasks and 10 steps. The first run did not know how many steps there are.
    const once = 1 / (3 * 10);
    expect(chanceOf(1)).toBe(0);
    for (const runs of [2, 10, 100]) {
      expect(chanceOf(runs)).toBeCloseTo(1 - (1 - once) ** (runs - 1), 10);
    }
    expect(chanceOf(300)).toBeGreaterThan(0.9999);
  });

  it("needs no knowledge of steps for a bug of depth 1", () => {
    const report = explore(torn, { strategy: "pct", seed: 1, depth: 1 }, { schedulesMax: 1 });
    expect(report.chance).toBe(1 / 2);
  });

  it("gives the same schedules for the same seed, and others for another", () => {
    const schedulesOf = (seed: number): string => {
      const search = new PctSearch(seed, 3);
      return Array.from({ length: 20 }, () => {
        search.begin();
        return execute(crossed, search).schedule.join("");
      }).join();
    };
    expect(schedulesOf(1)).toBe(schedulesOf(1));
    expect(schedulesOf(1)).not.toBe(schedulesOf(2));
  });

  it("lets others run when a task only asks again and again", () => {
    const spin: Scenario = {
      name: "spin",
      about: "one asks until the other has done it",
      setUp(strategy) {
        const model = new Model(strategy);
        const flag = model.cell("flag", false);
        model.task("asks", function* () {
          while (!(yield* model.step("asks", () => flag.value)));
        });
        model.task("does", function* () {
          yield* model.step("does", () => {
            flag.value = true;
          });
        });
        return model;
      },
    };
    const report = explore(spin, { strategy: "pct", seed: 3 }, { schedulesMax: 50 });
    expect(report).toMatchObject({ failure: undefined, schedules: 50 });
  });
});
