/**
 * Making room in RAM: pages of files are written back and forgotten, anonymous pages go to the
 * swap area. A hand goes round over the frames; pages that are locked, pinned, referenced by
 * somebody, part of a large page, or a driver's are passed over. Linux: mm/vmscan.c
 * shrink_folio_list().
 */
import { assert, type Pfn, pfn, type Vpn, vpn } from "../../base/index.ts";
import {
  PG_ANON,
  PG_CACHED,
  PG_LARGE,
  PG_POISONED,
  PG_REFERENCED,
  PG_RESERVED,
} from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Memory } from "../memory.ts";
import { holdStill, letGo, thawMappings } from "../migration-entries.ts";
import { makeSpecial, PTE_NONE, PTE_VALID, ptePfn, SPECIAL_SWAP } from "../pte.ts";

const SWAP_OUT = eventId("mm:swap-out");

const NEVER = PG_LARGE | PG_RESERVED | PG_POISONED;

/** Frees up to `wanted` frames of RAM: how many. Holds no lock but those of the pages it moves. */
export function* reclaimPages(memory: Memory, wanted: number): Sleeps<number> {
  const { ram } = memory;
  let freed = 0;
  // Twice round: a page that came since the hand was here last keeps its place once.
  for (let looked = 0; looked < 2 * ram.count && freed < wanted; looked++) {
    assert(freed <= looked, "more frames are freed than were looked at");
    memory.hand = memory.hand + 1 === ram.count ? 0 : memory.hand + 1;
    const frame = pfn(ram.start + memory.hand);
    if (!mayGo(memory, frame)) continue;
    if (memory.pages.is(frame, PG_REFERENCED)) {
      memory.pages.clearFlag(frame, PG_REFERENCED);
      continue;
    }
    if (yield* evict(memory, frame)) freed++;
  }
  return freed;
}

/** Sends the pages of [start, end) away that can go: how many. Linux: MADV_PAGEOUT. */
export function* evictRange(space: AddressSpace, start: Vpn, end: Vpn): Sleeps<number> {
  const { memory } = space;
  let freed = 0;
  for (let page = start; page < end; page = vpn(page + 1)) {
    const pte = space.pageTable.get(page);
    if ((pte & PTE_VALID) === 0 || !mayGo(memory, ptePfn(pte))) continue;
    if (memory.pages.mapcount[ptePfn(pte)] !== 1) continue;
    if (yield* evict(memory, ptePfn(pte))) freed++;
  }
  return freed;
}

function mayGo(memory: Memory, frame: Pfn): boolean {
  const { pages } = memory;
  if (pages.refs[frame] === 0 || pages.isDevice(frame) || pages.is(frame, NEVER)) return false;
  if (!pages.is(frame, PG_ANON) && !pages.is(frame, PG_CACHED)) return false;
  if (pages.is(frame, PG_ANON) && memory.swap.slotCount === memory.swap.usedCount) return false;
  return pages.pins[frame] === 0 && !pages.isLocked(frame);
}

/** Takes the page from everybody; true when its frame is free. */
function* evict(memory: Memory, frame: Pfn): Sleeps<boolean> {
  const { pages } = memory;
  if (memory.precedence.isOwed()) {
    yield* memory.precedence.giveWay();
    if (!mayGo(memory, frame)) return false;
  }
  if (!(yield* holdStill(memory, frame))) return false;
  assert(pages.pins[frame] === 0, () => `frame ${frame} is pinned and goes away`);
  assert(!pages.isDevice(frame), () => `frame ${frame} is a device's: it makes no room in RAM`);
  let isGone = false;
  try {
    isGone = pages.is(frame, PG_ANON) ? swapOut(memory, frame) : forgetCached(memory, frame);
  } finally {
    letGo(memory, frame);
  }
  if (isGone && pages.is(frame, PG_CACHED)) dropFromCache(memory, frame);
  return isGone && pages.refs[frame] === 0;
}

function swapOut(memory: Memory, frame: Pfn): boolean {
  const uses = memory.pages.mapcount[frame]!;
  // Unmapped meanwhile: nobody will ask for it again.
  if (uses === 0) return true;
  const slot = memory.swap.store(memory.bytes.page(frame));
  if (slot < 0) return false;
  for (let i = 1; i < uses; i++) memory.swap.get(slot);
  assert(memory.swap.usesOf(slot) === uses, () => `swap slot ${slot} does not count its entries`);
  thawMappings(memory, frame, frame, makeSpecial(SPECIAL_SWAP, slot));
  assert(memory.pages.mapcount[frame] === 0, () => `frame ${frame} is in swap and still mapped`);
  memory.tracer.emit(SWAP_OUT, frame, slot, uses);
  return true;
}

/**
 * A page of a file needs no entry: whoever touches it again finds it in the file, where what was
 * written to it goes first (nobody can write it now).
 */
function forgetCached(memory: Memory, frame: Pfn): boolean {
  const file = memory.reverseMap(memory.pages.mapping[frame]!)?.file;
  if (file === undefined || file.isShmem) return false;
  if (file.isDirty(frame) && file.writeBack(memory.pages.index[frame]!) < 0) return false;
  assert(!file.isDirty(frame), () => `frame ${frame} is forgotten and not stored`);
  thawMappings(memory, frame, frame, PTE_NONE);
  assert(memory.pages.mapcount[frame] === 0, () => `frame ${frame} is forgotten and mapped`);
  return true;
}

function dropFromCache(memory: Memory, frame: Pfn): void {
  const { pages } = memory;
  memory.reverseMap(pages.mapping[frame]!)?.file?.drop(pages.index[frame]!);
}
