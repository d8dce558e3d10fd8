/**
 * Device-exclusive access: the CPU is locked out of a page of RAM so that a device without
 * coherent atomics may use it alone. The entry keeps the frame, is not present, and the first
 * touch takes it back (`fault/device.ts`). Linux: make_device_exclusive(), whose form of 2025 is
 * followed: page by page, also of large pages (which are split), and a locked page is waited for.
 */
import {
  type AddrRange,
  assert,
  EBUSY,
  EFAULT,
  EOPNOTSUPP,
  PAGE_SIZE,
  type Pfn,
  pfn,
  type Result,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../base/index.ts";
import { Invalidation, MMU_NOTIFY_EXCLUSIVE } from "../notifier/index.ts";
import { PG_ANON, PG_LARGE } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import type { AddressSpace } from "./address-space.ts";
import { FAULT_REMOTE, FAULT_WRITE, handleMmFault, permits } from "./fault/index.ts";
import { splitHuge, splitLargePage } from "./large/index.ts";
import { mappersOf } from "./migration-entries.ts";
import { makePte, PTE_EXCLUSIVE, PTE_VALID, PTE_WRITE, ptePfn } from "./pte.ts";
import { VM_IO, VM_PFNMAP } from "./vma.ts";

const MAKE = eventId("mm:make-exclusive");

/**
 * Makes the pages of `range` exclusive. `frames[i]` gets the frame of page i, locked and
 * referenced for the caller, or 0 where the page cannot be exclusive (it is not anonymous). Gives
 * how many pages were looked at: fewer than asked for when one cannot be faulted in for writing;
 * or why not even the first can. The caller holds mmapLock for reading, enters the frames in its
 * device's table, then unlocks and puts each (`putExclusive`).
 */
export function* makeDeviceExclusive(
  space: AddressSpace,
  range: AddrRange,
  frames: Pfn[],
  owner: object | undefined,
): Sleeps<Result> {
  space.mmapLock.assertHeld();
  assert(frames.length === 0, "frames are handed out over those of another range");
  const first = vpnOf(range.start);
  let locked = 0;
  let isDone = false;
  yield* space.memory.precedence.giveWay(space.notifiers, range);
  try {
    const found = yield* getForWriting(space, first, vpnOf(range.end), frames);
    for (; locked < found; locked++) {
      const frame = frames[locked]!;
      if (yield* lockAndClaim(space, vpn(first + locked), frame, owner)) continue;
      space.memory.pages.put(frame);
      frames[locked] = pfn(0);
    }
    isDone = true;
    return found;
  } finally {
    // Killed while it waited: the caller gets only what is locked.
    if (!isDone) {
      for (const frame of frames.splice(locked)) if (frame !== 0) space.memory.pages.put(frame);
    }
  }
}

/** The caller has told its device: the page may be taken back from now on. */
export function putExclusive(space: AddressSpace, frames: readonly Pfn[]): void {
  const { pages } = space.memory;
  for (const frame of frames) {
    if (frame === 0) continue;
    assert(pages.isLocked(frame), () => `frame ${frame} is put and was not exclusive`);
    assert(pages.refs[frame]! > 0, () => `frame ${frame} is put and nobody has it`);
    pages.unlock(frame);
    pages.put(frame);
  }
}

/** Faults pages in for writing and takes a reference to each, up to the first that fails. */
function* getForWriting(space: AddressSpace, start: Vpn, end: Vpn, frames: Pfn[]): Sleeps<Result> {
  const need = PTE_VALID | PTE_WRITE;
  const flags = FAULT_WRITE | FAULT_REMOTE;
  for (let page = start; page < end; ) {
    const vma = space.vmas.find(virtAddr(page * PAGE_SIZE));
    let result: Result = 0;
    if (vma === undefined || !permits(vma, flags)) result = -EFAULT;
    else if (vma.flags & (VM_IO | VM_PFNMAP)) result = -EFAULT;
    else if (vma.isHugetlb) result = -EOPNOTSUPP;
    else if ((space.pageTable.get(page) & need) !== need) {
      result = yield* handleMmFault(space, vma, page, flags);
      if (result >= 0) continue;
    }
    if (result < 0) return page === start ? result : page - start;
    yield* splitHuge(space, page);
    const frame = ptePfn(space.pageTable.get(page));
    if (space.memory.pages.is(frame, PG_LARGE)) {
      // Its pages share one lock, so they part first; a page of zeros has to be faulted in again.
      if (!(yield* splitLargePage(space.memory, frame)))
        return page === start ? -EBUSY : page - start;
      continue;
    }
    space.memory.pages.get(frame);
    frames[page - start] = frame;
    page = vpn(page + 1);
  }
  return end - start;
}

/** Locked afterwards if it is exclusive, and only then. */
function* lockAndClaim(
  space: AddressSpace,
  page: Vpn,
  frame: Pfn,
  owner: object | undefined,
): Sleeps<boolean> {
  const { pages } = space.memory;
  while (!pages.tryLock(frame)) yield* pages.waitUnlocked(frame);
  let isClaimed = false;
  try {
    isClaimed = yield* claim(space, page, frame, owner);
  } finally {
    if (!isClaimed) pages.unlock(frame);
  }
  return isClaimed;
}

/**
 * Replaces every entry that maps `frame`, in whatever space, telling each; true when `page` of
 * `space` was one of them and could be written.
 */
function* claim(
  space: AddressSpace,
  page: Vpn,
  frame: Pfn,
  owner: object | undefined,
): Sleeps<boolean> {
  const { memory } = space;
  if (!memory.pages.is(frame, PG_ANON)) return false;
  let isOurs = false;
  let left = memory.pages.mapcount[frame]!;
  for (const { vma, address } of mappersOf(memory, frame)) {
    if (left === 0) break;
    const event = new Invalidation({
      start: address,
      end: virtAddr(address + PAGE_SIZE),
      event: MMU_NOTIFY_EXCLUSIVE,
      owner,
    });
    const at = vpnOf(address);
    yield* vma.space.notifiers.change(event, () => {
      const pte = vma.space.pageTable.get(at);
      if ((pte & PTE_VALID) === 0 || ptePfn(pte) !== frame) return;
      assert(memory.pages.isLocked(frame), () => `frame ${frame} is claimed without its lock`);
      assert(left > 0, () => `frame ${frame} has more entries than it counts mappings`);
      const cursor = vma.space.cursor.begin();
      cursor.set(at, makePte(frame, PTE_EXCLUSIVE | (pte & PTE_WRITE)));
      cursor.flush();
      left--;
      if (vma.space === space && at === page && pte & PTE_WRITE) isOurs = true;
    });
  }
  if (isOurs) memory.tracer.emit(MAKE, space.id, page, frame);
  return isOurs;
}
