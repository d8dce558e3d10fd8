/** What can be wrong with a schedule, and how it is told. */
import { AssertionError } from "../base/index.ts";
import { DeadlockError } from "../sync/index.ts";

/** Kinds of failure; a model says which of them a bug must show. */
export const FAILURE_KINDS = {
  /** An invariant of the code or of a checker does not hold. */
  assertion: "an invariant is broken",
  deadlock: "everybody waits and nobody will wake them",
  livelock: "somebody runs for ever without getting anywhere",
  "stale-access": "a device or CPU reaches a page through an entry that should be gone",
  "use-after-free": "an object is touched after it was freed",
  "lost-update": "a write is gone, or was accepted by a copy that does not count",
  leak: "something is left that should have been given back",
  lock: "a lock is given back twice, in another mode, or not at all",
  context: "code sleeps where it may not, or is called where it may not be",
  contract: "a result is not what its function promises",
  imprecise: "correct, but more than was needed",
  error: "the code throws",
} as const;
export type FailureKind = keyof typeof FAILURE_KINDS;

/** Thrown by whoever chooses steps: the search is wrong or misused, not the scenario. */
export class SearchError extends Error {
  override readonly name: string = "SearchError";
}

/** The scenario did something else when it was run again. */
export class NondeterminismError extends SearchError {
  override readonly name = "NondeterminismError";
}

/** What a model or a checker throws when a rule is broken. */
export class Violation extends Error {
  override readonly name = "Violation";
  readonly kind: FailureKind;

  constructor(kind: FailureKind, message: string) {
    super(message);
    this.kind = kind;
  }
}

export interface Failure {
  readonly kind: FailureKind;
  readonly message: string;
  /** Number of steps that the schedule had when it failed. */
  readonly step: number;
  /** Which task ran then; 0 when the end of the run was judged. */
  readonly task: number;
  readonly error: unknown;
}

/** The kind of whatever was thrown. */
export function kindOf(error: unknown): FailureKind {
  if (error instanceof Violation) return error.kind;
  if (error instanceof DeadlockError) return "deadlock";
  return error instanceof AssertionError ? "assertion" : "error";
}

export const messageOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);
