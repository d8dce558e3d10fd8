/**
 * Moving a range to the device: all of its pages or none. Linux: drm_pagemap_migrate_to_devmem().
 */
import {
  EBUSY,
  EFAULT,
  EINVAL,
  ENOENT,
  ENOMEM,
  EOPNOTSUPP,
  type Pfn,
  type Result,
  vpnOf,
} from "../base/index.ts";
import {
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type Migration,
  migrateFrame,
  migratePfn,
  newMigration,
  runMigration,
} from "../devmem/index.ts";
import { mmputAsync } from "../mm/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import { SvmAllocation, type SvmDeviceMemory } from "./device-memory.ts";
import { SvmScan, scanRange } from "./range-pages.ts";
import type { Svm } from "./svm.ts";
import { isWithin, type SvmRange } from "./svm-range.ts";

const UNDO = eventId("svm:undo");

export interface MigrateOptions {
  /** How long CPUs leave the pages to the device, at least, in milliseconds. Default 0. */
  readonly timesliceMs?: number | undefined;
}

/**
 * 0: every page of `range` is on the device (perhaps it was). Negative, and they are where they
 * were: -EOPNOTSUPP (no device memory), -EFAULT (no space any more), -ENOENT (no Vma), -EINVAL
 * (more than one Vma, or a kind that cannot move), -EBUSY (memory of a file; a page that is on a
 * device already, that somebody holds, or that came in between), -ENOMEM (the device is full), or
 * why the copy failed. The caller holds the svm lock.
 */
export function* migrateRange(
  svm: Svm,
  range: SvmRange,
  options: MigrateOptions = {},
): Sleeps<Result> {
  svm.lock.assertHeld();
  const { space, deviceMemory } = svm;
  if (deviceMemory === undefined) return -EOPNOTSUPP;
  if (scanRange(svm, range) === SvmScan.equal) return 0;
  if (!space.users.getUnlessZero()) return -EFAULT;
  try {
    if (!(yield* deviceMemory.makeRoom(range.pageCount))) return -ENOMEM;
    const allocation = new SvmAllocation(range.pageCount);
    const moved = yield* move(svm, range, { allocation, timesliceMs: options.timesliceMs ?? 0 });
    if (moved < 0 || moved === range.pageCount) return Math.min(moved, 0);
    if (moved > 0) {
      // Only now was it known that a page did not come along. What came goes home again; if even
      // that fails, it is found mixed later. Where the bytes are is never in doubt.
      space.memory.tracer.emit(UNDO, space.id, vpnOf(range.start), moved);
      yield* deviceMemory.evict(allocation);
    }
    return -EBUSY;
  } finally {
    mmputAsync(space);
  }
}

interface Move {
  readonly allocation: SvmAllocation;
  readonly timesliceMs: number;
}

/** How many pages moved, or a negated errno. */
function* move(svm: Svm, range: SvmRange, { allocation, timesliceMs }: Move): Sleeps<Result> {
  const { space } = svm;
  const memory = svm.deviceMemory!;
  using _mmap = yield* space.mmapLock.acquireRead();
  const vma = space.vmas.find(range.start);
  if (vma === undefined) return -ENOENT;
  if (!isWithin(range, vma)) return -EINVAL;
  if (vma.file !== undefined) return -EBUSY;
  const migration = newMigration({
    space,
    vma,
    start: vpnOf(range.start),
    end: vpnOf(range.end),
    select: MIGRATE_VMA_SELECT_SYSTEM,
    owner: memory.pagemap.owner,
  });
  return yield* runMigration(migration, {
    copy: (m) => copyToDevice(memory, allocation, m),
    *commit(m) {
      // The device has its share from when it can have the pages, and only if it gets them all.
      const isWhole = m.count === range.pageCount;
      if (isWhole) allocation.expiryMs = space.memory.scheduler.nowMs + timesliceMs;
    },
  });
}

function* copyToDevice(
  memory: SvmDeviceMemory,
  allocation: SvmAllocation,
  migration: Migration,
): Sleeps<Result> {
  const { src, dst } = migration;
  if (migration.count < src.length) return -EBUSY;
  const from: (Pfn | 0)[] = [];
  const to: Pfn[] = [];
  for (let slot = 0; slot < src.length; slot++) {
    const frame = memory.alloc(allocation);
    if (frame === 0) return -ENOMEM;
    dst[slot] = migratePfn(frame) | (src[slot]! & MIGRATE_PFN_WRITE);
    from.push(migrateFrame(src[slot]!));
    to.push(frame);
  }
  return yield* memory.copyToDevice(from, to);
}
