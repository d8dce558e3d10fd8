/** Sleeping until something is true, until the time is up, or until somebody happens to wake. */
import { BLOCK, type Sleeps, type Task, TaskState, YIELD } from "../../sync/index.ts";
import type { Model } from "./model.ts";

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
    let hasSlept = false;
    if (options.timeout) this.#startClock(task, wait);
    yield YIELD;
    for (;;) {
      this.#model.footprint?.write(this.#object);
      if (isTrue() || wait.isLate) break;
      this.#model.footprint?.note(`sleeps on ${this.name}`);
      yield* this.#sleep(task);
      hasSlept = true;
    }
    wait.isOver = true;
    const isFine = isTrue();
    const why = hasSlept ? `has waited on ${this.name}` : `need not wait on ${this.name}`;
    this.#model.footprint?.note(isFine ? why : "times out");
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
