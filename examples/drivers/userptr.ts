/**
 * User pointers for hardware that cannot fault: a program's own memory, given to a GPU whose jobs
 * must find every page they touch. Nothing is pinned. When the memory changes the jobs are
 * stopped, and a worker brings the pages back and lets them go on. Linux: amdgpu's user pointers
 * (amdgpu_amdkfd_gpuvm.c), also KFD without page faults.
 *
 * **Nouns.** *UserBuffer*: a range of the program, its interval notifier, and the words that HMM
 * gave for it (`userptr-buffer.ts`). *Eviction*: an event on a buffer; `invalid` counts a buffer's, `#evicted` those of
 * all. *Restore*: one round of the worker.
 *
 * **Locks.** `#restoring` ("svm"): the list of buffers, and one round at a time. `#lock`
 * ("driver"): the counters, the GPU's table and its switch; the callback takes it.
 *
 * **The one loop.** The worker never loops in place: a round that meets an event ends, and the
 * next one begins after a delay, so the CPU always has its turn. (Who needs a bound on the number
 * of rounds reads through `CollisionRetry`, as `rdma-odp.ts` does.)
 * ```
 * event on a buffer                     round of the worker
 *   lock: invalid++, evicted++            seen = evicted
 *     the first stops the queues          each invalid buffer:
 *     forget the entries                    was = invalid; pages again, sleeping as needed
 *   unlock; the page table changes          lock: invalid is still was? write entries, invalid = 0
 *                                         lock: evicted is still seen, every buffer unread by
 *                                               events? evicted = 0, start the queues
 * ```
 * **What goes wrong otherwise.** Counters that are reset without comparing lose the event that
 * came during the round: queues run without their pages. Compared outside the lock they lose the
 * one that comes between. Entries written although a buffer's count has moved are frames of
 * somebody else. Queues that are told to stop and not waited for write into them.
 */
import {
  type AddressSpace,
  type AddrRange,
  asPte,
  assert,
  Completion,
  EBUSY,
  EFAULT,
  EINVAL,
  EPERM,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  hmmRangeFault,
  type Invalidation,
  isPageRange,
  Mutex,
  mmputAsync,
  overlaps,
  PG_DIRTY,
  PTE_NONE,
  PTE_WRITE,
  ptePfn,
  type Result,
  type Sleeps,
  vpn,
  vpnOf,
  WaitQueue,
} from "onespace/driver";
import { type OnEvent, UserBuffer } from "./userptr-buffer.ts";
import type { Gpu } from "./userptr-hardware.ts";

/** How long the CPU has for itself between an eviction and the next round. */
export const RESTORE_DELAY_MS = 1;
/** How long, and how often, one buffer may collide before a round gives up. */
const GET_PAGES_MS = 1000;
const ATTEMPTS_MAX = 4;

/** One process on the GPU. */
export class Userptr {
  readonly gpu: Gpu;
  readonly space: AddressSpace;
  readonly counts = { stops: 0, restores: 0, again: 0, busy: 0, gone: 0, refused: 0 };
  readonly #buffers: UserBuffer[] = [];
  readonly #restoring: Mutex;
  readonly #lock: Mutex;
  readonly #work: WaitQueue;
  readonly #workerIsOver: Completion<void>;
  #evicted = 0;
  #isClosed = false;

