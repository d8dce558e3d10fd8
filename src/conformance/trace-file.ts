/**
 * Recorded behaviour of Linux, one JSON object a line: a header, then operations in the order in
 * which they ran, each with its arguments and what Linux answered.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { gunzipSync } from "node:zlib";

interface TraceHeader {
  readonly linux: string;
  readonly pageSize: number;
  readonly family: string;
  readonly seed: number;
}

export interface TraceOp {
  /** 1-based, as an editor shows it. */
  readonly line: number;
  readonly actor: string;
  readonly op: string;
  readonly args: readonly (string | number)[];
  readonly res: Readonly<Record<string, unknown>>;
}

export interface Trace {
  readonly name: string;
  readonly header: TraceHeader;
  readonly ops: readonly TraceOp[];
}

/** The trace files (`*.jsonl`, `*.jsonl.gz`) in `folder`, by name. */
export function listTraces(folder: string): string[] {
  return readdirSync(folder)
    .filter((name) => /\.jsonl(\.gz)?$/.test(name))
    .sort()
    .map((name) => join(folder, name));
}

/** Reads one file. Throws an error that names the file and line of what is not a trace. */
export function readTrace(path: string): Trace {
  const raw = readFileSync(path);
  const text = (path.endsWith(".gz") ? gunzipSync(raw) : raw).toString("utf8");
  const lines = text.split("\n");
  const name = basename(path);
  const header = parseLine(name, lines[0] ?? "", 1) as unknown as TraceHeader;
  if (typeof header.family !== "string") {
    throw new Error(`${name}:1: the first line must be a header with a "family"`);
  }
  const ops: TraceOp[] = [];
  for (let index = 1; index < lines.length; index++) {
    const line = lines[index]!;
    if (line.trim() === "") continue;
    const parsed = parseLine(name, line, index + 1);
    if (typeof parsed.op !== "string" || !Array.isArray(parsed.args)) {
      throw new Error(`${name}:${index + 1}: an operation needs "op" and "args"`);
    }
    ops.push({ ...(parsed as unknown as TraceOp), line: index + 1 });
  }
  return { name, header, ops };
}

function parseLine(name: string, line: string, number: number): Record<string, unknown> {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch (error) {
    throw new Error(`${name}:${number}: not JSON (${(error as Error).message})`);
  }
}
