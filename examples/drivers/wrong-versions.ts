/**
 * The first driver with one mistake each. `first-driver.test.ts` runs each until random schedules
 * have found it out, and `docs/driver-guide.md` tells the stories. Versions that are called right
 * are for comparison: one line apart from a wrong one.
 */
import {
  type AddrRange,
  addrOf,
  assert,
  EBUSY,
  EFAULT,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  type HmmRange,
  hmmRangeFault,
  IntervalNotifier,
  type Invalidation,
  MIGRATE_VMA_SELECT_SYSTEM,
  type Migration,
  type MigrationDriver,
  type MirrorRange,
  MMU_NOTIFY_MIGRATE,
  MMU_NOTIFY_RELEASE,
  migrateFrame,
  migratePfn,
  mmputAsync,
  newMigration,
  PTE_NONE,
  PTE_WRITE,
  type Pte,
  type Result,
  runMigration,
  type Sleeps,
  type Vpn,
  vpn,
  vpnOf,
  YIELD,
} from "onespace/driver";
import { ATTEMPTS_MAX, FirstDriver } from "./first-driver.ts";

/** The one loop with its end taken out: `finish` is what is wrong. -EBUSY: start over. */
abstract class OtherEnd extends FirstDriver {
  abstract finish(range: MirrorRange, result: Result): Sleeps<Result>;

  override *serviceFault(part: AddrRange, write: boolean): Sleeps<Result> {
    const range = this.mirror.range(part);
    if (typeof range === "number") return range;
    using _registered = range;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (!(yield* range.waitUntilValid())) return -EBUSY;
      const result = yield* this.finish(range, yield* range.fault({ write }));
      if (result !== -EBUSY) return result;
    }
    return -EBUSY;
  }
}

/**
 * Takes the lock and programs what it has read.
 * ```
 * munmap                                  device fault
 *                                           fault(): page 3 is frame 7
 *   start: the range is invalid
 *     callback: nothing to drop
 *   frame 7 is free
 *   end
 *                                           take lock; page 3 -> frame 7
 * ```
 */
export class NoCheck extends OtherEnd {
  override *finish(range: MirrorRange, result: Result): Sleeps<Result> {
    if (result < 0) return result;
    using _update = yield* this.lock.acquire();
    return this.program(range);
  }
}

/**
 * Checks, and then takes the lock: while it waits the answer grows old.
 * ```
 * munmap                                  device fault
 *                                           fault(): page 3 is frame 7
 *                                           range.valid: true
 *   start                                   wait for the lock ...
 *     callback: take lock, nothing to
 *       drop, give it back
 *   frame 7 is free; end                    ... take lock; page 3 -> frame 7
 * ```
 */
export class CheckBeforeLock extends OtherEnd {
  override *finish(range: MirrorRange, result: Result): Sleeps<Result> {
    if (result < 0) return result;
    if (!range.valid) return -EBUSY;
    using _update = yield* this.lock.acquire();
    return this.program(range);
  }
}

/**
 * Checks under the lock and programs under the lock, but not under the same holding of it.
 * ```
 * munmap                                  device fault
 *                                           fault(): page 3 is frame 7
 *                                           take lock; range.valid: true; give it back
 *   start
 *     callback: take lock, nothing to
 *       drop, give it back
 *   frame 7 is free; end
 *                                           take lock; page 3 -> frame 7
 * ```
 */
export class LockTakenTwice extends OtherEnd {
  override *finish(range: MirrorRange, result: Result): Sleeps<Result> {
    if (result < 0) return result;
    {
      using _check = yield* this.lock.acquire();
      if (!range.valid) return -EBUSY;
    }
    using _update = yield* this.lock.acquire();
    return this.program(range);
  }
}

/**
 * Holds its lock all the way, so that nothing can come between.
 * ```
 * munmap                                  device fault
 *   start
 *     callback: wait for the lock           take lock
 *                                           waitUntilValid(): sleeps until `end`
 *   (never comes here: end)
 * ```
 */
export class WaitsWithLock extends FirstDriver {
  override *serviceFault(part: AddrRange, write: boolean): Sleeps<Result> {
    using _update = yield* this.lock.acquire();
    return yield* super.serviceFault(part, write);
  }
}

/**
 * Lets the device write whatever it may read.
 * ```
 * fork                                    device
 *   parent and child share frame 7,
 *   both may only read it
 *                                           read fault: page 3 is frame 7, readable
 *                                           program: page 3 -> frame 7, writable
 *                                           write: the child sees what its parent wrote
 * ```
 */
