/**
 * The words that the museum's models are written in. A model is a handful of cells, locks, queues
 * and objects, and tasks that take named steps. A step is atomic; everything a step reads or
 * writes in a cell is declared by the cell, so that reduction knows what may trade places.
 */
import { assert } from "../../base/index.ts";
import {
  BLOCK,
  type Footprint,
  Scheduler,
  type Sleeps,
  type Strategy,
  type Task,
  TaskState,
  YIELD,
} from "../../sync/index.ts";
import { type FailureKind, Violation } from "../failure.ts";
import type { Run } from "../scenario.ts";

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

/** A shared word. Only `value` counts as touching it. */
export class Cell<T> {
  readonly name: string;
  readonly #footprint: Footprint | undefined;
  readonly #object: number;
  #value: T;

  constructor(model: Model, name: string, value: T) {
    this.name = name;
    this.#footprint = model.footprint;
    this.#object = this.#footprint?.newObject() ?? 0;
    this.#value = value;
  }

  get value(): T {
    this.#footprint?.read(this.#object);
    return this.#value;
  }

  set value(value: T) {
    this.#footprint?.write(this.#object);
    this.#value = value;
  }
}

/** Memory that is used while it is there: touching it after `free` is a use after free. */
export class Thing {
  readonly name: string;
  readonly #isFreed: Cell<boolean>;

  constructor(model: Model, name: string) {
    this.name = name;
    this.#isFreed = model.cell(`${name} is freed`, false);
  }

  get isFreed(): boolean {
    return this.#isFreed.value;
  }

  /** Touches it: to be called within a step by whoever follows a pointer to it. */
  use(how: string): void {
    if (this.isFreed) throw new Violation("use-after-free", `${how}: ${this.name} is freed`);
  }

  free(): void {
    if (this.isFreed) throw new Violation("use-after-free", `${this.name} is freed twice`);
    this.#isFreed.value = true;
  }

  /** The memory is handed out again, to somebody else. */
  reuse(): void {
    assert(this.isFreed, "only freed memory is handed out again");
    this.#isFreed.value = false;
  }
}

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
    if (at < 0) throw new Violation("lock", `${task.name} gives back ${this.name} it does not read`);
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

/** A wait queue with time: a wait that may time out does so at any moment, as an explorer needs. */
export class Queue {
  readonly name: string;
  readonly #model: Model;
  readonly #object: number;
  #sleepers: Task[] = [];

  constructor(model: Model, name: string) {
    this.#model = model;
    this.name = name;
    this.#object = model.footprint?.newObject() ?? 0;
  }

  /**
   * Tests `isTrue` and goes to sleep in one step, as wait_event() does in effect; looks again
   * whenever it is woken. With `timeout`, a clock of its own may end the wait between any two
   * steps: then false.
   */
  *until(isTrue: () => boolean, options: { readonly timeout?: boolean } = {}): Sleeps<boolean> {
    const task = this.#model.scheduler.current;
    const wait = { isOver: false, isLate: false };
    if (options.timeout) this.#startClock(task, wait);
    yield YIELD;
    for (;;) {
      this.#model.footprint?.write(this.#object);
      if (isTrue() || wait.isLate) break;
      this.#model.footprint?.note(`sleeps on ${this.name}`);
      yield* this.#sleep(task);
    }
    wait.isOver = true;
    const isFine = isTrue();
    this.#model.footprint?.note(isFine ? `need not wait on ${this.name}` : "times out");
    return isFine;
  }

  /** Goes to sleep without testing anything: how wake-ups get lost. */
  *sleepBlindly(): Sleeps<void> {
    yield YIELD;
    this.#model.footprint?.note(`sleeps on ${this.name}`);
    yield* this.#sleep(this.#model.scheduler.current);
  }

  /** Part of the step that calls it. */
  wakeAll(): void {
    this.#model.footprint?.write(this.#object);
    this.#model.footprint?.note(`wakes ${this.name}`);
    const sleepers = this.#sleepers;
    this.#sleepers = [];
    for (const task of sleepers) this.#model.scheduler.wake(task);
  }

  *#sleep(task: Task): Sleeps<void> {
    this.#model.footprint?.write(this.#object);
    this.#sleepers.push(task);
    task.state = TaskState.blocked;
    task.waitsFor = this.name;
    yield BLOCK;
    task.waitsFor = "";
    const at = this.#sleepers.indexOf(task);
    if (at >= 0) this.#sleepers.splice(at, 1);
  }

  #startClock(task: Task, wait: { readonly isOver: boolean; isLate: boolean }): void {
    const model = this.#model;
    const object = this.#object;
    function* clock(): Sleeps<void> {
      yield YIELD;
      model.footprint?.write(object);
      if (wait.isOver) return;
      model.footprint?.note(`the time of ${task.name} is up`);
      wait.isLate = true;
      model.scheduler.wake(task);
    }
    model.scheduler.spawn(`clock of ${task.name}`, clock());
  }
}

/** Sleepable RCU: `synchronize` waits for the readers that are inside. */
export class GracePeriod {
  readonly #model: Model;
  readonly #queue: Queue;
  readonly #object: number;
  // tasks inside, with the number of grace periods that had begun when they entered
  readonly #inside = new Map<Task, number>();
  #begun = 0;
  #callbacks: { readonly before: number; readonly run: () => void }[] = [];

  constructor(model: Model, name: string) {
    this.#model = model;
    this.#queue = model.queue(`the readers of ${name}`);
    this.#object = model.footprint?.newObject() ?? 0;
  }

  /** Part of the step that calls it. */
  enter(): void {
    this.#model.footprint?.write(this.#object);
    this.#inside.set(this.#model.scheduler.current, this.#begun);
  }

  leave(): void {
    this.#model.footprint?.write(this.#object);
    const wasInside = this.#inside.delete(this.#model.scheduler.current);
    if (!wasInside) throw new Violation("lock", "somebody leaves a read section it is not in");
    this.#queue.wakeAll();
    this.#runCallbacks();
  }

  /** Sleeps until everybody who is inside now has left. */
  *synchronize(): Sleeps<void> {
    yield YIELD;
    this.#model.footprint?.write(this.#object);
    this.#model.footprint?.note("waits for readers");
    const before = ++this.#begun;
    if (this.#isOver(before)) return;
    yield* this.#queue.until(() => {
      this.#model.footprint?.read(this.#object);
      return this.#isOver(before);
    });
  }

  /** Runs `act` when everybody who is inside now has left; part of the step that calls it. */
  call(act: () => void): void {
    this.#model.footprint?.write(this.#object);
    this.#callbacks.push({ before: ++this.#begun, run: act });
    this.#runCallbacks();
  }

  #isOver(before: number): boolean {
    for (const entered of this.#inside.values()) if (entered < before) return false;
    return true;
  }

  #runCallbacks(): void {
    const ready = this.#callbacks.filter(({ before }) => this.#isOver(before));
    this.#callbacks = this.#callbacks.filter((each) => !ready.includes(each));
    for (const { run } of ready) run();
  }
}
