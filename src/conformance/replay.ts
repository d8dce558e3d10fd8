/**
 * Replays recorded operations of Linux on a fresh world each and compares every answer. Nothing
 * is told what Linux said before it has answered.
 */
import type { Answer } from "./actor.ts";
import { Session } from "./session.ts";
import type { Trace, TraceOp } from "./trace-file.ts";

export interface Mismatch {
  readonly trace: string;
  readonly line: number;
  readonly op: string;
  readonly expected: unknown;
  readonly got: unknown;
}

export interface ReplayResult {
  readonly ops: number;
  readonly matched: number;
  readonly mismatches: readonly Mismatch[];
}

/** Replays one trace. The invariants of the whole world are checked after every operation. */
export function replayTrace(trace: Trace): ReplayResult {
  // Only family F has mappings of the pool.
  const session = new Session({ hugetlbPages: trace.header.family === "F" ? 64 : 0 });
  const mismatches: Mismatch[] = [];
  for (const op of trace.ops) {
    const got = session.run(op.actor, op.op, op.args);
    session.check();
    if (!isSame(op, got)) mismatches.push(describe(trace, op, got));
  }
  session.close();
  return { ops: trace.ops.length, matched: trace.ops.length - mismatches.length, mismatches };
}

/** Same fields, same values; numbers may be written as strings in a trace. */
function isSame(op: TraceOp, got: Answer | undefined): boolean {
  if (got === undefined) return false;
  const names = new Set([...Object.keys(op.res), ...Object.keys(got)]);
  for (const name of names) {
    if (canonical(op.res[name]) !== canonical(got[name])) return false;
  }
  return true;
}

const canonical = (value: unknown): string =>
  Array.isArray(value) ? value.map(String).join(",") : String(value);

function describe(trace: Trace, op: TraceOp, got: Answer | undefined): Mismatch {
  return {
    trace: trace.name,
    line: op.line,
    op: `${op.actor} ${op.op} ${op.args.join(" ")}`,
    expected: op.res,
    got: got ?? "not supported",
  };
}
