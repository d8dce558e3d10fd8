/** Many accesses at once: what needs no sleep is done under one hold of the lock. */
import { addrOf, type Result, type VirtAddr, type Vpn, vpn } from "../../base/index.ts";
import {
  type AddressSpace,
  cpuFault,
  FAULT_WRITE,
  PTE_VALID,
  PTE_WRITE,
  tryFault,
} from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";

/**
 * Faults every page of [start, end) in once, as an access to each would. They may be gone again
 * when this returns. Negative: why the page at `failure.address` cannot be had.
 */
export function* faultPages(
  space: AddressSpace,
  { start, end }: { readonly start: Vpn; readonly end: Vpn },
  flags: number,
  failure: { address: VirtAddr },
): Sleeps<Result> {
  for (let page = start; page < end; page = vpn(page + 1)) {
    {
      using _mmap = yield* space.mmapLock.acquireRead();
      page = faultEasily(space, page, end, flags);
    }
    if (page >= end) return 0;
    failure.address = addrOf(page);
    const result = yield* cpuFault(space, failure.address, flags);
    if (result < 0) return result;
  }
  return 0;
}

/** The first page from `page` on that is not there and cannot be had without waiting, or `end`. */
function faultEasily(space: AddressSpace, page: Vpn, end: Vpn, flags: number): Vpn {
  const need = PTE_VALID | (flags & FAULT_WRITE ? PTE_WRITE : 0);
  let at = page;
  while (at < end) {
    const vma = space.vmas.find(addrOf(at));
    if (vma === undefined) return at;
    for (; at < end && addrOf(at) < vma.end; at = vpn(at + 1)) {
      if ((space.pageTable.get(at) & need) === need) continue;
      if (tryFault(space, vma, at, flags) !== 0) return at;
    }
  }
  return end;
}
