/**
 * All subscriptions of one address space, and the writer's half of the collision-retry lock.
 * Every change of the fact (present entries, permission that shrinks) happens between `start`
 * and `end` of an invalidation that covers it. Linux: mm/mmu_notifier.c.
 */
import {
  type AddrRange,
  assert,
  EAGAIN,
  EINVAL,
  ENOENT,
  type Handle,
  IntervalTree,
  isPageRange,
  overlaps,
  type Result,
  SPACE_BYTES,
  virtAddr,
  vpnOf,
} from "../base/index.ts";
import {
  assertMayWait,
  type CancelSignal,
  type LockGuard,
  noteAcquired,
  noteReleased,
  type Scheduler,
  Shared,
  type Sleeps,
  Srcu,
  type Task,
  WaitQueue,
  YIELD,
} from "../sync/index.ts";
import { eventId, type Tracer } from "../trace/index.ts";
import type { IntervalNotifier, Seq } from "./interval-notifier.ts";
import { Invalidation, MMU_NOTIFY_RELEASE, NOBODY } from "./invalidation.ts";
import { Precedence } from "./precedence.ts";

const START = eventId("notifier:start");
const END = eventId("notifier:end");
const COLLIDE = eventId("notifier:collide");
const REFUSED = eventId("notifier:refused");
const PRECEDENCE = eventId("notifier:precedence");

/** A subscription to the whole space. Linux: struct mmu_notifier_ops. */
export interface NotifierOps {
  /** 0, or -EAGAIN (only when not blockable, having changed nothing). */
  invalidateRangeStart?(invalidation: Invalidation): Sleeps<Result>;
  /** Called for every start that succeeded. */
  invalidateRangeEnd?(invalidation: Invalidation): void;
  /** The space goes away: stop all access through it before returning. */
  release?(): Sleeps<void>;
}

export class NotifierSubscriptions {
  readonly #scheduler: Scheduler;
  readonly #tracer: Tracer;
  readonly #tree = new IntervalTree();
  // Handle -> IntervalNotifier
  readonly #byHandle: (IntervalNotifier | undefined)[] = [];
  // Replaced, never changed: an event keeps the list that it began with.
  #list: readonly NotifierOps[] = [];
  readonly #active: Invalidation[] = [];
  readonly #quiet: WaitQueue;
  readonly #srcu: Srcu;
  readonly #precedence: Precedence;
  #released = false;
  // What tasks share: who subscribes, and which events are open.
  readonly #subscribed: Shared | undefined;
  readonly #open: Shared | undefined;

  /** `precedence` is the machine's, which all its spaces share. */
  constructor(scheduler: Scheduler, tracer: Tracer, precedence = new Precedence(scheduler)) {
    this.#scheduler = scheduler;
    this.#tracer = tracer;
    this.#precedence = precedence;
    this.#quiet = new WaitQueue(scheduler, "the end of an invalidation");
    this.#srcu = new Srcu(scheduler, "notifier callbacks");
    this.#subscribed = Shared.of(scheduler);
    this.#open = Shared.of(scheduler);
  }

  /** Invalidations between start and end now. */
  get activeCount(): number {
    this.#open?.read();
    return this.#active.length;
  }

  /** An invalidation is open on part of `range`: shadows may lag behind the page table there. */
  isInvalidating(range: AddrRange): boolean {
    this.#open?.read();
    return this.#active.some((invalidation) => overlaps(invalidation, range));
  }

