/**
 * Moving pages between RAM and a device, in three acts whose state is two arrays. After
 * `migrateSetup` each chosen page is locked, unmapped and still; the driver fills `dst` and
 * copies; after `migratePages` it is known which have moved; after `migrateFinalize` the page
 * table names the new frames and the old ones are free. A slot whose MIGRATE bit is cleared on
 * the way is "not this one": its page stays where it was. Linux: mm/migrate_device.c.
 */
import { addrOf, assert, EINVAL, type Pfn, type Result, type Vpn, vpn } from "../base/index.ts";
import {
  freezeMappings,
  freezeOpen,
  hasFrame,
  isDevicePrivate,
  isMigration,
  isPresent,
  leafEnd,
  type Memory,
  PTE_HUGE,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  splitHuge,
  splitLargePage,
  thawMappings,
  thawOpen,
  VM_HUGETLB,
  VM_SPECIAL,
  VM_WRITE,
  withFlags,
} from "../mm/index.ts";
import { Invalidation, MMU_NOTIFY_MIGRATE } from "../notifier/index.ts";
import {
  PG_ANON,
  PG_CACHED,
  PG_DIRTY,
  PG_DUPLICATED,
  PG_EXCLUSIVE,
  PG_LARGE,
  PG_LOCKED,
  ZERO_PFN,
} from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import { insertFresh, notThisOne } from "./fresh.ts";
import {
  isMigrating,
  MIGRATE_PFN_KEPT,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type Migration,
  migrateFrame,
  migratePfn,
  SkipReason,
} from "./migration.ts";
import { collectUsual, handOverUsual, leafStop, nextShared, settleUsual } from "./usual.ts";

const TO_DEVICE = eventId("devmem:to-device");
const TO_RAM = eventId("devmem:to-ram");
const SKIP = eventId("devmem:skip");

/**
 * Act one: chooses, locks and unmaps. The caller holds mmapLock. -EINVAL for a range that is
 * not within `vma` or whose memory cannot move. 0 with `count` 0: nothing to do.
 */
export function* migrateSetup(migration: Migration): Sleeps<Result> {
  const { space, vma, start, end } = migration;
  space.mmapLock.assertHeld();
  if (vma.flags & (VM_SPECIAL | VM_HUGETLB)) return -EINVAL;
  if (!(start < end) || addrOf(start) < vma.start || addrOf(end) > vma.end) return -EINVAL;
  yield* splitLargePages(migration);
  space.catchUp(start, end);
  const event = new Invalidation({
    start: addrOf(start),
    end: addrOf(end),
    event: MMU_NOTIFY_MIGRATE,
    owner: migration.owner,
  });
  yield* space.notifiers.change(event, () => {
    space.cursor.begin();
    collectAll(migration);
    space.cursor.flush();
  });
  let isDone = false;
  try {
    yield* unmapAll(migration);
    isDone = true;
    assert(migration.count <= migration.src.length, "more pages move than the range has");
  } finally {
    // Killed while others were told: whatever was collected stays where it is.
    if (!isDone) for (let slot = 0; slot < migration.src.length; slot++) giveUp(migration, slot);
  }
  return 0;
}

/** Pages move one by one: a huge entry in the way is taken apart, with the page behind it. */
function* splitLargePages(migration: Migration): Sleeps<void> {
  const { space, start, end } = migration;
  for (let page = start; page < end; page = leafEnd(page)) {
    if (!space.pageTable.isHuge(page)) continue;
    const frame = ptePfn(space.pageTable.get(page));
    if (frame === ZERO_PFN) yield* splitHuge(space, page);
    else yield* splitLargePage(space.memory, frame);
  }
}

function collectAll(migration: Migration): void {
  for (let slot = 0; slot < migration.src.length; ) {
    const stop = leafStop(migration, slot);
    slot = collectUsual(migration, slot, stop, isSelected);
    if (slot < stop) collect(migration, vpn(migration.start + slot++));
  }
}

function collect(migration: Migration, page: Vpn): void {
  const { space, select, vma } = migration;
  const pte = space.pageTable.get(page);
  const slot = page - migration.start;
  assert(slot < migration.src.length, () => `page ${page} has no slot in the migration`);
  migration.src[slot] = 0;
  migration.dst[slot] = 0;
  const isZero = (pte & PTE_VALID) !== 0 && ptePfn(pte) === ZERO_PFN;
  if (pte === PTE_NONE ? vma.isAnonymous : isZero && select & MIGRATE_VMA_SELECT_SYSTEM) {
    if (pte & PTE_HUGE) return;
    migration.src[slot] = MIGRATE_PFN_MIGRATE;
    migration.count++;
    return;
  }
  if (pte === PTE_NONE || isZero || !isSelected(migration, pte)) return;
  const frame = ptePfn(pte);
  if (!lockStill(migration, page, frame)) return;
  assert(space.memory.pages.mapcount[frame]! > 0, () => `frame ${frame} counts no mapping`);
  const write = pte & PTE_WRITE || isGuarded(migration, frame) ? MIGRATE_PFN_WRITE : 0;
  space.memory.pages.get(frame);
  freezeOpen(space.cursor, page, pte);
  migration.src[slot] = migratePfn(frame) | MIGRATE_PFN_MIGRATE | write;
  migration.count++;
}

