/** What reduction leaves out is what was seen already: small programs, with and without it. */
import { describe, expect, it } from "vitest";
import { execute, explore } from "../../src/explore/index.ts";
import { Dfs, Dpor, type Search } from "../../src/explore/strategy/index.ts";
import { type AllRuns, allRuns } from "./all-runs.ts";
import { type ProgramShape, type RandomProgram, randomProgram } from "./random-program.ts";
import { scenarioOf, steps } from "./small-models.ts";

/** Programs with more schedules than this are left out. */
const SCHEDULES_MAX = 600;

const SIZES = [
  { tasks: 3, steps: 1, cells: 2 },
  { tasks: 2, steps: 2, cells: 2 },
  { tasks: 2, steps: 3, cells: 2 },
] as const;

const shapeOf = (seed: number): ProgramShape => ({ seed, ...SIZES[seed % SIZES.length]! });

/** All runs of a program; `undefined` when they are too many. */
function runsOf(program: RandomProgram, search: Search): AllRuns | undefined {
  const runs = allRuns(program, search, { endOf: () => program.state, max: SCHEDULES_MAX });
  return runs.isWhole ? runs : undefined;
}

/** The first `count` programs whose unreduced search ends, with what it found. */
function programs(count: number, newSearch: () => Search) {
  const found: { readonly program: RandomProgram; readonly all: AllRuns }[] = [];
  for (let seed = 1; found.length < count; seed++) {
    const program = randomProgram(shapeOf(seed));
    const all = runsOf(program, newSearch());
    if (all !== undefined) found.push({ program, all });
  }
  return found;
}

describe("reduction", () => {
  const samples = programs(150, () => new Dfs({ reduces: false }));

  it("is tried on programs of many kinds", () => {
    const isDead = (end: string): boolean => end.startsWith("deadlock");
    const dead = samples.filter(({ all }) => all.ends.some(isDead));
    const alwaysDead = samples.filter(({ all }) => all.ends.every(isDead));
    const varied = samples.filter(({ all }) => all.ends.length > 2);
    expect(dead.length).toBeGreaterThan(40);
    expect(alwaysDead.length).toBeLessThan(50);
    expect(varied.length).toBeGreaterThan(30);
  });

  it("loses nothing that a program may come to, deadlocks included", () => {
    for (const { program, all } of samples) {
      const searches = { dpor: new Dpor(), dfs: new Dfs() };
      for (const [name, search] of Object.entries(searches)) {
        expect(runsOf(program, search)?.ends, `${program.name}, ${name}`).toEqual(all.ends);
      }
    }
  });

  it("lets dpor run each order of conflicting steps exactly once", () => {
    let sure = 0;
    for (const { program, all } of samples) {
      const search = new Dpor();
      const runs = runsOf(program, search);
      // Else it goes over everything once more.
      if (!search.isSure) continue;
      sure++;
      const counts = { completed: runs?.completed, orders: runs?.orders };
      expect(counts, program.name).toEqual({ completed: all.orders, orders: all.orders });
    }
    expect(sure).toBeGreaterThan(20);
    const sum = (count: (all: AllRuns) => number): number =>
      samples.reduce((so, { all }) => so + count(all), 0);
    expect(sum((all) => all.completed) / sum((all) => all.orders)).toBeGreaterThan(5);
  });

  it("lets dpor give up few schedules half way: it seldom begins what it has seen", () => {
    const counts = { pruned: 0, completed: 0 };
    for (let seed = 1; seed <= 100; seed++) {
      const program = randomProgram({ seed, tasks: 3, steps: 2, cells: 2 });
      const search = new Dpor();
      for (let i = 0; i < 300 && search.begin() && search.isSure; i++) {
        counts[execute(program, search).isPruned ? "pruned" : "completed"]++;
      }
    }
    expect(counts.completed).toBeGreaterThan(500);
    expect(counts.pruned / counts.completed).toBeLessThan(0.07);
  });

  it("loses nothing within a bound of preemptions", () => {
    let bounds = 0;
    for (const preemptionsMax of [0, 1, 2]) {
      for (const { program } of samples.slice(0, 60)) {
        const all = runsOf(program, new Dfs({ preemptionsMax, reduces: false }));
        const reduced = runsOf(program, new Dfs({ preemptionsMax }));
        expect(reduced?.ends, `${program.name}, ${preemptionsMax}`).toEqual(all?.ends);
        if (reduced!.completed < all!.completed) bounds++;
      }
    }
    expect(bounds).toBeGreaterThan(60);
  });
});

describe("rules that hold after every step", () => {
  /** Some schedule breaks the rule; `undefined` when there are too many schedules to say. */
  const isBroken = (seed: number, search: Search): boolean | undefined => {
    const program = randomProgram({ ...shapeOf(seed), hasRule: true });
    const runs = allRuns(program, search, { max: SCHEDULES_MAX / 2, last: "assertion" });
    return runs.isWhole ? runs.ends.includes("assertion ") : undefined;
  };

  it("are seen broken by dpor and by reduced dfs if they are by all schedules", () => {
    const counts = { kept: 0, broken: 0 };
    for (let seed = 1; seed <= 110; seed++) {
      const all = isBroken(seed, new Dfs({ reduces: false }));
      if (all === undefined) continue;
      counts[all ? "broken" : "kept"]++;
      expect(isBroken(seed, new Dpor()), `program ${seed}, dpor`).toBe(all);
      expect(isBroken(seed, new Dfs()), `program ${seed}, dfs`).toBe(all);
    }
    expect(Math.min(counts.kept, counts.broken)).toBeGreaterThan(15);
  });

  it("are seen broken where a rule looks only once something else is so", () => {
    // In the first schedule b is 3 before a is 1, and only then the rule looks at b.
    const late = scenarioOf((model) => {
      const [a, b] = [model.cell("a", 0), model.cell("b", 0)];
      const set = (cell: { value: number }, value: number) => () => {
        cell.value = value;
      };
      steps(model, "b", set(b, 1), set(b, 2), set(b, 3));
      steps(model, "a", set(a, 1), set(a, 2));
      model.always("assertion", () => (a.value === 1 && b.value === 2 ? "1 and 2" : undefined));
    });
    expect(explore(late, { strategy: "dpor" }).failure?.failure.message).toBe("1 and 2");
  });
});
