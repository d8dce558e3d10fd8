/**
 * Moving pages between RAM and a device, in three acts whose state is two arrays. After
 * `migrateSetup` each chosen page is locked, unmapped and still; the driver fills `dst` and
 * copies; after `migratePages` it is known which have moved; after `migrateFinalize` the page
 * table names the new frames and the old ones are free. A slot whose MIGRATE bit is cleared on
 * the way is "not this one": its page stays where it was. Linux: mm/migrate_device.c.
 *
 * ```
 *  src and dst, one word a page:
 *  31 30 29                      6   5   4   3   2   1   0
 * +-----+-------------------------+---+---+---+---+---+---+
 * |  0  |     frame (24 bits)     |   .   . | W | . | M | V |
 * +-----+-------------------------+---+---+---+---+---+---+
 * ```
 */
import {
  addrOf,
  assert,
  EINVAL,
  type Pfn,
  pfn as pfnNumber,
  type Result,
  type Vpn,
  vpn,
} from "../base/index.ts";
import {
  type AddressSpace,
  isDevicePrivate,
  isMigration,
  isPresent,
  makePte,
  PTE_DEVICE_PRIVATE,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  presentFlags,
  ptePfn,
  VM_SHARED,
  VM_WRITE,
  type Vma,
} from "../mm/index.ts";
import { Invalidation, MMU_NOTIFY_MIGRATE } from "../notifier/index.ts";
import { PG_ANON, PG_DIRTY, PG_DUPLICATED, PG_EXCLUSIVE, ZERO_PFN } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";

const TO_DEVICE = eventId("devmem:to-device");
const TO_RAM = eventId("devmem:to-ram");
const SKIP = eventId("devmem:skip");

export const MIGRATE_PFN_VALID = 1 << 0;
export const MIGRATE_PFN_MIGRATE = 1 << 1;
export const MIGRATE_PFN_WRITE = 1 << 3;
const MIGRATE_PFN_SHIFT = 6;

/** Pages in RAM, and places where nothing is yet. */
export const MIGRATE_VMA_SELECT_SYSTEM = 1 << 0;
/** Device-private pages of the same owner. */
export const MIGRATE_VMA_SELECT_DEVICE_PRIVATE = 1 << 1;

/** Why a page was left where it is: field `reason` of the event "devmem:skip". */
export const SkipReason = { locked: 1, pinned: 2, referenced: 3, taken: 4 } as const;

export const migratePfn = (frame: Pfn): number =>
  ((frame << MIGRATE_PFN_SHIFT) | MIGRATE_PFN_VALID) >>> 0;

/** The frame of a word, or 0 when it names none. */
export const migrateFrame = (word: number): Pfn | 0 =>
  word & MIGRATE_PFN_VALID ? pfnNumber(word >>> MIGRATE_PFN_SHIFT) : 0;

/** This page moves (so far). */
export const isMigrating = (word: number): boolean => (word & MIGRATE_PFN_MIGRATE) !== 0;

export interface Migration {
  readonly space: AddressSpace;
  readonly vma: Vma;
  /** Within `vma`. */
  readonly start: Vpn;
  readonly end: Vpn;
  /** MIGRATE_VMA_SELECT_… */
  readonly select: number;
  /** Whose device takes part; its own MIGRATE events name it. */
  readonly owner: object;
  /** The frame of the CPU fault that asks for this: locked and referenced by the fault. */
  readonly faultFrame: Pfn | 0;
  readonly src: Uint32Array;
  readonly dst: Uint32Array;
  /** Pages that still move. */
  count: number;
}

export type MigrationOptions = Omit<Migration, "src" | "dst" | "count" | "faultFrame"> & {
  readonly faultFrame?: Pfn | 0;
};

export function newMigration(options: MigrationOptions): Migration {
  const length = options.end - options.start;
  return {
    ...options,
    faultFrame: options.faultFrame ?? 0,
    src: new Uint32Array(length),
    dst: new Uint32Array(length),
    count: 0,
  };
}

/**
 * Act one: chooses, locks and unmaps. The caller holds mmapLock. -EINVAL for a range that is
 * not within `vma` or whose memory cannot move. 0 with `count` 0: nothing to do.
 */
