/**
 * Pages that go where nothing was, or the zero page: a device is the first to touch them. Part of
 * the second act of a migration.
 */
import { addrOf, assert, type Pfn, vpn } from "../base/index.ts";
import {
  isPresent,
  makePte,
  PTE_DEVICE_PRIVATE,
  PTE_HUGE,
  PTE_NONE,
  PTE_WRITE,
  presentFlags,
  ptePfn,
} from "../mm/index.ts";
import { Invalidation, MMU_NOTIFY_MIGRATE } from "../notifier/index.ts";
import { ZERO_PFN } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import {
  isMigrating,
  MIGRATE_PFN_MIGRATE,
  type Migration,
  migrateFrame,
  SkipReason,
} from "./migration.ts";

const SKIP = eventId("devmem:skip");

/** Maps the pages of `dst` that are to come where nothing is, unless a CPU was faster. */
export function* insertFresh(migration: Migration): Sleeps<void> {
  const first = firstFresh(migration);
  // A zero page may be replaced: whoever holds it is told, once for the rest of the range.
  if (first >= 0) {
    const event = insertEvent(migration, first);
    yield* migration.space.notifiers.change(event, () => insertAll(migration));
  } else insertAll(migration);
}

/** Nothing was behind it, and it is still to get a page. */
const isFresh = ({ src }: Migration, slot: number): boolean =>
  isMigrating(src[slot]!) && migrateFrame(src[slot]!) === 0;

/** The first slot whose nothing is to be replaced by a page, or -1. */
function firstFresh(migration: Migration): number {
  const { src, dst } = migration;
  for (let slot = 0; slot < src.length; slot++) {
    if (isFresh(migration, slot) && migrateFrame(dst[slot]!) !== 0) return slot;
  }
  return -1;
}

function insertAll(migration: Migration): void {
  for (let slot = 0; slot < migration.src.length; slot++) {
    if (!isFresh(migration, slot)) continue;
    const to = migrateFrame(migration.dst[slot]!);
    if (to === 0 || !insertOne(migration, slot, to)) notThisOne(migration, slot);
  }
}

const insertEvent = (migration: Migration, slot: number): Invalidation =>
  new Invalidation({
    start: addrOf(vpn(migration.start + slot)),
    end: addrOf(migration.end),
    event: MMU_NOTIFY_MIGRATE,
    owner: migration.owner,
  });

/** Maps `to` where nothing (or the zero page) was. False when a CPU has put a page there. */
function insertOne(migration: Migration, slot: number, to: Pfn): boolean {
  const { space, vma } = migration;
  const { pages, group, tracer } = space.memory;
  const page = vpn(migration.start + slot);
  assert(pages.isLocked(to), () => `frame ${to} is put in without its lock`);
  assert(pages.mapcount[to] === 0, () => `frame ${to} is put in and is mapped already`);
  const old = space.pageTable.get(page);
  const isZero = isPresent(old) && ptePfn(old) === ZERO_PFN && (old & PTE_HUGE) === 0;
  const isFree = (old === PTE_NONE || isZero) && vma.isAnonymous;
  if (!isFree || pages.charge(to, group) < 0) {
    tracer.emit(SKIP, space.id, page, SkipReason.taken);
    return false;
  }
  space.ownAnonymous(to, vma, page);
  const cursor = space.cursor.begin();
  if (old !== PTE_NONE) cursor.unmap(page);
  const write = presentFlags(vma, true) & PTE_WRITE;
  const flags = space.memory.isPrivate(to)
    ? PTE_DEVICE_PRIVATE | write
    : presentFlags(vma, write !== 0);
  cursor.map(page, makePte(to, flags));
  cursor.flush();
  return true;
}

/** The page of `slot` stays what it is. */
export function notThisOne(migration: Migration, slot: number): void {
  assert(isMigrating(migration.src[slot]!), () => `slot ${slot} is told twice that it stays`);
  assert(migration.count > 0, "a page stays where none was to move");
  migration.src[slot] = migration.src[slot]! & ~MIGRATE_PFN_MIGRATE;
  migration.count--;
}
