/**
 * Moving pages between RAM and a device's memory: the driver's two parts of a migration, each
 * way written once. Entries go first, under the lock and while nothing runs; then the bytes move,
 * which nobody can touch; what has moved is entered when it is known that it has. Linux:
 * drm_pagemap_migrate_to_devmem().
 */
import { ENODEV, ENOMEM, type Pfn, type Result, vpn } from "../base/index.ts";
import {
  isMigrating,
  MIGRATE_PFN_KEPT,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type Migration,
  type MigrationDriver,
  migrateFrame,
  migratePfn,
  newMigration,
  runMigration,
} from "../devmem/index.ts";
import { isMigration, ptePfn, VM_WRITE } from "../mm/index.ts";
import { PG_CACHED, PG_EXCLUSIVE } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { DeviceShadow } from "./device-shadow.ts";

const KEEP = eventId("device:keep");

/** Pages that one migration takes at most: 2 MiB. */
export const MIGRATION_PAGES = 512;

export interface MoveOptions extends Pick<Migration, "vma" | "start" | "end"> {
  /** How long CPUs leave the pages to the device, at least, in milliseconds. Default 0. */
  readonly timesliceMs?: number;
}

/**
 * Moves the pages of [start, end), which is within `vma`, to the device, also those that were
 * never touched: how many. Those that somebody holds, that are in RAM for a file, or for which
 * there is no frame stay. -EINVAL for a kind of memory that cannot move, -ENODEV when the shadow
 * is closed, or why the copy failed. The caller holds mmapLock.
 */
export function* moveIn(shadow: DeviceShadow, options: MoveOptions): Sleeps<Result> {
  const { space, memory } = shadow;
  const { vma, start, end, timesliceMs = 0 } = options;
  const select = MIGRATE_VMA_SELECT_SYSTEM;
  const { owner } = memory;
  const migration = newMigration({ space, vma, start, end, select, owner });
  try {
    return yield* runMigration(migration, {
      copy: () => copyIn(shadow, migration),
      commit: () => enterMoved(shadow, migration, timesliceMs),
    });
  } finally {
    shadow.noteArrival(migration, true);
  }
}

function* copyIn(shadow: DeviceShadow, migration: Migration): Sleeps<Result> {
  const { memory } = shadow;
  const from: Pfn[] = [];
  const to: Pfn[] = [];
  const clear: Pfn[] = [];
  {
    using _update = yield* shadow.lock.acquire();
    yield* memory.waitIdle();
    if (shadow.isClosed) return -ENODEV;
    shadow.noteArrival(migration, false);
    const slots = adoptCopies(shadow, migration);
    const frames = memory.allocPages(shadow, migration.start, slots);
    for (let i = 0; i < frames.length; i++) {
      const frame = frames[i]!;
      const source = migrateFrame(migration.src[slots[i]!]!);
      arrive(migration, slots[i]!, frame);
      if (source === 0) clear.push(frame);
      else {
        from.push(source);
        to.push(frame);
      }
    }
    forget(shadow, migration);
  }
  const cleared = clear.length === 0 ? 0 : yield* memory.ops.clear(clear);
  if (cleared < 0 || from.length === 0) return cleared;
  const copied = yield* memory.ops.copyIn(from, to);
  if (copied >= 0) memory.counters.pagesToDevice += from.length;
  return copied;
}

/**
 * What moves and has a copy here is here already. The slots of the others; but a file's page stays
 * in RAM, and what the device knows of it stays right.
 */
function adoptCopies(shadow: DeviceShadow, migration: Migration): number[] {
  const slots: number[] = [];
  const { src, start } = migration;
  for (let slot = 0; slot < src.length; slot++) {
    const source = migrateFrame(src[slot]!);
    if (!isMigrating(src[slot]!) || (source !== 0 && isCached(shadow.memory, source))) continue;
    const copy = shadow.adopt(vpn(start + slot));
    if (copy === 0) slots.push(slot);
    else arrive(migration, slot, copy);
  }
  return slots;
}

/** The page of `slot` is to live in `frame`. */
function arrive(migration: Migration, slot: number, frame: Pfn): void {
  const word = migration.src[slot]!;
  const isFresh = migrateFrame(word) === 0;
  const mayWrite = isFresh ? migration.vma.allows(VM_WRITE) : (word & MIGRATE_PFN_WRITE) !== 0;
  migration.dst[slot] = migratePfn(frame) | (mayWrite ? MIGRATE_PFN_WRITE : 0);
}

/** The device forgets the pages that have got a frame, run by run. */
function forget(shadow: DeviceShadow, { dst, start }: Migration): void {
  for (let slot = 0; slot < dst.length; slot++) {
    const first = slot;
    while (slot < dst.length && dst[slot] !== 0) slot++;
    if (slot > first) shadow.drop(vpn(start + first), vpn(start + slot));
  }
}

