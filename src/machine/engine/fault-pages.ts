/** Many accesses at once: what needs no sleep is done under one hold of the lock. */
import { addrOf, EBUSY, type Result, type VirtAddr, type Vpn, vpn } from "../../base/index.ts";
import {
  type AddressSpace,
  cpuFault,
  FAULT_WRITE,
  PTE_VALID,
  PTE_WRITE,
  tryFault,
} from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";

/** One fault does one thing, so a page may need several: more than this is a bug. */
const FAULTS_MAX = 64;

/**
 * Faults every page of [start, end) in, one after the other, until an access to it is possible.
 * Those that somebody takes meanwhile are not brought twice. Negative: why the page at
 * `failure.address` cannot be had; -EBUSY: others take it all the time.
 */
export function* faultPages(
  space: AddressSpace,
  { start, end }: { readonly start: Vpn; readonly end: Vpn },
  flags: number,
  failure: { address: VirtAddr },
): Sleeps<Result> {
  let page = start;
  for (let tries = 0; tries < FAULTS_MAX; tries++) {
    {
      using _mmap = yield* space.mmapLock.acquireRead();
      const next = faultEasily(space, page, end, flags);
      if (next !== page) tries = 0;
      page = next;
    }
    if (page >= end) return 0;
    failure.address = addrOf(page);
    const result = yield* cpuFault(space, failure.address, flags);
    if (result < 0) return result;
  }
  return -EBUSY;
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
