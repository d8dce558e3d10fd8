/**
 * From calls to tasks: the public face starts tasks and gives promises, or runs a short one to
 * its end on the spot. And the event loop as the scheduler wants it, the only place of the
 * library that touches timers.
 */
import { EAGAIN, type Result } from "../base/index.ts";
import { type Host, type Scheduler, type Sleeps, type Task, TaskState } from "../sync/index.ts";
import { hmmError } from "./error.ts";

export class Tasks {
  readonly #scheduler: Scheduler;
  #closed: string | undefined;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  /** Runs `body` as a task; the promise settles when it ends. */
  run<T>(name: string, body: Sleeps<T>): Promise<T> {
    this.#check(name);
    const task = this.#scheduler.spawn(name, body);
    task.observed = true;
    return new Promise<T>((resolve, reject) => {
      task.onSettled = () => {
        if (task.state === TaskState.done) resolve(task.result as T);
        else if (task.state === TaskState.failed) reject(task.error);
        else reject(hmmError({ code: "EINTR", call: name, detail: "the machine was closed" }));
      };
    });
  }

  /** Runs `body` to its end now; -EAGAIN, undone, when it would have to wait. */
  runNow(name: string, body: Sleeps<Result>): Result {
    this.#check(name);
    const task = this.#scheduler.spawn(name, body);
    task.observed = true;
    this.#scheduler.run();
    if (task.state === TaskState.failed) throw task.error;
    if (task.state === TaskState.done) return task.result!;
    this.#scheduler.kill(task as Task);
    return -EAGAIN;
  }

  /** No call is taken any more. */
  close(): void {
    this.#closed = "the machine is closed";
  }

  #check(name: string): void {
    if (this.#closed === undefined) return;
    throw hmmError({ code: "ENODEV", call: name, detail: this.#closed });
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