  /** For checkers: every subscription, and the open invalidations that touch its range. */
  forEachInterval(visit: (notifier: IntervalNotifier, open: number) => void): void {
    for (const notifier of this.#byHandle) {
      if (notifier === undefined) continue;
      visit(notifier, this.#active.filter((event) => overlaps(event, notifier)).length);
    }
  }

  get intervalCount(): number {
    this.#subscribed?.read();
    return this.#tree.size;
  }

  get listCount(): number {
    this.#subscribed?.read();
    return this.#list.length;
  }

  /**
   * Opens an invalidation. First, atomically, every overlapping reader is made to collide; then
   * the callbacks run. 0, or -EAGAIN for a non-blockable one that somebody refused: then all is
   * as before and `end` must not be called. `nested` names why one may be open already. A reader
   * that has precedence over the range passes first. `change` also ends what it starts.
   */
  *start(invalidation: Invalidation, nested?: string): Sleeps<Result> {
    const task = this.#scheduler.current;
    assertMayWait(task, "invalidation", nested);
    if (this.#scheduler.explores && invalidation.blockable) yield YIELD;
    if (this.#precedence.isOwed(this, invalidation)) {
      if (!invalidation.blockable) {
        this.#trace(REFUSED, invalidation);
        return -EAGAIN;
      }
      yield* this.#precedence.giveWay(this, invalidation);
    }
    noteAcquired(task, "invalidation");
    this.#begin(invalidation);
    return this.#hasCallbacks(invalidation) ? yield* this.#callInside(task, invalidation) : 0;
  }

  /** As a reader, so that whoever unregisters waits for the callbacks. */
  *#callInside(task: Task, invalidation: Invalidation): Sleeps<Result> {
    const epoch = this.#srcu.readLock();
    noteAcquired(task, "srcu");
    let result: Result = -EAGAIN;
    try {
      result = yield* this.#callAll(invalidation);
    } finally {
      noteReleased(task, "srcu");
      this.#srcu.readUnlock(epoch);
      if (result < 0) {
        this.#trace(REFUSED, invalidation);
        this.#close(invalidation);
      }
    }
    return result;
  }

  /** The page table says the new truth now: readers may begin again. */
  end(invalidation: Invalidation): void {
    try {
      for (const ops of invalidation.listeners) ops.invalidateRangeEnd?.(invalidation);
    } finally {
      this.#close(invalidation);
      this.#trace(END, invalidation);
    }
  }

  /**
   * Tells everybody, runs `doIt`, and ends: no event stays open, whatever happens. When a callback
   * refuses (-EAGAIN) or throws, or the task is killed meanwhile, only `undo` runs.
   */
  *change(invalidation: Invalidation, doIt: () => void, undo?: () => void): Sleeps<Result> {
    let result: Result = -EAGAIN;
    try {
      result = yield* this.start(invalidation);
      if (result === 0) doIt();
    } finally {
      if (result === 0) this.end(invalidation);
      else undo?.();
    }
    return result;
  }

  /** Subscribes. -EINVAL when the range is not pages of the space or the space is gone. */
  insert(notifier: IntervalNotifier): Result {
    assert(!notifier.isRegistered, "an interval notifier is inserted twice");
    this.#subscribed?.write();
    this.#open?.read();
    if (this.#released || !isPageRange(notifier.start, notifier.end)) return -EINVAL;
    notifier.shared ??= Shared.of(this.#scheduler);
    notifier.shared?.write();
    const handle = this.#tree.insert(notifier.start, notifier.end);
    notifier.handle = handle;
    this.#byHandle[handle] = notifier;
    // An event that runs already has not told this one; what is read before its end is old.
    for (const invalidation of this.#active) {
      if (overlaps(invalidation, notifier)) invalidation.collideWith(notifier);
    }
    return 0;
  }

  /**
   * Ends a subscription; no callback of it runs after this returns. Not from a callback and not
   * with the driver's lock held: it waits for events that need both.
   */
  *remove(notifier: IntervalNotifier): Sleeps<void> {
    assert(notifier.isRegistered, "an interval notifier is removed twice");
    assert(!this.isInCallback, "an interval notifier is removed in a callback, which it waits for");
    assertMayWait(this.#scheduler.current, "invalidation");
    this.#forget(notifier);
    yield* this.#quiet.until(() => {
      notifier.shared?.read();
      return notifier.active === 0;
    });
  }

  /** The same for a subscription without callbacks: there is nothing to wait for. */
  removeSilent(notifier: IntervalNotifier): void {
    assert(notifier.isRegistered, "an interval notifier is removed twice");
    assert(notifier.ops === undefined, "callbacks may run: use remove, which waits for them");
    this.#forget(notifier);
  }

  /**
   * Begins to read the range of `notifier`: sleeps while an invalidation is open there, then
   * gives the number to hand to `readRetry`. `undefined` when the deadline or `signal` came first.
   */
  *readBegin(
    notifier: IntervalNotifier,
    deadlineMs?: number,
    signal?: CancelSignal,
  ): Sleeps<Seq | undefined> {
    assertMayWait(this.#scheduler.current, "invalidation");
    if (this.#scheduler.explores) yield YIELD;
    notifier.shared?.read();
    if (notifier.active > 0) {
      this.#tracer.emit(COLLIDE, vpnOf(notifier.start), pagesIn(notifier), notifier.seq);
      const isQuiet = (): boolean => {
        notifier.shared?.read();
        return notifier.active === 0;
      };
      if (!(yield* this.#quiet.until(isQuiet, deadlineMs, signal))) return undefined;
    }
    return signal?.aborted ? undefined : notifier.seq;
  }

  /** For `CollisionRetry`: from now on writers let the reader of `notifier` pass. */
  *takePrecedence(notifier: IntervalNotifier, collisions: number): Sleeps<LockGuard> {
    const guard = yield* this.#precedence.take(this, notifier);
    this.#tracer.emit(PRECEDENCE, vpnOf(notifier.start), pagesIn(notifier), collisions);
    return guard;
  }

  /** The running task is inside a callback of some event, where nothing may be unsubscribed. */
  get isInCallback(): boolean {
    return this.#scheduler.current.holdsAny("srcu");
  }

  get nowMs(): number {
    return this.#scheduler.nowMs;
  }

  /**
   * Subscribes to the whole space, to events that start from now on: one that is open has not told
   * `ops`, and will not. Whoever keeps what it reads must begin in a moment without open events
   * (examples/drivers/secondary-mmu.ts: `readBegin` of a silent notifier, then this, in one step).
   */
  register(ops: NotifierOps): void {
    this.#subscribed?.write();
    assert(!this.#list.includes(ops), "a notifier is registered twice");
    this.#list = [...this.#list, ops];
  }

  /**
   * Ends a subscription and waits for callbacks that run. -ENOENT when there is none (any more):
   * then a `release` that runs is over, too. Events that have told it of their start still end.
   */
  *unregister(ops: NotifierOps): Sleeps<Result> {
    assert(!this.isInCallback, "a notifier is unregistered in a callback, which it waits for");
    assertMayWait(this.#scheduler.current, "srcu");
    this.#subscribed?.write();
    const isListed = this.#list.includes(ops);
    this.#list = this.#list.filter((each) => each !== ops);
    yield* this.#srcu.synchronize();
    return isListed ? 0 : -ENOENT;
  }

  /** The space goes away: everybody forgets everything, once. Linux: mmu_notifier_release(). */
  *release(): Sleeps<void> {
    this.#subscribed?.write();
    assert(!this.#released, "a space is released twice");
    this.#released = true;
    const all = { start: virtAddr(0), end: virtAddr(SPACE_BYTES) };
    yield* this.change(new Invalidation({ ...all, event: MMU_NOTIFY_RELEASE }), () => {});
    yield* this.#releaseAll();
    yield* this.#srcu.synchronize();
  }

  /** As a reader: whoever unregisters meanwhile waits for its callback. */
  *#releaseAll(): Sleeps<void> {
    const task = this.#scheduler.current;
    this.#subscribed?.write();
    const list = this.#list;
    this.#list = [];
    const epoch = this.#srcu.readLock();
    noteAcquired(task, "srcu");
    try {
      for (const ops of list) if (ops.release !== undefined) yield* ops.release();
    } finally {
      noteReleased(task, "srcu");
      this.#srcu.readUnlock(epoch);
    }
  }

  get isReleased(): boolean {
    this.#subscribed?.read();
    return this.#released;
  }

  #forget(notifier: IntervalNotifier): void {
    this.#subscribed?.write();
    notifier.shared?.write();
    this.#tree.remove(notifier.handle as Handle);
    this.#byHandle[notifier.handle] = undefined;
    notifier.handle = -1;
  }

  #begin(invalidation: Invalidation): void {
    assert(!invalidation.isActive, "an invalidation is started twice");
    invalidation.isActive = true;
    this.#subscribed?.read();
    this.#open?.write();
    this.#active.push(invalidation);
    const hits = this.#tree.query(invalidation.start, invalidation.end);
    for (let i = 0; i < hits; i++) invalidation.collideWith(this.#byHandle[this.#tree.hits[i]!]!);
    this.#trace(START, invalidation);
  }

  #hasCallbacks(invalidation: Invalidation): boolean {
    if (this.#list.length > 0) return true;
    for (let i = 0; i < invalidation.colliding.length; i++) {
      if (invalidation.colliding[i]!.ops !== undefined) return true;
    }
    return false;
  }

  *#callAll(invalidation: Invalidation): Sleeps<Result> {
    for (let i = 0; i < invalidation.colliding.length; i++) {
      const notifier = invalidation.colliding[i]!;
      if (notifier.ops === undefined || !notifier.isRegistered) continue;
      const callback = notifier.ops.invalidate(invalidation);
      const done = invalidation.blockable ? yield* callback : this.#scheduler.runAtomic(callback);
      assert(done || !invalidation.blockable, "a callback refused an event that may sleep");
      if (!done) return -EAGAIN;
    }
    return yield* this.#callList(invalidation);
  }

  *#callList(invalidation: Invalidation): Sleeps<Result> {
    this.#subscribed?.read();
    const list = this.#list;
    let started = 0;
    try {
      for (; started < list.length; started++) {
        const callback = list[started]!.invalidateRangeStart?.(invalidation);
        if (callback === undefined) continue;
        const { blockable } = invalidation;
        const result = blockable ? yield* callback : this.#scheduler.runAtomic(callback);
        assert(result === 0 || !blockable, "a callback refused an event that may sleep");
        if (result !== 0) return -EAGAIN;
      }
      invalidation.listeners = list;
      return 0;
    } finally {
      // Refused or killed: those that have started are told that it is over, nobody else is.
      if (started < list.length) {
        for (let i = 0; i < started; i++) list[i]!.invalidateRangeEnd?.(invalidation);
      }
    }
  }

  #close(invalidation: Invalidation): void {
    assert(invalidation.isActive, "an invalidation is ended that is not open");
    invalidation.isActive = false;
    this.#open?.write();
    const last = this.#active.pop()!;
    if (last !== invalidation) this.#active[this.#active.indexOf(invalidation)] = last;
    const { colliding } = invalidation;
    for (let i = 0; i < colliding.length; i++) {
      colliding[i]!.shared?.write();
      colliding[i]!.active--;
    }
    invalidation.colliding = NOBODY;
    noteReleased(this.#scheduler.current, "invalidation");
    if (this.#quiet.length > 0) this.#quiet.wakeAll();
  }

  #trace(event: number, invalidation: Invalidation): void {
    this.#tracer.emit(event, vpnOf(invalidation.start), pagesIn(invalidation), invalidation.event);
  }
}

const pagesIn = (range: AddrRange): number => vpnOf(range.end) - vpnOf(range.start);
