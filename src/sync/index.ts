/**
 * # sync: who waits for whom
 *
 * **Nouns.** *Task*: a generator. *Scheduler*: runs the tasks of one machine on one thread.
 * *Strategy*: which runnable task is next. *WaitQueue*, *Completion*, *Mutex*, *RwSemaphore*,
 * *RefCount*, *Srcu*: as in Linux.
 *
 * **Invariants.**
 * - Code that may sleep is a generator (`Sleeps<T>`); a plain function is atomic. So the spin
 *   locks of the kernel (page table locks and their like) have no object here.
 * - No wake-up is lost: a killed task passes on what it was given.
 * - A task ends with no lock held.
 * - Nothing here knows a Promise, a timer or a date: a `Host` brings them.
 *
 * **Locks.** The order is one array, `LOCK_ORDER`; it is checked whenever somebody waits.
 *
 * **Example.**
 * ```ts
 * const scheduler = new Scheduler({ strategy: new RandomStrategy(7) });
 * const lock = new Mutex(scheduler, "driver", "demo");
 * function* work(): Sleeps<number> {
 *   using _held = yield* lock.acquire();      // given back also when the task is killed
 *   return 42;
 * }
 * scheduler.runTask("work", work());          // 42
 * ```
 *
 * **What it refuses.** Threads: engine state belongs to one thread; other threads talk to it by
 * messages and shared words.
 */
export { type Column, Footprint, type Note, type Place, Shared, unwatched } from "./footprint.ts";
export {
  assertMayWait,
  LOCK_ORDER,
  type LockClass,
  noteAcquired,
  noteReleased,
} from "./lock-order.ts";
export { Mutex } from "./mutex.ts";
export { RefCount } from "./ref-count.ts";
export { type AcquireOptions, type LockGuard, RwSemaphore } from "./rw-semaphore.ts";
export { DeadlockError, type Host, Scheduler } from "./scheduler.ts";
export { Srcu } from "./srcu.ts";
export { NativeStrategy, Random, RandomStrategy, type Strategy } from "./strategy.ts";
export { BLOCK, type Signal, type Sleeps, Task, TaskState, YIELD } from "./task.ts";
export { type CancelSignal, Completion, WaitQueue } from "./wait-queue.ts";
