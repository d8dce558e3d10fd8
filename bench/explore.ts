/**
 * The explorer: the same scenarios with every search that can end, one after the other, each for two
 * seconds at most. A schedule is one run from the beginning, with all checks; a state is a
 * history that no run before had. What does not end in its time says which share of the tree it
 * has behind it: a guess from the branches, right at both ends only.
 */
import {
  type Exploration,
  explore,
  type Scenario,
  type StrategyOptions,
} from "../src/explore/index.ts";
import { MUSEUM, scenarioOf } from "../src/museum/index.ts";
import { RACES } from "../src/races/index.ts";
import { benchAfter } from "./explore-after.ts";
import type { Row } from "./ratio.ts";

const SECONDS_MAX = 2;
/** Small, middling and large ones, all without a failure, so that none ends early. */
const MODELS = ["B-62", "B-21", "B-70", "B-75"];
const ENGINE = ["touch-at-device", "exclusive-fork", "fault-munmap"];

const SEARCHES: Readonly<Record<string, StrategyOptions>> = {
  "dfs, unreduced": { strategy: "dfs", reduces: false },
  "dfs, each history once": { strategy: "dfs" },
  dpor: { strategy: "dpor" },
};

export async function benchExplore(): Promise<Row[]> {
  // First, while nothing was explored here.
  const rows = await benchAfter();
  console.log(`\nexplore: every search on the same scenario, at most ${SECONDS_MAX} s each`);
  console.log(`  ${"".padEnd(24)} schedules      /s    states      /s  end`);
  for (const scenario of scenarios()) {
    console.log(scenario.name);
    const wholes: number[] = [];
    for (const [name, options] of Object.entries(SEARCHES)) {
      const { report, seconds } = timed(scenario, options);
      console.log(line(name, report, seconds));
      if (report.isExhaustive) wholes.push(report.schedules);
    }
    if (wholes.length === Object.keys(SEARCHES).length) {
      const [all, ...rest] = wholes;
      const factors = rest.map((each) => `${(all! / each).toFixed(1)}`).join(" and ");
      console.log(`  unreduced runs ${factors} times as many schedules`);
    }
  }
  return rows;
}

/** The first fixed version of each model, then those of the engine. */
function scenarios(): Scenario[] {
  const models = MODELS.map((wanted) => {
    const exhibit = MUSEUM.find(({ id }) => id === wanted);
    if (exhibit === undefined) throw new Error(`the museum has no ${wanted}`);
    return scenarioOf(exhibit, exhibit.fixed[0]!);
  });
  const engine = ENGINE.map((wanted) => {
    const scenario = RACES.find(({ name }) => name === wanted);
    if (scenario === undefined) throw new Error(`the engine has no scenario ${wanted}`);
    return { ...scenario, name: `engine: ${scenario.name}` };
  });
  return [...models, ...engine];
}

function timed(scenario: Scenario, options: StrategyOptions) {
  // The code is warm before its time is taken.
  explore(scenario, options, { schedulesMax: 20 });
  const now = (): number => performance.now();
  const begin = now();
  const report = explore(scenario, options, { now, deadlineMs: begin + SECONDS_MAX * 1000 });
  if (report.failure !== undefined) throw new Error(`${scenario.name}: fails, and should not`);
  return { report, seconds: (now() - begin) / 1000 };
}

function line(name: string, report: Exploration, seconds: number): string {
  const { schedules, states, share, isExhaustive } = report;
  const columns = [schedules, schedules / seconds, states, states / seconds];
  const numbers = columns.map((value) => String(Math.round(value)).padStart(8)).join("");
  const end = isExhaustive
    ? `whole in ${seconds.toFixed(2)} s`
    : `not ended: about ${((share ?? 0) * 100).toPrecision(2)} % of the tree`;
  return `  ${name.padEnd(24)} ${numbers}  ${end}`;
}