/**
 * Write-protected only because devices had copies. The event made those go, and the owner drops
 * (or adopts) its own when the page moves: with them goes the reason. A page that does not move
 * in the end stays protected.
 */
function isGuarded(migration: Migration, frame: Pfn): boolean {
  const { pages } = migration.space.memory;
  // A child shares it since: then that is a second reason, which stays.
  if (!pages.is(frame, PG_EXCLUSIVE)) return false;
  return pages.is(frame, PG_DUPLICATED) && migration.vma.allows(VM_WRITE);
}

function isSelected(migration: Migration, pte: Pte): boolean {
  const { space, select } = migration;
  const { pages } = space.memory;
  if (!hasFrame(pte) || (!isPresent(pte) && !isDevicePrivate(pte))) return false;
  const frame = ptePfn(pte);
  if (pages.is(frame, PG_LARGE)) return false;
  if (!pages.isDevice(frame)) return (select & MIGRATE_VMA_SELECT_SYSTEM) !== 0;
  const wanted = isPresent(pte)
    ? MIGRATE_VMA_SELECT_DEVICE_COHERENT
    : MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
  const pagemap = space.memory.pagemap(pages.pagemap[frame]!);
  return (select & wanted) !== 0 && pagemap.owner === migration.owner;
}

/** Locks `frame` without waiting (two migrations could wait for each other) unless pinned. */
function lockStill(migration: Migration, page: Vpn, frame: Pfn): boolean {
  const { pages, tracer } = migration.space.memory;
  assert(frame !== ZERO_PFN, "the zero page is replaced, not moved");
  if (pages.pins[frame]! > 0) {
    tracer.emit(SKIP, migration.space.id, page, SkipReason.pinned);
    return false;
  }
  if (frame === migration.faultFrame) {
    assert(pages.isLocked(frame), () => `the fault that moves frame ${frame} has not locked it`);
    return true;
  }
  if (pages.tryLock(frame)) return true;
  tracer.emit(SKIP, migration.space.id, page, SkipReason.locked);
  return false;
}

/** Nobody but this migration, and the fault that asked for it, holds the page. */
const isStillOurs = ({ faultFrame, space }: Migration, frame: Pfn): boolean =>
  space.memory.pages.isStill(frame, frame === faultFrame ? 2 : 1);

/**
 * Takes the pages from everybody else who maps them, and leaves alone what somebody holds: it
 * could be written after the copy.
 */
function* unmapAll(migration: Migration): Sleeps<void> {
  const { memory } = migration.space;
  const { pages } = memory;
  for (let slot = 0; slot < migration.src.length; slot++) {
    slot = nextShared(migration, slot);
    if (slot === migration.src.length) break;
    const frame = migrateFrame(migration.src[slot]!) as Pfn;
    assert(isMigrating(migration.src[slot]!), () => `frame ${frame} was collected, not to move`);
    assert(pages.isLocked(frame), () => `frame ${frame} is unmapped without its lock`);
    const isFrozen = pages.mapcount[frame] === 1 || (yield* freezeMappings(memory, frame));
    if (isFrozen && isStillOurs(migration, frame)) continue;
    const page = migration.start + slot;
    memory.tracer.emit(SKIP, migration.space.id, page, SkipReason.referenced);
    giveUp(migration, slot);
  }
}

/** Not this one: its entries are what they were. */
function giveUp(migration: Migration, slot: number): void {
  const { memory } = migration.space;
  const frame = migrateFrame(migration.src[slot]!);
  if (isMigrating(migration.src[slot]!)) migration.count--;
  assert(migration.count >= 0, "more pages are given up than were to move");
  migration.src[slot] = 0;
  if (frame === 0) return;
  assert(memory.pages.isLocked(frame), () => `frame ${frame} is given up and not held`);
  thawMappings(memory, frame, frame);
  if (frame !== migration.faultFrame) memory.pages.unlock(frame);
  memory.pages.put(frame);
}

/**
 * Act two, after the driver has filled `dst` and copied: commits. Pages that had nothing behind
 * them are inserted, unless a CPU was faster; the others hand their identity to `dst`.
 */
export function* migratePages(migration: Migration): Sleeps<void> {
  const { space } = migration;
  space.mmapLock.assertHeld();
  yield* insertFresh(migration);
  for (let slot = 0; slot < migration.src.length; slot++) {
    slot = handOverUsual(migration, slot);
    const from = slot < migration.src.length ? migrateFrame(migration.src[slot]!) : 0;
    if (from === 0 || !isMigrating(migration.src[slot]!)) continue;
    const to = migrateFrame(migration.dst[slot]!);
    if (to === 0 || !mayMove(migration, from, to)) notThisOne(migration, slot);
    else handOver(space.memory, from, to);
  }
  assert(migration.count >= 0, "more pages stay than were to move");
}

