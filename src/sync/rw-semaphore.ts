/**
 * Many readers or one writer, first come first served: a waiting writer holds back later
 * readers, so neither side starves. A lock is handed over by the one who releases it.
 * Linux: rw_semaphore, mutex.
 */
import { assert } from "../base/index.ts";
import { assertMayWait, type LockClass, noteAcquired, noteReleased } from "./lock-order.ts";
import type { Scheduler } from "./scheduler.ts";
import { BLOCK, type Sleeps, type Task, TaskState, YIELD } from "./task.ts";

interface Waiter {
  readonly task: Task;
  readonly writes: boolean;
  granted: boolean;
}

/** Gives its lock back when disposed: `using _mmap = yield* lock.acquireRead()`. */
export interface LockGuard {
  [Symbol.dispose](): void;
}

export interface AcquireOptions {
  /** Names the one legal reason for holding two locks of this class. */
  readonly nested?: string;
}

export class RwSemaphore {
  readonly name: string;
  readonly lockClass: LockClass;
  readonly #scheduler: Scheduler;
  readonly #readers: Task[] = [];
  readonly #waiters: Waiter[] = [];
  readonly #object: number;
  #writer: Task | undefined;

  constructor(scheduler: Scheduler, lockClass: LockClass, name: string) {
    this.#scheduler = scheduler;
    this.lockClass = lockClass;
    this.name = name;
    this.#object = scheduler.footprint?.newObject() ?? 0;
  }

  acquireRead(options: AcquireOptions = {}): Sleeps<LockGuard> {
    return this.#acquire(false, options);
  }

  acquireWrite(options: AcquireOptions = {}): Sleeps<LockGuard> {
    return this.#acquire(true, options);
  }

  /** Takes the lock if nobody has to be waited for. Never sleeps; any lock may be held. */
  tryAcquireRead(): LockGuard | undefined {
    return this.#isFree(false) ? this.#take(this.#scheduler.current, false) : undefined;
  }

  tryAcquireWrite(): LockGuard | undefined {
    return this.#isFree(true) ? this.#take(this.#scheduler.current, true) : undefined;
  }

  get isLocked(): boolean {
    this.#scheduler.footprint?.read(this.#object);
    return this.#writer !== undefined || this.#readers.length > 0;
  }

  /** The running task has the lock, in either mode. Linux: lockdep_assert_held(). */
  assertHeld(): void {
    const task = this.#scheduler.current;
    assert(
      this.#writer === task || this.#readers.includes(task),
      () => `"${task.name}" needs ${this.name}`,
    );
  }

  assertHeldWrite(): void {
    const task = this.#scheduler.current;
    assert(this.#writer === task, () => `"${task.name}" needs ${this.name} for writing`);
  }

  *#acquire(writes: boolean, options: AcquireOptions): Sleeps<LockGuard> {
    const task = this.#scheduler.current;
    assertMayWait(task, this.lockClass, options.nested);
    assert(task.atomicDepth === 0, () => `"${task.name}" may not wait for ${this.name} here`);
    if (this.#scheduler.explores) yield YIELD;
    if (this.#isFree(writes)) return this.#take(task, writes);
    const waiter: Waiter = { task, writes, granted: false };
    this.#waiters.push(waiter);
    this.#note(writes ? "waits to write" : "waits for");
    let resumed = false;
    try {
      while (!waiter.granted) {
        task.state = TaskState.blocked;
        task.waitsFor = this.name;
        yield BLOCK;
      }
      resumed = true;
      return this.#guard(task, writes);
    } finally {
      task.waitsFor = "";
      if (!resumed) this.#abandon(waiter);
    }
  }

  /** A killed waiter leaves the line, or gives back what it was handed but never saw. */
  #abandon(waiter: Waiter): void {
    this.#scheduler.footprint?.write(this.#object);
    if (waiter.granted) {
      this.release(waiter.task, waiter.writes);
      return;
    }
    this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
    this.#handOver();
  }

  #isFree(writes: boolean): boolean {
    this.#scheduler.footprint?.write(this.#object);
    if (this.#writer !== undefined || this.#waiters.length > 0) return false;
    return !writes || this.#readers.length === 0;
  }

  #take(task: Task, writes: boolean): LockGuard {
    this.#enter(task, writes);
    return this.#guard(task, writes);
  }

  #enter(task: Task, writes: boolean): void {
    if (writes) this.#writer = task;
    else this.#readers.push(task);
    if (task === this.#scheduler.current) this.#note(writes ? "takes" : "takes for reading");
    noteAcquired(task, this.lockClass);
  }

  #guard(task: Task, writes: boolean): LockGuard {
    return new Guard(this, task, writes);
  }

  /** Only a guard calls this, once. */
  release(task: Task, writes: boolean): void {
    this.#scheduler.footprint?.write(this.#object);
    this.#note("gives back");
    if (writes) {
      assert(this.#writer === task, () => `${this.name} is not held by "${task.name}"`);
      this.#writer = undefined;
    } else {
      const at = this.#readers.indexOf(task);
      assert(at >= 0, () => `${this.name} is not held by "${task.name}"`);
      const last = this.#readers.pop()!;
      if (at < this.#readers.length) this.#readers[at] = last;
    }
    noteReleased(task, this.lockClass);
    this.#handOver();
  }

  #note(verb: string): void {
    this.#scheduler.footprint?.note(`${verb} ${this.name}`);
  }

  #handOver(): void {
    while (this.#waiters.length > 0 && this.#writer === undefined) {
      const first = this.#waiters[0]!;
      if (first.writes && this.#readers.length > 0) return;
      this.#waiters.shift();
      first.granted = true;
      this.#enter(first.task, first.writes);
      this.#scheduler.wake(first.task);
    }
  }
}

class Guard implements LockGuard {
  #lock: RwSemaphore | undefined;
  readonly #task: Task;
  readonly #writes: boolean;

  constructor(lock: RwSemaphore, task: Task, writes: boolean) {
    this.#lock = lock;
    this.#task = task;
    this.#writes = writes;
  }

  [Symbol.dispose](): void {
    const lock = this.#lock;
    this.#lock = undefined;
    lock?.release(this.#task, this.#writes);
  }
}
