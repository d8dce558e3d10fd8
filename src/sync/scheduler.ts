/**
 * One scheduler drives all tasks of a machine, on one thread. Between two yields a task has
 * the world for itself, so plain functions need no locks.
 *
 * Time: without a host the clock is virtual and moves only when nobody can run. With a host
 * (production) it is the host's, and outside completions wake the scheduler through it.
 */
import { AssertionError, assert } from "../base/index.ts";
import { Tracer } from "../trace/index.ts";
import type { Footprint } from "./footprint.ts";
import { NativeStrategy, type Strategy } from "./strategy.ts";
import { BLOCK, type Sleeps, Task, TaskState } from "./task.ts";

/** What production supplies. The core itself knows no clock and no event loop. */
export interface Host {
  /** Milliseconds on a clock that never goes back. */
  now(): number;
  /** Calls `run` soon, not from within this call. */
  soon(run: () => void): void;
  /** Calls `run` at or after `deadlineMs`; a later call replaces an earlier one. */
  at(deadlineMs: number, run: () => void): void;
  /** So many promises are waited for now: while there are any, its event loop has to turn. */
  outside(count: number): void;
}

interface Timer {
  readonly deadlineMs: number;
  readonly fire: () => void;
}

/** All tasks wait and nobody is left to wake them. */
export class DeadlockError extends AssertionError {}

export class Scheduler {
  readonly strategy: Strategy;
  readonly tracer: Tracer;
  /** Where steps declare what they share, while somebody explores. */
  readonly footprint: Footprint | undefined;
  readonly #host: Host | undefined;
  readonly #runnable: Task[] = [];
  readonly #live = new Set<Task>();
  // sorted by deadline
  readonly #timers: Timer[] = [];
  /** Called after every step, with nobody running: where checkers look. */
  afterStep: (() => void) | undefined = undefined;
  #current: Task | undefined;
  #virtualMs = 0;
  #nextId = 1;
  #running = false;
  #outside = 0;
  #kicked = false;
  // in the order in which they failed; judged when the scheduler comes to rest
  readonly #failed: Task[] = [];

  constructor(options: { strategy?: Strategy; host?: Host; tracer?: Tracer } = {}) {
    this.strategy = options.strategy ?? new NativeStrategy();
    this.tracer = options.tracer ?? new Tracer();
    this.footprint = this.strategy.footprint;
    this.#host = options.host;
  }

