/** mprotect: other rights for what is mapped. Linux: mm/mprotect.c. */
import {
  type AddrRange,
  addrOf,
  assert,
  EACCES,
  EINVAL,
  ENOMEM,
  isPageAligned,
  isPageRange,
  type Result,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { Invalidation, MMU_NOTIFY_PROTECTION_VMA } from "../../notifier/index.ts";
import { ZERO_PFN } from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { presentFlags } from "../entry-flags.ts";
import { mayWriteAgain } from "../fault/locked-out.ts";
import { splitHugeForCut } from "../large/huge.ts";
import { leafEnd } from "../page-table.ts";
import { isPresent, isWritable, makePte, PTE_HUGE, PTE_WRITE, ptePfn, withFlags } from "../pte.ts";
import { VM_ACCESS, VM_ACCOUNT, VM_HUGETLB, VM_SHARED, VM_WRITE, type Vma } from "../vma.ts";
import { pageEnd, splitsHugetlb } from "./range.ts";

const MPROTECT = eventId("mm:mprotect");
/** From a right to the permission to have it. */
const MAY_SHIFT = 4;

/**
 * Gives [start, start + bytes) the rights `access` (VM_READ, VM_WRITE, VM_EXEC). Over a hole it
 * is -ENOMEM, and what lies before the hole has changed; -EACCES where the mapping may not have
 * them. -EINVAL for an unaligned start or rights that are none.
 */
export function* mprotect(
  space: AddressSpace,
  start: VirtAddr,
  bytes: number,
  access: number,
): Sleeps<Result> {
  if (!isPageAligned(start)) return -EINVAL;
  if (bytes === 0) return 0;
  const end = pageEnd(start, bytes);
  if (!isPageRange(start, end)) return -ENOMEM;
  if ((access & ~VM_ACCESS) !== 0) return -EINVAL;
  using _mmap = yield* space.mmapLock.acquireWrite();
  let at = start;
  for (const found of space.vmas.overlapping(start, end)) {
    if (found.start > at) return -ENOMEM;
    if ((access & ~(found.flags >> MAY_SHIFT) & VM_ACCESS) !== 0) return -EACCES;
    const part = { start: at, end: virtAddr(Math.min(found.end, end)) };
    const result = yield* protectPart(space, part, access);
    if (result < 0) return result;
    at = part.end;
  }
  space.memory.tracer.emit(MPROTECT, space.id, vpnOf(start), vpnOf(end) - vpnOf(start));
  return at < end ? -ENOMEM : 0;
}

/** [start, end) lies within one Vma; it gets one of its own if its rights change. */
function* protectPart(space: AddressSpace, part: AddrRange, access: number): Sleeps<Result> {
  const before = space.vmas.find(part.start)!;
  const old = before.flags;
  const flags = withAccess(before, access);
  if (flags === old) return 0;
  if (splitsHugetlb(space, part.start) || splitsHugetlb(space, part.end)) return -EINVAL;
  yield* splitHugeForCut(space, vpnOf(part.start));
  yield* splitHugeForCut(space, vpnOf(part.end));
  space.catchUp(vpnOf(part.start), vpnOf(part.end));
  const vma = changeFlags(space, part, flags);
  const event = new Invalidation({ ...part, event: MMU_NOTIFY_PROTECTION_VMA });
  return yield* space.notifiers.change(
    event,
    () => changeEntries(space, vma, vpnOf(part.start), vpnOf(part.end)),
    () => changeFlags(space, part, old),
  );
}

/** Private memory that may be written is counted from then on, until it is given up untouched. */
function withAccess(vma: Vma, access: number): number {
  const flags = (vma.flags & ~VM_ACCESS) | access;
  if (access & VM_WRITE) {
    const isCounted = (vma.flags & (VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED)) !== 0;
    return isCounted ? flags : flags | VM_ACCOUNT;
  }
  const isUntouched = vma.isAnonymous && vma.anonVma === undefined;
  return isUntouched ? flags & ~VM_ACCOUNT : flags;
}

/** [start, end), within one Vma, gets `flags`. Gives the Vma that covers it now. */
export function changeFlags(space: AddressSpace, part: AddrRange, flags: number): Vma {
  space.mmapLock.assertHeldWrite();
  space.vmas.split(part.start);
  space.vmas.split(part.end);
  const changed = space.vmas.find(part.start)!;
  assert(changed.start === part.start, "the Vma that changes begins below its part");
  assert(changed.end === part.end, "the Vma that changes ends elsewhere than its part");
  space.vmas.changes();
  changed.flags = flags;
  return space.vmas.merge(changed);
}

/** Every entry gets the rights of `vma`, but no write right that a copy or a device forbids. */
function changeEntries(space: AddressSpace, vma: Vma, start: Vpn, end: Vpn): void {
  space.mmapLock.assertHeldWrite();
  const isWithin = vma.start <= addrOf(start) && addrOf(end) <= vma.end;
  assert(isWithin, "entries get the rights of a Vma that they are not in");
  const table = space.pageTable;
  const cursor = space.cursor.begin();
  for (let page = table.nextUsed(start, end); page < end; ) {
    const pte = table.get(page);
    if (isPresent(pte)) {
      const frame = ptePfn(pte);
      const mayWrite = frame !== ZERO_PFN && keepsWrite(space, vma, page);
      const flags = presentFlags(vma, mayWrite);
      if (pte & PTE_HUGE) cursor.setHuge(page, makePte(frame, flags | PTE_HUGE));
      else cursor.set(page, makePte(frame, flags));
    } else if (isWritable(pte) && !vma.allows(VM_WRITE)) {
      // On a device or on its way: writing comes back by a fault, like that of a page that is here.
      cursor.set(page, withFlags(pte, 0, PTE_WRITE));
    }
    page = table.nextUsed(table.isHuge(page) ? leafEnd(page) : vpn(page + 1), end);
  }
  cursor.flush();
}

/** A page of the pool never gets its write bit without a fault, as in Linux. */
const keepsWrite = (space: AddressSpace, vma: Vma, page: Vpn): boolean =>
  !vma.isHugetlb && mayWriteAgain(space, vma, page);
