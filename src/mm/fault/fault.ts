/**
 * From intent to fact: an access found the page table wanting. A plain step does all that needs
 * no sleep (a first touch, an upgrade); the generator around it does the rest: copy on write,
 * pages that live on a device, pages on their way. Each fault does one thing; 0 means "try the
 * access again". Linux: mm/memory.c handle_mm_fault().
 */
import {
  addrOf,
  assert,
  EFAULT,
  ENOMEM,
  type Result,
  type VirtAddr,
  type Vpn,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { type Sleeps, WaitQueue } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { faultHuge, faultHugeWrite, mayMapHuge, tryHugeWrite } from "../large/huge.ts";
import { copyHugetlb, faultHugetlb, tryHugetlbWrite } from "../large/hugetlb.ts";
import {
  isDevicePrivate,
  isExclusive,
  isMigration,
  isPresent,
  PTE_HUGE,
  PTE_NONE,
  PTE_PROTNONE,
  PTE_WRITE,
  type Pte,
  ptePfn,
  SPECIAL_GUARD,
  SPECIAL_SWAP,
  specialOf,
} from "../pte.ts";
import { reclaimPages } from "../swap/reclaim.ts";
import type { Vma } from "../vma.ts";
import { canReuse, faultAnonymous, faultWriteProtected, isLoneOwner, reuse } from "./anonymous.ts";
import { faultDevicePrivate, faultExclusive, waitForMigration } from "./device.ts";
import { faultFile } from "./file.ts";
import { FAULT_SIGBUS, FAULT_TRIED, FAULT_WRITE, permits } from "./flags.ts";
import { faultLockedOut } from "./locked-out.ts";
import { faultSwapped } from "./swapped.ts";

const FAULT = eventId("mm:fault");

/** Private to a step and its loop: this needs somebody who may sleep. */
const PENDING = 1;

/** Pages that one round of reclaim frees for a fault. */
const RECLAIM_PAGES = 32;

/**
 * A CPU access at `address` failed: finds the Vma and makes the access possible. -EFAULT when
 * the program has no such right (SIGSEGV), `FAULT_SIGBUS`, -ENOMEM. Linux: do_user_addr_fault().
 */
export function* cpuFault(space: AddressSpace, address: VirtAddr, flags: number): Sleeps<Result> {
  let result: Result;
  {
    using _mmap = yield* space.mmapLock.acquireRead();
    const vma = space.vmas.find(address);
    if (vma === undefined || !permits(vma, flags)) return -EFAULT;
    result = yield* handleMmFault(space, vma, vpnOf(address), flags);
  }
  return result > 0 ? yield* faultLater(space, address, { flags, waitMs: result }) : result;
}

/**
 * The page stays on its device for `waitMs` more milliseconds. Nothing is held meanwhile, so the
 * mapping may change, the device may fault, and the page may be evicted. The second attempt waits
 * no more, so an access costs one such wait whatever devices do.
 */
function* faultLater(
  space: AddressSpace,
  address: VirtAddr,
  later: { readonly flags: number; readonly waitMs: number },
): Sleeps<Result> {
  const { scheduler } = space.memory;
  const over = new WaitQueue(scheduler, "the end of a device's timeslice");
  yield* over.sleep(scheduler.nowMs + later.waitMs);
  return yield* cpuFault(space, address, later.flags | FAULT_TRIED);
}

/** Makes one access to `page` of `vma` possible, or moves one step towards it. */
export function* handleMmFault(
  space: AddressSpace,
  vma: Vma,
  page: Vpn,
  flags: number,
): Sleeps<Result> {
  space.mmapLock.assertHeld();
  assert(covers(vma, page), () => `page ${page} is outside the Vma that it faults in`);
  for (;;) {
    const tried = tryFault(space, vma, page, flags);
    if (tried === 0) return 0;
    space.memory.tracer.emit(FAULT, space.id, page, flags);
    const result = tried === PENDING ? yield* faultSleeping(space, vma, page, flags) : tried;
    if (result !== -ENOMEM || !space.memory.canReclaim) return result;
    // No frame: make room, as long as there is something to forget or somewhere to send it.
    if ((yield* reclaimPages(space.memory, RECLAIM_PAGES)) === 0) return result;
  }
}

const covers = (vma: Vma, page: Vpn): boolean => {
  const address = addrOf(page);
  return vma.start <= address && address < vma.end;
};

/**
 * The part of a fault that never sleeps, for who faults many pages in: 0 when that was all; else
 * nothing has happened yet, and `handleMmFault` says how it ends.
 */
export function tryFault(space: AddressSpace, vma: Vma, page: Vpn, flags: number): Result {
  const result = attempt(space, vma, page, flags);
  if (result === 0) space.memory.tracer.emit(FAULT, space.id, page, flags);
  return result;
}

/**
 * 0, a negated errno, or `PENDING`. Takes the fault of a page that was never touched, that is
 * writable already, or that is ours alone.
 */
function attempt(space: AddressSpace, vma: Vma, page: Vpn, flags: number): Result {
  if (!permits(vma, flags)) return -EFAULT;
  let pte = space.pageTable.get(page);
  if (pte === PTE_NONE) {
    space.catchUp(page, vpn(page + 1));
    pte = space.pageTable.get(page);
  }
  if (pte === PTE_NONE) return faultMissing(space, vma, page, flags);
  if (!isPresent(pte)) return PENDING;
  if (pte & PTE_PROTNONE) return faultLockedOut(space, vma, page);
  if ((flags & FAULT_WRITE) === 0 || (pte & PTE_WRITE) !== 0) return 0;
  if (pte & PTE_HUGE) return tryWriteHuge(space, vma, page) ? 0 : PENDING;
  if (vma.isShared) return reuse(space, page, pte);
  const frame = ptePfn(pte);
  if (canReuse(space, frame)) return reuse(space, page, pte);
  if (!isLoneOwner(space, frame)) return PENDING;
  space.reclaimAnonymous(frame, vma);
  return canReuse(space, frame) ? reuse(space, page, pte) : PENDING;
}

function faultMissing(space: AddressSpace, vma: Vma, page: Vpn, flags: number): Result {
  const write = (flags & FAULT_WRITE) !== 0;
  if (vma.isHugetlb) return faultHugetlb(space, vma, page, write);
  if (mayMapHuge(space, vma, page) && faultHuge(space, vma, page, write)) return 0;
  if (vma.isAnonymous) return faultAnonymous(space, vma, page, write);
  return vma.file === undefined ? FAULT_SIGBUS : faultFile(space, vma, page, write);
}

const tryWriteHuge = (space: AddressSpace, vma: Vma, page: Vpn): boolean =>
  vma.isHugetlb ? tryHugetlbWrite(space, vma, page) : tryHugeWrite(space, vma, page);

function* faultSleeping(space: AddressSpace, vma: Vma, page: Vpn, flags: number): Sleeps<Result> {
  const pte = space.pageTable.get(page);
  if (isPresent(pte)) return yield* faultCopy(space, vma, page, pte);
  if (isMigration(pte)) return yield* waitForMigration(space, pte);
  if (isDevicePrivate(pte)) return yield* faultDevicePrivate(space, vma, page, flags);
  if (isExclusive(pte)) return yield* faultExclusive(space, vma, page);
  const kind = specialOf(pte);
  assert(kind !== 0, () => `no way to fault entry ${pte.toString(16)} in`);
  if (kind === SPECIAL_SWAP) return faultSwapped(space, vma, page);
  return specialOf(pte) === SPECIAL_GUARD ? -EFAULT : FAULT_SIGBUS;
}

function* faultCopy(space: AddressSpace, vma: Vma, page: Vpn, pte: Pte): Sleeps<Result> {
  if ((pte & PTE_HUGE) === 0) return yield* faultWriteProtected(space, vma, page, pte);
  return vma.isHugetlb
    ? yield* copyHugetlb(space, vma, page)
    : yield* faultHugeWrite(space, vma, page);
}
