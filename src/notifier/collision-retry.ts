/**
 * The reader's half of the collision-retry lock, whole: begin, read as slowly as you like, take
 * the driver's lock, ask whether to retry, commit. After the 2019 RFC of such a lock (mmu_invlock,
 * mm/mmu_notifier.c), with the escape that it was looking for.
 *
 * ```ts
 * using read = new CollisionRetry(space.notifiers, notifier, { lock: space.mmapLock });
 * for (;;) {
 *   const begun = yield* read.begin();              // mmapLock is held for reading from here
 *   if (begun < 0) return begun;
 *   range.notifierSeq = read.seq;
 *   const result = yield* hmmRangeFault(space, range);
 *   if (result === -EBUSY) continue;
 *   if (result < 0) return result;
 *   using _update = yield* device.lock.acquire();   // the lock that `invalidate` takes
 *   if (!read.retry()) return device.program(range);
 * }
 * ```
 *
 * **The escape.** Writers do not wait for readers, so a storm of them can defeat a reader for
 * ever. The RFC let a reader whose time is over take mmapLock for writing. That keeps out those
 * who change Vmas, and not those who come by the reverse map (reclaim, migration, eviction), who
 * need no mmapLock. Here a reader that has collided `collisionsMax` times, or for `timeoutMs`,
 * keeps mmapLock for reading and takes *precedence*: whoever is about to start an event on its
 * range, or to evict a page, and holds nothing that the reader may need, lets it pass first.
 *
 * **Why it makes progress.** Let the reader have precedence.
 * 1. It holds mmapLock for reading and keeps it: no event comes from munmap, mprotect or fork.
 * 2. An event that starts on the range from now on belongs to a task that holds a page, reverse
 *    map or driver lock, or is inside an event (all others wait). Such a task is in the middle of
 *    an operation that began before. It waits for nothing that the reader holds: mmapLock comes
 *    before all of those locks, and the reader holds no other when it waits. So it ends its
 *    operation, and its next one waits. E is the number of events that these operations still
 *    raise on the range.
 * 3. The reader's own faults raise at most two events a page (the page comes home, it is copied),
 *    and what they did stays done: nobody else takes pages away. (The range must fit in RAM:
 *    making room for one of its pages must not cost another.)
 * 4. Each failed attempt needs an event of 2 or 3 since it began. So the reader succeeds, or gets
 *    an answer that is no collision, within E + 2 pages + 1 attempts.
 *
 * Non-blockable events, which cannot wait, are refused meanwhile, as by a driver whose lock is
 * taken. A writer lets others pass for a second at most: should a driver break rule 2, it costs
 * time and not the machine. `test/schedule/collision-retry.test.ts` runs storms against the bound.
 */
import { assert, EINTR, type Result } from "../base/index.ts";
import type { CancelSignal, LockGuard, RwSemaphore, Sleeps } from "../sync/index.ts";
import type { IntervalNotifier, Seq } from "./interval-notifier.ts";
import type { NotifierSubscriptions } from "./subscriptions.ts";

/** After how many milliseconds of collisions a reader goes first. Linux (2019 RFC): 1000. */
export const COLLISION_TIMEOUT_MS = 1000;
/** After how many collisions a reader goes first. */
export const COLLISIONS_MAX = 16;

export interface CollisionRetryOptions {
  /** mmapLock of the space: held for reading from `begin` to the next one, or to `end`. */
  readonly lock: RwSemaphore;
  /** Default `COLLISION_TIMEOUT_MS`. 0: go first at once. */
  readonly timeoutMs?: number;
  /** Default `COLLISIONS_MAX`. */
  readonly collisionsMax?: number;
  /** Calls the reading off: `begin` answers -EINTR. Not heard in the middle of waits for locks. */
  readonly signal?: CancelSignal;
}

