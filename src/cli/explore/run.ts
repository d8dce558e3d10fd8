/** Does what a plan says, prints it, and sets the exit status. */
import { writeFileSync } from "node:fs";
import pc from "picocolors";
import {
  type Exploration,
  type FoundFailure,
  findUndeclared,
  type Progress,
  pageOf,
  parseSchedule,
  type Scenario,
  type Story,
  type StrategyOptions,
  tell,
  textOf,
} from "../../explore/index.ts";
import { MUSEUM, type Visit } from "../../museum/index.ts";
import { RACES } from "../../races/index.ts";
import { UsageError } from "../usage.ts";
import type { Plan } from "./plan.ts";
import { findScenario, type Job, runJobs, scenariosOf } from "./workers/index.ts";

export async function runPlan(plan: Plan): Promise<void> {
  await refuseStranger(plan);
  switch (plan.act) {
    case "list":
      return list(plan);
    case "replay":
      return replay(plan);
    case "undeclared":
      return lookForUndeclared(plan);
    case "explore":
      return isVisit(plan) ? visitMuseum(plan) : exploreAll(plan);
  }
}

/** A scenario that is not there is refused before anything is done. */
async function refuseStranger(plan: Plan): Promise<void> {
  const { source, scenario } = plan;
  if (scenario === undefined || isVisit(plan)) return;
  const names = (await scenariosOf(source)).map(({ name }) => name);
  if (names.includes(scenario)) return;
  const known = source.from === "museum" ? MUSEUM.map(({ id }) => id) : names;
  throw new UsageError(`--scenario: none is called "${scenario}" (known: ${known.join(", ")})`);
}

/** The museum as a museum: buggy and fixed sides of each exhibit. */
const isVisit = ({ source, scenario, options }: Plan): boolean =>
  source.from === "museum" &&
  options === undefined &&
  (scenario === undefined || MUSEUM.some(({ id }) => id === scenario));

async function list({ source, json }: Plan): Promise<void> {
  const scenarios = (await scenariosOf(source)).map(({ name, about }) => ({ name, about }));
  if (json) console.log(JSON.stringify({ scenarios }));
  else for (const { name, about } of scenarios) console.log(`${pc.bold(name)}\n  ${about}`);
}

async function replay(plan: Plan): Promise<void> {
  const scenario = await findScenario(plan.source, plan.scenario!);
  const story = tell(scenario, plan.schedule!);
  if (!plan.json) console.log(textOf(story));
  writePage(plan, `A schedule of ${scenario.name}`, [story]);
  const { failure, schedule } = story;
  if (plan.json) {
    const { kind, message, step } = failure ?? { kind: null, message: null, step: null };
    console.log(JSON.stringify({ scenario: scenario.name, schedule, kind, message, step }));
  }
  process.exitCode = failure === undefined ? 0 : 1;
}

const UNDECLARED_SCHEDULES = 100;

async function lookForUndeclared(plan: Plan): Promise<void> {
  const scenarios = await chosen(plan);
  const schedules = plan.schedulesMax ?? UNDECLARED_SCHEDULES;
  let pairs = 0;
  const found: string[] = [];
  for (const scenario of scenarios) {
    plan.onProgress(`${scenario.name}: ${pairs} pairs of steps`);
    const report = findUndeclared(scenario, { seed: plan.seed, schedules });
    pairs += report.pairs;
    if (report.found === undefined) continue;
    const { schedule, swapped, step, difference } = report.found;
    found.push(scenario.name);
    if (plan.json) continue;
    console.log(`${pc.red(scenario.name)}: steps ${step} and ${step + 1} share something`);
    console.log(`  ${difference}\n  schedule ${schedule}\n  swapped  ${swapped}`);
  }
  plan.onProgress("");
  if (plan.json) console.log(JSON.stringify({ pairs, undeclared: found }));
  else console.log(`${pairs} pairs of steps traded places, ${found.length} scenarios differ`);
  process.exitCode = found.length === 0 ? 0 : 1;
}

async function chosen({ source, scenario }: Plan): Promise<readonly Scenario[]> {
  if (scenario !== undefined) return [await findScenario(source, scenario)];
  return scenariosOf(source);
}

