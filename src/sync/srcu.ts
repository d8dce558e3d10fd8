/**
 * Sleepable read-copy-update: readers may sleep, and whoever wants to free something waits
 * until every reader that might have seen it has left. Readers of an epoch are counted
 * together; a grace period ends when all epochs before it are empty. Linux: kernel/rcu/srcutree.c.
 */
import { assert } from "../base/index.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Sleeps } from "./task.ts";
import { WaitQueue } from "./wait-queue.ts";

export class Srcu {
  readonly #queue: WaitQueue;
  // index = epoch - #oldest -> readers that entered in it
  readonly #readers: number[] = [0];
  readonly #callbacks: { readonly epoch: number; readonly run: () => void }[] = [];
  #oldest = 0;
  readonly #scheduler: Scheduler;
  readonly #object: number;

  constructor(scheduler: Scheduler, name: string) {
    this.#scheduler = scheduler;
    this.#object = scheduler.footprint?.newObject() ?? 0;
    this.#queue = new WaitQueue(scheduler, `grace period of ${name}`);
  }

  /** Enters; give the returned epoch to `readUnlock`. */
  readLock(): number {
    this.#touch("begins to read");
    const last = this.#readers.length - 1;
    this.#readers[last] = this.#readers[last]! + 1;
    return this.#oldest + last;
  }

  readUnlock(epoch: number): void {
    this.#touch("has read");
    const index = epoch - this.#oldest;
    assert(index >= 0 && this.#readers[index]! > 0, "readUnlock without readLock");
    this.#readers[index] = this.#readers[index]! - 1;
    this.#retire();
  }

  /** Sleeps until every reader that is inside now has left. Never from within a reader. */
  *synchronize(): Sleeps<void> {
    const epoch = this.#close();
    yield* this.#queue.until(() => {
      this.#scheduler.footprint?.read(this.#object);
      return this.#oldest > epoch;
    });
  }

  /** Runs `run` after every reader that is inside now has left. Linux: call_srcu(). */
  call(run: () => void): void {
    this.#callbacks.push({ epoch: this.#close(), run });
    this.#retire();
  }

  /** Later readers belong to a new epoch; gives the one that ends now. */
  #close(): number {
    this.#touch("waits for readers");
    this.#readers.push(0);
    const epoch = this.#oldest + this.#readers.length - 2;
    this.#retire();
    return epoch;
  }

  #touch(verb: string): void {
    const { footprint } = this.#scheduler;
    footprint?.write(this.#object);
    footprint?.note(verb);
  }

  #retire(): void {
    while (this.#readers.length > 1 && this.#readers[0] === 0) {
      this.#readers.shift();
      this.#oldest++;
    }
    while (this.#callbacks.length > 0 && this.#callbacks[0]!.epoch < this.#oldest) {
      this.#callbacks.shift()!.run();
    }
    if (this.#queue.length > 0) this.#queue.wakeAll();
  }
}
