/**
 * A hypervisor's second MMU: guest memory is memory of a program, and the guest's page table is one
 * more copy of the program's. Linux: virt/kvm/kvm_main.c and its page fault handlers.
 *
 * **Nouns.** *Slot*: guest pages [gfn, gfn + pages) are the program's memory from `address` on; two
 * slots may show the same memory. *Guest table*: `GuestMmu`, filled by faults of virtual CPUs.
 * *Event*: an invalidation between its start and its end.
 *
 * **Locks.** `#changing` ("svm"): one change of the slots at a time. `#mmuLock` ("driver"): slots,
 * counters, guest table. `#end` may not sleep and takes no lock: it is one step, as the check is.
 *
 * **No loop.** A fault is one pass: sample, resolve, lock, check, enter. A pass that collides
 * enters nothing and answers `RETRY`; the guest executes its access, and may fault, again.
 * ```
 * fault                                   event
 *   seen = seq                              start: lock; inProgress++, widen; zap, flush; unlock
 *   word = the page, no lock held           the page table changes, frames are freed
 *   lock; does an event in progress         end: seq++, then inProgress--
 *     cover the page, or has seq moved?
 *     yes: RETRY; no: enter; unlock
 * ```
 * An event that ended since the sample has moved `seq`, one that has not ended is in progress, and
 * one that is yet to start will zap what is entered now. In `end` the sequence moves first: where
 * the two are separate steps, a check between them would find neither.
 *
 * **Why this listens to the whole space.** An `IntervalNotifier` counts like this in the core, for
 * its range, and no driver can get it wrong; use it where ranges are fixed. It has no end. A
 * hypervisor's ranges are slots that change, so it decides at the start of an event what the event
 * means to it, and has to decide the same at its end. Hence `NotifierOps`, counting by hand, and
 * changes of slots that wait until no event runs.
 *
 * **What goes wrong otherwise.** No check, or one before the lock: the guest writes into a freed
 * frame. `seq` not moved: the same, when an event begins and ends while a page is resolved. Only
 * the last event's range: an earlier one still changes its pages. Slots changed while an event
 * runs: its end is not counted, its pages fault for ever. Deaf with a table: as no check.
 */
import {
  type AddressSpace,
  assert,
  EAGAIN,
  EFAULT,
  EINVAL,
  ENODEV,
  ENOENT,
  EPERM,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  hmmRangeFault,
  IntervalNotifier,
  type Invalidation,
  isPageRange,
  Mutex,
  mmputAsync,
  type NotifierOps,
  PAGE_SIZE,
  PG_DIRTY,
  PTE_WRITE,
  ptePfn,
  type Result,
  type Sleeps,
  SPACE_BYTES,
  type VirtAddr,
  virtAddr,
  WaitQueue,
} from "onespace/driver";
import {
  addressOf,
  type GfnRange,
  gfnsOf,
  type Mapping,
  mappingOf,
  meet,
  partsOf,
  type Slot,
  union,
} from "./guest-slots.ts";
import type { GuestMmu, Vcpu } from "./secondary-mmu-hardware.ts";

/** Answers of `fault`: the page is entered; something came between, execute the access again. */
export const FIXED = 0;
export const RETRY = 1;

