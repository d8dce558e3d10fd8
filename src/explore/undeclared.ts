/**
 * Looks for what tasks share without declaring it. Two neighbouring steps that declare nothing in
 * common must be able to trade places: the schedule with them swapped has to go on with the same
 * steps and end in the same state. If it does not, reduction would skip schedules that matter.
 */

import { Random } from "../sync/index.ts";
import type { Chooser, Point } from "./execution.ts";
import { execute, type Outcome, type Step } from "./execution.ts";
import { conflict } from "./order.ts";
import type { Scenario } from "./scenario.ts";
import { formatSchedule } from "./schedule.ts";
import { RandomSearch, Replay } from "./strategy/index.ts";

export interface Undeclared {
  /** The schedule, and the same with two neighbours swapped. */
  readonly schedule: string;
  readonly swapped: string;
  /** Number of the first of the two steps, from 1. */
  readonly step: number;
  /** What differs. */
  readonly difference: string;
}

export interface UndeclaredOptions {
  readonly seed: number;
  /** Random schedules to try. */
  readonly schedules: number;
  /** Pairs to swap in each. Default 8. */
  readonly pairs?: number;
}

export interface UndeclaredReport {
  /** Pairs that were swapped. */
  readonly pairs: number;
  readonly found: Undeclared | undefined;
}

/** Swaps independent neighbours in random schedules until a swap makes a difference. */
export function findUndeclared(scenario: Scenario, options: UndeclaredOptions): UndeclaredReport {
  const search = new RandomSearch(options.seed);
  const random = new Random(options.seed);
  let pairs = 0;
  for (let i = 0; i < options.schedules; i++) {
    search.begin();
    const first = record(scenario, search);
    const candidates = first.steps.map((_, at) => at).filter((at) => maySwap(first, at));
    // A step that fails is the last one: before its neighbour it would be the last one, too.
    if (first.outcome.failure !== undefined && candidates.at(-1) === first.steps.length - 2) {
      candidates.pop();
    }
    for (let n = options.pairs ?? 8; n > 0 && candidates.length > 0; n--) {
      const [at] = candidates.splice(random.below(candidates.length), 1);
      pairs++;
      const found = trySwap(scenario, first, at!);
      if (found !== undefined) return { pairs, found };
    }
  }
  return { pairs, found: undefined };
}

interface Recorded {
  readonly outcome: Outcome;
  readonly steps: readonly Step[];
  /** Steps before which the clock moved. */
  readonly later: ReadonlySet<number>;
}

function record(scenario: Scenario, chooser: Chooser): Recorded {
  const steps: Step[] = [];
  const later = new Set<number>();
  const recorder: Chooser = {
    choose: (point: Point) => {
      if (point.isLater) later.add(point.depth);
      return chooser.choose(point);
    },
    took: (step) => steps.push(step),
    // A rule may tell apart what lies between two steps; it is not part of either.
    isNew: () => false,
  };
  return { outcome: execute(scenario, recorder), steps, later };
}

function maySwap({ steps, later }: Recorded, at: number): boolean {
  const a = steps[at]!;
  const b = steps[at + 1];
  if (b === undefined || a.task === b.task || later.has(at + 1)) return false;
  return !conflict(a, b);
}

function trySwap(scenario: Scenario, first: Recorded, at: number): Undeclared | undefined {
  const { schedule } = first.outcome;
  const order = [...schedule];
  order[at] = schedule[at + 1]!;
  order[at + 1] = schedule[at]!;
  const second = record(scenario, new Replay(order, true));
  const difference = differenceOf(first, second, at);
  if (difference === undefined) return undefined;
  const [before, swapped] = [schedule, order].map(formatSchedule) as [string, string];
  return { schedule: before, swapped, step: at + 1, difference };
}

function differenceOf(first: Recorded, second: Recorded, at: number): string | undefined {
  for (const [i, step] of first.steps.entries()) {
    const other = second.steps[i === at ? at + 1 : i === at + 1 ? at : i];
    if (other === undefined) return `step ${i + 1} is never taken`;
    if (touched(step) !== touched(other)) return `step ${i + 1} touches something else`;
  }
  if (second.steps.length > first.steps.length) return "the swapped schedule goes on";
  const failures = [first, second].map(({ outcome }) => outcome.failure?.message ?? "no failure");
  if (failures[0] !== failures[1]) return failures.join(", then ");
  if (first.outcome.fingerprint === second.outcome.fingerprint) return undefined;
  return `the end: ${first.outcome.fingerprint}\nis not ${second.outcome.fingerprint}`;
}

const touched = ({ task, reads, writes }: Step): string =>
  [task, ...[...reads].sort(), "writes", ...[...writes].sort()].join();