const isCached = ({ memory }: DeviceMemory, frame: Pfn): boolean =>
  memory.pages.is(frame, PG_CACHED);

/** From when the device can have the pages it has its share of them. */
function* enterMoved(
  shadow: DeviceShadow,
  migration: Migration,
  timesliceMs: number,
): Sleeps<void> {
  const { frames, pagemap, memory } = shadow.memory;
  using _update = yield* shadow.lock.acquire();
  if (shadow.isClosed) return;
  for (let slot = 0; slot < migration.src.length; slot++) {
    const frame = migrateFrame(migration.dst[slot]!);
    if (!isMigrating(migration.src[slot]!) || frame === 0) continue;
    const write = (migration.dst[slot]! & MIGRATE_PFN_WRITE) !== 0;
    if (timesliceMs > 0) {
      frames.setExpiry(pagemap.indexOf(frame), memory.scheduler.nowMs + timesliceMs);
    }
    shadow.enterPage(vpn(migration.start + slot), frame, write);
  }
}

/** The way home. `keeps`: the device goes on reading what it had. */
export const homeward = (memory: DeviceMemory, keeps: boolean): MigrationDriver => ({
  copy: (migration) => copyHome(memory, migration),
  *commit(migration) {
    if (keeps) yield* keepCopies(memory, migration);
  },
});

/**
 * The frames that pages leave stay as copies, without a move. Only of pages that this space alone
 * has: whoever else maps one would have to be write-protected, too. From the look at the page
 * table to the end of the migration nobody runs.
 */
function* keepCopies(memory: DeviceMemory, migration: Migration): Sleeps<void> {
  const { space, src, dst, start } = migration;
  const { pages } = space.memory;
  const shadow = memory.shadowOf(space);
  if (shadow === undefined) return;
  using _update = yield* shadow.lock.acquire();
  if (shadow.isClosed) return;
  let kept = 0;
  for (let slot = 0; slot < src.length; slot++) {
    const from = migrateFrame(src[slot]!);
    const home = migrateFrame(dst[slot]!);
    if (from === 0 || home === 0 || !isMigrating(src[slot]!)) continue;
    const page = vpn(start + slot);
    const entry = space.pageTable.get(page);
    const isOurs = isMigration(entry) && ptePfn(entry) === from;
    if (!isOurs || !pages.is(home, PG_EXCLUSIVE)) continue;
    shadow.keep(page, from, home);
    dst[slot] = dst[slot]! | MIGRATE_PFN_KEPT;
    kept++;
  }
  memory.counters.copiesKept += kept;
  if (kept > 0) space.memory.tracer.emit(KEEP, space.id, start, kept);
}

/**
 * The space whose pages come home need not be the one that brought them: it is its own shadow
 * that must forget them. Other spaces that map them were told by events.
 */
function* copyHome(memory: DeviceMemory, migration: Migration): Sleeps<Result> {
  const shadow = memory.shadowOf(migration.space);
  const from: Pfn[] = [];
  const to: Pfn[] = [];
  {
    using _update = shadow === undefined ? undefined : yield* shadow.lock.acquire();
    yield* memory.waitIdle();
    const slots = slotsOf(memory, migration);
    const homes = migration.space.takeFrames(migration.start, slots);
    for (let i = 0; i < homes.length; i++) {
      const home = homes[i]!;
      if (home === 0) continue;
      const word = migration.src[slots[i]!]!;
      migration.dst[slots[i]!] = migratePfn(home) | (word & MIGRATE_PFN_WRITE);
      from.push(migrateFrame(word) as Pfn);
      to.push(home);
    }
    // Without the page that a CPU waits for all is in vain: frames that `dst` names go back.
    const { faultFrame } = migration;
    if (faultFrame !== 0 && slots.length > 0 && from[0] !== faultFrame) return -ENOMEM;
    if (shadow !== undefined) forget(shadow, migration);
  }
  if (from.length === 0) return 0;
  const result = yield* memory.ops.copyHome(from, to);
  if (result >= 0) memory.counters.pagesHome += from.length;
  return result;
}

/**
 * What moves and is in this memory: another one of the same owner has its own way home. The page
 * that a CPU waits for first: without it all is in vain.
 */
function slotsOf({ pagemap }: DeviceMemory, { src, faultFrame }: Migration): number[] {
  const slots: number[] = [];
  for (let slot = 0; slot < src.length; slot++) {
    const frame = migrateFrame(src[slot]!);
    if (frame === 0 || !isMigrating(src[slot]!) || !pagemap.zone.contains(frame)) continue;
    if (frame === faultFrame) slots.unshift(slot);
    else slots.push(slot);
  }
  return slots;
}
