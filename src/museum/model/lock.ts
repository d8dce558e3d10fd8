/** Locks, mutexes and semaphores of the kernel are one class: models differ in how they use it. */

import { Violation } from "../../explore/index.ts";
import { BLOCK, type Sleeps, type Task, TaskState, YIELD } from "../../sync/index.ts";
import type { Model } from "./model.ts";

export interface LockOptions {
  /** Readers come in although a writer waits. Default false: a waiting writer holds them back. */
  readonly prefersReaders?: boolean;
}

interface Waiter {
  readonly task: Task;
  readonly writes: boolean;
  granted: boolean;
}

/**
 * A lock as the kernel has it: without guards, so that models can give it back twice or in the
 * wrong mode. Taking it is a step of its own; giving it back is part of the step that does so.
 */
export class Lock {
  readonly name: string;
  readonly #model: Model;
  readonly #prefersReaders: boolean;
  readonly #object: number;
  readonly #readers: Task[] = [];
  readonly #waiters: Waiter[] = [];
  #writer: Task | undefined;

  constructor(model: Model, name: string, { prefersReaders = false }: LockOptions) {
    this.#model = model;
    this.name = name;
    this.#prefersReaders = prefersReaders;
    this.#object = model.footprint?.newObject() ?? 0;
  }

  /** Takes it alone. Linux: mutex_lock(), down_write(), spin_lock(). */
  take(): Sleeps<void> {
    return this.#acquire(true);
  }

  takeRead(): Sleeps<void> {
    return this.#acquire(false);
  }

  /** Part of the step that calls it: true when the lock was free. */
  tryTake(): boolean {
    return this.#try(true);
  }

  tryTakeRead(): boolean {
    return this.#try(false);
  }

  give(): void {
    this.#touch("gives back");
    const task = this.#model.scheduler.current;
    const isMine = this.#writer === task;
    if (!isMine) throw new Violation("lock", `${task.name} gives back ${this.name} it lacks`);
    this.#writer = undefined;
    this.#handOver();
  }

  giveRead(): void {
    this.#touch("gives back (read)");
    const task = this.#model.scheduler.current;
    const at = this.#readers.indexOf(task);
    if (at < 0)
      throw new Violation("lock", `${task.name} gives back ${this.name} it does not read`);
    this.#readers.splice(at, 1);
    this.#handOver();
  }

  get isHeld(): boolean {
    this.#model.footprint?.read(this.#object);
    return this.#writer !== undefined || this.#readers.length > 0;
  }

  get isHeldByMe(): boolean {
    const task = this.#model.scheduler.current;
    return this.#writer === task || this.#readers.includes(task);
  }

  *#acquire(writes: boolean): Sleeps<void> {
    yield YIELD;
    const task = this.#model.scheduler.current;
    if (this.#try(writes)) return;
    const waiter: Waiter = { task, writes, granted: false };
    this.#waiters.push(waiter);
    this.#model.footprint?.note(`waits for ${this.name}`);
    while (!waiter.granted) {
      task.state = TaskState.blocked;
      task.waitsFor = this.name;
      yield BLOCK;
    }
    task.waitsFor = "";
    this.#model.footprint?.note(`has ${this.name}`);
  }

  #try(writes: boolean): boolean {
    this.#model.footprint?.write(this.#object);
    if (!this.#isFree(writes)) return false;
    this.#touch(writes ? "takes" : "takes (read)");
    this.#enter(this.#model.scheduler.current, writes);
    return true;
  }

  #isFree(writes: boolean): boolean {
    if (this.#writer !== undefined) return false;
    if (writes) return this.#readers.length === 0 && this.#waiters.length === 0;
    return this.#prefersReaders || this.#waiters.length === 0;
  }

  #enter(task: Task, writes: boolean): void {
    if (writes) this.#writer = task;
    else this.#readers.push(task);
  }

  #handOver(): void {
    while (this.#waiters.length > 0 && this.#writer === undefined) {
      const first = this.#waiters[0]!;
      if (first.writes && this.#readers.length > 0) return;
      this.#waiters.shift();
      first.granted = true;
      this.#enter(first.task, first.writes);
      this.#model.scheduler.wake(first.task);
    }
  }

  #touch(verb: string): void {
    this.#model.footprint?.write(this.#object);
    this.#model.footprint?.note(`${verb} ${this.name}`);
  }
}
