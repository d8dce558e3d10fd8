/**
 * # svm: a device that uses the program's pointers
 *
 * What every driver of a device with a page table of its own needs between HMM and its hardware:
 * which chunk to map, when it is valid, when it goes, where its pages live. Linux: drm_gpusvm.c,
 * drm_pagemap.c.
 *
 * **Nouns.** *Svm*: one space as one device sees it. *SvmRange*: a chunk that is mapped and
 * dropped as a whole. *SvmDeviceMemory*: a device's frames. *SvmAllocation*: what one migration
 * brought there. *Timeslice*: how long CPUs leave that to the device.
 *
 * **Invariants.**
 * - The device has pages of bound ranges only. A range is bound under the notifier lock and only
 *   if its pages are valid then; `pagesValid` is set under the same lock after the check of the
 *   sequence, and nowhere else.
 * - Who takes pages away hears nothing of ranges: the callback drops and marks, it frees nothing.
 *   A range goes under the svm lock: at the device's next fault, or when the svm is closed.
 * - Ranges are never split. All pages of one migrate, or none.
 * - No back pointer from a frame to an address: `fork` and `mremap` would make it wrong. Eviction
 *   is by frame.
 *
 * **Progress.** A device fault is one loop from the top with a bound, and between two tries it
 * holds nothing. A CPU fault takes no lock of a driver. During a timeslice the CPU sleeps, by the
 * scheduler's clock, *with nothing held*: had it the page or mmapLock meanwhile, eviction, munmap
 * and the device's own faults would wait with it. It does so once an access (FAULT_TRIED) and then
 * takes the page, so neither side can keep it from the other. Only CPUs wait: pins, other devices
 * and this driver's evictions hold locks or have deadlines, and get the page at once. Room is made
 * by evicting only what has had its timeslice.
 *
 * **Locks.** `Svm.lock` (class "svm") before mmapLock before pages before `Svm.notifierLock`
 * (class "driver"). `SvmDeviceMemory` has none: page locks do.
 *
 * **Example.** A driver is two callbacks for its table, two for its bytes, and this:
 * ```ts
 * const deviceMemory = new SvmDeviceMemory(memory, { name: "gpu0", frames, ops: copies });
 * const svm = new Svm(space, { window, deviceMemory, ops: {
 *   *invalidate(range) { table.drop(range); },         // under the notifier lock
 *   *bind(range) { return table.enter(range.start, range.words); },
 * } });
 * const result = yield* serviceFault(svm, address, { write, migrate: true, timesliceMs: 5 });
 * ```
 *
 * **What it refuses.** Policy: what should be where, and for how long, each fault says. Marking
 * pages dirty: the driver knows what it wrote. Memory of files on a device.
 */
export {
  SvmAllocation,
  SvmDeviceMemory,
  type SvmDeviceMemoryOptions,
  type SvmMemoryOps,
} from "./device-memory.ts";
export { type MigrateOptions, migrateRange } from "./migrate-range.ts";
export {
  evictRange,
  type GetPagesOptions,
  getPages,
  SvmScan,
  scanRange,
} from "./range-pages.ts";
export { type SvmOps, SvmRanges } from "./range-set.ts";
export { type ServiceOptions, serviceFault } from "./service-fault.ts";
export { type FindOptions, Svm, type SvmOptions } from "./svm.ts";
export { SvmRange } from "./svm-range.ts";
