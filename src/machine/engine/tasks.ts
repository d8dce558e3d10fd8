/**
 * From calls to tasks on the thread of the engine: a call is a task and a promise, or a task that
 * runs to its end on the spot. And the event loop as the scheduler wants it.
 */
import { type Host, type Scheduler, type Sleeps, type Task, TaskState } from "../../sync/index.ts";
import { hmmError } from "../error.ts";

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

/** A clock, "soon", and one alarm. */
export class EventLoopHost implements Host {
  #alarm: ReturnType<typeof setTimeout> | undefined;

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

  /** Forgets the alarm, so that it keeps no process alive. */
  stop(): void {
    if (this.#alarm !== undefined) clearTimeout(this.#alarm);
    this.#alarm = undefined;
  }
}
