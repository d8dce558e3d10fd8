/**
 * Which threads use the machine's heap. A thread that joins gets what one that left behind needs
 * an owner, and is told of those that ended without a word.
 */
import type { HeapRemains } from "../heap/index.ts";
import type { Caller } from "./calls.ts";

/** What one thread gets to do for those that are gone. */
export interface Legacy {
  readonly remains: readonly HeapRemains[];
  /** As whom threads that were terminated used the heap. */
  readonly dead: readonly number[];
}

interface Member {
  readonly thread: Caller;
  /** As whom it uses the heap, and whose remains it was given: it may end before it adopts them. */
  readonly ids: readonly number[];
}

export class Members {
  #members: Member[] = [];
  readonly #remains: HeapRemains[] = [];
  readonly #isAlive: (thread: Caller) => boolean;

  constructor(isAlive: (thread: Caller) => boolean) {
    this.#isAlive = isAlive;
  }

  /** `thread` uses the heap as `id`. */
  join(id: number, thread: Caller): Legacy {
    const dead = this.#members.filter((each) => !this.#isAlive(each.thread));
    this.#members = this.#members.filter((each) => !dead.includes(each));
    const remains = this.#remains.splice(0);
    this.#members.push({ thread, ids: [id, ...remains.map((each) => each.id)] });
    return { remains, dead: dead.flatMap((each) => each.ids) };
  }

  leave(id: number, remains: HeapRemains | undefined): void {
    this.#members = this.#members.filter((each) => each.ids[0] !== id);
    if (remains !== undefined) this.#remains.push(remains);
  }
}
