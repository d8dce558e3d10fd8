/** A model: what its tasks share, its tasks and its rules. One is made for every schedule. */

import { type FailureKind, type Run, Violation } from "../../explore/index.ts";
import { type Footprint, Scheduler, type Sleeps, type Strategy, YIELD } from "../../sync/index.ts";
import { Cell, Thing } from "./cell.ts";
import { GracePeriod } from "./grace-period.ts";
import { Lock, type LockOptions } from "./lock.ts";
import { Queue } from "./queue.ts";

export class Model implements Run {
  readonly scheduler: Scheduler;
  readonly #steps: (() => void)[] = [];
  readonly #ends: (() => void)[] = [];
  readonly #locks: Lock[] = [];

  constructor(strategy: Strategy) {
    this.scheduler = new Scheduler({ strategy });
  }

  get footprint(): Footprint | undefined {
    return this.scheduler.footprint;
  }

  /** Shared memory of one word. */
  cell<T>(name: string, value: T): Cell<T> {
    return new Cell(this, name, value);
  }

  /** A counter; reading it and adding to it are part of the step that does so. */
  counter(name: string, value = 0): Cell<number> {
    return this.cell(name, value);
  }

  /** Memory that can be freed. */
  object(name: string): Thing {
    return new Thing(this, name);
  }

  /** A lock that can be held by one, or read by many. */
  lock(name: string, options: LockOptions = {}): Lock {
    const lock = new Lock(this, name, options);
    this.#locks.push(lock);
    return lock;
  }

  /** Where tasks sleep until somebody wakes them. */
  queue(name: string): Queue {
    return new Queue(this, name);
  }

  /** Readers that whoever frees something waits for. */
  srcu(name = "srcu"): GracePeriod {
    return new GracePeriod(this, name);
  }

  /** A line of execution; all of them begin when the model is explored. */
  task(name: string, body: () => Sleeps<void>): void {
    this.scheduler.spawn(name, body());
  }

  /**
   * One atomic step: waits for its turn, then does `act`. `words` say what it does, for reports:
   * a verb in the third person first ("clears pte[A]").
   */
  *step<T>(words: string, act: () => T): Sleeps<T> {
    yield YIELD;
    this.footprint?.note(words);
    return act();
  }

  /** Must hold after every step. Throw a `Violation`, or give a message to have one thrown. */
  always(kind: FailureKind, check: () => string | undefined): void {
    this.#steps.push(() => report(kind, check()));
  }

  /** Must hold when all tasks have ended. */
  finally(kind: FailureKind, check: () => string | undefined): void {
    this.#ends.push(() => report(kind, check()));
  }

  /** Breaks the rule now, within a step. */
  fail(kind: FailureKind, message: string): never {
    throw new Violation(kind, message);
  }

  /** Throws a violation unless `condition`. */
  expect(condition: boolean, kind: FailureKind, message: string): void {
    if (!condition) this.fail(kind, message);
  }

  checkStep(): void {
    for (const check of this.#steps) check();
  }

  checkEnd(): void {
    for (const lock of this.#locks) {
      if (lock.isHeld) throw new Violation("lock", `${lock.name} is never given back`);
    }
    for (const check of this.#ends) check();
  }
}

function report(kind: FailureKind, message: string | undefined): void {
  if (message !== undefined) throw new Violation(kind, message);
}
