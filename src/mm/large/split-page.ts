/**
 * A large page becomes 512 pages of their own, in every space that maps it. Pages of it that hold
 * only zeros are given up for the zero page on the way. Linux: split_huge_page(),
 * try_to_map_unused_to_zeropage().
 */
import { assert, PAGE_SIZE, type Pfn, pfn, virtAddr, vpnOf } from "../../base/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../notifier/index.ts";
import { LARGE_FRAMES, PG_LARGE, ZERO_PFN } from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { presentFlags } from "../entry-flags.ts";
import type { Memory } from "../memory.ts";
import { freezeEntry, type Mapper, mappersOf, thawMappings } from "../migration-entries.ts";
import { isMigration, makePte, ptePfn } from "../pte.ts";
import type { Vma } from "../vma.ts";
import { splitHugeEntry } from "./huge.ts";

/** Splits the large page of `frame`: false when somebody holds it or moves it. */
export function* splitLargePage(memory: Memory, frame: Pfn): Sleeps<boolean> {
  const { pages } = memory;
  const head = pages.headOf(frame);
  if (!isFree(memory, head, 0) || !pages.tryLock(frame)) return false;
  assert(pages.is(head, PG_LARGE), () => `frame ${head} is no large page to split`);
  const members = membersOf(memory, head);
  assert(members.length > 0, () => `large page ${head} has no frame left`);
  // Held while its entries are away, so that nothing of it is freed in between.
  for (const each of members) pages.get(each);
  let isSplit = false;
  try {
    for (const vma of vmasOf(memory, frame)) yield* freezeIn(memory, vma, frame);
    if (isFree(memory, head, 1)) {
      for (const each of members) if (isZero(memory, each)) mapZeroInstead(memory, each);
      isSplit = true;
    }
  } finally {
    for (const each of members) thawMappings(memory, each, each);
    pages.unlock(frame);
    if (isSplit) pages.splitLarge(head);
    for (const each of members) pages.put(each);
  }
  return isSplit;
}

/** Those of its frames that are still part of it: a mapping may have given some back. */
const membersOf = ({ pages }: Memory, head: Pfn): Pfn[] => {
  const members: Pfn[] = [];
  for (let at = head as number; at < head + LARGE_FRAMES; at++) {
    if (pages.refs[at]! > 0 && pages.is(pfn(at), PG_LARGE)) members.push(pfn(at));
  }
  return members;
};

/** Nobody holds any of it but its mappings and `held` references of ours. */
function isFree(memory: Memory, head: Pfn, held: number): boolean {
  return membersOf(memory, head).every((frame) => memory.pages.isStill(frame, held));
}

/** Where the large page of `frame` begins in its reverse map, in bytes. */
function offsetOf({ pages }: Memory, frame: Pfn): number {
  return (pages.index[frame]! - (frame - pages.headOf(frame))) * PAGE_SIZE;
}

const vmasOf = (memory: Memory, frame: Pfn): readonly Vma[] => {
  const offset = offsetOf(memory, frame);
  const reverse = memory.reverseMap(memory.pages.mapping[frame]!);
  return reverse?.overlapping(offset, offset + LARGE_FRAMES * PAGE_SIZE) ?? [];
};

function* freezeIn(memory: Memory, vma: Vma, frame: Pfn): Sleeps<void> {
  const { space } = vma;
  const head = memory.pages.headOf(frame);
  const first = offsetOf(memory, frame) / PAGE_SIZE;
  const at = vma.start + first * PAGE_SIZE - vma.offset;
  const start = virtAddr(Math.max(vma.start, at));
  const end = virtAddr(Math.min(vma.end, at + LARGE_FRAMES * PAGE_SIZE));
  assert(memory.pages.isLocked(head), () => `large page ${head} is unmapped without its lock`);
  assert(start < end, () => `large page ${head} is not where its reverse map has it`);
  const event = new Invalidation({ start, end, event: MMU_NOTIFY_CLEAR });
  yield* space.notifiers.change(event, () => {
    splitHugeEntry(space, vpnOf(start));
    for (let address = start as number; address < end; address += PAGE_SIZE) {
      freezeEntry(vma, vpnOf(virtAddr(address)), pfn(head + vma.indexOf(address) - first));
    }
  });
}

function isZero(memory: Memory, frame: Pfn): boolean {
  return memory.bytes.page(frame).every((byte) => byte === 0);
}

/** Every entry of `frame` names the zero page: what it holds is all there is to know. */
function mapZeroInstead(memory: Memory, frame: Pfn): void {
  for (const mapper of mappersOf(memory, frame)) replaceByZero(mapper, frame);
}

function replaceByZero({ vma, address }: Mapper, frame: Pfn): void {
  const page = vpnOf(address);
  const { cursor, pageTable } = vma.space;
  const pte = pageTable.get(page);
  if (!isMigration(pte) || ptePfn(pte) !== frame) return;
  const { pages } = vma.space.memory;
  assert(pages.isLocked(frame), () => `frame ${frame} is given up without its lock`);
  assert(pages.pins[frame] === 0, () => `frame ${frame} is given up while it is pinned`);
  cursor.begin();
  cursor.unmap(page);
  cursor.map(page, makePte(ZERO_PFN, presentFlags(vma, false)));
  cursor.flush();
}
