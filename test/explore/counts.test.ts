/** How many schedules there are, worked out by hand. */
import { describe, expect, it } from "vitest";
import { type Exploration, explore, type Scenario } from "../../src/explore/index.ts";
import type { Model } from "../../src/museum/index.ts";
import { scenarioOf, steps } from "./small-models.ts";

/**
 * A task takes a step to its first yield before the named ones, which touches nothing. In all that
 * follows only what dpor calls different counts; dfs without reduction sees those first steps, too.
 */
const completed = ({ schedules, pruned, isExhaustive }: Exploration): number =>
  isExhaustive ? schedules - pruned : Number.NaN;

const byDpor = (scenario: Scenario): number => completed(explore(scenario, { strategy: "dpor" }));
const byDfs = (scenario: Scenario, preemptionsMax = Number.POSITIVE_INFINITY): number =>
  completed(explore(scenario, { strategy: "dfs", preemptionsMax, reduces: false }));

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

/** `count` tasks of `length` steps, each an `act`. */
function tasks(count: number, length: number, act: (model: Model) => (task: number) => void) {
  return scenarioOf((model) => {
    const does = act(model);
    for (const task of numbers(count)) {
      steps(model, `t${task}`, ...numbers(length).map(() => () => does(task)));
    }
  });
}

const writersOfOne = (model: Model) => {
  const cell = model.cell("c", 0);
  return (task: number): void => {
    cell.value = task;
  };
};
const writersOfOwn = (model: Model) => {
  const cells = numbers(8).map((i) => model.cell(`c${i}`, 0));
  return (task: number): void => {
    cells[task]!.value++;
  };
};

describe("dpor runs", () => {
  it.each([1, 2, 3, 4, 5])("n! orders of %i tasks that write one cell", (n) => {
    const factorial = numbers(n).reduce((so, i) => so * (i + 1), 1);
    expect(byDpor(tasks(n, 1, writersOfOne))).toBe(factorial);
  });

  it("(2k)! / (k!)^2 orders of two tasks that write one cell k times", () => {
    expect([1, 2, 3, 4].map((k) => byDpor(tasks(2, k, writersOfOne)))).toEqual([2, 6, 20, 70]);
  });

  it("one order of tasks that have nothing to do with each other", () => {
    expect(byDpor(tasks(4, 3, writersOfOwn))).toBe(1);
  });

  it("2^n orders of a writer and n readers: each reads before or after", () => {
    const readers = (n: number) =>
      scenarioOf((model) => {
        const cell = model.cell("c", 0);
        steps(model, "writer", () => {
          cell.value = 1;
        });
        for (const i of numbers(n)) steps(model, `reader ${i}`, () => cell.value);
      });
    expect([0, 1, 2, 3, 4].map((n) => byDpor(readers(n)))).toEqual([1, 2, 4, 8, 16]);
  });

  it("n + 1 orders of a reader and n writes of one task", () => {
    const writes = (n: number) =>
      scenarioOf((model) => {
        const cell = model.cell("c", 0);
        steps(model, "writer", ...numbers(n).map((i) => () => (cell.value = i)));
        steps(model, "reader", () => cell.value);
      });
    expect([1, 2, 3, 4].map((n) => byDpor(writes(n)))).toEqual([2, 3, 4, 5]);
  });

  it("2 orders for each of two unrelated pairs: 4", () => {
    const pairs = scenarioOf((model) => {
      const cells = [model.cell("a", 0), model.cell("b", 0)];
      for (const task of numbers(4)) {
        steps(model, `t${task}`, () => (cells[task % 2]!.value = task));
      }
    });
    expect(byDpor(pairs)).toBe(4);
  });
});

describe("dfs without reduction runs", () => {
  // A task with k named steps has m = k + 1.

  it("every interleaving: (2m)! / (m!)^2 for two tasks of m steps", () => {
    // m = 2: 6; m = 3: 20. Whether they have something in common makes no difference.
    expect(byDfs(tasks(2, 1, writersOfOne))).toBe(6);
    expect(byDfs(tasks(2, 2, writersOfOne))).toBe(20);
    expect(byDfs(tasks(2, 2, writersOfOwn))).toBe(20);
  });

  it("with no preemption, an order of the tasks: n!", () => {
    // A task runs to its end; then there is a choice.
    expect([1, 2, 3, 4].map((n) => byDfs(tasks(n, 2, writersOfOwn), 0))).toEqual([1, 2, 6, 24]);
  });

  it("with one preemption, n! and the ways to place it", () => {
    // Two tasks of m = 3 steps. Without: 2. With one: the first task stops after 1 or 2 of its
    // steps (2 places), the other runs; it may not be stopped; then the first ends. So 2 * 2 more.
    expect(byDfs(tasks(2, 2, writersOfOwn), 1)).toBe(2 + 2 * 2);
  });

  it("with two preemptions, those and the ways to place two", () => {
    // The first task stops after 1 or 2 steps, then the second after 1 or 2 of its own, and the
    // first goes on to its end, and the second: 2 * 2 * 2 more. 2 + 4 + 8 = 14 of the 20.
    expect(byDfs(tasks(2, 2, writersOfOwn), 2)).toBe(2 + 4 + 8);
  });

  it("with three, four preemptions the rest of them", () => {
    // AB AB AB has 5 changes, the last of which is no preemption: 4. With three: the first task
    // in two stops of one step each, the second in stops of (1, 2) or (2, 1): 2 * 1 * 2 more.
    expect(byDfs(tasks(2, 2, writersOfOwn), 3)).toBe(2 + 4 + 8 + 4);
    expect(byDfs(tasks(2, 2, writersOfOwn), 4)).toBe(20);
  });
});

describe("dfs with reduction", () => {
  it("looks at each history once", () => {
    const report = explore(tasks(3, 2, writersOfOwn), { strategy: "dfs" });
    // A history is how far each of three tasks has come, 0 to 3 steps: 4^3, and at the one where
    // all have ended nobody looks. Each of the three may come to it last.
    expect(report).toMatchObject({ states: 4 ** 3 - 1, isExhaustive: true });
    expect(completed(report)).toBe(3);
  });
});