async function visitMuseum(plan: Plan): Promise<void> {
  const exhibits = MUSEUM.filter(({ id }) => plan.scenario === undefined || id === plan.scenario);
  const jobs = exhibits.map(({ id }): Job => ({ kind: "visit", id }));
  let schedules = 0;
  let done = 0;
  const begin = performance.now();
  const answers = await runJobs(jobs, {
    workers: plan.workers,
    onAnswer: (index, answer) => {
      if (answer.kind !== "visit") return true;
      const { buggy, fixed } = answer.visit;
      schedules += [buggy, ...fixed].reduce((sum, each) => sum + each.schedules, 0);
      plan.onProgress(`${++done}/${jobs.length} exhibits, ${schedules} schedules`);
      if (!plan.json) {
        plan.onProgress("");
        printVisit(answer.visit, exhibits[index]!.title);
      }
      return true;
    },
  });
  plan.onProgress("");
  const visits = answers.flatMap((each) => (each?.kind === "visit" ? [each.visit] : []));
  const real = visits.filter(({ isRefuted }) => !isRefuted);
  const summary = {
    bugs: real.length,
    found: real.filter(({ isFound }) => isFound).length,
    cleanFixed: real.filter(({ isClean }) => isClean).length,
    refuted: visits.filter(({ isRefuted, isFound }) => isRefuted && isFound).map(({ id }) => id),
  };
  writePage(plan, "The museum", await museumStories(visits));
  const seconds = ((performance.now() - begin) / 1000).toFixed(1);
  if (plan.json) console.log(JSON.stringify(summary));
  else
    console.log(
      `${summary.found} of ${summary.bugs} bugs found, ${schedules} schedules, ${seconds} s`,
    );
  const isFine = visits.every(({ isFound, isClean }) => isFound && isClean);
  process.exitCode = isFine ? 0 : 1;
}

function printVisit({ id, isFound, isClean, isRefuted, buggy, fixed }: Visit, title: string): void {
  const verdict = isRefuted ? "refuted" : isFound ? "found" : "MISSED";
  const color = isFound && isClean ? pc.green : pc.red;
  const { failure } = buggy;
  const after = `after ${buggy.schedules} schedules`;
  const steps = failure === undefined ? "" : `, ${failure.shortestSteps} steps`;
  console.log(`${color(`${id} ${verdict}`)} ${title}`);
  if (failure !== undefined) console.log(`  ${failure.failure.message} (${after}${steps})`);
  for (const each of fixed) {
    const end =
      each.failure?.failure.message ?? (each.isExhaustive ? "clean" : "not explored whole");
    console.log(`  ${each.scenario.replace(`${id}: `, "")}: ${end}, ${each.schedules} schedules`);
  }
}

async function museumStories(visits: readonly Visit[]): Promise<Story[]> {
  const stories: Story[] = [];
  for (const { buggy } of visits) {
    if (buggy.failure !== undefined) stories.push(await storyOf({ from: "museum" }, buggy));
  }
  return stories;
}

async function storyOf(source: Plan["source"], { scenario, failure }: Exploration): Promise<Story> {
  const found = await findScenario(source, scenario);
  return tell(found, parseSchedule(failure!.shortest));
}

/** Every scenario to the end of its bound; then, if time is left, random ones until it is up. */
async function exploreAll(plan: Plan): Promise<void> {
  const scenarios = await chosen(plan);
  const begin = performance.now();
  const left = (): number | undefined =>
    plan.seconds === undefined ? undefined : plan.seconds - (performance.now() - begin) / 1000;
  const reports: Exploration[] = [];
  const whole = scenarios.map((scenario): Job => jobOf(plan, scenario, optionsFor(plan, scenario)));
  reports.push(...(await runAll(plan, whole, left)));
  const isOwn = plan.options === undefined && plan.seconds !== undefined;
  for (let seed = plan.seed; isOwn && isClean(reports) && left()! > 1; seed++) {
    const jobs = scenarios.map((scenario): Job => {
      return { ...jobOf(plan, scenario, { strategy: "pct", seed }), schedulesMax: PCT_ROUND };
    });
    reports.push(...(await runAll(plan, jobs, left)));
  }
  plan.onProgress("");
  await report(plan, reports, begin);
}

/** Schedules of one scenario before the next one has its turn. */
const PCT_ROUND = 200;

const isClean = (reports: readonly Exploration[]): boolean =>
  reports.every(({ failure }) => failure === undefined);

function optionsFor(plan: Plan, scenario: Scenario): StrategyOptions {
  const own = RACES.find((each) => each === scenario)?.bound;
  return plan.options ?? own ?? { strategy: "dpor" };
}

function jobOf(
  plan: Plan,
  scenario: Scenario,
  options: StrategyOptions,
): Job & { kind: "explore" } {
  return {
    kind: "explore",
    source: plan.source,
    scenario: scenario.name,
    options,
    schedulesMax: plan.schedulesMax,
    isTwice: plan.isTwice,
  };
}

