/**
 * # device: a device that uses the program's pointers
 *
 * What every driver of a device with a page table of its own needs between HMM and its hardware:
 * what may be in the table, where pages live, how faults are served. Linux: drm_gpusvm.c,
 * drm_pagemap.c.
 *
 * **Nouns.** *DeviceMemory*: the frames of one device, for all spaces. *DeviceShadow*: one space
 * as that device sees it. *Entry*: a word of its table. *Block*: pages that are served together.
 * *Home*: RAM, where a page goes when a CPU touches it or somebody needs its frame.
 *
 * **Invariants.**
 * - A table gives no more than the page table, outside an invalidation. Everything in it was
 *   entered under the lock after a check of the sequence, or by a migration that holds the page.
 * - What a device that cannot reach RAM has of it is a copy of a page that nobody can write.
 * - No frame of a page knows an address: `fork` and `mremap` would make it wrong. Eviction is by
 *   frame.
 * - Every page is in one place, whoever fails or is killed, and its bytes with it.
 *
 * **Progress.** Who collides starts over and goes first in the end: collisions never fail. A page
 * that somebody holds is waited for, with nothing held, until the caller's deadline: that is
 * -EBUSY. During a timeslice a CPU sleeps *with nothing held*, once an access, and then takes the
 * page, so neither side can keep it from the other. Only CPUs wait: pins, other devices and
 * evictions get the page at once. Room is made by evicting only what has had its timeslice.
 *
 * **Locks.** mmapLock, page locks, then `DeviceShadow.lock` (class "driver"). A driver's own lock
 * around `serve`, if it needs one, is of class "svm".
 *
 * **Example.** A driver is a table, three ways to move bytes, and this:
 * ```ts
 * const deviceMemory = new DeviceMemory(memory, { name: "gpu0", frames, ops: copies });
 * const shadow = DeviceShadow.open(deviceMemory, space, { table }) as DeviceShadow;
 * const wanted = [{ page: vpnOf(address), write: true }];
 * const block = { start: vpnOf(address), end, how: "move", wanted } as const;
 * const result = yield* serve(shadow, [block], { deadlineMs, timesliceMs: 5 });
 * ```
 *
 * **What it refuses.** Policy: how a block is served, and for how long, each call says. Marking
 * pages dirty: the driver knows what it wrote. Memory of files on a device.
 */
export {
  type DeviceCounters,
  DeviceMemory,
  type DeviceMemoryOptions,
} from "./device-memory.ts";
export type { DeviceOps } from "./device-ops.ts";
export { DeviceShadow, type ShadowOptions } from "./device-shadow.ts";
export {
  allows,
  ENTRY_NONE,
  ENTRY_VALID,
  ENTRY_WRITE,
  type Entry,
  type EntryTable,
  entryFrame,
  fromLocal,
  newEntry,
  toLocal,
} from "./entry.ts";
export { type CopyOf, FRAME_COPY, FRAME_FREE, FRAME_PAGE, type FrameList } from "./frame-list.ts";
export { MIGRATION_PAGES, type MoveOptions, moveIn } from "./move.ts";
export { type PrefetchOptions, prefetch } from "./prefetch.ts";
export { AGAIN, DONE, type Reading, read } from "./reading.ts";
export { type Block, isServed, type ServeOptions, serve, type Want } from "./serve.ts";
