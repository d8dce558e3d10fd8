/** Runs a scenario under many schedules until one fails, all are done, or a limit is reached. */
import { executeTwice } from "./determinism.ts";
import { execute, type Outcome } from "./execution.ts";
import type { Failure } from "./failure.ts";
import type { Scenario } from "./scenario.ts";
import { formatSchedule } from "./schedule.ts";
import { shrink } from "./shrink.ts";
import { Dfs, Dpor, PctSearch, RandomSearch, type Search } from "./strategy/index.ts";

/** How schedules are chosen; docs/explore.md tells which one when. */
export type StrategyOptions =
  | { readonly strategy: "dpor" }
  | { readonly strategy: "dfs"; readonly preemptionsMax?: number; readonly reduces?: boolean }
  | { readonly strategy: "pct"; readonly seed: number; readonly depth?: number }
  | { readonly strategy: "random"; readonly seed: number };

export interface ExploreLimits {
  /** Default: no limit; pct and random need one of the two. */
  readonly schedulesMax?: number;
  /** A moment on the clock of `now`. */
  readonly deadlineMs?: number;
  /** Milliseconds; needed with `deadlineMs` or `onProgress`. */
  readonly now?: () => number;
  /** Run every schedule twice and compare: finds scenarios that are not the same again. */
  readonly isTwice?: boolean;
  /** Called about every `PROGRESS_EVERY` schedules. */
  readonly onProgress?: (progress: Progress) => void;
}

export interface Progress {
  readonly schedules: number;
  readonly steps: number;
  readonly states: number;
  /** Part of all schedules within the bound that lies behind; `undefined` when there is no all. */
  readonly share: number | undefined;
}

export interface FoundFailure {
  readonly failure: Failure;
  /** As it was found. */
  readonly found: string;
  /** The shortest that fails in the same way. */
  readonly shortest: string;
  readonly foundSteps: number;
  readonly shortestSteps: number;
}

export interface Exploration extends Progress {
  readonly scenario: string;
  /** Schedules that were not followed to their end, because the rest was known. */
  readonly pruned: number;
  /** All schedules within the bound were looked at, and none failed. */
  readonly isExhaustive: boolean;
  /** pct: the least chance that a bug of its depth would have been found. */
  readonly chance: number | undefined;
  readonly failure: FoundFailure | undefined;
}

const PROGRESS_EVERY = 64;

export function explore(
  scenario: Scenario,
  options: StrategyOptions,
  limits: ExploreLimits = {},
): Exploration {
  const search = searchFor(options);
  const schedulesMax = limits.schedulesMax ?? Number.POSITIVE_INFINITY;
  let schedules = 0;
  let steps = 0;
  let pruned = 0;
  let missed = 1;
  let failing: Outcome | undefined;
  let isExhaustive = false;
  const progress = (): Progress => {
    return { schedules, steps, states: search.states, share: search.share };
  };
  while (failing === undefined) {
    if (schedules >= schedulesMax || isPast(limits)) break;
    if (!search.begin()) {
      isExhaustive = true;
      break;
    }
    const run = limits.isTwice ? executeTwice : execute;
    const outcome = run(scenario, search);
    schedules++;
    steps += outcome.schedule.length;
    if (outcome.isPruned) pruned++;
    if (search instanceof PctSearch) missed *= 1 - search.chance;
    if (outcome.failure !== undefined) failing = outcome;
    if (schedules % PROGRESS_EVERY === 0) limits.onProgress?.(progress());
  }
  return {
    ...progress(),
    scenario: scenario.name,
    pruned,
    isExhaustive,
    chance: search instanceof PctSearch ? 1 - missed : undefined,
    failure: failing === undefined ? undefined : describe(scenario, failing),
  };
}

const isPast = ({ deadlineMs, now }: ExploreLimits): boolean =>
  deadlineMs !== undefined && now !== undefined && now() >= deadlineMs;

function searchFor(options: StrategyOptions): Search {
  switch (options.strategy) {
    case "dpor":
      return new Dpor();
    case "dfs":
      return new Dfs(options);
    case "pct":
      return new PctSearch(options.seed, options.depth);
    case "random":
      return new RandomSearch(options.seed);
  }
}

function describe(scenario: Scenario, failing: Outcome): FoundFailure {
  const { outcome } = shrink(scenario, failing);
  return {
    failure: outcome.failure!,
    found: formatSchedule(failing.schedule),
    shortest: formatSchedule(outcome.schedule),
    foundSteps: failing.schedule.length,
    shortestSteps: outcome.schedule.length,
  };
}