/** One reading of one range, until it is committed or given up. Not for two readings. */
export class CollisionRetry {
  readonly notifier: IntervalNotifier;
  readonly #notifiers: NotifierSubscriptions;
  readonly #lock: RwSemaphore;
  readonly #deadlineMs: number;
  readonly #collisionsMax: number;
  readonly #signal: CancelSignal | undefined;
  #mmap: LockGuard | undefined;
  #precedence: LockGuard | undefined;
  #seq: Seq = 0;
  #attempts = 0;
  #isOver = false;

  constructor(
    notifiers: NotifierSubscriptions,
    notifier: IntervalNotifier,
    options: CollisionRetryOptions,
  ) {
    this.notifier = notifier;
    this.#notifiers = notifiers;
    this.#lock = options.lock;
    const { timeoutMs = COLLISION_TIMEOUT_MS } = options;
    assert(!Number.isNaN(timeoutMs), "timeoutMs is no number");
    this.#deadlineMs = notifiers.nowMs + timeoutMs;
    this.#collisionsMax = options.collisionsMax ?? COLLISIONS_MAX;
    this.#signal = options.signal;
  }

  /** What `begin` sampled, for `HmmRange.notifierSeq`. */
  get seq(): Seq {
    return this.#seq;
  }

  /** How often `begin` was called: one more than the collisions so far. */
  get attempts(): number {
    return this.#attempts;
  }

  /** Writers let this reader pass. */
  get hasPrecedence(): boolean {
    return this.#precedence !== undefined;
  }

  /**
   * Begins, or begins again: sleeps while an event is open on the range, samples the sequence and
   * leaves with mmapLock held for reading. 0, or -EINTR when the signal aborts. Not with mmapLock
   * or the driver's lock held.
   */
  *begin(): Sleeps<Result> {
    assert(!this.#isOver, "a collision-retry lock is used after its end");
    this.#attempts++;
    if (this.#precedence === undefined) this.#giveBackMmap();
    if (!this.#isPatient) yield* this.#goFirst();
    const seq = yield* this.#sample();
    if (seq === undefined) {
      this.#giveBackPrecedence();
      this.#giveBackMmap();
      return -EINTR;
    }
    this.#seq = seq;
    this.#mmap ??= yield* this.#lock.acquireRead();
    return 0;
  }

  /**
   * True: an event touched the range since `begin`; what was read is old, begin again. False is
   * final only under the driver's lock, the one that `invalidate` takes: commit before giving it
   * back.
   */
  retry(): boolean {
    assert(this.#mmap !== undefined, "retry belongs between begin and end");
    return this.notifier.readRetry(this.#seq);
  }

  /** Gives everything back, whatever happened. Again is nothing. */
  end(): void {
    this.#isOver = true;
    this.#giveBackPrecedence();
    this.#giveBackMmap();
  }

  [Symbol.dispose](): void {
    this.end();
  }

  get #isPatient(): boolean {
    return this.#attempts <= this.#collisionsMax && this.#notifiers.nowMs < this.#deadlineMs;
  }

  *#goFirst(): Sleeps<void> {
    if (this.#precedence !== undefined) return;
    this.#mmap = yield* this.#lock.acquireRead();
    this.#precedence = yield* this.#notifiers.takePrecedence(this.notifier, this.#attempts - 1);
  }

  /** A patient reader waits for open events until its time is over, and then goes first. */
  *#sample(): Sleeps<Seq | undefined> {
    const { notifier } = this;
    if (this.#precedence === undefined) {
      const seq = yield* this.#notifiers.readBegin(notifier, this.#deadlineMs, this.#signal);
      if (seq !== undefined || this.#signal?.aborted) return seq;
      yield* this.#goFirst();
    }
    return yield* this.#notifiers.readBegin(notifier, undefined, this.#signal);
  }

  #giveBackPrecedence(): void {
    this.#precedence?.[Symbol.dispose]();
    this.#precedence = undefined;
  }

  #giveBackMmap(): void {
    this.#mmap?.[Symbol.dispose]();
    this.#mmap = undefined;
  }
}
