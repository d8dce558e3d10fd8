/**
 * Runs a program on the engine and compares every answer with what the model claims. All
 * invariants of the engine are checked after every operation, and in the end everybody looks at
 * all memory, exits, and must leave nothing behind.
 */
import { Session } from "../../src/cli/conformance/session.ts";
import { type Answer, type ClaimCount, disagreement, learn } from "./claim.ts";
import { Model } from "./model.ts";
import { SLOT_PAGES } from "./model-space.ts";
import type { Program, ProgramOp } from "./program.ts";

/** What a program runs on: a session, or one that a test has spoiled. */
export interface Stage {
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

/** Programs without huge pages need little memory. */
export function makeSession({ ops }: Program): Session {
  const isLarge = ops.some(({ op, args }) => op === "mmap" && Number(args[1]) > 140);
  return new Session(
    isLarge ? { frames: 40_960, deviceFrames: 4096 } : { frames: 3072, deviceFrames: 256 },
  );
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

/** Loads of all that is mapped; of large areas, every 37th page. */
function looks(model: Model): ProgramOp[] {
  const ops: ProgramOp[] = [];
  for (const actor of ["P", "C"]) {
    const pages = [...(model.space(actor)?.pages.keys() ?? [])];
    const every = pages.length > 300 ? 37 : 1;
    for (let i = 0; i < pages.length; i += every) {
      const at = pages[i]!;
      ops.push({ actor, op: "load", args: [Math.floor(at / SLOT_PAGES), at % SLOT_PAGES] });
    }
  }
  return ops;
}

/** A program as trace lines, without what was answered. */
export const traceLines = (ops: readonly ProgramOp[]): string =>
  ops.map((op) => JSON.stringify(op)).join("\n");