export class AllWritable extends FirstDriver {
  override program(range: Pick<MirrorRange, "start" | "pfns">): Result {
    return super.program({ start: range.start, pfns: range.pfns.map((word) => word | PTE_WRITE) });
  }
}

/**
 * Listens no more when the process ends, and keeps what it has: nobody will use that memory now.
 * ```
 * exit                                    device
 *   RELEASE: callback returns at once       page 3 -> frame 7
 *   UNMAP: callback returns at once
 *   frame 7 is free                         reads and writes frame 7, whosever it is by then
 * ```
 */
export class KeepsAtRelease extends FirstDriver {
  #isOver = false;

  override *syncCpuDevicePagetables(event: Invalidation): Sleeps<boolean> {
    if (event.event === MMU_NOTIFY_RELEASE) this.#isOver = true;
    return this.#isOver || (yield* super.syncCpuDevicePagetables(event));
  }
}

/**
 * Unsubscribes when it hears that the process ends.
 * ```
 * exit                                    the same task
 *   wait for `release` to return
 *     release
 *       unregister()                        wait for all callbacks to return
 * ```
 */
export class UnregistersInCallback extends FirstDriver {
  *release(): Sleeps<void> {
    yield* this.mirror.unregister();
  }
}

/** Right, for comparison: a device that keeps what it has looked up until it is told to flush. */
export class WithTlb extends FirstDriver {
  // Vpn -> entry as it was when the device looked it up
  readonly #tlb = new Map<Vpn, Pte>();

  override lookUp(page: Vpn): Pte {
    const entry = this.#tlb.get(page) ?? super.lookUp(page);
    if (entry !== PTE_NONE) this.#tlb.set(page, entry);
    return entry;
  }

  override program(range: Pick<MirrorRange, "start" | "pfns">): Result {
    range.pfns.forEach((_, i) => void this.#tlb.delete(vpn(vpnOf(range.start) + i)));
    return super.program(range);
  }

  override *syncCpuDevicePagetables(event: Invalidation): Sleeps<boolean> {
    using update = event.blockable ? yield* this.lock.acquire() : this.lock.tryAcquire();
    return update === undefined ? false : yield* this.forget(event);
  }

  /** What the table does not have the TLB does not have. A flush takes a while. */
  *forget({ start, end, blockable }: Invalidation): Sleeps<boolean> {
    if (this.table.nextUsed(vpnOf(start), vpnOf(end)) === vpnOf(end)) return true;
    if (!blockable) return false;
    this.drop(vpnOf(start), vpnOf(end));
    yield* this.flush();
    return true;
  }

  *flush(): Sleeps<void> {
    yield YIELD;
    this.#tlb.clear();
  }
}

/**
 * Drops its entries and then finds that it would have to wait for the flush, and refuses. Nobody
 * flushes after that: the next event finds an empty table and has nothing to do.
 * ```
 * the reaper, which may not wait          munmap                      device
 *   start                                                               TLB: page 3 -> frame 7
 *     callback: drop page 3; refuse
 *   (it leaves the page alone)              start
 *                                             callback: nothing there
 *                                           frame 7 is free; end        reads frame 7
 * ```
 */
export class RefusesTooLate extends WithTlb {
  override *forget({ start, end, blockable }: Invalidation): Sleeps<boolean> {
    if (this.table.nextUsed(vpnOf(start), vpnOf(end)) === vpnOf(end)) return true;
    this.drop(vpnOf(start), vpnOf(end));
    if (!blockable) return false;
    yield* this.flush();
    return true;
  }
}

/** Right, for comparison: the loop on the bare call, with a request in the word of each page. */
export class BareLoop extends FirstDriver {
  override *serviceFault(part: AddrRange, write: boolean): Sleeps<Result> {
    const { space } = this;
    if (!space.users.getUnlessZero()) return -EFAULT;
    const notifier = new IntervalNotifier(part);
    try {
      const inserted = space.notifiers.insert(notifier);
      return inserted < 0 ? inserted : yield* this.populate(newRange(notifier), write);
    } finally {
      if (notifier.isRegistered) space.notifiers.removeSilent(notifier);
      mmputAsync(space);
    }
  }

  *populate(range: HmmRange, write: boolean): Sleeps<Result> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      this.request(range, write, attempt);
      const result = yield* this.look(range);
      if (result === -EBUSY) continue;
      if (result < 0) return result;
      using _update = yield* this.lock.acquire();
      if (!range.notifier.readRetry(range.notifierSeq)) return this.program(range);
    }
    return -EBUSY;
  }

  *look(range: HmmRange): Sleeps<Result> {
    range.notifierSeq = (yield* this.space.notifiers.readBegin(range.notifier))!;
    using _mmap = yield* this.space.mmapLock.acquireRead();
    return yield* hmmRangeFault(this.space, range);
  }

  /** The words come back as results, so every attempt asks anew. */
  request({ pfns }: HmmRange, write: boolean, _attempt: number): void {
    pfns.fill(write ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : HMM_PFN_REQ_FAULT);
  }
}

