/**
 * Tasks that wait for something to change. A waiter is woken exactly once and leaves the queue
 * then; one that is killed after it was woken passes the wake-up on, so none is lost.
 * Linux: include/linux/wait.h.
 */
import { assert } from "../base/index.ts";
import type { Scheduler } from "./scheduler.ts";
import { BLOCK, type Sleeps, type Task, TaskState } from "./task.ts";

interface Waiter {
  readonly task: Task;
  woken: boolean;
}

/** What can call a wait off: the part of an `AbortSignal` that is needed, which the core lacks. */
export interface CancelSignal {
  readonly aborted: boolean;
  addEventListener(type: "abort", listener: () => void): void;
  removeEventListener(type: "abort", listener: () => void): void;
}

export class WaitQueue {
  readonly name: string;
  readonly #scheduler: Scheduler;
  readonly #waiters: Waiter[] = [];
  readonly #object: number;

  constructor(scheduler: Scheduler, name: string) {
    this.#scheduler = scheduler;
    this.name = name;
    this.#object = scheduler.footprint?.newObject() ?? 0;
  }

  get length(): number {
    this.#scheduler.footprint?.read(this.#object);
    return this.#waiters.length;
  }

  /**
   * Sleeps until woken (true), until the clock reaches `deadlineMs` or `signal` aborts (false).
   * Test the condition before and after: a wake-up says "look again", not "it is so".
   */
  *sleep(deadlineMs = Number.POSITIVE_INFINITY, signal?: CancelSignal): Sleeps<boolean> {
    const task = this.#scheduler.current;
    assert(task.atomicDepth === 0, () => `"${task.name}" may not sleep here (${this.name})`);
    const waiter: Waiter = { task, woken: false };
    this.#waiters.push(waiter);
    this.#touch("sleeps on");
    const stop = (): void => this.#scheduler.wake(task);
    const cancel = Number.isFinite(deadlineMs)
      ? this.#scheduler.timer(deadlineMs, stop)
      : undefined;
    signal?.addEventListener("abort", stop);
    task.state = TaskState.blocked;
    task.waitsFor = this.name;
    let resumed = false;
    try {
      yield BLOCK;
      resumed = true;
      return waiter.woken;
    } finally {
      task.waitsFor = "";
      cancel?.();
      signal?.removeEventListener("abort", stop);
      this.#touch(resumed ? "wakes on" : "is killed on");
      if (!waiter.woken) this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
      else if (!resumed) this.wakeOne();
    }
  }

  /** Sleeps until `isTrue()`; false when the deadline or `signal` came first. */
  *until(
    isTrue: () => boolean,
    deadlineMs = Number.POSITIVE_INFINITY,
    signal?: CancelSignal,
  ): Sleeps<boolean> {
    assert(!Number.isNaN(deadlineMs), () => `a deadline is no number (${this.name})`);
    // What the condition looks at changes together with a wake-up.
    this.#scheduler.footprint?.read(this.#object);
    while (!isTrue()) {
      if (this.#scheduler.nowMs >= deadlineMs || signal?.aborted) return false;
      yield* this.sleep(deadlineMs, signal);
    }
    return true;
  }

  wakeOne(): void {
    const waiter = this.#waiters.shift();
    this.#touch("wakes one of");
    if (waiter !== undefined) this.#wake(waiter);
  }

  wakeAll(): void {
    this.#touch("wakes all of");
    if (this.#waiters.length === 0) return;
    for (const waiter of this.#waiters.splice(0)) this.#wake(waiter);
  }

  #touch(verb: string): void {
    const { footprint } = this.#scheduler;
    if (footprint === undefined) return;
    footprint.write(this.#object);
    if (this.#waiters.length > 0) footprint.note(`${verb} "${this.name}"`);
  }

  #wake(waiter: Waiter): void {
    waiter.woken = true;
    this.#scheduler.wake(waiter.task);
  }
}

/** Something that happens once, with a value. Linux: struct completion. */
export class Completion<T> {
  readonly #queue: WaitQueue;
  #value: { readonly value: T } | undefined;

  constructor(scheduler: Scheduler, name: string) {
    this.#queue = new WaitQueue(scheduler, name);
  }

  get isDone(): boolean {
    return this.#value !== undefined;
  }

  complete(value: T): void {
    assert(this.#value === undefined, () => `"${this.#queue.name}" completes twice`);
    this.#value = { value };
    this.#queue.wakeAll();
  }

  *wait(): Sleeps<T> {
    yield* this.#queue.until(() => this.#value !== undefined);
    return this.#value!.value;
  }
}
