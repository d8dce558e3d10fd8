/**
 * Transparent huge pages: one entry for 2 MiB where the program asked for it, taken apart when a
 * part of it needs other treatment. Linux: mm/huge_memory.c.
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
import {
  LARGE_FRAMES,
  PG_ANON,
  PG_DIRTY,
  PG_EXCLUSIVE,
  PG_HUGETLB,
  PG_LARGE,
  ZERO_PFN,
} from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { presentFlags } from "../entry-flags.ts";
import { canReuse, clearFrame, faultWriteProtected } from "../fault/anonymous.ts";
import { clearLeafEvent } from "../fault/event.ts";
import { LEAF_KIND_NONE, leafEnd, leafStart } from "../page-table.ts";
import { makePte, PTE_HUGE, PTE_VALID, PTE_WRITE, ptePfn, withFlags } from "../pte.ts";
import { VM_HUGEPAGE, VM_NOHUGEPAGE, type Vma } from "../vma.ts";

const HUGE_FAULT = eventId("mm:huge-fault");
const HUGE_SPLIT = eventId("mm:huge-split");

/** Nothing is in the 2 MiB around `page`, not even a table, and a huge page is welcome there. */
export function mayMapHuge(space: AddressSpace, vma: Vma, page: Vpn): boolean {
  const { hugePages } = space.memory;
  if (hugePages === "never" || space.isIdentity) return false;
  if (hugePages === "madvise" && (vma.flags & VM_HUGEPAGE) === 0) return false;
  if (vma.flags & VM_NOHUGEPAGE || !vma.isAnonymous) return false;
  if (space.pageTable.kindOf(page) !== LEAF_KIND_NONE) return false;
  return vpnOf(vma.start) <= leafStart(page) && leafEnd(page) <= vpnOf(vma.end);
}

/** Maps the huge zero page to read, a cleared large page to write. False: no such run is free. */
export function faultHuge(space: AddressSpace, vma: Vma, page: Vpn, write: boolean): boolean {
  const { pages } = space.memory;
  const first = leafStart(page);
  const isWithin = vma.start <= addrOf(first) && addrOf(leafEnd(page)) <= vma.end;
  assert(isWithin, "a huge page would reach out of its Vma");
  assert(space.pageTable.kindOf(page) === LEAF_KIND_NONE, "a huge page would cover others");
  space.anonVmaOf(vma);
  if (!write) {
    const cursor = space.cursor.begin();
    cursor.mapHuge(first, makePte(ZERO_PFN, PTE_VALID | PTE_HUGE));
    cursor.flush();
    return true;
  }
  const head = allocLarge(space);
  if (head === 0) return false;
  for (let i = 0; i < LARGE_FRAMES; i++) {
    clearFrame(space, pfn(head + i));
    space.ownAnonymous(pfn(head + i), vma, vpn(first + i));
    pages.setFlag(pfn(head + i), PG_DIRTY);
  }
  const cursor = space.cursor.begin();
  cursor.mapHuge(first, makePte(head, presentFlags(vma, true) | PTE_HUGE));
  cursor.flush();
  putLarge(space, head);
  space.memory.tracer.emit(HUGE_FAULT, space.id, first, head);
  return true;
}

/** A charged large page with one reference each, or 0. */
function allocLarge(space: AddressSpace): Pfn | 0 {
  const { pages, group } = space.memory;
  const head = pages.allocLarge(space.ram);
  if (head === 0) return 0;
  assert(head % LARGE_FRAMES === 0, "a large page does not begin where one can");
  assert(pages.refs[head] === 1, "a large page is fresh and somebody has it");
  for (let i = 0; i < LARGE_FRAMES; i++) {
    if (pages.charge(pfn(head + i), group) >= 0) continue;
    putLarge(space, head);
    return 0;
  }
  return head;
}

function putLarge(space: AddressSpace, head: Pfn): void {
  const { pages } = space.memory;
  assert(pages.is(head, PG_LARGE), "a small page is given back as a large one");
  assert(pages.headOf(head) === head, "part of a large page is given back");
  for (let i = 0; i < LARGE_FRAMES; i++) pages.put(pfn(head + i));
}

