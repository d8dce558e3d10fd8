/**
 * Holding pages in RAM: whoever pins a range may touch its bytes until it unpins, because no
 * page with a pin migrates. Linux: get_user_pages() with FOLL_PIN; device-private pages come
 * home first, they are never pinned; coherent ones stay unless the pins are for long.
 */
import {
  type AddrRange,
  addrOf,
  assert,
  EBUSY,
  EFAULT,
  type Pfn,
  type Result,
  type VirtAddr,
  type Vpn,
  vpn,
  vpnOf,
} from "../base/index.ts";
import { PG_ANON, PG_EXCLUSIVE, ZERO_PFN } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import type { AddressSpace } from "./address-space.ts";
import { FAULT_REMOTE, FAULT_WRITE, handleMmFault, permits } from "./fault/index.ts";
import { PTE_VALID, PTE_WRITE, type Pte, ptePfn } from "./pte.ts";
import { VM_WRITE, type Vma } from "./vma.ts";

/** What is pinned: give it to `unpinPages` exactly once. */
export interface PinnedPages {
  readonly space: AddressSpace;
  readonly start: Vpn;
  readonly write: boolean;
  readonly frames: readonly Pfn[];
}

export interface PinOptions {
  readonly write: boolean;
  /**
   * The pins may last: device memory that the CPU can touch comes home first, too. Default
   * false. Linux: FOLL_LONGTERM.
   */
  readonly longTerm?: boolean;
  /** Where to stop when a page cannot be had. */
  readonly failure: { address: VirtAddr };
}

/**
 * Faults in and pins every page of `range`, all or none. Negative: why not, with
 * `options.failure.address` set. A pin for reading does not stay on the zero page where the
 * program may write: it would miss what is written later. Linux: gup_must_unshare().
 */
export function* pinPages(
  space: AddressSpace,
  range: AddrRange,
  options: PinOptions,
): Sleeps<PinnedPages | Result> {
  const frames: Pfn[] = [];
  const pinned: PinnedPages = { space, start: vpnOf(range.start), write: options.write, frames };
  const end = vpnOf(range.end);
  let isComplete = false;
  try {
    using _mmap = yield* space.mmapLock.acquireRead();
    for (let page = pinned.start; page < end; ) {
      const pte = space.pageTable.get(page);
      const vma = space.vmas.find(addrOf(page));
      const lack = whatLacks(space, vma, pte, options);
      if (lack === Lack.nothing) {
        assert((pte & PTE_VALID) !== 0, () => `page ${page} is pinned and is not there`);
        assert(!space.memory.isPrivate(ptePfn(pte)), () => `page ${page} is pinned on a device`);
        space.memory.pages.pin(ptePfn(pte), options.write);
        frames.push(ptePfn(pte));
        page = vpn(page + 1);
        continue;
      }
      const result = yield* supply(space, vma, page, { lack, write: options.write });
      if (result < 0) {
        options.failure.address = addrOf(page);
        return result;
      }
    }
    assert(frames.length === end - pinned.start, "some pages of a range were not pinned");
    isComplete = true;
    return pinned;
  } finally {
    if (!isComplete) unpinPages(pinned);
  }
}

/** Why a page cannot be pinned yet. */
const Lack = {
  nothing: "nothing",
  /** It is not there, or may not be written. */
  fault: "fault",
  /** It is the zero page, and what the program writes later would be missed. */
  unshare: "unshare",
  /** It is on a device that the CPU can touch, where pins may not stay for long. */
  home: "home",
} as const;
type Lack = (typeof Lack)[keyof typeof Lack];

function whatLacks(space: AddressSpace, vma: Vma | undefined, pte: Pte, options: PinOptions): Lack {
  if (vma?.allows(VM_WRITE) && isSharedCopy(space, vma, pte)) return Lack.unshare;
  const need = PTE_VALID | (options.write ? PTE_WRITE : 0);
  if ((pte & need) !== need) return Lack.fault;
  const isAway = options.longTerm === true && space.memory.pages.isDevice(ptePfn(pte));
  return isAway ? Lack.home : Lack.nothing;
}

/** The next write would go to another page than the one that is pinned now. */
function isSharedCopy({ memory: { pages } }: AddressSpace, vma: Vma, pte: Pte): boolean {
  const frame = ptePfn(pte);
  if ((pte & PTE_VALID) === 0 || vma.isShared) return false;
  if (frame === ZERO_PFN) return true;
  return pages.is(frame, PG_ANON) && !pages.is(frame, PG_EXCLUSIVE);
}

function* supply(
  space: AddressSpace,
  vma: Vma | undefined,
  page: Vpn,
  { lack, write }: { readonly lack: Lack; readonly write: boolean },
): Sleeps<Result> {
  const flags = FAULT_REMOTE | (write ? FAULT_WRITE : 0);
  if (vma === undefined || !permits(vma, flags)) return -EFAULT;
  if (lack === Lack.home) return yield* bringHome(space, vma, page, flags);
  const unshare = lack === Lack.unshare ? FAULT_WRITE : 0;
  return yield* handleMmFault(space, vma, page, flags | unshare);
}

/**
 * The device memory at `page`, which the CPU can touch, comes home by its owner. 0: look again.
 * -EBUSY: somebody else holds it. Linux: migrate_device_coherent_folio().
 */
function* bringHome(space: AddressSpace, vma: Vma, page: Vpn, flags: number): Sleeps<Result> {
  const { memory } = space;
  const { pages } = memory;
  const frame = ptePfn(space.pageTable.get(page));
  if (!pages.tryLock(frame)) {
    yield* pages.waitUnlocked(frame);
    return 0;
  }
  pages.get(frame);
  assert(pages.isDevice(frame), () => `frame ${frame} comes home and is in RAM`);
  try {
    const pagemap = memory.pagemap(pages.pagemap[frame]!);
    const result = yield* pagemap.migrateToRam({ space, vma, page, flags, frame });
    if (result < 0) return result;
    return ptePfn(space.pageTable.get(page)) === frame ? -EBUSY : 0;
  } finally {
    pages.unlock(frame);
    pages.put(frame);
  }
}

export function unpinPages(pinned: PinnedPages): void {
  const { pages } = pinned.space.memory;
  for (const frame of pinned.frames) {
    const hasRight = !pinned.write || pages.writePins[frame]! > 0;
    assert(hasRight, () => `frame ${frame} is given back by a writer that it does not have`);
    assert(pages.refs[frame]! >= pages.pins[frame]!, () => `frame ${frame} has pins without refs`);
    pages.unpin(frame, pinned.write);
  }
}

/** Somebody holds a pin on the page at `page` (the zero page does not count: nobody moves it). */
export function isPinned(space: AddressSpace, page: Vpn): boolean {
  const pte = space.pageTable.get(page);
  if ((pte & PTE_VALID) === 0) return false;
  const frame = ptePfn(pte);
  assert(frame !== 0, "a valid entry names a frame");
  return frame !== ZERO_PFN && space.memory.pages.pins[frame]! > 0;
}
