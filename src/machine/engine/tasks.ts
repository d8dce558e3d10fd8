/**
 * From calls to tasks on the thread of the engine: a call is a task and a promise, or a task that
 * runs to its end on the spot. And the event loop as the scheduler wants it.
 */
import { type Host, type Scheduler, type Sleeps, type Task, TaskState } from "../../sync/index.ts";
import { hmmError } from "../error.ts";
import { napAfter } from "./naps.ts";

export class Tasks {
  readonly #scheduler: Scheduler;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Runs `body` as a task; the promise settles when it ends. */
  run<T>(name: string, body: Sleeps<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => this.start(name, body, { resolve, reject }));
  }

  /** The same for who has no use for a promise. */
  start<T>(
    name: string,
    body: Sleeps<T>,
    over: { readonly resolve: (value: T) => void; readonly reject: (error: unknown) => void },
  ): void {
    const task = this.#scheduler.spawn(name, body);
    task.observed = true;
    task.onSettled = () => {
      if (task.state === TaskState.done) over.resolve(task.result as T);
      else if (task.state === TaskState.failed) over.reject(task.error);
      else over.reject(hmmError({ code: "EINTR", call: name, detail: "the machine was closed" }));
    };
  }

  /** Runs `body` to its end now; undefined, undone, when it would have to wait. */
  runNow<T>(name: string, body: Sleeps<T>): T | undefined {
    const task = this.#scheduler.spawn(name, body);
    task.observed = true;
    this.#scheduler.run();
    if (task.state === TaskState.failed) throw task.error;
    if (task.state === TaskState.done) return task.result as T;
    this.#scheduler.kill(task as Task);
    return undefined;
  }
}

/**
 * Who shares the thread waits no longer than this for its turn while the engine waits for the GPU,
 * and when somebody has just had a turn that was longer than `OWN_MS` not at all.
 */
const NAP_MS = 0.25;
const OWN_MS = 0.03;

/** A clock, "soon", and one alarm; and naps while the GPU works. */
export class EventLoopHost implements Host {
  #alarm: ReturnType<typeof setTimeout> | undefined;
  readonly #bed = new Int32Array(new SharedArrayBuffer(4));
  #outside = 0;
  #outsideSinceMs = 0;
  #isTurning = false;
  #turnedMs = 0;

  now(): number {
    return performance.now();
  }

  soon(run: () => void): void {
    queueMicrotask(run);
  }

  at(deadlineMs: number, run: () => void): void {
    if (this.#alarm !== undefined) clearTimeout(this.#alarm);
    this.#alarm = setTimeout(run, Math.max(0, deadlineMs - this.now()));
  }

  outside(count: number): void {
    this.#outside = count;
    this.#outsideSinceMs = this.now();
    if (count === 0 || this.#isTurning) return;
    this.#isTurning = true;
    this.#turnedMs = this.#outsideSinceMs;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    this.#isTurning = this.#outside > 0;
    if (!this.#isTurning) return;
    const now = this.now();
    const nap = napAfter(now - this.#outsideSinceMs, NAP_MS);
    const isAlone = now - this.#turnedMs < OWN_MS;
    const isTired = nap > 0 && isAlone;
    if (isTired) Atomics.wait(this.#bed, 0, 0, nap);
    this.#turnedMs = isTired ? this.now() : now;
    setImmediate(this.#turn);
  };

  /** Forgets the alarm and who is waited for, so that it keeps no process alive. */
  stop(): void {
    this.#outside = 0;
    if (this.#alarm !== undefined) clearTimeout(this.#alarm);
    this.#alarm = undefined;
  }
}
