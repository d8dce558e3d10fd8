/**
 * Copying the fact into words for a device: a plain walk that looks, and a loop around it that
 * faults in what was requested and is missing. Linux: mm/hmm.c hmm_range_fault().
 */
import {
  addrOf,
  assert,
  EAGAIN,
  EBUSY,
  EFAULT,
  EINVAL,
  ENOMEM,
  EPERM,
  isPageRange,
  type Result,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../base/index.ts";
import {
  type AddressSpace,
  asPte,
  FAULT_REMOTE,
  FAULT_WRITE,
  handleMmFault,
  isDevicePrivate,
  isMigration,
  LEAF_PAGES,
  PTE_DEVICE_PRIVATE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  tryFault,
  VM_IO,
  VM_PFNMAP,
  VM_READ,
  VM_WRITE,
  type Vma,
} from "../mm/index.ts";
import { type Sleeps, YIELD } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import {
  HMM_PFN_ERROR,
  HMM_PFN_INOUT_FLAGS,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  type HmmRange,
} from "./hmm-range.ts";
import { copyFull, copyMixed, isKnown, OUTPUT_MASK, type WordRun } from "./word-run.ts";

const FAULT = eventId("hmm:fault");
const RETRY = eventId("hmm:retry");

/** Private to the walk and its loop: pages have to be faulted in first. */
const PENDING = 1;

interface RangeWalk {
  /** The first page that is not final yet. */
  next: Vpn;
  /** Where to fault, when the walk says PENDING. */
  faultStart: Vpn;
  faultEnd: Vpn;
  vma: Vma | undefined;
}

/**
 * Fills `range.pfns`. The caller sampled `range.notifierSeq` and holds mmapLock for reading,
 * which is kept. 0, or: -EBUSY (an invalidation came: sample again), -EFAULT (a requested page
 * is not there or may not be read), -EPERM (may not be written), -EINVAL, -ENOMEM. After an
 * error the words up to the page that failed are output, the rest is as it was.
 */
export function* hmmRangeFault(space: AddressSpace, range: HmmRange): Sleeps<Result> {
  const walk = newWalk();
  const looked = look(space, range, walk);
  const result = looked === PENDING ? yield* faultAndLook(space, range, walk) : looked;
  range.last = walk.next;
  return result;
}

/**
 * The same for code that may not sleep. -EAGAIN: it would have to, so nothing that is in
 * `range.pfns` from `range.last` on can be trusted. Linux 5.2: hmm_range_fault(block=false).
 */
export function tryHmmRangeFault(space: AddressSpace, range: HmmRange): Result {
  const walk = newWalk();
  let result = look(space, range, walk);
  while (result === PENDING) {
    result = tryFaultIn(space, range, walk);
    if (result === 0) result = lookOn(space, range, walk);
  }
  range.last = walk.next;
  return result;
}

const newWalk = (): RangeWalk => ({
  next: vpn(-1),
  faultStart: vpn(0),
  faultEnd: vpn(0),
  vma: undefined,
});

function look(space: AddressSpace, range: HmmRange, walk: RangeWalk): Result {
  space.mmapLock.assertHeld();
  if (!isPageRange(range.start, range.end)) return -EINVAL;
  walk.next = vpnOf(range.start);
  assert(range.pfns.length >= vpnOf(range.end) - walk.next, "range.pfns is too short");
  assert((stickyOf(range) & ~HMM_PFN_INOUT_FLAGS) === 0, "only sticky flags are kept");
  return lookOn(space, range, walk);
}

function lookOn(space: AddressSpace, range: HmmRange, walk: RangeWalk): Result {
  if (range.notifier.readRetry(range.notifierSeq)) {
    space.memory.tracer.emit(RETRY, space.id, walk.next, vpnOf(range.end) - walk.next);
    return -EBUSY;
  }
  return walkRange(space, range, walk);
}

function* faultAndLook(space: AddressSpace, range: HmmRange, walk: RangeWalk): Sleeps<Result> {
  for (;;) {
    const faulted = yield* faultIn(space, range, walk);
    if (faulted < 0) return faulted;
    const looked = lookOn(space, range, walk);
    if (looked !== PENDING) return looked;
  }
}

function* faultIn(space: AddressSpace, range: HmmRange, walk: RangeWalk): Sleeps<Result> {
  const vma = walk.vma!;
  traceFault(space, walk);
  for (let page = walk.faultStart; page < walk.faultEnd; page = vpn(page + 1)) {
    const flags = faultFlagsAt(space, range, vma, page);
    if (flags === 0 || tryFault(space, vma, page, flags) === 0) continue;
    const result = yield* handleMmFault(space, vma, page, flags);
    if (result < 0) return failAt(space, range, walk, { page, result });
    // Somebody holds what cannot move: without a pause that one never gets to let go of it.
    const request = requestOf(range, page - vpnOf(range.start));
    const pte = space.pageTable.get(page);
    if (lacks(range, pte, wordOf(space, range, pte), request)) yield YIELD;
  }
  return 0;
}

function tryFaultIn(space: AddressSpace, range: HmmRange, walk: RangeWalk): Result {
  const vma = walk.vma!;
  traceFault(space, walk);
  for (let page = walk.faultStart; page < walk.faultEnd; page = vpn(page + 1)) {
    const flags = faultFlagsAt(space, range, vma, page);
    if (flags === 0) continue;
    const result = tryFault(space, vma, page, flags);
    if (result > 0 || (result === -ENOMEM && space.memory.canReclaim)) return -EAGAIN;
    if (result < 0) return failAt(space, range, walk, { page, result });
  }
  return 0;
}

/**
 * How to fault `page`; 0 not to. When all pages have the same request, the rest of the leaf is
 * faulted in as its first missing page needs it, as in Linux: pages of the caller's own come home
 * with it. When each has its own, so does Linux (even what nobody requested); here each is faulted
 * as it is requested if it lacks that. A write that `vma` forbids is left to the walk, which stops.
 */
function faultFlagsAt(space: AddressSpace, range: HmmRange, vma: Vma, page: Vpn): number {
  const request = requestOf(range, page - vpnOf(range.start));
  if (range.pfnFlagsMask !== 0) {
    if ((request & HMM_PFN_REQ_FAULT) === 0) return 0;
    const pte = space.pageTable.get(page);
    if (!lacks(range, pte, wordOf(space, range, pte), request)) return 0;
  }
  if ((request & HMM_PFN_REQ_WRITE) === 0) return FAULT_REMOTE;
  return vma.allows(VM_WRITE) ? FAULT_REMOTE | FAULT_WRITE : 0;
}

function traceFault(space: AddressSpace, walk: RangeWalk): void {
  space.memory.tracer.emit(FAULT, space.id, walk.faultStart, walk.faultEnd - walk.faultStart);
}

/** The pages before the one that failed were faulted in: they are still reported. */
function failAt(
  space: AddressSpace,
  range: HmmRange,
  walk: RangeWalk,
  { page, result }: { readonly page: Vpn; readonly result: Result },
): Result {
  if (page > walk.next) walkVma(space, range, walk, { vma: walk.vma!, end: page });
  return result === -ENOMEM ? result : -EFAULT;
}

/** Looks, from `walk.next` on, at one Vma or hole after the other. Never sleeps. */
function walkRange(space: AddressSpace, range: HmmRange, walk: RangeWalk): Result {
  const end = vpnOf(range.end);
  while (walk.next < end) {
    const address = addrOf(walk.next);
    const vma = space.vmas.findNext(address);
    const isInside = vma !== undefined && vma.start <= address;
    const stop = isInside ? vma.end : (vma?.start ?? range.end);
    const partEnd = vpnOf(virtAddr(Math.min(stop, range.end)));
    const result =
      isInside && vma.allows(VM_READ) && (vma.flags & (VM_IO | VM_PFNMAP)) === 0
        ? walkVma(space, range, walk, { vma, end: partEnd })
        : fillError(range, walk, partEnd);
    if (result !== 0) return result;
  }
  return 0;
}

/** No memory that a device may see: an error for whoever asked, a note for whoever did not. */
function fillError(range: HmmRange, walk: RangeWalk, end: Vpn): Result {
  const first = vpnOf(range.start);
  for (let page = walk.next; page < end; page = vpn(page + 1)) {
    if (requestOf(range, page - first) & HMM_PFN_REQ_FAULT) return -EFAULT;
  }
  const sticky = stickyOf(range);
  for (let i = walk.next - first; i < end - first; i++) {
    range.pfns[i] = HMM_PFN_ERROR | (range.pfns[i]! & sticky);
  }
  walk.next = end;
  return 0;
}

function walkVma(
  space: AddressSpace,
  range: HmmRange,
  walk: RangeWalk,
  part: { readonly vma: Vma; readonly end: Vpn },
): Result {
  walk.vma = part.vma;
  while (walk.next < part.end) {
    const leafEnd = (Math.floor(walk.next / LEAF_PAGES) + 1) * LEAF_PAGES;
    const end = vpn(Math.min(part.end, leafEnd));
    const leaf = space.pageTable.leafOf(walk.next);
    if (copyWhole(space, range, walk, { leaf, end })) continue;
    const result = walkLeaf(space, range, walk, { leaf, end });
    if (result !== 0) return result;
  }
  return 0;
}

/** One part of one leaf. */
interface LeafPart {
  readonly leaf: Uint32Array | undefined;
  readonly end: Vpn;
}

/** What a leaf that was never made looks like. */
const EMPTY_LEAF = new Uint32Array(LEAF_PAGES);

/**
 * A whole leaf whose entries are readable or nothing, and none of which lacks what is requested
 * of all, is a copy of its words.
 */
function copyWhole(space: AddressSpace, range: HmmRange, walk: RangeWalk, part: LeafPart): boolean {
  if (range.pfnFlagsMask !== 0 || part.end - walk.next !== LEAF_PAGES) return false;
  if (stickyOf(range) !== 0) return false;
  if (!space.pageTable.isPlain(walk.next, range.defaultFlags)) return false;
  range.pfns.set(part.leaf ?? EMPTY_LEAF, walk.next - vpnOf(range.start));
  walk.next = part.end;
  return true;
}

/**
 * The words of a leaf up to the first page that lacks what is requested of all: what nearly every
 * walk is, without a call a page.
 */
function copyWords(space: AddressSpace, range: HmmRange, walk: RangeWalk, part: LeafPart): void {
  const { pagemap } = space.memory.pages;
  const { devPrivateOwner, pfns } = range;
  const leaf = part.leaf ?? EMPTY_LEAF;
  const run: WordRun = { leaf, pfns, at: 0, end: 0, to: 0, low: 1, high: 0, need: needOf(range) };
  run.at = walk.next & (LEAF_PAGES - 1);
  run.end = run.at + part.end - walk.next;
  run.to = walk.next - vpnOf(range.start) - run.at;
  for (let isFull = true; run.at < run.end; ) {
    if (isFull) copyFull(run);
    else copyMixed(run);
    if (run.at === run.end) break;
    const pte = asPte(leaf[run.at]!);
    if (isFull && (pte & (PTE_VALID | PTE_DEVICE_PRIVATE)) === 0) isFull = false;
    else if (!isDevicePrivate(pte) || isKnown(run, ptePfn(pte))) break;
    else {
      const { owner, zone } = space.memory.pagemap(pagemap[ptePfn(pte)]!);
      if (owner === devPrivateOwner) {
        run.low = zone.start;
        run.high = zone.start + zone.count - 1;
      } else if (run.need !== 0) break;
      else pfns[run.to + run.at++] = 0;
    }
  }
  walk.next = vpn(run.at + run.to + vpnOf(range.start));
}

const needOf = ({ defaultFlags }: HmmRange): number => {
  if ((defaultFlags & HMM_PFN_REQ_FAULT) === 0) return 0;
  return defaultFlags & HMM_PFN_REQ_WRITE ? PTE_VALID | PTE_WRITE : PTE_VALID;
};

function walkLeaf(space: AddressSpace, range: HmmRange, walk: RangeWalk, part: LeafPart): Result {
  if (range.pfnFlagsMask === 0 && stickyOf(range) === 0) copyWords(space, range, walk, part);
  const { pfns, pfnFlagsMask: mask, defaultFlags: defaults } = range;
  const sticky = stickyOf(range);
  const leaf = part.leaf ?? EMPTY_LEAF;
  const start = walk.next as number;
  const count = part.end - start;
  const from = start & (LEAF_PAGES - 1);
  const to = start - vpnOf(range.start);
  for (let i = 0; i < count; i++) {
    const pte = asPte(leaf[from + i]!);
    const word = wordOf(space, range, pte);
    const before = pfns[to + i]!;
    const request = (before & mask) | defaults;
    if (request & HMM_PFN_REQ_FAULT && lacks(range, pte, word, request)) {
      const page = vpn(start + i);
      return wantFault(walk, page, isMigration(pte) ? vpn(page + 1) : part.end, request);
    }
    pfns[to + i] = word | (before & sticky);
  }
  walk.next = part.end;
  return 0;
}

/** Less than was requested; a page of the caller's own may be taken as it is. */
function lacks(range: HmmRange, pte: Pte, word: number, request: number): boolean {
  if ((word & PTE_VALID) === 0) return true;
  if ((request & HMM_PFN_REQ_WRITE) === 0 || (word & PTE_WRITE) !== 0) return false;
  return !isDevicePrivate(pte) || range.requireWrite === true;
}

/** What the rest of this leaf lacks is faulted in, from its first missing page on. */
function wantFault(walk: RangeWalk, start: Vpn, end: Vpn, request: number): Result {
  walk.next = start;
  walk.faultStart = start;
  walk.faultEnd = end;
  return request & HMM_PFN_REQ_WRITE && !walk.vma!.allows(VM_WRITE) ? -EPERM : PENDING;
}

const requestOf = (range: HmmRange, index: number): number =>
  (range.pfns[index]! & range.pfnFlagsMask) | range.defaultFlags;

/** What a word keeps of itself when it is overwritten. */
const stickyOf = (range: HmmRange): number => range.stickyMask ?? 0;

/** What a device may know of an entry. */
function wordOf(space: AddressSpace, range: HmmRange, pte: Pte): number {
  const isPlain = pte === 0 || (pte & PTE_VALID) !== 0;
  return isPlain ? pte & OUTPUT_MASK : describe(space, range, pte);
}

/** What the device may know of an entry that is there but not valid: private pages of its own. */
function describe(space: AddressSpace, range: HmmRange, pte: Pte): number {
  if (!isDevicePrivate(pte)) return 0;
  const { pages } = space.memory;
  const pagemap = space.memory.pagemap(pages.pagemap[ptePfn(pte)]!);
  return pagemap.owner === range.devPrivateOwner ? (pte & OUTPUT_MASK) | PTE_VALID : 0;
}