export class VirtualMachine {
  readonly space: AddressSpace;
  readonly mmu: GuestMmu;
  readonly counts = { fixed: 0, large: 0, retries: 0, early: 0, zaps: 0, widened: 0, waits: 0 };
  readonly #changing: Mutex;
  readonly #mmuLock: Mutex;
  readonly #quiet: WaitQueue;
  readonly #listener: NotifierOps = {
    invalidateRangeStart: (event) => this.#start(event),
    invalidateRangeEnd: (event) => this.#end(event),
  };
  // Replaced, never changed: a fault that sees another array than before has to retry.
  #slots: readonly Slot[] = [];
  /** Events that ended and touched a slot. */
  #seq = 0;
  /** Events that touch a slot now, and the guest pages they touch, with all that lie between. */
  #inProgress = 0;
  #covered: GfnRange = { from: 0, to: 0 };
  /** Events that run, whatever they touch. */
  #running = 0;
  #isDestroyed = false;

  private constructor(space: AddressSpace, mmu: GuestMmu) {
    const { scheduler } = space.memory;
    this.space = space;
    this.mmu = mmu;
    this.#changing = new Mutex(scheduler, "svm", "changes of memory slots");
    this.#mmuLock = new Mutex(scheduler, "driver", "the MMU lock");
    this.#quiet = new WaitQueue(scheduler, "the end of all invalidations");
  }

  /**
   * A machine without memory. It must not begin to listen while an event runs whose start it has
   * missed, so it waits for a moment without any. -EINVAL: the space goes away.
   */
  static *create(space: AddressSpace, mmu: GuestMmu): Sleeps<VirtualMachine | Result> {
    const vm = new VirtualMachine(space, mmu);
    const fence = new IntervalNotifier({ start: virtAddr(0), end: virtAddr(SPACE_BYTES) });
    const inserted = space.notifiers.insert(fence);
    if (inserted < 0) return inserted;
    try {
      yield* space.notifiers.readBegin(fence);
      space.notifiers.register(vm.#listener);
    } finally {
      space.notifiers.removeSilent(fence);
    }
    return vm;
  }

  /**
   * The end, before or after that of the space, and also between the start of an event and its
   * end. The table first: once nobody listens, nobody zaps.
   */
  *destroy(): Sleeps<void> {
    assert(!this.#isDestroyed, "a virtual machine is destroyed twice");
    {
      using _mmu = yield* this.#mmuLock.acquire();
      this.#isDestroyed = true;
      for (const slot of this.#slots) this.#zap(gfnsOf(slot));
      this.#slots = [];
      // Whatever is counted: ends that are to come find nobody, and those who wait give up.
      this.#running = 0;
      this.#inProgress = 0;
    }
    this.#quiet.wakeAll();
    yield* this.space.notifiers.unregister(this.#listener);
  }

  addVcpu(): Vcpu {
    return this.mmu.addVcpu((gfn, write) => this.fault(gfn, write));
  }

  get slots(): readonly Slot[] {
    return this.#slots;
  }

  /** Adds memory. -EINVAL: no pages, or guest pages that are in a slot already. */
  *addSlot(slot: Slot): Sleeps<Result> {
    const end = virtAddr(slot.address + slot.pages * PAGE_SIZE);
    if (!isPageRange(slot.address, end) || slot.gfn < 0) return -EINVAL;
    return yield* this.#change((slots) => {
      const isFree = !slots.some((each) => meet(gfnsOf(each), gfnsOf(slot)));
      return isFree ? [...slots, slot] : -EINVAL;
    });
  }

  /** Takes the slot that begins at `gfn` away: the guest reaches none of it after this. */
  *removeSlot(gfn: number): Sleeps<Result> {
    return yield* this.#change((slots) => {
      const left = slots.filter((slot) => slot.gfn !== gfn);
      return left.length < slots.length ? left : -ENOENT;
    });
  }

  /**
   * A virtual CPU misses guest page `gfn`. `FIXED`, `RETRY`, or: -EFAULT, no memory is there;
   * -EPERM, it may not be written; -ENOMEM; -ENODEV, the machine is destroyed.
   */
  *fault(gfn: number, write: boolean): Sleeps<Result> {
    if (this.#isDestroyed) return -ENODEV;
    const slots = this.#slots;
    const page = { from: gfn, to: gfn + 1 };
    const slot = slots.find((each) => meet(gfnsOf(each), page));
    if (slot === undefined) return -EFAULT;
    if (write && slot.isReadOnly) return -EPERM;
    const seen = this.#seq;
    if (this.#isInvalidating(page)) {
      this.counts.early++;
      return RETRY; // Saves a walk in vain; the check below is the one that counts.
    }
    const word = yield* this.#resolve(addressOf(slot, gfn), write);
    if (word < 0) return word;
    const found = mappingOf(slot, gfn, word);
    using _mmu = yield* this.#mmuLock.acquire();
    if (slots !== this.#slots || seen !== this.#seq || this.#isInvalidating(found)) {
      this.counts.retries++;
      return RETRY;
    }
    this.#enter(found);
    return FIXED;
  }

  /** The word of one page of the program, which has been faulted in, or a negated errno. */
  *#resolve(address: VirtAddr, write: boolean): Sleeps<number> {
    const { space } = this;
    if (!space.users.getUnlessZero()) return -EFAULT;
    try {
      const pfns = new Uint32Array(1);
      const end = virtAddr(address + PAGE_SIZE);
      using _mmap = yield* space.mmapLock.acquireRead();
      const result = yield* hmmRangeFault(space, {
        start: address,
        end,
        // Not inserted anywhere, so never old: that is for the check under the MMU lock to find.
        notifier: new IntervalNotifier({ start: address, end }),
        notifierSeq: 0,
        pfns,
        defaultFlags: HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0),
        pfnFlagsMask: 0,
        devPrivateOwner: undefined,
      });
      return result < 0 ? result : pfns[0]!;
    } finally {
      mmputAsync(space);
    }
  }

  #enter({ from, to, entry }: Mapping): void {
    this.#mmuLock.assertHeld();
    if (to - from === 1) this.mmu.set(from, entry);
    else this.mmu.setLarge(from, entry);
    this.counts[to - from === 1 ? "fixed" : "large"]++;
  }

  *#start(event: Invalidation): Sleeps<Result> {
    const guard = event.blockable ? yield* this.#mmuLock.acquire() : this.#mmuLock.tryAcquire();
    if (guard === undefined) return -EAGAIN;
    using _mmu = guard;
    if (this.#isDestroyed) return 0;
    this.#running++;
    const parts = partsOf(this.#slots, event);
    if (parts.length === 0) return 0;
    if (this.#inProgress === 0) this.#covered = parts[0]!;
    else this.counts.widened++;
    this.#inProgress++;
    for (const part of parts) {
      this.#covered = union(this.#covered, part);
      this.#zap(part);
    }
    return 0;
  }

  #end(event: Invalidation): void {
    if (this.#isDestroyed) return;
    if (partsOf(this.#slots, event).length > 0) {
      this.#seq++;
      this.#inProgress--;
    }
    this.#running--;
    if (this.#running === 0) this.#quiet.wakeAll();
  }

  #isInvalidating(gfns: GfnRange): boolean {
    return this.#inProgress > 0 && meet(this.#covered, gfns);
  }

  /** The guest reaches none of these pages after this. */
  #zap({ from, to }: GfnRange): void {
    this.#mmuLock.assertHeld();
    const { pages } = this.space.memory;
    this.mmu.clear(from, to, (entry, count) => {
      this.counts.zaps++;
      // The guest may have written what it could write.
      const end = entry & PTE_WRITE ? ptePfn(entry) + count : 0;
      for (let frame = ptePfn(entry); frame < end; frame++) pages.setFlag(frame, PG_DIRTY);
    });
    this.mmu.flushTlbs();
  }

  /** The end of an event must mean what its start meant: slots change when none runs. */
  *#change(change: (slots: readonly Slot[]) => readonly Slot[] | Result): Sleeps<Result> {
    using _one = yield* this.#changing.acquire();
    const slots = change(this.#slots);
    if (typeof slots === "number") return slots;
    for (;;) {
      yield* this.#quiet.until(() => this.#running === 0);
      using _mmu = yield* this.#mmuLock.acquire();
      if (this.#isDestroyed) return -ENODEV;
      if (this.#running > 0) {
        this.counts.waits++;
        continue;
      }
      for (const slot of this.#slots) if (!slots.includes(slot)) this.#zap(gfnsOf(slot));
      this.#slots = slots;
      return 0;
    }
  }
}
