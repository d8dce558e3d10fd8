/**
 * Where the pages of a range are: getting them for the device, bringing them home, looking.
 * Linux: drm_gpusvm_range_get_pages(), drm_gpusvm_range_evict(), drm_gpusvm_scan_mm().
 */
import {
  type AddrRange,
  addrOf,
  EBUSY,
  EFAULT,
  EOPNOTSUPP,
  ETIME,
  type Result,
  type Vpn,
  vpn,
  vpnOf,
} from "../base/index.ts";
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  type HmmRange,
  hmmRangeFault,
} from "../hmm/index.ts";
import {
  type AddressSpace,
  asPte,
  isDevicePrivate,
  type Memory,
  PTE_VALID,
  ptePfn,
  VM_READ,
} from "../mm/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { RangeLook } from "./range-look.ts";
import type { Svm } from "./svm.ts";
import type { SvmRange } from "./svm-range.ts";

export interface GetPagesOptions {
  /** The device will only read: pages need not be writable. Default false. */
  readonly readOnly?: boolean;
  /** Some pages may be on the device and some not. Default false: -EOPNOTSUPP. */
  readonly allowMixed?: boolean;
  /** A page that is not on the device is an error. Default false. */
  readonly devmemOnly?: boolean;
  /** Milliseconds. Default `HMM_RANGE_DEFAULT_TIMEOUT`. */
  readonly timeoutMs?: number | undefined;
}

/**
 * Faults in what is missing and makes the pages of `range` valid. -EFAULT (unmapped, or a page
 * that cannot be had: see `devmemOnly`), -EPERM (not writable), -ENOMEM, -EOPNOTSUPP (mixed),
 * -EAGAIN (event after event: start over from the top), -EBUSY (the time is over). The caller
 * holds the svm lock.
 */
export function* getPages(
  svm: Svm,
  range: SvmRange,
  options: GetPagesOptions = {},
): Sleeps<Result> {
  svm.lock.assertHeld();
  using look = RangeLook.open(svm.space, range, options.timeoutMs);
  if (look === undefined) return -EFAULT;
  const { hmm } = look;
  hmm.defaultFlags = HMM_PFN_REQ_FAULT | (options.readOnly === true ? 0 : HMM_PFN_REQ_WRITE);
  hmm.devPrivateOwner = svm.devPrivateOwner;
  while (!range.isUnmapped) {
    const begun = yield* look.begin();
    if (begun < 0) return begun;
    const result = yield* faultIn(svm.space, hmm);
    if (result === -EBUSY) continue;
    if (result < 0) return result;
    using _notifier = yield* svm.notifierLock.acquire();
    if (look.isOld || range.isUnmapped) continue;
    const judged = judge(svm.space.memory, hmm.pfns, options);
    if (judged < 0) return judged;
    range.words = hmm.pfns;
    range.pagesValid = true;
    return 0;
  }
  return -EFAULT;
}

function* faultIn(space: AddressSpace, hmm: HmmRange): Sleeps<Result> {
  using _mmap = yield* space.mmapLock.acquireRead();
  return yield* hmmRangeFault(space, hmm);
}

/** The pages are there; may the device have them like this? */
function judge(memory: Memory, words: Uint32Array, options: GetPagesOptions): Result {
  // device page maps; 0 is all that the CPU can touch
  const places = new Set<number>();
  for (const word of words) {
    const frame = ptePfn(asPte(word));
    places.add(memory.isPrivate(frame) ? memory.pages.pagemap[frame]! : 0);
  }
  if (places.size > 1 && options.allowMixed !== true) return -EOPNOTSUPP;
  return places.has(0) && options.devmemOnly === true ? -EFAULT : 0;
}

/**
 * Brings every page of `range` home that lives on a device, whosever it is: what HMM does with
 * pages of others, so it is asked as nobody. A timeslice is against CPUs and does not count here.
 * Pages that the program itself may not read stay. 0, -EFAULT (no space any more, or a device
 * failed), -ENOMEM, -ETIME (some are still away). The caller holds the svm lock.
 */
export function* evictRange(
  svm: Svm,
  range: AddrRange,
  options: { readonly timeoutMs?: number | undefined } = {},
): Sleeps<Result> {
  svm.lock.assertHeld();
  using look = RangeLook.open(svm.space, range, options.timeoutMs);
  if (look === undefined) return -EFAULT;
  for (;;) {
    if (nextAway(svm.space, range) === undefined) return 0;
    if ((yield* look.begin()) < 0) return -ETIME;
    const result = yield* bringSomeHome(svm.space, look.hmm, range);
    // A page that comes home is an event: this look is old then, the next one finds the rest.
    if (result < 0 && result !== -EBUSY) return result;
  }
}

function* bringSomeHome(space: AddressSpace, hmm: HmmRange, range: AddrRange): Sleeps<Result> {
  using _mmap = yield* space.mmapLock.acquireRead();
  const away = nextAway(space, range);
  if (away === undefined) return 0;
  return yield* hmmRangeFault(space, { ...hmm, ...away, defaultFlags: HMM_PFN_REQ_FAULT });
}

/** The first run of pages of `range` that live on a device. */
function nextAway(space: AddressSpace, range: AddrRange): AddrRange | undefined {
  const end = vpnOf(range.end);
  let first = vpnOf(range.start);
  while (first < end && !isAway(space, first)) first = vpn(first + 1);
  if (first === end) return undefined;
  let last = first;
  while (last < end && isAway(space, last)) last = vpn(last + 1);
  return { start: addrOf(first), end: addrOf(last) };
}

function isAway(space: AddressSpace, page: Vpn): boolean {
  if (!isDevicePrivate(space.pageTable.get(page))) return false;
  return space.vmas.find(addrOf(page))?.allows(VM_READ) === true;
}

/** Where the pages of a range are. Linux: enum drm_gpusvm_scan_result. */
export const SvmScan = {
  /** At least one page is not there, or not for this device. */
  unpopulated: "unpopulated",
  /** All are in memory that the CPU can touch. */
  system: "system",
  /** All are in the device's own memory. */
  equal: "equal",
  /** All are in the memory of one other device of the same owner. */
  other: "other",
  /** All are on devices, on at least two. */
  mixedDevice: "mixed device",
  /** Some are on a device, some are not. */
  mixed: "mixed",
} as const;
export type SvmScan = (typeof SvmScan)[keyof typeof SvmScan];

/** Looks without faulting anything in. A hint: it may be otherwise at the next step. */
export function scanRange(svm: Svm, range: AddrRange): SvmScan {
  const { space } = svm;
  const { memory } = space;
  const places = new Set<number>();
  for (let page = vpnOf(range.start); page < vpnOf(range.end); page = vpn(page + 1)) {
    const pte = space.pageTable.get(page);
    if (isDevicePrivate(pte)) {
      const pagemap = memory.pagemap(memory.pages.pagemap[ptePfn(pte)]!);
      if (pagemap.owner !== svm.devPrivateOwner) return SvmScan.unpopulated;
      places.add(pagemap.id);
    } else if (pte & PTE_VALID) places.add(0);
    else return SvmScan.unpopulated;
  }
  if (places.size > 1) return places.has(0) ? SvmScan.mixed : SvmScan.mixedDevice;
  if (places.has(0)) return SvmScan.system;
  const own = svm.deviceMemory?.pagemap.id;
  return own !== undefined && places.has(own) ? SvmScan.equal : SvmScan.other;
}
