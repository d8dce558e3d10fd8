/**
 * # hmm/classic: mirrors and ranges, in the form of Linux 5.2
 *
 * **Nouns.** *Mirror*: a device's subscription to a space. *MirrorRange*: a registered look at part
 * of it: wait until it is valid, snapshot or fault, check under the driver's lock. *EntryFormat*:
 * how a device writes its entries. Mainline dropped this layer in 5.5; it is a convenience over
 * `hmmRangeFault` and an `IntervalNotifier` here.
 *
 * **Invariants.** A range holds its space. What was read before an event never becomes valid again.
 *
 * **Locks.** `waitUntilValid` before mmapLock before the driver's lock.
 *
 * **Example.** See the loop at the door of hmm, which re-exports all of this.
 *
 * **What it refuses.** A use after `unregister`; pages of other sizes than the format's.
 */
export {
  type DeviceEntries,
  type EntryContext,
  EntryFormat,
  type EntryFormatOptions,
} from "./entry-format.ts";
export { Mirror, type MirrorOps, type MirrorOptions } from "./mirror.ts";
export {
  type FaultOptions,
  HMM_RANGE_DEFAULT_TIMEOUT,
  MirrorRange,
  type RangeOptions,
  type WaitOptions,
} from "./mirror-range.ts";
