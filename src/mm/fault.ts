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
  EIO,
  ENOMEM,
  type Pfn,
  type Result,
  type VirtAddr,
  type Vpn,
  vpn,
  vpnOf,
} from "../base/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../notifier/index.ts";
import { PG_DIRTY, PG_DUPLICATED, PG_EXCLUSIVE, ZERO_PFN } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import type { AddressSpace } from "./address-space.ts";
import {
  isDevicePrivate,
  isMigration,
  isPresent,
  makePte,
  PTE_NONE,
  PTE_PROTNONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  withFlags,
} from "./pte.ts";
import { VM_READ, VM_WRITE, type Vma } from "./vma.ts";

const FAULT = eventId("mm:fault");
const COW = eventId("mm:cow");

/** The access writes. */
export const FAULT_WRITE = 1 << 0;
/** Not by the CPU: a device or a pin asks. Linux: FAULT_FLAG_REMOTE. */
export const FAULT_REMOTE = 1 << 1;

/** The page exists but cannot be had (its device failed). Linux: VM_FAULT_SIGBUS. */
export const FAULT_SIGBUS: Result = -EIO;

/** Private to a step and its loop: this needs somebody who may sleep. */
const PENDING = 1;

/** What a page map needs to know to bring a page home. */
export interface Fault {
  readonly space: AddressSpace;
  readonly vma: Vma;
  readonly page: Vpn;
  readonly flags: number;
  /** The frame that the entry named: locked, and referenced once for this fault. */
  readonly frame: Pfn;
}

/**
 * A CPU access at `address` failed: finds the Vma and makes the access possible. -EFAULT when
 * the program has no such right (SIGSEGV), `FAULT_SIGBUS`, -ENOMEM. Linux: do_user_addr_fault().
 */
export function* cpuFault(space: AddressSpace, address: VirtAddr, flags: number): Sleeps<Result> {
  using _mmap = yield* space.mmapLock.acquireRead();
  const vma = space.vmas.find(address);
  if (vma === undefined || !permits(vma, flags)) return -EFAULT;
  return yield* handleMmFault(space, vma, vpnOf(address), flags);
}

/** Makes one access to `page` of `vma` possible, or moves one step towards it. */
export function* handleMmFault(
  space: AddressSpace,
  vma: Vma,
  page: Vpn,
  flags: number,
): Sleeps<Result> {
  space.mmapLock.assertHeld();
  const result = tryFault(space, vma, page, flags);
  if (result !== PENDING) return result;
  const pte = space.pageTable.get(page);
  if (isMigration(pte)) return yield* waitForMigration(space, pte);
  if (isDevicePrivate(pte)) return yield* faultDevicePrivate(space, vma, page, flags);
  assert(isPresent(pte), () => `no way to fault entry ${pte.toString(16)} in`);
  return yield* faultWriteProtected(space, page, pte);
}

/**
 * The part of a fault that never sleeps: 0, a negated errno, or `PENDING`. Takes the fault of a
 * page that was never touched, that is writable already, or that is ours alone.
 */
function tryFault(space: AddressSpace, vma: Vma, page: Vpn, flags: number): Result {
  if (!permits(vma, flags)) return -EFAULT;
  const pte = space.pageTable.get(page);
  space.memory.tracer.emit(FAULT, space.id, page, flags);
  if (pte === PTE_NONE) return faultAnonymous(space, vma, page, flags);
  if (!isPresent(pte)) return PENDING;
  if (pte & PTE_PROTNONE) return faultLockedOut(space, vma, page);
  if ((flags & FAULT_WRITE) === 0 || (pte & PTE_WRITE) !== 0) return 0;
  return canReuse(space, ptePfn(pte)) ? reuse(space, page, pte) : PENDING;
}

export function permits(vma: Vma, flags: number): boolean {
  return vma.allows(flags & FAULT_WRITE ? VM_READ | VM_WRITE : VM_READ);
}

/** Nothing there yet: the zero page to read, a cleared frame to write. */
function faultAnonymous(space: AddressSpace, vma: Vma, page: Vpn, flags: number): Result {
  const { pages } = space.memory;
  if ((flags & FAULT_WRITE) === 0) {
    const cursor = space.cursor.begin();
    cursor.map(page, makePte(ZERO_PFN, PTE_VALID));
    cursor.flush();
    return 0;
  }
  const frame = space.allocFrame(page);
  if (frame === 0) return -ENOMEM;
  clearFrame(space, frame);
  space.ownAnonymous(frame, page);
  pages.setFlag(frame, PG_DIRTY);
  const cursor = space.cursor.begin();
  cursor.map(page, makePte(frame, presentFlags(vma, true)));
  cursor.flush();
  pages.put(frame);
  return 0;
}

function clearFrame(space: AddressSpace, frame: Pfn): void {
  if (!space.ram.isCleared) space.memory.bytes.zero(frame);
}