async function runAll(
  plan: Plan,
  jobs: readonly Job[],
  left: () => number | undefined,
): Promise<Exploration[]> {
  const running = new Map<number, Progress>();
  let done = { schedules: 0, steps: 0, states: 0 };
  const begin = performance.now();
  const show = (): void => plan.onProgress(progressText(jobs, running, done, begin));
  const seconds = left();
  // Each job gets what time is left when it begins, so that all of them end in time.
  const timed = jobs.map((job) =>
    Object.defineProperty({ ...job }, "seconds", {
      enumerable: true,
      get: () => (seconds === undefined ? undefined : Math.max(0.001, left()!)),
    }),
  );
  const answers = await runJobs(timed, {
    workers: plan.workers,
    onProgress: (index, progress) => {
      running.set(index, progress);
      show();
    },
    onAnswer: (index, answer) => {
      running.delete(index);
      if (answer.kind !== "explore") return true;
      const { schedules, steps, states, failure } = answer.exploration;
      done = {
        schedules: done.schedules + schedules,
        steps: done.steps + steps,
        states: done.states + states,
      };
      show();
      return failure === undefined;
    },
  });
  return answers.flatMap((each) => (each?.kind === "explore" ? [each.exploration] : []));
}

function progressText(
  jobs: readonly Job[],
  running: ReadonlyMap<number, Progress>,
  done: { readonly schedules: number; readonly states: number },
  begin: number,
): string {
  let { schedules, states } = done;
  const parts: string[] = [];
  for (const [index, at] of running) {
    schedules += at.schedules;
    states += at.states;
    const job = jobs[index]!;
    const share = at.share === undefined ? "" : ` ${(at.share * 100).toFixed(1)} %`;
    if (job.kind === "explore") parts.push(`${job.scenario} (${boundOf(job.options)})${share}`);
  }
  const rate = Math.round(schedules / Math.max(0.001, (performance.now() - begin) / 1000));
  return `${schedules} schedules, ${rate}/s, ${states} states; ${parts.join(", ")}`;
}

/** The bound of a strategy in words. */
function boundOf(options: StrategyOptions): string {
  switch (options.strategy) {
    case "dpor":
      return "all orders";
    case "dfs":
      return options.preemptionsMax === undefined
        ? "all schedules"
        : `up to ${options.preemptionsMax} preemptions`;
    case "pct":
      return `pct, depth ${options.depth ?? 3}, seed ${options.seed}`;
    case "random":
      return `random, seed ${options.seed}`;
  }
}

async function report(plan: Plan, reports: readonly Exploration[], begin: number): Promise<void> {
  const failed = reports.filter(({ failure }) => failure !== undefined);
  const stories: Story[] = [];
  for (const each of failed) stories.push(await storyOf(plan.source, each));
  if (!plan.json) {
    for (const each of reports) printExploration(each);
    for (const story of stories) console.log(`\n${textOf(story)}`);
    for (const { scenario, failure } of failed) console.log(replayHint(plan, scenario, failure!));
  }
  writePage(plan, "What failed", stories);
  const schedules = reports.reduce((sum, each) => sum + each.schedules, 0);
  const seconds = (performance.now() - begin) / 1000;
  if (plan.json) console.log(JSON.stringify(summaryOf(reports, schedules, seconds)));
  else console.log(`${schedules} schedules in ${seconds.toFixed(1)} s, ${failed.length} failures`);
  process.exitCode = failed.length === 0 ? 0 : 1;
}

function summaryOf(reports: readonly Exploration[], schedules: number, seconds: number): object {
  return {
    schedules,
    seconds: Math.round(seconds * 10) / 10,
    scenarios: reports.map(({ failure, ...rest }) => ({
      ...rest,
      failure: failure === undefined ? null : failureOf(failure),
    })),
    failures: reports.filter(({ failure }) => failure !== undefined).length,
  };
}

function failureOf({ failure, found, shortest, foundSteps, shortestSteps }: FoundFailure): object {
  const { kind, message } = failure;
  return { kind, message, found, shortest, foundSteps, shortestSteps };
}

function printExploration(report: Exploration): void {
  const { scenario, schedules, states, isExhaustive, chance, failure } = report;
  const end = failure !== undefined ? pc.red("FAILS") : isExhaustive ? pc.green("whole") : "part";
  const seen = states > 0 ? `, ${states} states` : "";
  const odds =
    chance === undefined
      ? ""
      : `, a bug of that depth is found with a chance >= ${chance.toFixed(4)}`;
  console.log(`${end}  ${scenario.padEnd(18)} ${schedules} schedules${seen}${odds}`);
}

function replayHint(plan: Plan, scenario: string, failure: FoundFailure): string {
  const { source } = plan;
  const from = source.from === "file" ? new URL(source.url).pathname : `--${source.from}`;
  const command = `onespace explore ${from} --scenario "${scenario}" --replay ${failure.shortest}`;
  return `\nfound as ${failure.found}\nreplay: ${command}`;
}

function writePage(plan: Plan, title: string, stories: readonly Story[]): void {
  if (plan.html === undefined) return;
  try {
    writeFileSync(plan.html, pageOf(title, stories));
  } catch (error) {
    throw new UsageError(`--html ${plan.html}: ${error instanceof Error ? error.message : error}`);
  }
}
