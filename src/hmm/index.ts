/**
 * # hmm: copying the fact into a shadow
 *
 * **Nouns.** *Mirror*: a device's subscription to a space. *MirrorRange*: a short-lived look at
 * part of it. *HmmRange*, `hmmRangeFault`: the bare call underneath, for drivers that keep their
 * own interval notifier. *HmmDmaMap*: a device's DMA mappings of a range, which outlive its
 * faults; `mapRangeForDma` maps for one use. Linux: mm/hmm.c, and the range API of 5.2 (register,
 * wait until valid, snapshot, fault, unregister).
 *
 * **Invariants.** A driver commits words to its device only under the lock that its callback
 * takes, and only if the range is valid then.
 *
 * **Locks.** `waitUntilValid` before mmapLock before the driver's lock.
 *
 * **Example.** The one loop that every driver needs:
 * ```ts
 * function* serviceFault(mirror: Mirror, part: AddrRange): Sleeps<Result> {
 *   const range = mirror.range(part);
 *   if (typeof range === "number") return range;
 *   using _registered = range;
 *   for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
 *     if (!(yield* range.waitUntilValid())) return -EBUSY;
 *     const result = yield* range.fault({ write: true });
 *     if (result === -EBUSY) continue;
 *     if (result < 0) return result;
 *     using _update = yield* device.lock.acquire();    // the lock that the callback takes
 *     if (range.valid) return device.program(range);
 *   }
 *   return -EBUSY;
 * }
 * ```
 *
 * **What it refuses.** Policy (where a page should live), and dropping mmapLock in the middle.
 */
export {
  type DeviceEntries,
  type EntryContext,
  EntryFormat,
  type EntryFormatOptions,
  type FaultOptions,
  HMM_RANGE_DEFAULT_TIMEOUT,
  Mirror,
  type MirrorOps,
  type MirrorOptions,
  MirrorRange,
  type RangeOptions,
  type WaitOptions,
} from "./classic/index.ts";
export {
  type HmmDmaMap,
  hmmDmaMapAlloc,
  hmmDmaMapFree,
  hmmDmaMapPfn,
  hmmDmaUnmapPfn,
} from "./dma-map.ts";
export {
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_DMA_WRITE,
  HMM_PFN_ERROR,
  HMM_PFN_HUGE,
  HMM_PFN_INOUT_FLAGS,
  HMM_PFN_P2PDMA,
  HMM_PFN_P2PDMA_BUS,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmRange,
} from "./hmm-range.ts";
export { hmmRangeFault, tryHmmRangeFault } from "./range-fault.ts";