  /** The task that runs now. Asserts that there is one: locks and waits belong to tasks. */
  get current(): Task {
    assert(this.#current !== undefined, "this needs to run inside a task");
    return this.#current;
  }

  /** Promises that are waited for. */
  get outside(): number {
    return this.#outside;
  }

  /** Somebody waits for a promise: call `endOutside` when it has settled. */
  beginOutside(): void {
    this.#outside++;
    this.#host?.outside(this.#outside);
  }

  endOutside(): void {
    assert(this.#outside > 0, "what ends outside has begun");
    this.#outside--;
    this.#host?.outside(this.#outside);
  }

  get explores(): boolean {
    return this.strategy.explores;
  }

  get nowMs(): number {
    return this.#host === undefined ? this.#virtualMs : this.#host.now();
  }

  get liveTasks(): ReadonlySet<Task> {
    return this.#live;
  }

  spawn<T>(name: string, body: Sleeps<T>): Task<T> {
    const task = new Task<T>(this.#nextId++, name, body);
    this.#live.add(task as Task);
    // Tasks are numbered in the order in which they come to be.
    this.footprint?.write(0);
    this.footprint?.wakes(task.id);
    this.#runnable.push(task as Task);
    this.#kick();
    return task;
  }

  /** Runs until nobody can run. Throws what an unobserved task threw. */
  run(): void {
    assert(!this.#running, "the scheduler is running already");
    this.#running = true;
    try {
      while (this.#runnable.length > 0 || this.#fireTimers()) this.#step();
    } finally {
      this.#running = false;
    }
    const unobserved = this.#failed.splice(0).find((task) => !task.observed);
    if (unobserved !== undefined) throw unobserved.error;
  }

  /** Runs until `task` has ended and gives its result; for code without outside waits. */
  runUntil<T>(task: Task<T>): T {
    task.observed = true;
    this.run();
    if (task.state === TaskState.done) return task.result as T;
    if (task.state === TaskState.failed) throw task.error;
    throw new DeadlockError(`"${task.name}" never ends: ${this.describeWaits()}`);
  }

  /** Spawns `body` and runs it to its end. */
  runTask<T>(name: string, body: Sleeps<T>): T {
    return this.runUntil(this.spawn(name, body));
  }

  /** Ends a task that is not running: its locks and references are given back by its guards. */
  kill(task: Task): void {
    assert(task !== this.#current, "a task cannot kill itself");
    this.footprint?.wakes(task.id);
    if (task.isSettled) return;
    const at = this.#runnable.indexOf(task);
    if (at >= 0) this.#runnable.splice(at, 1);
    const outer = this.#current;
    this.#enter(task);
    try {
      const ended = task.body.return(undefined);
      assert(ended.done === true, () => `task "${task.name}" slept while it was being killed`);
    } finally {
      this.#leave(outer);
      this.#settle(task, TaskState.killed);
    }
  }

  /** A blocked task may run again. */
  wake(task: Task): void {
    this.footprint?.wakes(task.id);
    if (task.state !== TaskState.blocked) return;
    task.state = TaskState.runnable;
    this.#runnable.push(task);
    this.#kick();
  }

  /** Calls `fire` once the clock reaches `deadlineMs`. Gives back a cancel function. */
  timer(deadlineMs: number, fire: () => void): () => void {
    const timer: Timer = { deadlineMs, fire };
    let at = this.#timers.length;
    while (at > 0 && this.#timers[at - 1]!.deadlineMs > deadlineMs) at--;
    this.#timers.splice(at, 0, timer);
    this.#armHost();
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index >= 0) this.#timers.splice(index, 1);
    };
  }

  /**
   * Runs `body` to its end within the current task without letting it sleep. Linux: a
   * non-blockable notifier callback.
   */
  runAtomic<T>(body: Sleeps<T>): T {
    const task = this.current;
    task.atomicDepth++;
    try {
      for (;;) {
        const step = body.next();
        if (step.done === true) return step.value;
        assert(step.value !== BLOCK, () => `"${task.name}" slept in a callback that may not`);
      }
    } finally {
      task.atomicDepth--;
    }
  }

  describeWaits(): string {
    const lines = [...this.#live].map(
      (task) => `"${task.name}" ${task.state}${task.waitsFor && ` on ${task.waitsFor}`}`,
    );
    return `${lines.join(", ") || "no live tasks"} (schedule ${this.strategy.replay})`;
  }

  #step(): void {
    const index = this.strategy.next(this.#runnable);
    const task = this.#runnable[index]!;
    this.#runnable.splice(index, 1);
    this.footprint?.begin(task.id);
    this.#enter(task);
    try {
      const step = task.body.next();
      if (step.done === true) {
        task.result = step.value;
        this.#settle(task, TaskState.done);
      } else if (step.value === BLOCK) {
        // Whoever blocks has set the state; a wake-up in between has set it back.
        assert(task.state !== TaskState.running, () => `"${task.name}" blocks on nothing`);
      } else {
        task.state = TaskState.runnable;
        this.#runnable.push(task);
      }
    } catch (error) {
      task.error = error;
      this.#settle(task, TaskState.failed);
    } finally {
      this.#leave(undefined);
    }
    this.afterStep?.();
  }

  #enter(task: Task): void {
    task.state = TaskState.running;
    this.#current = task;
    this.tracer.task = task.id;
  }

  #leave(outer: Task | undefined): void {
    this.#current = outer;
    this.tracer.task = outer?.id ?? 0;
  }

  #settle(task: Task, state: TaskState): void {
    task.state = state;
    this.#live.delete(task);
    if (state === TaskState.done) {
      const held = task.held.some((count) => count > 0);
      if (held) {
        task.error = new AssertionError(`task "${task.name}" ended with a lock held`);
        task.state = TaskState.failed;
      }
    }
    if (task.state === TaskState.failed) this.#failed.push(task);
    task.onSettled?.();
  }

  /** True when a timer made somebody runnable, or may have. */
  #fireTimers(): boolean {
    const first = this.#timers[0];
    if (first === undefined) return false;
    if (this.#host === undefined) this.#virtualMs = Math.max(this.#virtualMs, first.deadlineMs);
    let fired = false;
    while (this.#timers.length > 0 && this.#timers[0]!.deadlineMs <= this.nowMs) {
      this.#timers.shift()!.fire();
      fired = true;
    }
    if (!fired) this.#armHost();
    return fired && this.#runnable.length > 0 ? true : fired && this.#fireTimers();
  }

  #armHost(): void {
    const first = this.#timers[0];
    if (this.#host !== undefined && first !== undefined) {
      this.#host.at(first.deadlineMs, () => this.#pump());
    }
  }

  /** In production, work that appears while nobody drives the scheduler asks for a drive. */
  #kick(): void {
    if (this.#host === undefined || this.#running || this.#kicked) return;
    this.#kicked = true;
    this.#host.soon(() => {
      this.#kicked = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (!this.#running) this.run();
  }
}
