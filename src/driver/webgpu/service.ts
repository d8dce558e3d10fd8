/**
 * From the faults of one round to entries in the device's table: what is only read is copied,
 * what is written moves. Linux: a GPU driver's fault worker.
 */
import { EBUSY, EFAULT, ENOMEM, EPERM, type Result } from "../../base/index.ts";
import { serve } from "../../device/index.ts";
import { isPinned } from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { type FaultBlock, planBlocks, type Refusal } from "./plan.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";

/** How long a launch waits for a page that somebody holds, in milliseconds. */
const HELD_TIMEOUT_MS = 1000;

export type ServiceResult =
  /** Entries were made: run again. */
  | { readonly kind: "served" }
  /** There is no room for what these invocations want at once. */
  | { readonly kind: "full" }
  | { readonly kind: "refused"; readonly refusal: Refusal };

export interface RoundServiceOptions {
  /** Pages that are served with each one that faulted: a power of two. */
  readonly around: number;
  /** Frames that came after this arrival belong to those who run: they are not evicted. */
  readonly keepAfter: number;
  /** Whether those of a group are served while another of it has missed something. */
  readonly leaning: boolean;
}

/** Serves the records (pairs of address and flags) of a round. The caller holds launchLock. */
export function* serveRound(
  device: WebGpuDevice,
  records: Uint32Array,
  options: RoundServiceOptions,
): Sleeps<ServiceResult> {
  device.launchLock.assertHeld();
  const wide = yield* serveAround(device, records, options);
  if (wide.kind === "served") return wide;
  // Neighbours are a hope, not a need: without them there may be room, and nobody in the way.
  const needed = { ...options, around: 1 };
  const tight = options.around === 1 ? wide : yield* serveAround(device, records, needed);
  if (tight.kind !== "refused" || !options.leaning) return tight;
  return yield* serveAround(device, records, { ...needed, leaning: false });
}

function* serveAround(
  device: WebGpuDevice,
  records: Uint32Array,
  { around, keepAfter, leaning }: RoundServiceOptions,
): Sleeps<ServiceResult> {
  const { shadow, space } = device;
  let plan: FaultBlock[] | Refusal;
  {
    using _mmap = yield* space.mmapLock.acquireRead();
    // When memory is short only what is certain gets any of it.
    plan = planBlocks(space, records, { around, guesses: around > 1, leaning });
  }
  if (!Array.isArray(plan)) return { kind: "refused", refusal: plan };
  const deadlineMs = space.memory.scheduler.nowMs + (around === 1 ? HELD_TIMEOUT_MS : 0);
  const result = yield* serve(shadow, plan, { deadlineMs, keepAfter });
  if (result === -ENOMEM) return { kind: "full" };
  // A page that has gone since the plan was made is found out by the next round, not here.
  if (result === 0 || result === -EFAULT || result === -EPERM) return { kind: "served" };
  return { kind: "refused", refusal: refusalOf(device, plan, result) };
}

/** Names the first page that was not served, and whether it is a bracket that holds it. */
function refusalOf(device: WebGpuDevice, plan: FaultBlock[], result: Result): Refusal {
  const wanted = plan.flatMap((block) => block.wanted);
  const unserved = wanted.filter(({ page, write }) => !device.shadow.allows(page, write));
  const held = unserved.find(({ page }) => isPinned(device.space, page));
  const { address, write } = held ?? unserved[0] ?? wanted[0]!;
  if (held !== undefined) {
    return { result, address, write, reason: "an open access bracket holds the page" };
  }
  const reason = result === -EBUSY ? "the page does not come to rest" : "the page cannot be had";
  return { result, address, write, reason };
}
