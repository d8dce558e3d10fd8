/** What one round of a launch is told, what it says afterwards, and how a GPU fails. */
import type { LaunchList } from "./buffers/index.ts";
import type { Compiled } from "./compile.ts";
import type { RoundLoad } from "./pace.ts";

export interface Round {
  readonly compiled: Compiled;
  readonly list: LaunchList;
  /** Invocations that run for the first time: first, first + 1, … */
  readonly fresh: { readonly first: number; readonly count: number };
  /** How many of the list, from its head, run again. */
  readonly retry: number;
  readonly load: RoundLoad;
}

export interface RoundResult {
  /** Pairs (address, flags), one for each page and kind of access (`FAULT_RECORD_…`). */
  readonly faults: Uint32Array;
  /** Of those that ran: how many did not finish. They are now the head of the list. */
  readonly unfinished: number;
  /** Of these: how many did not begin because the work of the round was done. */
  readonly unbegun: number;
  /** Some made more passes than they may. */
  readonly isLong: boolean;
  /** Of these: how many asked for what a direct shader does not reach. */
  readonly strays: number;
  /** Some invocation stores more than its log holds: 0, `LOG_IS_FULL` or `SPILL_IS_FULL`. */
  readonly overflow: number;
  /** How long it took. On a software device not more than the processor's time, if others run. */
  readonly milliseconds: number;
}

/** The GPU is gone, or said no. */
export class GpuError extends Error {
  override readonly name: string = "GpuError";
}

/** The GPU is gone, and all that was in its memory. */
export class DeviceLostError extends GpuError {
  override readonly name = "DeviceLostError";
}
