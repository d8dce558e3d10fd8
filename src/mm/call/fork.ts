/**
 * fork: a second space that sees the same memory. Private pages are shared until somebody writes
 * them, wherever they live; exclusive ones become ordinary first. Linux: kernel/fork.c
 * dup_mmap(), mm/memory.c copy_page_range().
 */
import {
  ENOMEM,
  EOPNOTSUPP,
  type Pfn,
  pfn,
  type Result,
  type Vpn,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { Invalidation, MMU_NOTIFY_PROTECTION_PAGE } from "../../notifier/index.ts";
import { LARGE_FRAMES, PG_ANON, PG_EXCLUSIVE, ZERO_PFN } from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import { AddressSpace } from "../address-space.ts";
import { presentFlags } from "../entry-flags.ts";
import { restoreExclusive } from "../fault/device.ts";
import { splitHugeEntry } from "../fault/huge.ts";
import { LEAF_KIND_TABLE, leafEnd, leafStart } from "../page-table.ts";
import {
  hasFrame,
  isExclusive,
  makePte,
  PTE_HUGE,
  PTE_WRITE,
  type Pte,
  ptePfn,
  SPECIAL_SWAP,
  specialOf,
  swapSlotOf,
  withFlags,
} from "../pte.ts";
import { VM_DONTCOPY, VM_MIXEDMAP, VM_PFNMAP, Vma } from "../vma.ts";
import { mmputAsync } from "./exit.ts";

const FORK = eventId("mm:fork");

/** One Vma and its copy. */
interface Pair {
  readonly from: Vma;
  readonly to: Vma;
}

/**
 * A copy of `parent` with one user, who gives it back by `mmput`. -ENOMEM, and nothing is left of
 * it; -EOPNOTSUPP for a window, whose pages have no second place.
 */
export function* fork(parent: AddressSpace): Sleeps<AddressSpace | Result> {
  if (parent.isIdentity) return -EOPNOTSUPP;
  const child = new AddressSpace(parent.memory);
  let isComplete = false;
  try {
    using _mmap = yield* parent.mmapLock.acquireWrite();
    for (const from of [...parent.vmas.all]) {
      if (from.flags & VM_DONTCOPY) continue;
      const pair = { from, to: copyVma(from, child) };
      const result = yield* copyEntries(parent, child, pair);
      if (result < 0) return result;
    }
    isComplete = true;
    parent.memory.tracer.emit(FORK, parent.id, child.id, 0);
    return child;
  } finally {
    if (!isComplete) mmputAsync(child);
  }
}

/** In all reverse maps of its parent, plus one of its own for what it will copy. */
function copyVma(from: Vma, child: AddressSpace): Vma {
  const { file, offset } = from;
  const to = new Vma(from, from.flags, { space: child, file, offset });
  if (from.anonVma !== undefined) {
    for (const anon of from.anonChain) to.joinAnon(anon);
    const own = child.memory.newAnonVma(from.anonVma.root);
    to.anonVma = own;
    to.joinAnon(own);
  }
  to.link();
  child.vmas.insert(to);
  return to;
}

/** What a fault can find again in a file is not copied. */
const needsCopy = ({ from }: Pair): boolean =>
  from.anonVma !== undefined || (from.flags & (VM_PFNMAP | VM_MIXEDMAP)) !== 0;

function* copyEntries(parent: AddressSpace, child: AddressSpace, pair: Pair): Sleeps<Result> {
  if (!needsCopy(pair)) return 0;
  if (!pair.from.isCow) return copyPlain(parent, child, pair);
  // The parent loses the right to write in place.
  const { start, end } = pair.from;
  const event = new Invalidation({ start, end, event: MMU_NOTIFY_PROTECTION_PAGE });
  yield* parent.notifiers.start(event);
  const result = copyPlain(parent, child, pair);
  parent.notifiers.end(event);
  return result;
}

function copyPlain(parent: AddressSpace, child: AddressSpace, pair: Pair): Result {
  const table = parent.pageTable;
  const start = vpnOf(pair.from.start);
  const end = vpnOf(pair.from.end);
  for (let page = leafStart(start); page < end; page = leafEnd(page)) {
    if (table.kindOf(page) === LEAF_KIND_TABLE) child.pageTable.makeTable(page);
  }
  for (let page = table.nextUsed(start, end); page < end; ) {
    if (pair.from.isHugetlb && isHeld(parent, page)) {
      const result = copyHeldHuge(parent, child, pair.to, page);
      if (result < 0) return result;
      page = table.nextUsed(leafEnd(page), end);
      continue;
    }
    if (table.isHuge(page) && copyHuge(parent, child, page)) {
      page = table.nextUsed(leafEnd(page), end);
      continue;
    }
    splitHugeEntry(parent, page);
    const result = copyEntry(parent, child, pair, page);
    if (result < 0) return result;
    page = table.nextUsed(vpn(page + 1), end);
  }
  return 0;
}

/** False when part of it is held by somebody: then it is taken apart and copied page by page. */
function copyHuge(parent: AddressSpace, child: AddressSpace, page: Vpn): boolean {
  const { pages } = parent.memory;
  const head = parent.pageTable.get(page);
  const first = ptePfn(head);
  if (first !== ZERO_PFN) {
    if (isHeld(parent, page)) return false;
    for (let i = 0; i < LARGE_FRAMES; i++) pages.clearFlag(pfn(first + i), PG_EXCLUSIVE);
  }
  const shared = withFlags(head, 0, PTE_WRITE);
  const ours = parent.cursor.begin();
  ours.setHuge(page, shared);
  ours.flush();
  const theirs = child.cursor.begin();
  theirs.mapHuge(page, shared);
  theirs.flush();
  return true;
}

/** Somebody has a pin on part of the huge page at `page`. */
function isHeld(parent: AddressSpace, page: Vpn): boolean {
  const { pages } = parent.memory;
  const first = ptePfn(parent.pageTable.get(page));
  for (let i = 0; i < LARGE_FRAMES; i++) if (pages.pins[first + i]! > 0) return true;
  return false;
}

/** A page of the pool cannot be taken apart: the child gets one of its own, with the bytes. */
function copyHeldHuge(parent: AddressSpace, child: AddressSpace, vma: Vma, page: Vpn): Result {
  const { bytes, hugetlb } = parent.memory;
  const first = ptePfn(parent.pageTable.get(page));
  const head = hugetlb.take(false);
  if (head === 0) return -ENOMEM;
  for (let i = 0; i < LARGE_FRAMES; i++) {
    bytes.copy(pfn(first + i), pfn(head + i));
    child.ownAnonymous(pfn(head + i), vma, vpn(page + i));
  }
  const cursor = child.cursor.begin();
  cursor.mapHuge(page, makePte(head, presentFlags(vma, true) | PTE_HUGE));
  cursor.flush();
  hugetlb.give(head);
  return 0;
}

function copyEntry(parent: AddressSpace, child: AddressSpace, pair: Pair, page: Vpn): Result {
  if (isExclusive(parent.pageTable.get(page))) restoreExclusive(parent, pair.from, page);
  const pte = parent.pageTable.get(page);
  if (!hasFrame(pte)) return copySpecial(child, page, pte);
  const { pages } = parent.memory;
  const frame = ptePfn(pte);
  if (pages.is(frame, PG_ANON)) {
    const isHeld = pages.pins[frame]! > 0 && pages.is(frame, PG_EXCLUSIVE);
    if (isHeld) return copyHeld(child, pair.to, page, frame);
    pages.clearFlag(frame, PG_EXCLUSIVE);
  }
  const shared = pair.from.isCow ? withFlags(pte, 0, PTE_WRITE) : pte;
  if (shared !== pte) {
    const ours = parent.cursor.begin();
    ours.set(page, shared);
    ours.flush();
  }
  const theirs = child.cursor.begin();
  theirs.map(page, shared);
  theirs.flush();
  return 0;
}

/** No frame behind it: a swapped page is shared, anything else is as bad for the child. */
function copySpecial(child: AddressSpace, page: Vpn, pte: Pte): Result {
  if (specialOf(pte) === SPECIAL_SWAP) child.memory.swap.get(swapSlotOf(pte));
  const cursor = child.cursor.begin();
  cursor.set(page, pte);
  cursor.flush();
  return 0;
}

/** Somebody writes the page through a pin: it stays the parent's, the child gets a copy now. */
function copyHeld(child: AddressSpace, vma: Vma, page: Vpn, frame: Pfn): Result {
  const { bytes, pages } = child.memory;
  const copy = child.allocFrame(page);
  if (copy === 0) return -ENOMEM;
  bytes.copy(frame, copy);
  child.ownAnonymous(copy, vma, page);
  const cursor = child.cursor.begin();
  cursor.map(page, makePte(copy, presentFlags(vma, true)));
  cursor.flush();
  pages.put(copy);
  return 0;
}
