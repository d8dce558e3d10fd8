/**
 * Pages that a device has: private ones come home, exclusive ones are taken back, and for those
 * on their way one waits. Linux: mm/memory.c do_swap_page(), remove_device_exclusive_entry().
 */
import { addrOf, assert, ENOMEM, type Result, type Vpn, vpn } from "../../base/index.ts";
import { Invalidation, MMU_NOTIFY_EXCLUSIVE } from "../../notifier/index.ts";
import { PG_ANON } from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { presentFlags } from "../entry-flags.ts";
import { isExclusive, isMigration, makePte, PTE_WRITE, type Pte, ptePfn } from "../pte.ts";
import { reclaimPages } from "../swap/reclaim.ts";
import type { Vma } from "../vma.ts";
import { FAULT_REMOTE, FAULT_SIGBUS, FAULT_TRIED } from "./flags.ts";

const RESTORE = eventId("mm:restore-exclusive");

/** The page is on its way: whoever moves it holds its lock until it has arrived. */
export function* waitForMigration(space: AddressSpace, pte: Pte): Sleeps<Result> {
  assert(isMigration(pte), () => `entry ${pte.toString(16)} is not on its way`);
  space.mmapLock.assertHeld();
  yield* space.memory.pages.waitUnlocked(ptePfn(pte));
  return 0;
}

/**
 * The page lives on a device: its owner brings it home. The lock is taken before the reference,
 * so that two CPUs that fault at once do not make each other's migration fail; who loses sleeps
 * until the page is unlocked and looks again. Linux: do_swap_page().
 */
export function* faultDevicePrivate(
  space: AddressSpace,
  vma: Vma,
  page: Vpn,
  flags: number,
): Sleeps<Result> {
  const { memory } = space;
  const { pages } = memory;
  space.mmapLock.assertHeld();
  // Room for the page is made before anything is locked: the owner may not wait for it.
  if (memory.ram.freeCount === 0 && memory.canReclaim) yield* reclaimPages(memory, 1);
  const pte = space.pageTable.get(page);
  const frame = ptePfn(pte);
  if (!pages.isDevice(frame)) return 0;
  if (!pages.tryLock(frame)) {
    yield* pages.waitUnlocked(frame);
    return 0;
  }
  pages.get(frame);
  try {
    const pagemap = memory.pagemap(pages.pagemap[frame]!);
    const result = yield* pagemap.migrateToRam({ space, vma, page, flags, frame });
    const mayWait = (flags & (FAULT_REMOTE | FAULT_TRIED)) === 0;
    assert(result <= 0 || mayWait, "an access that may not wait was told to");
    return result < 0 && result !== -ENOMEM ? FAULT_SIGBUS : result;
  } finally {
    pages.unlock(frame);
    pages.put(frame);
  }
}

/**
 * A device has the page for itself: it is told to let go, by an event that names no owner so that
 * nobody passes over it, and the CPU may touch the page again.
 */
export function* faultExclusive(space: AddressSpace, vma: Vma, page: Vpn): Sleeps<Result> {
  const { pages } = space.memory;
  const pte = space.pageTable.get(page);
  const frame = ptePfn(pte);
  if (!pages.tryLock(frame)) {
    yield* pages.waitUnlocked(frame);
    return 0;
  }
  pages.get(frame);
  assert(!pages.isDevice(frame), () => `frame ${frame} is a device's and exclusive to one`);
  assert(pages.mapcount[frame]! > 0, () => `frame ${frame} is exclusive and counts no mapping`);
  const event = new Invalidation({
    start: addrOf(page),
    end: addrOf(vpn(page + 1)),
    event: MMU_NOTIFY_EXCLUSIVE,
  });
  try {
    return yield* space.notifiers.change(event, () => {
      if (space.pageTable.get(page) !== pte) return;
      space.cursor.begin();
      restoreExclusive(space, vma, page);
      space.cursor.flush();
    });
  } finally {
    pages.unlock(frame);
    pages.put(frame);
  }
}

/**
 * The exclusive entry of `page` is an ordinary one again; the caller has the cursor open. Linux:
 * restore_exclusive_pte().
 */
export function restoreExclusive(space: AddressSpace, vma: Vma, page: Vpn): void {
  const pte = space.cursor.get(page);
  assert(isExclusive(pte), () => `page ${page} is taken back and nobody has it`);
  const isAnonymous = space.memory.pages.is(ptePfn(pte), PG_ANON);
  assert(isAnonymous, () => `page ${page} is exclusive and not anonymous`);
  space.cursor.set(page, makePte(ptePfn(pte), presentFlags(vma, (pte & PTE_WRITE) !== 0)));
  space.memory.tracer.emit(RESTORE, space.id, page, ptePfn(pte));
}
