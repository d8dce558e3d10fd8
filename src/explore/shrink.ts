/**
 * Makes a failing schedule short: fewer changes of who runs first, fewer steps second. Every
 * candidate is run, and kept only if it fails in the same way, so the result is a real schedule.
 * It is never longer than what was found.
 */
import { execute, type Outcome } from "./execution.ts";
import type { Scenario } from "./scenario.ts";
import { type Segment, segmentsOf, stepsOf } from "./schedule.ts";
import { Replay } from "./strategy/index.ts";

export interface Shrunk {
  readonly outcome: Outcome;
  /** Schedules that were tried. */
  readonly tried: number;
}

/** At most so many schedules are tried. */
const TRIES_MAX = 2000;

export function shrink(scenario: Scenario, failing: Outcome): Shrunk {
  let best = failing;
  let tried = 0;
  const isBetter = (segments: readonly Segment[]): boolean => {
    if (tried >= TRIES_MAX) return false;
    tried++;
    const outcome = execute(scenario, new Replay(stepsOf(segments), true));
    const isSame = shapeOf(outcome) === shapeOf(failing);
    const isLonger = outcome.schedule.length > failing.schedule.length;
    if (!isSame || isLonger || compare(outcome, best) >= 0) return false;
    best = outcome;
    return true;
  };
  for (let isDone = false; !isDone; ) {
    const segments = segmentsOf(best.schedule);
    isDone = !candidates(segments).some(isBetter);
  }
  return { outcome: best, tried };
}

/** How it fails; which page or value it fails with may differ. */
const shapeOf = ({ failure }: Outcome): string =>
  failure === undefined ? "" : `${failure.kind} ${failure.message.replace(/\d+/g, "#")}`;

/** Fewer segments first, then fewer steps. */
function compare(a: Outcome, b: Outcome): number {
  const changes = segmentsOf(a.schedule).length - segmentsOf(b.schedule).length;
  return changes !== 0 ? changes : a.schedule.length - b.schedule.length;
}

/** Smaller schedules, the boldest first. */
function candidates(segments: readonly Segment[]): Segment[][] {
  const smaller: Segment[][] = [];
  for (let size = segments.length >> 1; size >= 1; size >>= 1) {
    for (let at = 0; at + size <= segments.length; at += size) {
      smaller.push([...segments.slice(0, at), ...segments.slice(at + size)]);
    }
  }
  for (let at = 0; at + 2 < segments.length; at++) {
    smaller.push(joined(segments, at), delayed(segments, at));
  }
  return smaller;
}

/** The task at `at` does its next segment at once, before whoever comes between. */
function joined(segments: readonly Segment[], at: number): Segment[] {
  const { task, steps } = segments[at]!;
  const next = segments.findIndex((each, i) => i > at && each.task === task);
  if (next < 0) return [...segments];
  const rest = segments.filter((_, i) => i !== at && i !== next);
  return [...rest.slice(0, at), { task, steps: steps + segments[next]!.steps }, ...rest.slice(at)];
}

/** The task at `at` does its segment only with its next one. */
function delayed(segments: readonly Segment[], at: number): Segment[] {
  const { task, steps } = segments[at]!;
  const next = segments.findIndex((each, i) => i > at && each.task === task);
  if (next < 0) return [...segments];
  const late = { task, steps: steps + segments[next]!.steps };
  return segments.map((each, i) => (i === next ? late : each)).filter((_, i) => i !== at);
}