  constructor(gpu: Gpu, space: AddressSpace) {
    const { scheduler } = space.memory;
    this.gpu = gpu;
    this.space = space;
    this.#restoring = new Mutex(scheduler, "svm", "the list of user buffers");
    this.#lock = new Mutex(scheduler, "driver", "the notifier lock");
    this.#work = new WaitQueue(scheduler, "evicted buffers");
    this.#workerIsOver = new Completion(scheduler, "the restore worker");
    scheduler.spawn("restore worker", this.#worker());
  }

  /**
   * Gives [start, end) to the GPU, at the program's own addresses. A new buffer begins as if it
   * had just been evicted, so there is one way to get pages. -EINVAL: no pages, part of another
   * buffer, or the space is going away.
   */
  *alloc(range: AddrRange, isWritable: boolean): Sleeps<UserBuffer | Result> {
    if (!isPageRange(range.start, range.end)) return -EINVAL;
    using _one = yield* this.#restoring.acquire();
    if (this.#buffers.some((each) => overlaps(each, range))) return -EINVAL;
    const onEvent: OnEvent = (buffer, event) => this.#invalidate(buffer, event);
    const buffer = new UserBuffer(range, isWritable, onEvent);
    const inserted = this.space.notifiers.insert(buffer.range.notifier);
    if (inserted < 0) return inserted;
    this.#buffers.push(buffer);
    using _update = yield* this.#lock.acquire();
    yield* this.#evict();
    return buffer;
  }

  /** Takes it away again: no job reaches it, no callback of it runs after this. */
  *free(buffer: UserBuffer): Sleeps<void> {
    using _one = yield* this.#restoring.acquire();
    this.#buffers.splice(this.#buffers.indexOf(buffer), 1);
    {
      using _update = yield* this.#lock.acquire();
      yield* this.gpu.stop();
      this.#forget(buffer);
      if (this.#evicted === 0) this.gpu.start();
    }
    // Not under the lock: an event may be waiting for it in the callback.
    yield* this.space.notifiers.remove(buffer.range.notifier);
  }

  /** The end: jobs that are left fail. Before or after the end of the space. */
  *close(): Sleeps<void> {
    this.#isClosed = true;
    this.#work.wakeAll();
    yield* this.#workerIsOver.wait();
    this.gpu.die();
    while (this.#buffers.length > 0) yield* this.free(this.#buffers[0]!);
  }

  /** All pages are there and the queues run. */
  get isRestored(): boolean {
    return this.#evicted === 0;
  }

  /** Before this returns true the GPU touches no page of the event any more. */
  *#invalidate(buffer: UserBuffer, event: Invalidation): Sleeps<boolean> {
    const update = event.blockable ? yield* this.#lock.acquire() : this.#lock.tryAcquire();
    using _update = update;
    if (update === undefined || (!event.blockable && this.gpu.isBusy)) {
      this.counts.refused++;
      return false;
    }
    buffer.invalid++;
    yield* this.#evict();
    this.#forget(buffer, event);
    return true;
  }

  /** Counts an eviction; the first stops the queues. Whoever is second finds them stopped. */
  *#evict(): Sleeps<void> {
    this.#lock.assertHeld();
    this.#evicted++;
    if (this.#evicted > 1) return;
    this.counts.stops++;
    yield* this.gpu.stop();
    this.#work.wakeAll();
  }

  /** The GPU forgets what `buffer` has of `part`; what it may have written counts as written. */
  #forget(buffer: UserBuffer, part: AddrRange = buffer): void {
    this.#lock.assertHeld();
    assert(this.gpu.isStopped && !this.gpu.isBusy, "entries change under running jobs");
    const { table, memory } = this.gpu;
    const end = Math.min(vpnOf(buffer.end), vpnOf(part.end));
    let page = vpn(Math.max(vpnOf(buffer.start), vpnOf(part.start)));
    for (; page < end; page = vpn(page + 1)) {
      const entry = table.get(page);
      if (entry & PTE_WRITE) memory.pages.setFlag(ptePfn(entry), PG_DIRTY);
      if (entry !== PTE_NONE) table.set(page, PTE_NONE);
    }
  }

  *#worker(): Sleeps<void> {
    while (!this.#isClosed && !this.gpu.isDead) {
      yield* this.#work.until(() => this.#evicted > 0 || this.#isClosed);
      const laterMs = this.space.notifiers.nowMs + RESTORE_DELAY_MS;
      yield* this.#work.until(() => this.#isClosed, laterMs);
      if (!this.#isClosed) yield* this.#restore();
    }
    this.#workerIsOver.complete();
  }

  /** One round: all pages back and the queues started, or nothing started and a round later. */
  *#restore(): Sleeps<void> {
    const { space } = this;
    if (!space.users.getUnlessZero()) {
      // Nobody will bring these pages back.
      this.gpu.die();
      return;
    }
    try {
      using _one = yield* this.#restoring.acquire();
      this.counts[(yield* this.#restoreAll()) ? "restores" : "again"]++;
    } finally {
      // The last user tears the space down, and a worker does not wait for that.
      mmputAsync(space);
    }
  }

  *#restoreAll(): Sleeps<boolean> {
    const seen = this.#evicted;
    for (const buffer of this.#buffers) {
      if (buffer.invalid > 0 && !(yield* this.#validate(buffer))) return false;
    }
    return yield* this.#startQueues(seen);
  }

  /** Brings the pages of one buffer; false: not now. */
  *#validate(buffer: UserBuffer): Sleeps<boolean> {
    const was = buffer.invalid;
    const result = yield* this.#getPages(buffer);
    // The memory is gone, or may not be used like this. That is no reason to stop other jobs.
    const isGone = result === -EFAULT || result === -EPERM;
    if (result < 0 && !isGone) {
      this.counts.busy++;
      return false;
    }
    using _update = yield* this.#lock.acquire();
    if (buffer.invalid !== was) return false;
    buffer.invalid = 0;
    buffer.isGone = isGone;
    this.#forget(buffer);
    if (isGone) this.counts.gone++;
    else this.#enter(buffer);
    return true;
  }

  /** The collision-retry loop, with bounds of its own: -EBUSY is the worker's to handle. */
  *#getPages(buffer: UserBuffer): Sleeps<Result> {
    const { range } = buffer;
    const { notifiers, mmapLock } = this.space;
    const deadlineMs = notifiers.nowMs + GET_PAGES_MS;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const seq = yield* notifiers.readBegin(range.notifier, deadlineMs);
      if (seq === undefined) return -EBUSY;
      range.notifierSeq = seq;
      using _mmap = yield* mmapLock.acquireRead();
      const result = yield* hmmRangeFault(this.space, range);
      if (result !== -EBUSY) return result;
    }
    return -EBUSY;
  }

  /** Under the lock, when no event has come since the words were asked for. */
  #enter(buffer: UserBuffer): void {
    this.#lock.assertHeld();
    const rights = buffer.isWritable ? 0 : HMM_PFN_WRITE;
    buffer.range.pfns.forEach((word, i) => {
      assert((word & HMM_PFN_VALID) !== 0, "a requested page is valid after success");
      this.gpu.table.set(vpn(vpnOf(buffer.start) + i), asPte(word & ~rights));
    });
  }

  /**
   * Closes the loop: nothing has happened since the round began, to any buffer. The counter knows
   * of events whose callback came; the sequences know also of one whose callback waits for this
   * lock, and of one that somebody refused: then no callback comes, so the buffer counts here.
   */
  *#startQueues(seen: number): Sleeps<boolean> {
    using _update = yield* this.#lock.acquire();
    if (this.#evicted !== seen) return false;
    let isStill = true;
    for (const buffer of this.#buffers) {
      const { notifier, notifierSeq } = buffer.range;
      if (!notifier.readRetry(notifierSeq)) continue;
      buffer.invalid++;
      isStill = false;
    }
    if (!isStill) return false;
    this.#evicted = 0;
    this.gpu.start();
    return true;
  }
}