/** A write to a huge page that is ours alone needs no copy: false when it is not. */
export function tryHugeWrite(space: AddressSpace, vma: Vma, page: Vpn): boolean {
  const first = leafStart(page);
  const entry = space.pageTable.get(first);
  const head = ptePfn(entry);
  const { pages } = space.memory;
  if (head === ZERO_PFN) return false;
  if (!canReuse(space, head)) {
    if (!isLoneOwnerOfLarge(space, head)) return false;
    for (let i = 0; i < LARGE_FRAMES; i++) space.reclaimAnonymous(pfn(head + i), vma);
  }
  assert((entry & PTE_VALID) !== 0, () => `huge page ${first} may be written and not be read`);
  assert(pages.is(head, PG_EXCLUSIVE), () => `huge page ${first} is written and not alone`);
  const cursor = space.cursor.begin();
  cursor.setHuge(first, withFlags(entry, PTE_WRITE, 0));
  cursor.flush();
  return true;
}

export function isLoneOwnerOfLarge(space: AddressSpace, head: Pfn): boolean {
  const { pages } = space.memory;
  if (pages.isLocked(head) || !pages.is(head, PG_ANON)) return false;
  // The pool keeps a reference to its own.
  const alone = pages.is(head, PG_HUGETLB) ? 2 : 1;
  for (let i = 0; i < LARGE_FRAMES; i++) if (pages.refs[head + i] !== alone) return false;
  return true;
}

/** A write to the huge zero page, or to one that is shared: only the small page is copied. */
export function* faultHugeWrite(space: AddressSpace, vma: Vma, page: Vpn): Sleeps<Result> {
  yield* splitHuge(space, page);
  const pte = space.pageTable.get(page);
  const isStill = (pte & (PTE_VALID | PTE_WRITE | PTE_HUGE)) === PTE_VALID;
  return isStill ? yield* faultWriteProtected(space, vma, page, pte) : 0;
}

/**
 * The huge entry around `page`, if there is one, becomes a table that says the same. Everybody is
 * told all the same: who keeps huge entries of its own must take them apart, too. Linux:
 * __split_huge_pmd().
 */
export function* splitHuge(space: AddressSpace, page: Vpn): Sleeps<void> {
  if (!space.pageTable.isHuge(page)) return;
  yield* space.notifiers.change(clearLeafEvent(page), () => splitHugeEntry(space, page));
}

/** The plain part; the caller's event covers the 2 MiB. */
export function splitHugeEntry(space: AddressSpace, page: Vpn): void {
  if (!space.pageTable.isHuge(page)) return;
  const before = space.pageTable.get(page);
  space.pageTable.splitHuge(page);
  assert(!space.pageTable.isHuge(page), () => `page ${page} is still part of a huge entry`);
  const after = space.pageTable.get(page);
  assert(ptePfn(before) === ptePfn(after), () => `page ${page} is another frame once it is small`);
  space.memory.tracer.emit(HUGE_SPLIT, space.id, leafStart(page), 0);
}

/** Before part of what is mapped goes: a huge entry may not reach across `page`. */
export function* splitHugeAt(space: AddressSpace, page: Vpn): Sleeps<void> {
  if (page !== leafStart(page)) yield* splitHuge(space, page);
}

/**
 * Before the Vma around `page` is cut there. Linux does not look whether the 2 MiB are one huge
 * entry: it tells everybody if there is anything at all. Linux: vma_adjust_trans_huge().
 */
export function* splitHugeForCut(space: AddressSpace, page: Vpn): Sleeps<void> {
  const first = leafStart(page);
  if (page === first || space.pageTable.kindOf(page) === LEAF_KIND_NONE) return;
  const vma = space.vmas.find(addrOf(page));
  if (vma === undefined || vma.start === addrOf(page)) return;
  if (vpnOf(vma.start) > first || leafEnd(page) > vpnOf(vma.end)) return;
  yield* space.notifiers.change(clearLeafEvent(page), () => splitHugeEntry(space, page));
}
