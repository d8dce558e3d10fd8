/** One holder at a time, first come first served: the writing half of `RwSemaphore`. */
import type { LockClass } from "./lock-order.ts";
import { type AcquireOptions, type LockGuard, RwSemaphore } from "./rw-semaphore.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Sleeps } from "./task.ts";

export class Mutex {
  readonly #lock: RwSemaphore;

  constructor(scheduler: Scheduler, lockClass: LockClass, name: string) {
    this.#lock = new RwSemaphore(scheduler, lockClass, name);
  }

  acquire(options: AcquireOptions = {}): Sleeps<LockGuard> {
    return this.#lock.acquireWrite(options);
  }

  tryAcquire(): LockGuard | undefined {
    return this.#lock.tryAcquireWrite();
  }

  get isLocked(): boolean {
    return this.#lock.isLocked;
  }

  assertHeld(): void {
    this.#lock.assertHeldWrite();
  }
}