/** Present but locked out although the Vma allows access: let it in again. */
function faultLockedOut(space: AddressSpace, vma: Vma, page: Vpn): Result {
  const cursor = space.cursor.begin();
  const pte = cursor.get(page);
  const writes = vma.allows(VM_WRITE) && canReuse(space, ptePfn(pte));
  cursor.set(page, makePte(ptePfn(pte), presentFlags(vma, writes)));
  cursor.flush();
  return 0;
}

/** Nobody else sees `frame`, on the CPU or as a copy on a device: it may be written in place. */
export function canReuse(space: AddressSpace, frame: Pfn): boolean {
  const { pages } = space.memory;
  return pages.is(frame, PG_EXCLUSIVE) && !pages.is(frame, PG_DUPLICATED);
}

/** Permission gained needs no event: no shadow holds more than it did. Linux: wp_page_reuse(). */
function reuse(space: AddressSpace, page: Vpn, pte: Pte): Result {
  const cursor = space.cursor.begin();
  cursor.set(page, withFlags(pte, PTE_WRITE, 0));
  cursor.flush();
  space.memory.pages.setFlag(ptePfn(pte), PG_DIRTY);
  return 0;
}

/**
 * A write to a page that others may see: the zero page or one shared after fork is copied; one
 * that devices hold read-only copies of is taken back from them. Linux: do_wp_page().
 */
function* faultWriteProtected(space: AddressSpace, page: Vpn, pte: Pte): Sleeps<Result> {
  const old = ptePfn(pte);
  if (space.memory.pages.is(old, PG_EXCLUSIVE)) {
    return yield* takeBackFromDevices(space, page, pte);
  }
  const frame = space.allocFrame(page);
  if (frame === 0) return -ENOMEM;
  try {
    if (old === ZERO_PFN) clearFrame(space, frame);
    else space.memory.bytes.copy(old, frame);
    const event = clearEvent(page);
    yield* space.notifiers.start(event);
    // Somebody else may have been faster while the callbacks ran.
    if (space.pageTable.get(page) === pte) replaceByCopy(space, page, frame);
    space.notifiers.end(event);
    return 0;
  } finally {
    space.memory.pages.put(frame);
  }
}

function replaceByCopy(space: AddressSpace, page: Vpn, frame: Pfn): void {
  space.ownAnonymous(frame, page);
  space.memory.pages.setFlag(frame, PG_DIRTY);
  const cursor = space.cursor.begin();
  cursor.unmap(page);
  cursor.map(page, makePte(frame, PTE_VALID | PTE_WRITE));
  cursor.flush();
  space.memory.tracer.emit(COW, space.id, page, frame);
}

/**
 * Devices read copies of this page. They forget them before the CPU may write; that is an
 * invalidation although the page stays where it is.
 */
function* takeBackFromDevices(space: AddressSpace, page: Vpn, pte: Pte): Sleeps<Result> {
  const { pages } = space.memory;
  const event = clearEvent(page);
  yield* space.notifiers.start(event);
  if (space.pageTable.get(page) === pte) {
    pages.clearFlag(ptePfn(pte), PG_DUPLICATED);
    reuse(space, page, pte);
  }
  space.notifiers.end(event);
  return 0;
}

/** The page is on its way: whoever moves it holds its lock until it has arrived. */
function* waitForMigration(space: AddressSpace, pte: Pte): Sleeps<Result> {
  yield* space.memory.pages.waitUnlocked(ptePfn(pte));
  return 0;
}

/**
 * The page lives on a device: its owner brings it home. The lock is taken before the reference,
 * so that two CPUs that fault at once do not make each other's migration fail; who loses sleeps
 * until the page is unlocked and looks again. Linux: do_swap_page().
 */
function* faultDevicePrivate(
  space: AddressSpace,
  vma: Vma,
  page: Vpn,
  flags: number,
): Sleeps<Result> {
  const { pages } = space.memory;
  const frame = ptePfn(space.pageTable.get(page));
  if (!pages.tryLock(frame)) {
    yield* pages.waitUnlocked(frame);
    return 0;
  }
  pages.get(frame);
  try {
    const pagemap = space.memory.pagemap(pages.pagemap[frame]!);
    const result = yield* pagemap.migrateToRam({ space, vma, page, flags, frame });
    return result < 0 && result !== -ENOMEM ? FAULT_SIGBUS : result;
  } finally {
    pages.unlock(frame);
    pages.put(frame);
  }
}

/** The flags of an entry that maps a page of `vma`. */
export function presentFlags(vma: Vma, mayWrite: boolean): number {
  if (!vma.allows(VM_READ)) return PTE_PROTNONE;
  return PTE_VALID | (mayWrite && vma.allows(VM_WRITE) ? PTE_WRITE : 0);
}

const clearEvent = (page: Vpn): Invalidation =>
  new Invalidation({
    start: addrOf(page),
    end: addrOf(vpn(page + 1)),
    event: MMU_NOTIFY_CLEAR,
  });
