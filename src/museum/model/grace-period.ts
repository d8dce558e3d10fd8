/** Read sections that nobody waits in, and writers that wait for them. */

import { Violation } from "../../explore/index.ts";
import { type Sleeps, type Task, YIELD } from "../../sync/index.ts";
import type { Model } from "./model.ts";
import type { Queue } from "./queue.ts";

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
