/**
 * Replays recorded operations of Linux on a fresh world each and compares every answer. Nothing
 * is told what Linux said before it has answered.
 */
import { DmirrorDevice } from "../../driver/index.ts";
import { buildWorld, checkWorld } from "../../machine/index.ts";
import { Actor, type Answer } from "./actor.ts";
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

/** Frames of RAM and of each device: more than any trace touches. */
const RAM_FRAMES = 65_536;
const DEVICE_FRAMES = 16_384;

/** Replays one trace. The invariants of the whole world are checked after every operation. */
export function replayTrace(trace: Trace): ReplayResult {
  const world = buildWorld({ frames: RAM_FRAMES });
  const devices = ["dmirror0", "dmirror1"].map(
    (name) => new DmirrorDevice(world.memory, { name, frames: DEVICE_FRAMES }),
  );
  const actors = new Map([["P", new Actor(world.memory, devices)]]);
  const mismatches: Mismatch[] = [];
  for (const op of trace.ops) {
    const actor = actors.get(op.actor);
    const got =
      actor === undefined
        ? undefined
        : world.scheduler.runTask(`${op.actor} ${op.op}`, actor.run(op.op, op.args));
    const shadows = [...actors.values()].flatMap((each) => [...each.mirrors]);
    checkWorld(world.memory, { shadows });
    if (!isSame(op, got)) mismatches.push(describe(trace, op, got));
  }
  const all = actors.values();
  for (const actor of all) world.scheduler.runTask("exit", actor.exit());
  checkWorld(world.memory, { shadows: [], isOver: true });
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
