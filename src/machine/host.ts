/**
 * The event loop as the scheduler wants it: a clock, "soon", and one alarm. The only place of
 * the library that touches timers.
 */
import type { Host } from "../sync/index.ts";

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