const newRange = (notifier: IntervalNotifier): HmmRange => ({
  start: notifier.start,
  end: notifier.end,
  notifier,
  notifierSeq: 0,
  pfns: new Uint32Array(vpnOf(notifier.end) - vpnOf(notifier.start)),
  defaultFlags: 0,
  pfnFlagsMask: HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
  devPrivateOwner: undefined,
});

/**
 * Asks once, before the loop. Requests and results share their words and their bits, so a retry
 * asks for what the last attempt found.
 * ```
 * mprotect to read-only                   device fault, for reading
 *                                           word = FAULT
 *                                           hmmRangeFault(): word = frame 7, VALID and WRITE
 *   start ... end
 *                                           readRetry(): true
 *                                           hmmRangeFault(): WRITE is requested: -EPERM
 * ```
 */
export class StaleRequests extends BareLoop {
  override request(range: HmmRange, write: boolean, attempt: number): void {
    if (attempt === 0) super.request(range, write, attempt);
  }
}

/**
 * After -EBUSY it begins to read anew, and goes on with what it has instead of looking again. The
 * sequence is the new one then; the words are those of before the event.
 * ```
 * munmap of page 3                        device fault of pages 3 to 5
 *   wait for mmapLock ...                   hmmRangeFault(): page 3 is frame 7; page 4 is on another
 *                                             device and comes home, which is an event: -EBUSY
 *   start                                   readBegin() ...
 *   frame 7 is free
 *   end                                       ... the sequence after the event
 *                                           take lock; readRetry(): false; page 3 -> frame 7
 * ```
 */
export class GoesOnAfterBusy extends BareLoop {
  override *look(range: HmmRange): Sleeps<Result> {
    const result = yield* super.look(range);
    if (result !== -EBUSY) return result;
    range.pfns.fill(0, range.last! - vpnOf(range.start));
    range.notifierSeq = (yield* this.space.notifiers.readBegin(range.notifier))!;
    return 0;
  }
}

/**
 * Right, for comparison: a driver that moves pages by itself (here within RAM), passes over the
 * events of its own moves, and drops what it moves while it is still. The sequence moves without
 * the callback, so no fault that is under way programs the old frame.
 */
export class MovesPages extends FirstDriver implements MigrationDriver {
  override *syncCpuDevicePagetables(event: Invalidation): Sleeps<boolean> {
    if (event.event === MMU_NOTIFY_MIGRATE && event.owner === this) return true;
    return yield* super.syncCpuDevicePagetables(event);
  }

  /** 1 when the page has moved, 0 when it may not move now, or a negated errno. */
  *move(page: Vpn): Sleeps<Result> {
    const { space } = this;
    if (!space.users.getUnlessZero()) return -EFAULT;
    try {
      using _mmap = yield* space.mmapLock.acquireRead();
      const vma = space.vmas.find(addrOf(page));
      if (vma === undefined) return -EFAULT;
      const where = { space, vma, start: page, end: vpn(page + 1) };
      const select = MIGRATE_VMA_SELECT_SYSTEM;
      return yield* runMigration(newMigration({ ...where, select, owner: this }), this);
    } finally {
      mmputAsync(space);
    }
  }

  *copy(migration: Migration): Sleeps<Result> {
    using _update = yield* this.lock.acquire();
    this.forget(migration);
    const { bytes, pages } = this.space.memory;
    const from = migrateFrame(migration.src[0]!);
    // An empty page stays so: giving it a frame would be one more event to pass over.
    const to = from === 0 ? 0 : this.space.takeFrame(migration.start);
    if (from === 0 || to === 0) return 0;
    assert(pages.tryLock(to), "a fresh frame is unlocked");
    bytes.copy(from, to);
    migration.dst[0] = migratePfn(to);
    return 0;
  }

  *commit(): Sleeps<void> {}

  forget({ start, end }: Migration): void {
    this.drop(start, end);
  }
}

/**
 * Passes over the events of its own moves and forgets that it must then forget by itself.
 * ```
 * the driver's own move                   device
 *   start, owner: the driver                page 3 -> frame 7
 *     callback: returns at once
 *   end
 *   copy frame 7 to frame 8
 *   frame 7 is free                         reads and writes frame 7
 * ```
 */
export class KeepsWhatItMoves extends MovesPages {
  override forget(): void {}
}