/** Still nobody holds it; and pages of a file stay in RAM. */
function mayMove(migration: Migration, from: Pfn, to: Pfn): boolean {
  const { pages } = migration.space.memory;
  if (pages.is(from, PG_CACHED) && pages.isDevice(to)) return false;
  return isStillOurs(migration, from);
}

/** `to` becomes the page that `from` was. */
export function handOver(memory: Memory, from: Pfn, to: Pfn): void {
  const { pages } = memory;
  assert(pages.isLocked(from), () => `frame ${from} hands over what it is without its lock`);
  assert(pages.isLocked(to), () => `frame ${to} takes a page over without its lock`);
  assert(pages.mapcount[to] === 0, () => `frame ${to} takes a page over and is mapped already`);
  pages.setFlag(to, pages.flags[from]! & (PG_ANON | PG_EXCLUSIVE | PG_DIRTY));
  pages.mapping[to] = pages.mapping[from]!;
  pages.index[to] = pages.index[from]!;
  pages.moveCharge(from, to);
}

/**
 * Act three: the page table names the new frames (or the old ones again where it did not work
 * out), everything is unlocked, and what was left behind is free.
 */
export function migrateFinalize(migration: Migration): void {
  const { space, src } = migration;
  const moved = countMoved(migration);
  assert(moved <= migration.count, "more pages have moved than were to move");
  space.cursor.begin();
  for (let slot = 0; slot < src.length; ) {
    const stop = leafStop(migration, slot);
    slot = settleUsual(migration, slot, stop);
    if (slot < stop) settleOne(migration, slot++);
  }
  space.cursor.flush();
  if (moved === 0) return;
  const event = isToDevice(migration) ? TO_DEVICE : TO_RAM;
  space.memory.tracer.emit(event, space.id, migration.start, moved);
}

const hasMoved = ({ src, dst }: Migration, slot: number): boolean =>
  isMigrating(src[slot]!) && migrateFrame(dst[slot]!) !== 0;

function countMoved(migration: Migration): number {
  let moved = 0;
  for (let slot = 0; slot < migration.src.length; slot++) if (hasMoved(migration, slot)) moved++;
  return moved;
}

/** Where the last of those that have moved is now. */
function isToDevice(migration: Migration): boolean {
  const { dst, space } = migration;
  let slot = dst.length - 1;
  while (!hasMoved(migration, slot)) slot--;
  return space.memory.pages.isDevice(migrateFrame(dst[slot]!) as Pfn);
}

function settleOne(migration: Migration, slot: number): void {
  const { pages } = migration.space.memory;
  const from = migrateFrame(migration.src[slot]!);
  const to = migrateFrame(migration.dst[slot]!);
  if (from !== 0) {
    assert(pages.isLocked(from), () => `frame ${from} is settled and not held`);
    const isKept = (migration.dst[slot]! & MIGRATE_PFN_KEPT) !== 0;
    if (isKept) pages.get(from);
    settle(migration, slot, from, hasMoved(migration, slot) ? (to as Pfn) : from);
    if (isKept) becomeCopy(migration.space.memory, from);
    if (from !== migration.faultFrame) pages.unlock(from);
    pages.put(from);
  }
  if (to !== 0) {
    pages.unlock(to);
    pages.put(to);
  }
}

/** The page is elsewhere: nothing is left of it but its bytes, and they are a device's. */
function becomeCopy({ pages }: Memory, frame: Pfn): void {
  assert(pages.mapcount[frame] === 0, () => `frame ${frame} becomes a copy and is mapped`);
  pages.clearFlag(frame, ~PG_LOCKED);
  pages.mapping[frame] = 0;
}

/** The entries of `from`, in whatever space, name `to`; the cursor is open. */
function settle(migration: Migration, slot: number, from: Pfn, to: Pfn): void {
  const { space, vma } = migration;
  const { cursor, memory } = space;
  const page = vpn(migration.start + slot);
  const entry = cursor.get(page);
  const isOurs = isMigration(entry) && ptePfn(entry) === from;
  const isAlone = from === to || memory.pages.mapcount[to] === 0;
  assert(isAlone, () => `frame ${to} is mapped before the page of frame ${from} is there`);
  if (isOurs && from !== to && migration.src[slot]! & MIGRATE_PFN_WRITE) {
    // The copies that kept the page from being written are gone: see `isGuarded`.
    if (memory.pages.is(from, PG_DUPLICATED)) cursor.set(page, withFlags(entry, PTE_WRITE, 0));
  }
  if (migration.dst[slot]! & MIGRATE_PFN_KEPT) {
    const isAlone = isOurs && memory.pages.mapcount[from] === 1;
    assert(isAlone, () => `frame ${from} is kept as a copy, and others map the page`);
    cursor.set(page, withFlags(entry, 0, PTE_WRITE));
    memory.pages.setFlag(to, PG_DUPLICATED);
  }
  if (isOurs && memory.pages.mapcount[from] === 1) {
    thawOpen(vma, page, to);
    return;
  }
  cursor.flush();
  thawMappings(memory, from, to);
  cursor.begin();
  const isLeft = from !== to && memory.pages.mapcount[from]! > 0;
  assert(!isLeft, () => `frame ${from} has moved and is still mapped`);
}
