/**
 * Mappings made of pages of the pool: the same faults as anywhere, 2 MiB at a time, and never
 * taken apart. Linux: mm/hugetlb.c hugetlb_fault().
 */
import {
  addrOf,
  assert,
  type Pfn,
  pfn,
  type Result,
  type Vpn,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { LARGE_FRAMES, PG_DIRTY } from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { presentFlags } from "../entry-flags.ts";
import { clearFrame } from "../fault/anonymous.ts";
import { clearLeafEvent } from "../fault/event.ts";
import { FAULT_SIGBUS } from "../fault/flags.ts";
import { mappersOf } from "../migration-entries.ts";
import { leafEnd, leafStart } from "../page-table.ts";
import { isWritable, makePte, PTE_HUGE, PTE_WRITE, ptePfn, withFlags } from "../pte.ts";
import type { Vma } from "../vma.ts";
import { isLoneOwnerOfLarge } from "./huge.ts";

/** The first touch: a cleared page, read-only after a read so that the first write is seen. */
export function faultHugetlb(space: AddressSpace, vma: Vma, page: Vpn, write: boolean): Result {
  const { pages, hugetlb } = space.memory;
  const first = leafStart(page);
  assert(vma.isHugetlb, "a page of the pool is mapped where none was asked for");
  const isWithin = vma.start <= addrOf(first) && addrOf(leafEnd(page)) <= vma.end;
  assert(isWithin, "a page of the pool would reach out of its Vma");
  const head = hugetlb.take(vma.takeReserved(addrOf(first)));
  if (head === 0) return FAULT_SIGBUS;
  for (let i = 0; i < LARGE_FRAMES; i++) {
    clearFrame(space, pfn(head + i));
    space.ownAnonymous(pfn(head + i), vma, vpn(first + i));
    if (write) pages.setFlag(pfn(head + i), PG_DIRTY);
  }
  const cursor = space.cursor.begin();
  cursor.mapHuge(first, makePte(head, presentFlags(vma, write) | PTE_HUGE));
  cursor.flush();
  hugetlb.give(head);
  return 0;
}

/** A write to a page that nobody else maps (any more). */
export function tryHugetlbWrite(space: AddressSpace, vma: Vma, page: Vpn): boolean {
  const first = leafStart(page);
  const entry = space.pageTable.get(first);
  const head = ptePfn(entry);
  assert(vma.isHugetlb, "a huge page outside the pool is written as if it were of it");
  if (!isLoneOwnerOfLarge(space, head)) return false;
  assert(space.memory.pages.mapcount[head] === 1, () => `frame ${head} is another's, too`);
  for (let i = 0; i < LARGE_FRAMES; i++) space.reclaimAnonymous(pfn(head + i), vma);
  const cursor = space.cursor.begin();
  cursor.setHuge(first, withFlags(entry, PTE_WRITE, 0));
  cursor.flush();
  return true;
}

/** A write to a page that is shared after fork: a copy from the pool, or SIGBUS. */
export function* copyHugetlb(space: AddressSpace, vma: Vma, page: Vpn): Sleeps<Result> {
  const { bytes, hugetlb, pages } = space.memory;
  const first = leafStart(page);
  const entry = space.pageTable.get(first);
  const old = ptePfn(entry);
  const head = hugetlb.take(vma.takeReserved(addrOf(first)));
  if (head === 0) return yield* takeFromOthers(vma, old);
  assert(head !== old, () => `huge page ${first} is its own copy`);
  assert(!isWritable(entry), () => `huge page ${first} is copied and may be written in place`);
  for (let i = 0; i < LARGE_FRAMES; i++) bytes.copy(pfn(old + i), pfn(head + i));
  try {
    return yield* space.notifiers.change(clearLeafEvent(page), () => {
      if (space.pageTable.get(first) !== entry) return;
      for (let i = 0; i < LARGE_FRAMES; i++) {
        space.ownAnonymous(pfn(head + i), vma, vpn(first + i));
        pages.setFlag(pfn(head + i), PG_DIRTY);
      }
      const cursor = space.cursor.begin();
      cursor.unmapHuge(first);
      cursor.mapHuge(first, makePte(head, presentFlags(vma, true) | PTE_HUGE));
      cursor.flush();
    });
  } finally {
    hugetlb.give(head);
  }
}

/**
 * Who was promised huge pages gets by without another one: children that share this one lose it,
 * and their next touch may be a SIGBUS. Linux: unmap_ref_private().
 */
function* takeFromOthers(vma: Vma, head: Pfn): Sleeps<Result> {
  if (vma.reservation === undefined) return FAULT_SIGBUS;
  for (const { vma: other, address } of mappersOf(vma.space.memory, head)) {
    if (other.reservation !== undefined) continue;
    const { cursor, notifiers, pageTable } = other.space;
    yield* notifiers.change(clearLeafEvent(vpnOf(address)), () => {
      if (ptePfn(pageTable.get(vpnOf(address))) !== head) return;
      cursor.begin().unmapHuge(vpnOf(address));
      cursor.flush();
    });
  }
  return isLoneOwnerOfLarge(vma.space, head) ? 0 : FAULT_SIGBUS;
}
