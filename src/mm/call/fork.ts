/**
 * fork: a second space that sees the same memory. Private pages are shared until somebody writes
 * them, wherever they live; exclusive ones become ordinary first. Linux: kernel/fork.c
 * dup_mmap(), mm/memory.c copy_page_range().
 */
import {
  assert,
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
import { splitHugeEntry } from "../large/huge.ts";
import {
  LEAF_KIND_TABLE,
  LEAF_USED,
  LEAF_VALID,
  LEAF_WRITABLE,
  leafEnd,
  leafStart,
} from "../page-table.ts";
import {
  hasFrame,
  isExclusive,
  isWritable,
  makePte,
  PTE_DEVICE_PRIVATE,
  PTE_FLAG_BITS,
  PTE_HUGE,
  PTE_NONE,
  PTE_VALID,
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

const PTE_FLAGS = (1 << PTE_FLAG_BITS) - 1;

/** One Vma and its copy. While entries are copied the pens of both page tables are out. */
interface Copy {
  readonly parent: AddressSpace;
  readonly child: AddressSpace;
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
      const copy = { parent, child, from, to: copyVma(from, child) };
      const result = yield* copyEntries(copy);
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
  const isOwn = from.anonVma === undefined || to.anonVma !== from.anonVma;
  assert(isOwn, "a child's copies would be listed as its parent's pages");
  assert(
    to.anonChain.length >= from.anonChain.length,
    "a child is not where its parent's pages are",
  );
  return to;
}

/** What a fault can find again in a file is not copied. */
const needsCopy = ({ from }: Copy): boolean =>
  from.anonVma !== undefined || (from.flags & (VM_PFNMAP | VM_MIXEDMAP)) !== 0;

function* copyEntries(copy: Copy): Sleeps<Result> {
  copy.parent.mmapLock.assertHeldWrite();
  if (!needsCopy(copy)) return 0;
  if (!copy.from.isCow) return copyPlain(copy);
  // The parent loses the right to write in place.
  const { start, end } = copy.from;
  const event = new Invalidation({ start, end, event: MMU_NOTIFY_PROTECTION_PAGE });
  let result: Result = 0;
  yield* copy.parent.notifiers.change(event, () => {
    result = copyPlain(copy);
  });
  return result;
}

function copyPlain(copy: Copy): Result {
  const table = copy.parent.pageTable;
  const start = vpnOf(copy.from.start);
  const end = vpnOf(copy.from.end);
  for (let page = leafStart(start); page < end; page = leafEnd(page)) {
    if (table.kindOf(page) === LEAF_KIND_TABLE) copy.child.pageTable.makeTable(page);
  }
  copy.parent.cursor.begin();
  copy.child.cursor.begin();
  let result: Result = 0;
  for (let page = table.nextUsed(start, end); page < end && result >= 0; ) {
    page = table.nextUsed(shareUsual(copy, page, vpn(Math.min(end, leafEnd(page)))), end);
    if (page >= end) break;
    const isWhole = table.isHuge(page);
    result = isWhole ? copyHuge(copy, page) : copyEntry(copy, page);
    page = table.nextUsed(isWhole && table.isHuge(page) ? leafEnd(page) : vpn(page + 1), end);
  }
  copy.parent.cursor.flush();
  copy.child.cursor.flush();
  return result;
}

/**
 * Pages of the usual kind from `page` on, in loops over columns without a call a page: anonymous,
 * in a table of entries, in memory or on a device, with no pin on them. Gives the first page that
 * is not, at most `end`, which is in the same leaf.
 */
function shareUsual({ parent, child, from }: Copy, page: Vpn, end: Vpn): Vpn {
  const words = parent.cursor.wordsOf(page);
  const copies = child.cursor.wordsOf(page);
  if (words === undefined || copies === undefined || !from.isCow) return page;
  const { flags, refs, mapcount, pins } = parent.memory.pages;
  const first = leafStart(page);
  const pteFlags = PTE_FLAGS;
  const isWrite = PTE_WRITE;
  const isValid = PTE_VALID;
  const isPrivate = PTE_DEVICE_PRIVATE;
  const pteShift = PTE_FLAG_BITS;
  const anon = PG_ANON;
  const exclusive = PG_EXCLUSIVE;
  let valid = 0;
  let device = 0;
  let writable = 0;
  let at = page - first;
  for (; at < end - first; at++) {
    const pte = words[at]!;
    if (pte === 0) continue;
    const kind = pte & pteFlags & ~isWrite;
    const frame = pte >>> pteShift;
    if (kind !== isValid && kind !== isPrivate) break;
    const state = flags[frame]!;
    if ((state & anon) === 0 || pins[frame] !== 0) break;
    assert(copies[at] === 0, "a page of the child is mapped");
    assert(mapcount[frame]! > 0, "a page that is shared counts no mapping");
    flags[frame] = state & ~exclusive;
    refs[frame] = refs[frame]! + 1;
    mapcount[frame] = mapcount[frame]! + 1;
    if ((pte & isWrite) !== 0) {
      words[at] = pte & ~isWrite;
      writable++;
    }
    copies[at] = pte & ~isWrite;
    if (kind === isValid) valid++;
    else device++;
  }
  if (writable > 0) {
    parent.pageTable.recount(page, LEAF_WRITABLE, -writable);
    parent.cursor.lost(page, vpn(first + at));
  }
  child.pageTable.recount(page, LEAF_USED, valid + device);
  child.pageTable.recount(page, LEAF_VALID, valid);
  child.cursor.gained(valid + device);
  return vpn(first + at);
}

/** The huge entry at `page`; taken apart, and its first page copied, when part of it is held. */
function copyHuge(copy: Copy, page: Vpn): Result {
  const { parent, child, from } = copy;
  const { pages } = parent.memory;
  const head = parent.pageTable.get(page);
  const first = ptePfn(head);
  if (first !== ZERO_PFN) {
    if (isHeld(parent, page)) {
      if (from.isHugetlb) return copyHeldHuge(copy, page);
      splitHugeEntry(parent, page);
      return copyEntry(copy, page);
    }
    for (let i = 0; i < LARGE_FRAMES; i++) pages.clearFlag(pfn(first + i), PG_EXCLUSIVE);
  }
  const shared = withFlags(head, 0, PTE_WRITE);
  assert(child.pageTable.get(page) === PTE_NONE, () => `page ${page} of the child is mapped`);
  assert(!pages.is(first, PG_EXCLUSIVE), () => `huge page ${page} is shared and exclusive`);
  parent.cursor.setHuge(page, shared);
  child.cursor.mapHuge(page, shared);
  return 0;
}

/** Somebody has a pin on part of the huge page at `page`. */
function isHeld(parent: AddressSpace, page: Vpn): boolean {
  const { pages } = parent.memory;
  const first = ptePfn(parent.pageTable.get(page));
  for (let i = 0; i < LARGE_FRAMES; i++) if (pages.pins[first + i]! > 0) return true;
  return false;
}

/** A page of the pool cannot be taken apart: the child gets one of its own, with the bytes. */
function copyHeldHuge({ parent, child, to }: Copy, page: Vpn): Result {
  const { bytes, hugetlb } = parent.memory;
  const first = ptePfn(parent.pageTable.get(page));
  const head = hugetlb.take(false);
  if (head === 0) return -ENOMEM;
  for (let i = 0; i < LARGE_FRAMES; i++) {
    bytes.copy(pfn(first + i), pfn(head + i));
    child.ownAnonymous(pfn(head + i), to, vpn(page + i));
  }
  assert(child.pageTable.get(page) === PTE_NONE, () => `page ${page} of the child is mapped`);
  assert(head !== first, () => `huge page ${page} is its own copy`);
  child.cursor.mapHuge(page, makePte(head, presentFlags(to, true) | PTE_HUGE));
  hugetlb.give(head);
  return 0;
}

function copyEntry(copy: Copy, page: Vpn): Result {
  const { parent, child, from } = copy;
  let pte = parent.pageTable.get(page);
  if (!hasFrame(pte)) return copySpecial(child, page, pte);
  if (isExclusive(pte)) {
    restoreExclusive(parent, from, page);
    pte = parent.pageTable.get(page);
  }
  const { pages } = parent.memory;
  const frame = ptePfn(pte);
  if (pages.is(frame, PG_ANON)) {
    if (pages.pins[frame]! > 0 && pages.is(frame, PG_EXCLUSIVE)) return copyHeld(copy, page, frame);
    pages.clearFlag(frame, PG_EXCLUSIVE);
  }
  const shared = from.isCow ? withFlags(pte, 0, PTE_WRITE) : pte;
  if (shared !== pte) parent.cursor.set(page, shared);
  assert(!from.isCow || !isWritable(shared), () => `page ${page} is shared and may be written`);
  child.cursor.map(page, shared);
  return 0;
}

/** No frame behind it: a swapped page is shared, anything else is as bad for the child. */
function copySpecial(child: AddressSpace, page: Vpn, pte: Pte): Result {
  if (specialOf(pte) === SPECIAL_SWAP) child.memory.swap.get(swapSlotOf(pte));
  assert(specialOf(pte) !== 0, () => `entry ${pte.toString(16)} has no frame and is not special`);
  assert(child.cursor.get(page) === PTE_NONE, () => `page ${page} of the child is mapped`);
  child.cursor.set(page, pte);
  return 0;
}

/** Somebody writes the page through a pin: it stays the parent's, the child gets a copy now. */
function copyHeld({ child, to }: Copy, page: Vpn, frame: Pfn): Result {
  const { bytes, pages } = child.memory;
  const copy = child.allocFrame(page);
  if (copy === 0) return -ENOMEM;
  assert(copy !== frame, () => `page ${page} is its own copy`);
  assert(pages.pins[frame]! > 0, () => `page ${page} is copied at fork and nobody holds it`);
  bytes.copy(frame, copy);
  child.ownAnonymous(copy, to, page);
  child.cursor.map(page, makePte(copy, presentFlags(to, true)));
  pages.put(copy);
  return 0;
}
