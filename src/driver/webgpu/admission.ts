/**
 * How many invocations may run at once. An invocation restarts from its beginning, so all of
 * its pages must be resident together: when memory is too small for a batch, its pages evict
 * each other and nobody ever finishes. So a batch has a size and an epoch. Frames that came
 * during the epoch are not evicted; if then there is no room, the batch is halved and a new
 * epoch begins; when it has finished, the next one may be a little larger.
 *
 * Why it ends: the batch of one epoch is fixed. Each page that it needs is fetched at most once
 * in the epoch, because nothing fetched in it is evicted. So either all that the batch needs
 * becomes resident, and it finishes, or the frames run out and it is halved. A batch of one
 * that runs out needs more than the whole device memory: that is an error, not a thrashing.
 */
import { assert } from "../../base/index.ts";

/** Invocations of a batch at most, whatever memory there is: bounds the list on the device. */
export const BATCH_MAX = 1 << 20;

export class Admission {
  /** Size of the next batch. */
  #size: number;
  /** Of the running batch: how many have not finished. They are the first of the list. */
  #left = 0;
  #hadToShrink = false;
  #shrinks = 0;

  constructor(count: number, batchMax: number = BATCH_MAX) {
    assert(count > 0, "a launch has at least one invocation");
    this.#size = Math.min(count, batchMax);
  }

  get left(): number {
    return this.#left;
  }

  get shrinks(): number {
    return this.#shrinks;
  }

  /** Memory is short (or was): neighbours are not worth their frames. */
  get isTight(): boolean {
    return this.#shrinks > 0;
  }

  /** Begins a batch when the last one has finished. `waiting`: invocations that could join. */
  begin(waiting: number): void {
    assert(this.#left === 0, "a batch begins when the last one has finished");
    if (this.#shrinks > 0 && !this.#hadToShrink) this.#size += Math.max(1, this.#size >>> 3);
    this.#hadToShrink = false;
    this.#left = Math.min(this.#size, BATCH_MAX, waiting);
  }

  /** So many of the batch finished this round. */
  finishRound(finished: number): void {
    assert(finished <= this.#left, "more invocations finish than were admitted");
    this.#left -= finished;
  }

  /** There is no room for all of the batch: half of it waits. False when it is one already. */
  shrink(): boolean {
    if (this.#left <= 1) return false;
    this.#left = (this.#left + 1) >>> 1;
    this.#size = this.#left;
    this.#hadToShrink = true;
    this.#shrinks++;
    return true;
  }
}
