/** madvise: what the program needs and does not need. Linux: mm/madvise.c. */
import {
  addrOf,
  assert,
  EACCES,
  EFAULT,
  EINVAL,
  ENOMEM,
  isPageAligned,
  isPageRange,
  type Result,
  type VirtAddr,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../notifier/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { handleMmFault } from "../fault/fault.ts";
import { FAULT_REMOTE, FAULT_WRITE, permits } from "../fault/flags.ts";
import { splitHugeAt, splitHugeForCut } from "../large/huge.ts";
import {
  makeSpecial,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  SPECIAL_GUARD,
  SPECIAL_SWAP,
  specialOf,
} from "../pte.ts";
import { evictRange } from "../swap/reclaim.ts";
import {
  VM_HUGEPAGE,
  VM_HUGETLB,
  VM_IO,
  VM_MAYWRITE,
  VM_NOHUGEPAGE,
  VM_PFNMAP,
  VM_SPECIAL,
  type Vma,
} from "../vma.ts";
import { VM_HINTS } from "../vma-hints.ts";
import { changeFlags } from "./protect.ts";
import { HUGE_BYTES, pageEnd, splitsHugetlb } from "./range.ts";

const MADVISE = eventId("mm:madvise");

/** What a program may say about a range; names and meanings as in madvise(2). */
export const Advice = {
  /** The content is not needed any more: the next touch finds zeros, or the file. */
  dontNeed: "dontneed",
  /** The pages of a shared mapping and of the memory behind it are zeros again. */
  remove: "remove",
  /** Soon needed: read it into the cache, bring swapped pages back. */
  willNeed: "willneed",
  hugePage: "hugepage",
  noHugePage: "nohugepage",
  /** Fault everything in, as if it were read, or written. */
  populateRead: "populate_read",
  populateWrite: "populate_write",
  /** Not needed for long: may go to swap now. */
  pageOut: "pageout",
  /** Any touch is a SIGSEGV from now on, without a Vma for it. */
  guardInstall: "guard_install",
  guardRemove: "guard_remove",
} as const;
export type Advice = (typeof Advice)[keyof typeof Advice];

/** One Vma's part of a call: 0 or a negated errno, which ends the call. */
type Visit = (space: AddressSpace, vma: Vma, start: VirtAddr, end: VirtAddr) => Sleeps<Result>;

/**
 * madvise(2). 0; -EINVAL (unaligned start, or advice that the mapping cannot take), -ENOMEM (a
 * hole: the rest is done all the same), -EACCES, -EFAULT (a page cannot be populated).
 */
export function* madvise(
  space: AddressSpace,
  start: VirtAddr,
  bytes: number,
  advice: Advice,
): Sleeps<Result> {
  if (!isPageAligned(start)) return -EINVAL;
  if (bytes === 0) return 0;
  const end = pageEnd(start, bytes);
  if (!isPageRange(start, end)) return -EINVAL;
  space.memory.tracer.emit(MADVISE, space.id, vpnOf(start), vpnOf(end) - vpnOf(start));
  if (advice === Advice.populateRead || advice === Advice.populateWrite) {
    return yield* populate(space, start, end, advice === Advice.populateWrite ? FAULT_WRITE : 0);
  }
  // Linux reads the lock for most of these; written, so that nothing is on its way meanwhile.
  using _mmap = yield* space.mmapLock.acquireWrite();
  return yield* walkVmas(space, start, end, VISITS[advice]);
}

/** Which hints (of VM_HINTS) a range gets, and which it has no more. */
interface Hints {
  readonly set: number;
  readonly clear: number;
}

/**
 * Hints about who will access [start, start + bytes): whole pages. 0; -EINVAL (unaligned start),
 * -ENOMEM (a hole: the rest has them all the same). CUDA: cudaMemAdvise().
 */
export function* adviseAccess(
  space: AddressSpace,
  start: VirtAddr,
  bytes: number,
  { set, clear }: Hints,
): Sleeps<Result> {
  assert(((set | clear) & ~VM_HINTS) === 0, "a hint changes what a mapping is");
  if (!isPageAligned(start)) return -EINVAL;
  if (bytes === 0) return 0;
  const end = pageEnd(start, bytes);
  if (!isPageRange(start, end)) return -EINVAL;
  space.memory.tracer.emit(MADVISE, space.id, vpnOf(start), vpnOf(end) - vpnOf(start));
  using _mmap = yield* space.mmapLock.acquireWrite();
  return yield* walkVmas(space, start, end, (_space, vma, from, to) =>
    setFlags(space, vma, { start: from, end: to }, (vma.flags & ~clear) | set),
  );
}

/** MADV_DONTNEED: see `madvise`. */
export const madviseDontNeed = (
  space: AddressSpace,
  start: VirtAddr,
  bytes: number,
): Sleeps<Result> => madvise(space, start, bytes, Advice.dontNeed);

/** Holes are passed over and reported at the end; an error ends the walk. */
function* walkVmas(
  space: AddressSpace,
  start: VirtAddr,
  end: VirtAddr,
  visit: Visit,
): Sleeps<Result> {
  let at = start;
  let hole: Result = 0;
  while (at < end) {
    const vma = space.vmas.findNext(at);
    if (vma === undefined || vma.start >= end) return -ENOMEM;
    if (vma.start > at) hole = -ENOMEM;
    const from = virtAddr(Math.max(at, vma.start));
    const to = virtAddr(Math.min(end, vma.end));
    assert(from < to, "advice is given to no page of a Vma");
    const result = yield* visit(space, vma, from, to);
    if (result < 0) return result;
    at = to;
  }
  return hole;
}

const VISITS: Readonly<Record<Exclude<Advice, "populate_read" | "populate_write">, Visit>> = {
  dontneed: dontNeed,
  remove,
  willneed: willNeed,
  hugepage: (space, vma, start, end) =>
    setFlags(space, vma, { start, end }, (vma.flags & ~VM_NOHUGEPAGE) | VM_HUGEPAGE),
  nohugepage: (space, vma, start, end) =>
    setFlags(space, vma, { start, end }, (vma.flags & ~VM_HUGEPAGE) | VM_NOHUGEPAGE),
  *pageout(space, vma, start, end) {
    if (vma.flags & (VM_PFNMAP | VM_HUGETLB)) return -EINVAL;
    yield* evictRange(space, vpnOf(start), vpnOf(end));
    return 0;
  },
  guard_install: installGuards,
  *guard_remove(space, vma, start, end) {
    if (vma.flags & VM_SPECIAL) return -EINVAL;
    yield* splitHugeAt(space, vpnOf(start));
    yield* splitHugeAt(space, vpnOf(end));
    const cursor = space.cursor.begin();
    cursor.clearRange(vpnOf(start), vpnOf(end), (pte) => !isGuard(pte));
    cursor.flush();
    return 0;
  },
};

function* dontNeed(
  space: AddressSpace,
  vma: Vma,
  start: VirtAddr,
  wanted: VirtAddr,
): Sleeps<Result> {
  if (vma.flags & VM_PFNMAP) return -EINVAL;
  if (vma.isHugetlb && start % HUGE_BYTES !== 0) return -EINVAL;
  const end = vma.isHugetlb ? virtAddr(wanted - (wanted % HUGE_BYTES)) : wanted;
  if (start >= end) return 0;
  const mapped = vma.isHugetlb ? mappedHuge(space, start, end) : [];
  yield* zapRange(space, start, end);
  for (const address of mapped) vma.restoreReserved(address);
  return 0;
}

/** Huge pages of the pool that are mapped in [start, end), and nowhere else. */
function mappedHuge(space: AddressSpace, start: VirtAddr, end: VirtAddr): VirtAddr[] {
  const mapped: VirtAddr[] = [];
  for (let at = start; at < end; at = virtAddr(at + HUGE_BYTES)) {
    const pte = space.pageTable.get(vpnOf(at));
    if (pte !== PTE_NONE && space.memory.pages.mapcount[ptePfn(pte)] === 1) mapped.push(at);
  }
  return mapped;
}

const isGuard = (pte: Pte): boolean => specialOf(pte) === SPECIAL_GUARD;

/** Empties [start, end), which lies within one Vma; guards stay. Linux: zap_page_range_single(). */
function* zapRange(space: AddressSpace, start: VirtAddr, end: VirtAddr): Sleeps<void> {
  space.mmapLock.assertHeldWrite();
  assert(start < end, "a range without pages is emptied");
  const event = new Invalidation({ start, end, event: MMU_NOTIFY_CLEAR });
  yield* splitHugeAt(space, vpnOf(start));
  yield* splitHugeAt(space, vpnOf(end));
  space.catchUp(vpnOf(start), vpnOf(end), true);
  yield* space.notifiers.change(event, () => {
    const cursor = space.cursor.begin();
    cursor.clearRange(vpnOf(start), vpnOf(end), isGuard);
    cursor.flush();
  });
}

function* remove(_space: AddressSpace, vma: Vma, start: VirtAddr, end: VirtAddr): Sleeps<Result> {
  const { file } = vma;
  if (file === undefined) return vma.isHugetlb ? -EACCES : -EINVAL;
  if (!vma.isShared || (vma.flags & VM_MAYWRITE) === 0) return -EACCES;
  const offset = vma.offset + (start - vma.start);
  return yield* file.punchHole(offset, offset + (end - start));
}

function* willNeed(space: AddressSpace, vma: Vma, start: VirtAddr, end: VirtAddr): Sleeps<Result> {
  for (let page = vpnOf(start); page < vpnOf(end); page = vpn(page + 1)) {
    const pte = space.pageTable.get(page);
    if (specialOf(pte) === SPECIAL_SWAP) {
      const result = yield* handleMmFault(space, vma, page, FAULT_REMOTE);
      if (result < 0) return 0;
    } else if (vma.file !== undefined && pte === PTE_NONE) {
      const index = vma.indexOf(addrOf(page));
      // A hint: what cannot be read now will say so when it is touched.
      if (index < vma.file.pageCount && vma.file.load(index) < 0) return 0;
    }
  }
  return 0;
}

function* setFlags(
  space: AddressSpace,
  vma: Vma,
  part: { readonly start: VirtAddr; readonly end: VirtAddr },
  flags: number,
): Sleeps<Result> {
  if (flags === vma.flags) return 0;
  if (splitsHugetlb(space, part.start) || splitsHugetlb(space, part.end)) return -EINVAL;
  yield* splitHugeForCut(space, vpnOf(part.start));
  yield* splitHugeForCut(space, vpnOf(part.end));
  changeFlags(space, part, flags);
  return 0;
}

function* installGuards(
  space: AddressSpace,
  vma: Vma,
  start: VirtAddr,
  end: VirtAddr,
): Sleeps<Result> {
  if (vma.flags & VM_SPECIAL) return -EINVAL;
  yield* zapRange(space, start, end);
  // A guard is kept at fork: the table must be copied.
  const anon = space.anonVmaOf(vma);
  assert(vma.anonVma === anon, "a Vma with guards has no reverse map, and fork would lose them");
  assert(vma.start <= start && end <= vma.end, "guards are put outside their Vma");
  const cursor = space.cursor.begin();
  for (let page = vpnOf(start); page < vpnOf(end); page = vpn(page + 1)) {
    if (cursor.get(page) === PTE_NONE) cursor.set(page, makeSpecial(SPECIAL_GUARD));
  }
  cursor.flush();
  return 0;
}

/** MADV_POPULATE_(READ|WRITE): faults pages in until one fails. */
function* populate(
  space: AddressSpace,
  start: VirtAddr,
  end: VirtAddr,
  flags: number,
): Sleeps<Result> {
  using _mmap = yield* space.mmapLock.acquireRead();
  const need = PTE_VALID | (flags & FAULT_WRITE ? PTE_WRITE : 0);
  for (let page = vpnOf(start); page < vpnOf(end); ) {
    const vma = space.vmas.find(addrOf(page));
    if (vma === undefined) return -ENOMEM;
    if (vma.flags & (VM_IO | VM_PFNMAP) || !permits(vma, flags)) return -EINVAL;
    if ((space.pageTable.get(page) & need) === need) {
      page = vpn(page + 1);
      continue;
    }
    const result = yield* handleMmFault(space, vma, page, flags | FAULT_REMOTE);
    if (result === -ENOMEM) return result;
    if (result < 0) return -EFAULT;
  }
  return 0;
}