export function* migrateSetup(migration: Migration): Sleeps<Result> {
  const { space, vma, start, end } = migration;
  space.mmapLock.assertHeld();
  if (!(start < end) || addrOf(start) < vma.start || addrOf(end) > vma.end) return -EINVAL;
  if (vma.flags & VM_SHARED) return 0;
  const event = new Invalidation({
    start: addrOf(start),
    end: addrOf(end),
    event: MMU_NOTIFY_MIGRATE,
    owner: migration.owner,
  });
  yield* space.notifiers.start(event);
  const cursor = space.cursor.begin();
  for (let page = start; page < end; page = vpn(page + 1)) collect(migration, page);
  cursor.flush();
  space.notifiers.end(event);
  rejectReferenced(migration);
  return 0;
}

function collect(migration: Migration, page: Vpn): void {
  const { space, select } = migration;
  const pte = space.pageTable.get(page);
  const slot = page - migration.start;
  migration.src[slot] = 0;
  migration.dst[slot] = 0;
  const isEmpty = pte === PTE_NONE;
  const isZero = (pte & PTE_VALID) !== 0 && ptePfn(pte) === ZERO_PFN;
  if (isEmpty || (isZero && select & MIGRATE_VMA_SELECT_SYSTEM)) {
    migration.src[slot] = MIGRATE_PFN_MIGRATE;
    migration.count++;
    return;
  }
  if (!isSelected(migration, pte) || !lockStill(migration, page, ptePfn(pte))) return;
  const frame = ptePfn(pte);
  space.cursor.set(page, makePte(frame, PTE_MIGRATION | (pte & PTE_WRITE)));
  const write = pte & PTE_WRITE || isGuarded(migration, frame) ? MIGRATE_PFN_WRITE : 0;
  migration.src[slot] = migratePfn(frame) | MIGRATE_PFN_MIGRATE | write;
  migration.count++;
}

/**
 * Write-protected only because devices had copies. The event made those go, and the owner drops
 * (or adopts) its own when the page moves: with them goes the reason. A page that does not move
 * in the end stays protected.
 */
function isGuarded(migration: Migration, frame: Pfn): boolean {
  return migration.space.memory.pages.is(frame, PG_DUPLICATED) && migration.vma.allows(VM_WRITE);
}

function isSelected(migration: Migration, pte: Pte): boolean {
  const { space, select } = migration;
  if (isPresent(pte)) {
    return (select & MIGRATE_VMA_SELECT_SYSTEM) !== 0 && ptePfn(pte) !== ZERO_PFN;
  }
  if (!isDevicePrivate(pte) || (select & MIGRATE_VMA_SELECT_DEVICE_PRIVATE) === 0) return false;
  const pagemap = space.memory.pagemap(space.memory.pages.pagemap[ptePfn(pte)]!);
  return pagemap.owner === migration.owner;
}

/** Locks `frame` without waiting (two migrations could wait for each other) unless pinned. */
function lockStill(migration: Migration, page: Vpn, frame: Pfn): boolean {
  const { pages, tracer } = migration.space.memory;
  if (pages.pins[frame]! > 0) {
    tracer.emit(SKIP, migration.space.id, page, SkipReason.pinned);
    return false;
  }
  if (frame === migration.faultFrame || pages.tryLock(frame)) return true;
  tracer.emit(SKIP, migration.space.id, page, SkipReason.locked);
  return false;
}

/** Somebody holds a page besides its mapping: it could write after the copy. Stays. */
function rejectReferenced(migration: Migration): void {
  const { space } = migration;
  const { pages } = space.memory;
  const cursor = space.cursor.begin();
  for (let slot = 0; slot < migration.src.length; slot++) {
    const frame = migrateFrame(migration.src[slot]!);
    if (frame === 0) continue;
    const expected = pages.mapcount[frame]! + (frame === migration.faultFrame ? 1 : 0);
    if (pages.refs[frame] === expected && pages.mapcount[frame] === 1) continue;
    space.memory.tracer.emit(SKIP, space.id, migration.start + slot, SkipReason.referenced);
    settleEntry(migration, slot, frame);
    if (frame !== migration.faultFrame) pages.unlock(frame);
    migration.src[slot] = 0;
    migration.count--;
  }
  cursor.flush();
}

/**
 * Act two, after the driver has filled `dst` and copied: commits. Pages that had nothing behind
 * them are inserted, unless a CPU was faster; the others hand their identity to `dst`.
 */
