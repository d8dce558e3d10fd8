/**
 * Runs a program on the engine and compares every answer with what the model claims. All
 * invariants of the engine are checked after every operation, and in the end everybody looks at
 * all memory, exits, and must leave nothing behind.
 */
import { Session } from "../../src/conformance/session.ts";
import { type Answer, type ClaimCount, disagreement, learn } from "./claim.ts";
import { Model } from "./model.ts";
import { HUGE, type ModelSpace, SLOT_PAGES } from "./model-space.ts";
import type { Program, ProgramOp } from "./program.ts";

/** What a program runs on: a session, or one that a test has spoiled. */
interface Stage {
  run(actor: string, op: string, args: ProgramOp["args"]): Answer | undefined;
  check(): void;
  close(): void;
}

export type MakeStage = (program: Program) => Stage;

export interface Failure {
  /** What ran, the operation that failed last. */
  readonly ops: readonly ProgramOp[];
  readonly reason: string;
}

/** Huge pages set aside, as on the machine of the recordings. */
const POOL = 64;

/** With memory for all that the program can ever map, twice for a child, and for files. */
export function makeSession({ ops }: Program): Session {
  let pages = 64;
  for (const { op, args } of ops) {
    if (op === "mmap") pages += args[3] === "ht" ? Number(args[1]) + 2 * HUGE : Number(args[1]);
    if (op === "mremap") pages += Number(args[4]);
  }
  const hugetlbPages = ops.some(({ op, args }) => op === "mmap" && args[3] === "ht") ? POOL : 0;
  const frames = Math.min(3 * pages, 49_152) + (hugetlbPages + 1) * HUGE;
  return new Session({ frames, hugetlbPages, deviceFrames: Math.min(2 * pages, 24_576) });
}

export interface RunOptions {
  readonly count: ClaimCount;
  readonly makeStage?: MakeStage;
}

/** What is wrong, or undefined. */
export function runProgram(program: Program, options: RunOptions): Failure | undefined {
  const { count, makeStage = makeSession } = options;
  const ops: ProgramOp[] = [];
  const model = new Model();
  try {
    const stage = makeStage(program);
    for (const op of program.ops) {
      if (!isDefined(model, op)) continue;
      ops.push(op);
      const reason = runOp(stage, model, op, count);
      if (reason !== undefined) return { ops, reason };
      stage.check();
    }
    for (const op of looks(model)) {
      const reason = runOp(stage, model, op, count);
      if (reason !== undefined) return { ops: [...ops, op], reason };
    }
    stage.check();
    stage.close();
  } catch (error) {
    return { ops, reason: error instanceof Error ? (error.stack ?? error.message) : `${error}` };
  }
  return undefined;
}

function runOp(
  stage: Stage,
  model: Model,
  { actor, op, args }: ProgramOp,
  count: ClaimCount,
): string | undefined {
  const claim = model.run(actor, op, args);
  const answer = stage.run(actor, op, args);
  if (answer === undefined) return "not supported";
  const wrong = disagreement(claim, answer);
  if (wrong !== undefined) return `${wrong} (the answer: ${JSON.stringify(answer)})`;
  count.add(claim, answer);
  learn(claim, answer);
  return undefined;
}

/**
 * What is left out: operations of a child that is not there, which happens only when a program is
 * made smaller; and exclusive access to huge pages of a pool, which nobody has recorded.
 */
function isDefined(model: Model, { actor, op, args }: ProgramOp): boolean {
  const space = model.space(actor);
  if (space === undefined || (op === "fork" && model.space("C") !== undefined)) return false;
  if (op !== "exclusive") return true;
  const [, slot, page, count] = args.map(Number) as [number, number, number, number];
  for (let i = 0; i < count; i++) {
    if (space.at(slot * SLOT_PAGES + page + i)?.kind === "ht") return false;
  }
  return true;
}

/** Everybody reads all that it can: both devices first, as they have it, then the CPU. */
function looks(model: Model): ProgramOp[] {
  const ops: ProgramOp[] = [];
  for (const actor of ["P", "C"]) {
    const space = model.space(actor);
    if (space === undefined) continue;
    const runs = readableRuns(space);
    for (const device of [0, 1]) {
      for (const run of runs) ops.push({ actor, op: "dev_read", args: [device, ...run] });
    }
    // of large areas, every 37th page
    const pages = [...space.pages.keys()];
    const every = pages.length > 300 ? 37 : 1;
    for (let i = 0; i < pages.length; i += every) {
      ops.push({ actor, op: "load", args: slotAndPage(pages[i]!) });
    }
  }
  return ops;
}

/** Runs of at most 100 pages, as slot, page and count. */
function readableRuns(space: ModelSpace): [number, number, number][] {
  const runs: { start: number; count: number }[] = [];
  for (const at of [...space.pages.keys()].sort((a, b) => a - b)) {
    if (space.access(at, false) !== "OK") continue;
    const last = runs.at(-1);
    if (last !== undefined && last.start + last.count === at && last.count < 100) last.count++;
    else runs.push({ start: at, count: 1 });
  }
  return runs.map(({ start, count }) => [...slotAndPage(start), count]);
}

const slotAndPage = (at: number): [number, number] => [
  Math.floor(at / SLOT_PAGES),
  at % SLOT_PAGES,
];

/** A program as trace lines, without what was answered. */
export const traceLines = (ops: readonly ProgramOp[]): string =>
  ops.map((op) => JSON.stringify(op)).join("\n");
