/** A scenario that is not the same again is refused, by whoever finds out. */
import { describe, expect, it } from "vitest";
import {
  explore,
  NondeterminismError,
  type Scenario,
  type StrategyOptions,
} from "../../src/explore/index.ts";
import type { Model } from "../../src/museum/index.ts";
import { lostUpdate, scenarioOf, steps } from "./small-models.ts";

const ALL: readonly StrategyOptions[] = [
  { strategy: "dpor" },
  { strategy: "dfs" },
  { strategy: "pct", seed: 1 },
  { strategy: "random", seed: 1 },
];

const twice = (scenario: Scenario, options: StrategyOptions) => () =>
  explore(scenario, options, { schedulesMax: 30, isTwice: true });

/** Two writers, one of which takes as many steps as `count` says. */
const program = (count: (model: Model) => number): Scenario =>
  scenarioOf((model) => {
    const cell = model.cell("c", 0);
    const write = (): void => {
      cell.value++;
    };
    steps(model, "a", ...Array.from({ length: count(model) }, () => write));
    steps(model, "b", write);
  });

describe.each(ALL)("run twice, $strategy", (options) => {
  it("refuses a scenario that uses chance", () => {
    const chance = program(() => 1 + Math.floor(Math.random() * 1000));
    expect(twice(chance, options)).toThrow(NondeterminismError);
    expect(twice(chance, options)).toThrow(
      /"a small model" differs from itself, .*: it must not use chance, clocks or state/,
    );
  });

  it("refuses a scenario that remembers its last run", () => {
    let runs = 0;
    expect(
      twice(
        program(() => 1 + (runs++ % 2)),
        options,
      ),
    ).toThrow(NondeterminismError);
  });

  it("refuses one whose steps are as many and have something else in common", () => {
    let runs = 0;
    const other = scenarioOf((model) => {
      const cells = [model.cell("a", 0), model.cell("b", 0)];
      const mine = cells[runs++ % 2]!;
      const write = (cell: { value: number }) => () => {
        cell.value++;
      };
      steps(model, "t", write(cells[0]!), write(cells[0]!));
      steps(model, "u", write(mine), write(mine));
    });
    expect(twice(other, options)).toThrow(/differs from itself, step \d/);
  });

  it("refuses one that only fails in another way", () => {
    let runs = 0;
    const other = scenarioOf((model) => {
      steps(model, "t", () => 1);
      model.finally("assertion", () => `run ${runs++}`);
    });
    expect(twice(other, options)).toThrow("failure: run 0 and then run 1");
  });

  it("takes one that is the same again, and finds in it what it finds without", () => {
    const same = program(() => 2);
    expect(twice(same, options)()).toEqual(explore(same, options, { schedulesMax: 30 }));
    const found = twice(lostUpdate(), options)();
    expect(found).toEqual(explore(lostUpdate(), options, { schedulesMax: 30 }));
    expect(found.failure?.failure.kind).toBe("lost-update");
  });
});

describe("run once", () => {
  it.each(["dpor", "dfs"] as const)(
    "%s notices who cannot run at a point it comes back to",
    (of) => {
      let runs = 0;
      const other = scenarioOf((model) => {
        const cell = model.cell("c", 0);
        for (let task = runs++ % 2; task < 3; task++) steps(model, `t${task}`, () => cell.value++);
      });
      expect(() => explore(other, { strategy: of })).toThrow(NondeterminismError);
    },
  );
});
