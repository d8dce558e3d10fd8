/**
 * Copying the fact into words for a device: a plain walk that looks, and a loop around it that
 * faults in what was requested and is missing. Linux: mm/hmm.c hmm_range_fault().
 */
import {
  addrOf,
  assert,
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
  isPresent,
  LEAF_PAGES,
  LEAF_VALID,
  PTE_HUGE,
  PTE_NONE,
  PTE_PROTNONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  VM_IO,
  VM_PFNMAP,
  VM_READ,
  VM_WRITE,
  type Vma,
} from "../mm/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import { HMM_PFN_ERROR, HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, type HmmRange } from "./hmm-range.ts";

const FAULT = eventId("hmm:fault");
const RETRY = eventId("hmm:retry");

/** Private to the walk and its loop: pages have to be faulted in first. */
const PENDING = 1;

/** All frame bits and what a device may know besides. */
const OUTPUT_MASK = ~0xff | PTE_VALID | PTE_WRITE | PTE_HUGE;

interface RangeWalk {
  /** The first page that is not final yet. */
  next: Vpn;
  /** Where and how to fault, when the walk says PENDING. */
  faultStart: Vpn;
  faultEnd: Vpn;
  faultFlags: number;
  vma: Vma | undefined;
}

/**
 * Fills `range.pfns`. The caller sampled `range.notifierSeq` and holds mmapLock for reading,
 * which is kept. 0, or: -EBUSY (an invalidation came: sample again), -EFAULT (a requested page
 * is not there or may not be read), -EPERM (may not be written), -EINVAL, -ENOMEM. After an
 * error the words up to the page that failed are output, the rest is as it was.
 */
export function* hmmRangeFault(space: AddressSpace, range: HmmRange): Sleeps<Result> {
  space.mmapLock.assertHeld();
  if (!isPageRange(range.start, range.end)) return -EINVAL;
  const walk: RangeWalk = {
    next: vpnOf(range.start),
    faultStart: vpn(0),
    faultEnd: vpn(0),
    faultFlags: 0,
    vma: undefined,
  };
  assert(range.pfns.length >= vpnOf(range.end) - walk.next, "range.pfns is too short");
  for (;;) {
    if (range.notifier.readRetry(range.notifierSeq)) {
      space.memory.tracer.emit(RETRY, space.id, walk.next, vpnOf(range.end) - walk.next);
      return -EBUSY;
    }
    const looked = walkRange(space, range, walk);
    if (looked !== PENDING) return looked;
    const faulted = yield* faultIn(space, walk);
    if (faulted < 0) return faulted;
  }
}

function* faultIn(space: AddressSpace, walk: RangeWalk): Sleeps<Result> {
  const vma = walk.vma!;
  const pages = walk.faultEnd - walk.faultStart;
  space.memory.tracer.emit(FAULT, space.id, walk.faultStart, pages);
  for (let page = walk.faultStart; page < walk.faultEnd; page = vpn(page + 1)) {
    const result = yield* handleMmFault(space, vma, page, walk.faultFlags);
    if (result === -ENOMEM) return result;
    if (result < 0) return -EFAULT;
  }
  return 0;
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
  range.pfns.fill(HMM_PFN_ERROR, walk.next - first, end - first);
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
    if (leaf !== undefined && copyWhole(space, range, walk, { leaf, end })) continue;
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

/**
 * A snapshot (no requests) of a leaf with readable pages only is a copy of its words.
 */
function copyWhole(space: AddressSpace, range: HmmRange, walk: RangeWalk, part: LeafPart): boolean {
  if (range.pfnFlagsMask !== 0 || range.defaultFlags !== 0) return false;
  if (part.end - walk.next !== LEAF_PAGES) return false;
  if (space.pageTable.countOf(walk.next, LEAF_VALID) !== LEAF_PAGES) return false;
  range.pfns.set(part.leaf!, walk.next - vpnOf(range.start));
  walk.next = part.end;
  return true;
}

function walkLeaf(space: AddressSpace, range: HmmRange, walk: RangeWalk, part: LeafPart): Result {
  const first = vpnOf(range.start);
  for (let page = walk.next as number; page < part.end; page++) {
    const index = page - first;
    const pte = part.leaf === undefined ? PTE_NONE : asPte(part.leaf[page & (LEAF_PAGES - 1)]!);
    const word = describe(space, range, pte);
    const request = requestOf(range, index);
    const isMissing = (request & HMM_PFN_REQ_FAULT) !== 0 && (word & PTE_VALID) === 0;
    const isAsItIs = isDevicePrivate(pte) && word !== 0 && range.requireWrite !== true;
    const wantsWrite = (request & HMM_PFN_REQ_WRITE) !== 0 && !isAsItIs;
    const isReadOnly = wantsWrite && (word & PTE_WRITE) === 0;
    if ((request & HMM_PFN_REQ_FAULT) !== 0 && (isMissing || isReadOnly)) {
      return wantFault(walk, vpn(page), isMigration(pte) ? vpn(page + 1) : part.end, request);
    }
    range.pfns[index] = word;
    walk.next = vpn(page + 1);
  }
  return 0;
}

/** The rest of this leaf is faulted in with the rights that its first missing page asks for. */
function wantFault(walk: RangeWalk, start: Vpn, end: Vpn, request: number): Result {
  walk.next = start;
  walk.faultStart = start;
  walk.faultEnd = end;
  walk.faultFlags = FAULT_REMOTE;
  if (request & HMM_PFN_REQ_WRITE) {
    if (!walk.vma!.allows(VM_WRITE)) return -EPERM;
    walk.faultFlags |= FAULT_WRITE;
  }
  return PENDING;
}

const requestOf = (range: HmmRange, index: number): number =>
  (range.pfns[index]! & range.pfnFlagsMask) | range.defaultFlags;

/** What the device may know of `pte`: present pages, and private pages of its own. */
function describe(space: AddressSpace, range: HmmRange, pte: Pte): number {
  if (pte & PTE_VALID) return (pte & OUTPUT_MASK) >>> 0;
  if (pte === PTE_NONE || (isPresent(pte) && pte & PTE_PROTNONE)) return 0;
  if (!isDevicePrivate(pte)) return 0;
  const { pages } = space.memory;
  const pagemap = space.memory.pagemap(pages.pagemap[ptePfn(pte)]!);
  if (pagemap.owner !== range.devPrivateOwner) return 0;
  return ((pte & OUTPUT_MASK) | PTE_VALID) >>> 0;
}
