/**
 * Holding a page still: every entry that maps it becomes a migration entry (whoever touches it
 * waits for the page's lock), in all spaces; later each names the page's new place, or the old
 * one again. The caller holds the page's lock and a reference. Linux: try_to_migrate(),
 * remove_migration_ptes().
 */
import {
  assert,
  PAGE_SIZE,
  type Pfn,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpnOf,
} from "../base/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../notifier/index.ts";
import { PG_DUPLICATED } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import type { PageTableCursor } from "./cursor.ts";
import { flagsAt } from "./entry-flags.ts";
import type { Memory } from "./memory.ts";
import {
  hasFrame,
  isMigration,
  makePte,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_WRITE,
  type Pte,
  ptePfn,
} from "./pte.ts";
import type { Vma } from "./vma.ts";

/** A place where a page may be mapped. */
export interface Mapper {
  readonly vma: Vma;
  readonly address: VirtAddr;
}

/** Where `frame` may be mapped, in the order of its reverse map. */
export function mappersOf(memory: Memory, frame: Pfn): Mapper[] {
  const { pages } = memory;
  const index = pages.index[frame]!;
  const reverse = memory.reverseMap(pages.mapping[frame]!);
  if (reverse === undefined) return [];
  const offset = index * PAGE_SIZE;
  return reverse
    .overlapping(offset, offset + PAGE_SIZE)
    .map((vma) => ({ vma, address: vma.addressOf(index)! }));
}

/** Entries of `frame` that are not migration entries yet. */
function stillMapped(memory: Memory, frame: Pfn): number {
  let frozen = 0;
  for (const { vma, address } of mappersOf(memory, frame)) {
    const pte = vma.space.pageTable.get(vpnOf(address));
    if (isMigration(pte) && ptePfn(pte) === frame) frozen++;
  }
  return memory.pages.mapcount[frame]! - frozen;
}

/**
 * Turns every entry of `frame` into a migration entry, each inside an event of its own; spaces
 * that lost the page long ago hear of it as well, as long as any mapping is left. False when one
 * could not be found.
 */
export function* freezeMappings(memory: Memory, frame: Pfn): Sleeps<boolean> {
  for (const { vma, address } of mappersOf(memory, frame)) {
    if (stillMapped(memory, frame) === 0) return true;
    const event = new Invalidation({
      start: address,
      end: virtAddr(address + PAGE_SIZE),
      event: MMU_NOTIFY_CLEAR,
    });
    yield* vma.space.notifiers.change(event, () => freezeEntry(vma, vpnOf(address), frame));
  }
  return stillMapped(memory, frame) === 0;
}

/**
 * Locks `frame`, takes a reference and every entry of it: from now on nobody reaches it, until
 * `letGo` or until its entries are thawed, it is unlocked and put. False, with everything as it
 * was, when somebody holds it or has locked it.
 */
export function* holdStill(memory: Memory, frame: Pfn): Sleeps<boolean> {
  const { pages } = memory;
  assert(pages.refs[frame]! > 0, () => `frame ${frame} is free: there is nothing to hold`);
  if (!pages.tryLock(frame)) return false;
  pages.get(frame);
  let isHeld = false;
  try {
    isHeld = (yield* freezeMappings(memory, frame)) && pages.isStill(frame, 1);
  } finally {
    if (!isHeld) letGo(memory, frame);
  }
  return isHeld;
}

/** Ends `holdStill`: whoever waits for the page finds it where it was. */
export function letGo(memory: Memory, frame: Pfn): void {
  assert(memory.pages.isLocked(frame), () => `frame ${frame} is let go and not held`);
  thawMappings(memory, frame, frame);
  memory.pages.unlock(frame);
  memory.pages.put(frame);
}

/** Makes the entry of `page` a migration entry if it maps `frame`; plain, within an event. */
export function freezeEntry(vma: Vma, page: Vpn, frame: Pfn): void {
  const { pages } = vma.space.memory;
  assert(pages.isLocked(frame), () => `frame ${frame} loses an entry without its lock`);
  const { cursor } = vma.space;
  const pte = cursor.get(page);
  if (!hasFrame(pte) || ptePfn(pte) !== frame || isMigration(pte)) return;
  cursor.begin();
  freezeOpen(cursor, page, pte);
  cursor.flush();
}

/** The same for an entry `pte` that is known to map a frame; the caller has the cursor open. */
export function freezeOpen(cursor: PageTableCursor, page: Vpn, pte: Pte): void {
  assert(hasFrame(pte), () => `page ${page} has no frame that could be on its way`);
  assert(!isMigration(pte), () => `page ${page} is on its way already`);
  cursor.set(page, makePte(ptePfn(pte), PTE_MIGRATION | (pte & PTE_WRITE)));
}

/**
 * Every migration entry of `from` names `to` now (which may be `from`), or becomes what `instead`
 * says. Plain: nobody maps a migration entry, so nobody need be told.
 */
export function thawMappings(memory: Memory, from: Pfn, to: Pfn, instead?: Pte): void {
  const { pages } = memory;
  assert(pages.isLocked(from), () => `frame ${from} gets its entries back without its lock`);
  assert(pages.refs[to]! > 0, () => `frame ${to} is free and entries would name it`);
  for (const { vma, address } of mappersOf(memory, from)) {
    const page = vpnOf(address);
    const pte = vma.space.pageTable.get(page);
    if (isMigration(pte) && ptePfn(pte) === from) thawEntry(vma, page, to, instead);
  }
}

function thawEntry(vma: Vma, page: Vpn, to: Pfn, instead?: Pte): void {
  const { cursor } = vma.space;
  cursor.begin();
  if (instead === undefined) thawOpen(vma, page, to);
  else {
    cursor.unmap(page);
    if (instead !== PTE_NONE) cursor.set(page, instead);
  }
  cursor.flush();
}

/** The migration entry of `page` becomes an entry of `to`; the caller has the cursor open. */
export function thawOpen(vma: Vma, page: Vpn, to: Pfn): void {
  const { cursor, memory } = vma.space;
  const entry = cursor.get(page);
  const from = ptePfn(entry);
  assert(isMigration(entry), () => `page ${page} arrives and was not on its way`);
  assert(memory.pages.isLocked(to), () => `page ${page} arrives at frame ${to}, not locked`);
  if (from === to) {
    const write = memory.pages.is(to, PG_DUPLICATED) ? 0 : entry & PTE_WRITE;
    cursor.set(page, makePte(to, flagsAt(vma, to, write)));
  } else {
    memory.pages.mapped(to);
    cursor.set(page, makePte(to, flagsAt(vma, to, entry & PTE_WRITE)));
    cursor.drop(from);
  }
}
