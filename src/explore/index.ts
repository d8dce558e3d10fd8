export { execute, PRUNE, type Chooser, type Outcome, type Point, type Step } from "./execution.ts";
export {
  type Exploration,
  type ExploreLimits,
  explore,
  type FoundFailure,
  type Progress,
  type StrategyOptions,
} from "./explorer.ts";
export { FAILURE_KINDS, type Failure, type FailureKind, Violation } from "./failure.ts";
export { Order } from "./order.ts";
export type { Run, Scenario } from "./scenario.ts";
export { formatSchedule, parseSchedule, ScheduleError } from "./schedule.ts";
