/** Replays a folder of traces and sums up. */
import { existsSync } from "node:fs";
import { type Mismatch, replayTrace } from "./replay.ts";
import { listTraces, readTrace } from "./trace-file.ts";

export interface ConformanceOptions {
  /** A folder with `*.jsonl` or `*.jsonl.gz`. */
  readonly traces: string;
  /** Only these families; all when absent. */
  readonly families?: readonly string[];
  /** Called after each trace. */
  readonly onTrace?: (done: number, of: number) => void;
}

export interface ConformanceReport {
  readonly traces: number;
  readonly ops: number;
  readonly matched: number;
  /** The first of each trace that has any, at most `MISMATCHES_MAX`. */
  readonly firstMismatches: readonly Mismatch[];
}

const MISMATCHES_MAX = 20;

/** Throws an error that names the folder when there is nothing to replay in it. */
export function runConformance(options: ConformanceOptions): ConformanceReport {
  if (!existsSync(options.traces)) throw new Error(`no such folder: ${options.traces}`);
  const files = listTraces(options.traces);
  const all = files.map(readTrace);
  const chosen = all.filter(
    (trace) => options.families === undefined || options.families.includes(trace.header.family),
  );
  if (chosen.length === 0) {
    const families = [...new Set(all.map((trace) => trace.header.family))].sort().join(", ");
    const wanted =
      options.families === undefined ? "" : ` of family ${options.families.join(", ")}`;
    throw new Error(`no traces${wanted} in ${options.traces} (found: ${families || "none"})`);
  }
  const firstMismatches: Mismatch[] = [];
  let ops = 0;
  let matched = 0;
  chosen.forEach((trace, index) => {
    const result = replayTrace(trace);
    ops += result.ops;
    matched += result.matched;
    const first = result.mismatches[0];
    if (first !== undefined && firstMismatches.length < MISMATCHES_MAX) firstMismatches.push(first);
    options.onTrace?.(index + 1, chosen.length);
  });
  return { traces: chosen.length, ops, matched, firstMismatches };
}
