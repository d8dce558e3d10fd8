/** What tasks share without saying so is found; and nothing is found where all is said. */
import { describe, expect, it } from "vitest";
import {
  execute,
  findUndeclared,
  parseSchedule,
  Replay,
  type Scenario,
} from "../../src/explore/index.ts";
import type { Model } from "../../src/museum/index.ts";
import { randomProgram } from "./random-program.ts";
import { scenarioOf, steps } from "./small-models.ts";

const look = (scenario: Scenario) => findUndeclared(scenario, { seed: 1, schedules: 30 });

/** What a run ends with: the model does not say by itself. */
function ending(build: (model: Model) => () => unknown): Scenario {
  return {
    name: "a model",
    about: "two tasks",
    setUp(strategy) {
      let say: () => unknown = () => undefined;
      const run = scenarioOf((model) => {
        say = build(model);
      }).setUp(strategy);
      return Object.assign(run, { fingerprint: () => JSON.stringify(say()) });
    },
  };
}

describe("findUndeclared", () => {
  it("finds a variable that two tasks write, by what is in it at the end", () => {
    const planted = ending((model) => {
      let last = "";
      for (const name of ["a", "b"]) {
        steps(model, name, () => {
          last = name;
        });
      }
      return () => last;
    });
    const { found, pairs } = look(planted);
    expect(pairs).toBeGreaterThan(0);
    expect(found?.difference).toMatch(/^the end: "(a|b)"\nis not "(a|b)"$/);
    // Both schedules are real, differ in two neighbours, and end as it says.
    const [one, other] = [found!.schedule, found!.swapped].map(parseSchedule);
    const at = found!.step - 1;
    expect([other![at], other![at + 1]]).toEqual([one![at + 1], one![at]]);
    const ends = [one!, other!].map((each) => execute(planted, new Replay(each)).fingerprint);
    expect(found?.difference).toBe(`the end: ${ends[0]}\nis not ${ends[1]}`);
  });

  it("finds one by the steps that follow", () => {
    const planted = scenarioOf((model) => {
      const cells = [model.cell("x", 0), model.cell("y", 0)];
      let which = 0;
      steps(model, "a", () => {
        which = 1;
      });
      let seen = 0;
      steps(
        model,
        "b",
        () => {
          seen = which;
        },
        () => cells[seen]!.value,
      );
    });
    expect(look(planted).found?.difference).toMatch(/touches something else|is never taken/);
  });

  it("finds one by a step that is not there, and by one that is there besides", () => {
    const planted = scenarioOf((model) => {
      let isSet = false;
      steps(model, "a", () => {
        isSet = true;
      });
      model.task("b", function* () {
        if (yield* model.step("looks", () => isSet)) yield* model.step("goes on", () => 1);
      });
    });
    for (let seed = 1; seed <= 20; seed++) {
      expect(findUndeclared(planted, { seed, schedules: 30 }).found, `seed ${seed}`).toBeDefined();
    }
  });

  it("finds one by a failure that only one order has", () => {
    const planted = scenarioOf((model) => {
      let isFree = false;
      steps(model, "a", () => {
        isFree = true;
      });
      steps(model, "b", () => model.expect(!isFree, "use-after-free", "it is gone"));
    });
    expect(look(planted).found?.difference).toMatch(/it is gone/);
  });

  it("finds nothing when the same variable is declared", () => {
    const declared = ending((model) => {
      const last = model.cell("last", "");
      for (const name of ["a", "b"]) {
        steps(model, name, () => {
          last.value = name;
        });
      }
      return () => last.value;
    });
    const { found, pairs } = look(declared);
    expect(found).toBeUndefined();
    expect(pairs).toBeGreaterThan(0);
  });

  it("finds nothing in 60 programs made up by chance", () => {
    let pairs = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const program = randomProgram({ seed, tasks: 3, steps: 3, cells: 2 });
      const report = findUndeclared(program, { seed, schedules: 5 });
      expect(report.found, program.name).toBeUndefined();
      pairs += report.pairs;
    }
    expect(pairs).toBeGreaterThan(500);
  });
});
