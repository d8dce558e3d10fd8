import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { execute, Replay } from "../explore/index.ts";
import { arrange, bugOf } from "./collection.ts";
import { DOCUMENTATION_ONLY } from "./documentation-only.ts";
import {
  cataloguePage,
  type Exhibit,
  MUSEUM,
  scenarioOf,
  type Version,
  type Visit,
  visit,
} from "./index.ts";

/** First and last number of each part of the catalogue. */
const CATALOGUE = [
  [1, 18],
  [20, 39],
  [40, 62],
  [70, 84],
  [90, 108],
  [110, 114],
] as const;

const bugs = CATALOGUE.flatMap(([first, last]) =>
  Array.from({ length: last - first + 1 }, (_, i) => `B-${`${first + i}`.padStart(2, "0")}`),
);

const exhibitOf = (id: string): Exhibit => MUSEUM.find((each) => each.id === id)!;

describe("the museum's collection", () => {
  it("has every bug of the catalogue, as an exhibit or as documentation only", () => {
    const exhibited = new Set(MUSEUM.map(({ id }) => bugOf(id)));
    const documented = DOCUMENTATION_ONLY.map(({ id }) => id);
    expect(documented.filter((id) => exhibited.has(id))).toEqual([]);
    expect([...exhibited, ...documented].sort()).toEqual([...bugs].sort());
  });

  it("has each id once, rising", () => {
    const ids = MUSEUM.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    expect(ids.slice(0, 3)).toEqual(["B-01", "B-02", "B-02b"]);
    const padded = ids.map((id) => id.replace(/\d+/, (number) => number.padStart(3, "0")));
    expect(padded).toEqual([...padded].sort());
  });

  it("refuses an id or a scenario's name that is there twice, and what is no id", () => {
    const [first, second] = [exhibitOf("B-01"), exhibitOf("B-02")];
    expect(arrange([second, first])).toEqual([first, second]);
    const sameName = { ...first, fixed: [{ ...first.fixed[0]!, name: first.buggy.name }] };
    const wrong = [
      [first, second, first],
      [{ ...first, id: "B-84" }],
      [sameName],
      [{ ...first, id: "B-1" }, second],
      [{ ...first, id: "B-01bc" }, second],
    ];
    for (const exhibits of wrong) expect(() => arrange(exhibits)).toThrow();
  });
});

/** Names of all tasks that ran, with their steps, when nobody is preempted. */
function tasksOf(exhibit: Exhibit, version: Version): Map<string, number> {
  const { schedule, names, failure } = execute(scenarioOf(exhibit, version), new Replay([]));
  expect(failure).toBeUndefined();
  const steps = [...names].map(
    ([number, name]) => [name, schedule.filter((task) => task === number).length] as const,
  );
  return new Map(steps);
}

/** Names of the tasks that a version begins with, whether or not they get to run. */
function spawnedBy(exhibit: Exhibit, version: Version): string[] {
  const strategy = { explores: true, replay: "", next: () => 0 };
  const { scheduler } = scenarioOf(exhibit, version).setUp(strategy);
  return [...scheduler.liveTasks].map(({ name }) => name);
}

describe("an exhibit", () => {
  const visits = new Map<string, Visit>();
  beforeAll(() => {
    for (const exhibit of MUSEUM) visits.set(exhibit.id, visit(exhibit));
  });

  it.each(MUSEUM)("$id is found as it says, and its fixed versions are clean", ({ id }) => {
    const { isFound, isClean, buggy, fixed } = visits.get(id)!;
    const failures = fixed.flatMap(({ scenario, failure }) =>
      failure === undefined ? [] : [`${scenario}: ${failure.failure.message}`],
    );
    expect({ isFound, buggy: buggy.failure?.failure }).toMatchObject({ isFound: true });
    expect({ isClean, failures }).toEqual({ isClean: true, failures: [] });
  });

  it.each(MUSEUM)("$id keeps its tasks in the fixed versions, and they do something", (exhibit) => {
    const tasks = spawnedBy(exhibit, exhibit.buggy);
    expect(tasks.length).toBeGreaterThan(0);
    for (const version of exhibit.fixed) {
      const ran = tasksOf(exhibit, version);
      expect([...ran.keys()]).toEqual(expect.arrayContaining(tasks));
      // The first step of a task only begins it.
      for (const task of tasks)
        expect(ran.get(task), `${version.name}: ${task}`).toBeGreaterThan(1);
    }
  });

  it("that needs a race keeps it in the fixed versions", () => {
    const racing = [...visits.values()].filter(({ buggy }) => buggy.schedules > 1);
    expect(racing.length).toBeGreaterThan(MUSEUM.length / 2);
    for (const { id, fixed } of racing) {
      for (const { schedules } of fixed) expect(schedules, id).toBeGreaterThan(1);
    }
  });

  it("is on the page docs/museum.md, which is as `npm run museum` makes it", () => {
    const made = cataloguePage(MUSEUM.map(({ id }) => visits.get(id)!)).split("\n");
    const path = new URL("../../docs/museum.md", import.meta.url);
    const there = readFileSync(path, "utf8").split("\n");
    const line = made.findIndex((each, i) => each !== there[i]);
    const why = `docs/museum.md differs from line ${line + 1} on: run \`npm run museum\``;
    expect(there[line], why).toBe(made[line]);
    expect(there.length, why).toBe(made.length);
  });

  it("that is not as it says gets no page", () => {
    const all = MUSEUM.map(({ id }) => visits.get(id)!);
    const [first, ...others] = all;
    expect(() => cataloguePage([{ ...first!, isFound: false }, ...others])).toThrow("B-01");
    expect(() => cataloguePage([{ ...first!, isClean: false }, ...others])).toThrow("B-01");
    expect(() => cataloguePage(others)).toThrow("all exhibits");
    expect(() => cataloguePage([...others, first!])).toThrow("in the order");
  });
});

describe("a visit", () => {
  const genuine = exhibitOf("B-01");
  const verdict = (changed: Partial<Exhibit>): readonly [isFound: boolean, isClean: boolean] => {
    const { isFound, isClean } = visit({ ...genuine, ...changed });
    return [isFound, isClean];
  };

  it("finds what is there", () => {
    expect(verdict({})).toEqual([true, true]);
  });

  it("does not find a bug that is not there", () => {
    expect(verdict({ buggy: genuine.fixed[0]! })).toEqual([false, true]);
  });

  it("does not take a failure of another kind, or with other words, for the bug", () => {
    expect(verdict({ kind: "deadlock" })).toEqual([false, true]);
    expect(verdict({ says: /maps Q/ })).toEqual([false, true]);
  });

  it("does not call a fix clean that does not fix, or one that is not there", () => {
    expect(verdict({ fixed: [...genuine.fixed, genuine.buggy] })).toEqual([true, false]);
    expect(verdict({ fixed: [] })).toEqual([true, false]);
  });

  it("takes nothing for refuted that goes wrong", () => {
    expect(verdict({ refuted: "nobody does that" })).toEqual([false, true]);
    const refuted = { buggy: genuine.fixed[0]!, refuted: "it is fixed" };
    expect(verdict(refuted)).toEqual([true, true]);
  });
});
