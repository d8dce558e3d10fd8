/** Which threads have access brackets open: those of one that has ended are closed for it. */
import type { CallName } from "../engine/index.ts";
import { isAlive, type ThreadId } from "./mailbox/index.ts";

/** Calls that an open bracket stands in the way of. */
const MINDS: ReadonlySet<CallName> = new Set([
  "munmap",
  "mprotect",
  "discard",
  "run",
  "close",
] as const);

export class BracketHolders {
  // number of a bracket -> who opened it
  readonly #threads = new Map<number, ThreadId>();
  readonly #release: (bracket: number) => void;

  constructor(release: (bracket: number) => void) {
    this.#release = release;
  }

  add(bracket: number, thread: ThreadId): void {
    this.#threads.set(bracket, thread);
  }

  /** Somebody closes it. */
  remove(bracket: number): void {
    this.#threads.delete(bracket);
  }

  /** Before `caller` is served: nobody who is gone shall stand in its way. */
  sweep(name: CallName, caller: ThreadId): void {
    if (this.#threads.size === 0 || !MINDS.has(name)) return;
    const isGone = new Map<ThreadId, boolean>([[caller, false]]);
    for (const [bracket, thread] of this.#threads) {
      if (!isGone.has(thread)) isGone.set(thread, !isAlive(thread));
      if (!isGone.get(thread)) continue;
      this.#threads.delete(bracket);
      this.#release(bracket);
    }
  }
}