export function* migratePages(migration: Migration): Sleeps<void> {
  const { space } = migration;
  let event: Invalidation | undefined;
  for (let slot = 0; slot < migration.src.length; slot++) {
    const word = migration.src[slot]!;
    if (!isMigrating(word) || migrateFrame(word) !== 0) continue;
    const to = migrateFrame(migration.dst[slot]!);
    // A zero page may be replaced: whoever holds it is told, once for the rest of the range.
    if (to !== 0 && event === undefined) {
      event = insertEvent(migration, slot);
      yield* space.notifiers.start(event);
    }
    if (to === 0 || !insertFresh(migration, slot, to)) notThisOne(migration, slot);
  }
  if (event !== undefined) space.notifiers.end(event);
  for (let slot = 0; slot < migration.src.length; slot++) {
    const from = migrateFrame(migration.src[slot]!);
    if (from === 0 || !isMigrating(migration.src[slot]!)) continue;
    const to = migrateFrame(migration.dst[slot]!);
    if (to === 0) notThisOne(migration, slot);
    else handOver(space, from, to);
  }
}

const insertEvent = (migration: Migration, slot: number): Invalidation =>
  new Invalidation({
    start: addrOf(vpn(migration.start + slot)),
    end: addrOf(migration.end),
    event: MMU_NOTIFY_MIGRATE,
    owner: migration.owner,
  });

function notThisOne(migration: Migration, slot: number): void {
  migration.src[slot] = migration.src[slot]! & ~MIGRATE_PFN_MIGRATE;
  migration.count--;
}

/** `to` becomes the page that `from` was. */
function handOver(space: AddressSpace, from: Pfn, to: Pfn): void {
  const { pages } = space.memory;
  pages.setFlag(to, pages.flags[from]! & (PG_ANON | PG_EXCLUSIVE | PG_DIRTY));
  pages.space[to] = pages.space[from]!;
  pages.index[to] = pages.index[from]!;
  pages.moveCharge(from, to);
}

/** Maps `to` where nothing (or the zero page) was. False when a CPU has put a page there. */
function insertFresh(migration: Migration, slot: number, to: Pfn): boolean {
  const { space, vma } = migration;
  const { pages, group, tracer } = space.memory;
  const page = vpn(migration.start + slot);
  const old = space.pageTable.get(page);
  const isFree = old === PTE_NONE || (isPresent(old) && ptePfn(old) === ZERO_PFN);
  if (!isFree || pages.charge(to, group) < 0) {
    tracer.emit(SKIP, space.id, page, SkipReason.taken);
    return false;
  }
  space.ownAnonymous(to, page);
  const cursor = space.cursor.begin();
  if (old !== PTE_NONE) cursor.unmap(page);
  cursor.map(page, makePte(to, entryFlags(migration, to, presentFlags(vma, true) & PTE_WRITE)));
  cursor.flush();
  return true;
}

/**
 * Act three: the page table names the new frames (or the old ones again where it did not work
 * out), everything is unlocked, and what was left behind is free.
 */
export function migrateFinalize(migration: Migration): void {
  const { space } = migration;
  const { pages, tracer } = space.memory;
  const cursor = space.cursor.begin();
  let moved = 0;
  let toDevice = false;
  for (let slot = 0; slot < migration.src.length; slot++) {
    const from = migrateFrame(migration.src[slot]!);
    const to = migrateFrame(migration.dst[slot]!);
    const isMoved = isMigrating(migration.src[slot]!) && to !== 0;
    if (isMoved) {
      moved++;
      toDevice = pages.isDevice(to);
    }
    if (from !== 0) {
      settleEntry(migration, slot, isMoved ? to : from);
      if (from !== migration.faultFrame) pages.unlock(from);
    }
    if (to !== 0) {
      pages.unlock(to);
      pages.put(to);
    }
  }
  cursor.flush();
  if (moved > 0) tracer.emit(toDevice ? TO_DEVICE : TO_RAM, space.id, migration.start, moved);
}

/** Replaces the migration entry of a slot by one for `frame`: its old frame or its new one. */
function settleEntry(migration: Migration, slot: number, frame: Pfn): void {
  const { space } = migration;
  const page = vpn(migration.start + slot);
  const entry = space.pageTable.get(page);
  assert(isMigration(entry), () => `page ${page} lost its migration entry`);
  const old = ptePfn(entry);
  if (old === frame) {
    space.cursor.set(page, makePte(frame, entryFlags(migration, frame, entry & PTE_WRITE)));
    return;
  }
  const write = migration.src[slot]! & MIGRATE_PFN_WRITE ? PTE_WRITE : 0;
  space.memory.pages.mapped(frame);
  space.cursor.set(page, makePte(frame, entryFlags(migration, frame, write)));
  space.cursor.drop(old);
}

/** Present in RAM with the rights of the Vma; or device-private. */
function entryFlags(migration: Migration, frame: Pfn, write: number): number {
  if (migration.space.memory.pages.isDevice(frame)) return PTE_DEVICE_PRIVATE | write;
  return presentFlags(migration.vma, write !== 0);
}
