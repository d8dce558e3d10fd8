/**
 * # explore: every order of events, by machine
 *
 * **Nouns.** *Scenario*: builds a world and its tasks, the same every time. *Schedule*: who ran at
 * each step; written `1x3.2.1`. *Strategy*: which schedules: `dpor` (every order of conflicting
 * steps once), `dfs` (all with at most so many preemptions), `pct` and `random` (drawn). *Failure*:
 * what broke, by kind. *Story*: a schedule as a table, a column for each task. *Stage*: a small
 * world of the engine (a space, a CPU, test devices, pages) that knows what each page must hold.
 *
 * **Invariants.**
 * - A scenario uses no chance, clock or state of its own. Exhaustive searches notice when other
 *   tasks can run than before; `isTwice` notices the rest.
 * - Steps that touch nothing in common may trade places: so whatever tasks share is declared
 *   (`sync`'s `Footprint`). `findUndeclared` looks for what was forgotten.
 * - `isExhaustive` is said only when every schedule within the bound was run or is equal to one
 *   that was.
 *
 * **Locks.** None; it drives tasks that have some.
 *
 * **Example.**
 * ```ts
 * const found = explore(scenario, { strategy: "dpor" });
 * if (found.failure) console.log(textOf(tell(scenario, parseSchedule(found.failure.shortest))));
 * ```
 *
 * **What it refuses.** Preemption inside a plain function: code that does not yield is atomic here
 * and in production. Real time: the clock of a scenario moves only when everybody waits.
 */
export { execute, type Outcome } from "./execution.ts";
export {
  type Exploration,
  type ExploreLimits,
  explore,
  type FoundFailure,
  type Progress,
  type StrategyOptions,
} from "./explorer.ts";
export {
  FAILURE_KINDS,
  type Failure,
  type FailureKind,
  NondeterminismError,
  SearchError,
  Violation,
} from "./failure.ts";
export { pageOf } from "./page.ts";
export { type Story, type StoryRow, tell, textOf } from "./report.ts";
export type { Run, Scenario } from "./scenario.ts";
export { formatSchedule, parseSchedule, type Schedule, ScheduleError } from "./schedule.ts";
export { Stage, type StageOptions } from "./stage.ts";
export { Replay } from "./strategy/index.ts";
export { findUndeclared, type Undeclared, type UndeclaredReport } from "./undeclared.ts";
