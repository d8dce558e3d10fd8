/**
 * A task is a generator that says when it may be set aside. It yields `YIELD` (put me at the
 * end of the line) or `BLOCK` (somebody will wake me), never a value.
 */
import type { LockClass } from "./lock-order.ts";
import { LOCK_ORDER } from "./lock-order.ts";

export const YIELD = 0;
export const BLOCK = 1;
export type Signal = typeof YIELD | typeof BLOCK;

/**
 * Code that may sleep; Linux says might_sleep(), here it is the type. A plain function never
 * sleeps, so it is atomic for all tasks of its scheduler.
 */
export type Sleeps<T> = Generator<Signal, T, void>;

export const TaskState = {
  runnable: "runnable",
  running: "running",
  blocked: "blocked",
  done: "done",
  failed: "failed",
  killed: "killed",
} as const;
export type TaskState = (typeof TaskState)[keyof typeof TaskState];

/** One line of execution. Made by `Scheduler.spawn`, written by the scheduler only. */
export class Task<T = unknown> {
  readonly id: number;
  readonly name: string;
  readonly body: Sleeps<T>;
  state: TaskState = TaskState.runnable;
  result: T | undefined = undefined;
  error: unknown = undefined;
  /** Somebody will look at the outcome; a failure that nobody awaits stops the scheduler. */
  observed = false;
  /** What a blocked task waits for, in words: for deadlock reports. */
  waitsFor = "";
  /** Above 0 while a callback that may not sleep runs. */
  atomicDepth = 0;
  /** Called once, when the task has ended. */
  onSettled: (() => void) | undefined = undefined;
  // LockClass -> number of locks of that class held
  readonly held = new Int32Array(LOCK_ORDER.length);

  constructor(id: number, name: string, body: Sleeps<T>) {
    this.id = id;
    this.name = name;
    this.body = body;
  }

  get isSettled(): boolean {
    return (
      this.state === TaskState.done ||
      this.state === TaskState.failed ||
      this.state === TaskState.killed
    );
  }

  holdsAny(lockClass: LockClass): boolean {
    return this.held[LOCK_ORDER.indexOf(lockClass)]! > 0;
  }
}
