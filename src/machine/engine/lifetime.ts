/**
 * The life of an engine, as one state. Whoever wants to know whether calls are taken, whether a
 * fault may be a mistake, or whether all is over, asks here.
 *
 * ```text
 *   open ──── somebody closes it ────► closing ── no call runs ──► dismantling ──► closed
 *     ▲                                   │
 *     └── one of the calls has opened a ──┘
 *         bracket meanwhile
 *   open ──── the process ends ──────► retreating ──► retreated
 *   any but closed ── something broke ──► failed
 * ```
 */
import { assert } from "../../base/index.ts";
import { type Scheduler, type Sleeps, WaitQueue } from "../../sync/index.ts";
import { hmmError } from "../error.ts";

export type LifeState =
  | "open"
  /** No call is taken any more; those that run end. */
  | "closing"
  /** Nothing is mapped any more, or will soon not be: a fault is nobody's mistake. */
  | "dismantling"
  | "closed"
  /** The process ends: what the device has comes home. */
  | "retreating"
  | "retreated"
  | "failed";

const NEXT: Readonly<Record<LifeState, readonly LifeState[]>> = {
  open: ["closing", "retreating", "failed"],
  closing: ["open", "dismantling", "failed"],
  dismantling: ["closed", "failed"],
  closed: [],
  retreating: ["retreated", "failed"],
  retreated: ["failed"],
  failed: [],
};

export class Lifetime {
  #state: LifeState = "open";
  // Calls that have begun and not ended.
  #running = 0;
  readonly #idle: WaitQueue;

  constructor(scheduler: Scheduler) {
    this.#idle = new WaitQueue(scheduler, "calls");
  }

  get state(): LifeState {
    return this.#state;
  }

  /** There is nothing left to do: what is mapped, if anything, stays as it is. */
  get isOver(): boolean {
    return this.#state === "closed" || this.#state === "failed";
  }

  /** Nothing is mapped, by intent. */
  get isDismantled(): boolean {
    return this.#state === "dismantling" || this.#state === "closed";
  }

  to(next: LifeState): void {
    assert(NEXT[this.#state].includes(next), () => `${this.#state} becomes ${next}`);
    this.#state = next;
  }

  /** A call begins. Throws ENODEV when none is taken any more. */
  enter(call: string): void {
    if (this.#state !== "open") {
      throw hmmError({ code: "ENODEV", call, detail: "the machine is being closed" });
    }
    this.#running++;
  }

  /** A call that was let in has ended. */
  leave(): void {
    assert(this.#running > 0, "a call ends that never began");
    if (--this.#running === 0) this.#idle.wakeAll();
  }

  /** Waits until no call runs. */
  *idle(): Sleeps<void> {
    yield* this.#idle.until(() => this.#running === 0);
  }
}
