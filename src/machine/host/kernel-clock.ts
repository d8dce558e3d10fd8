/**
 * The scheduler's host on the kernel thread: a clock, "soon" and one alarm, all looked at by the
 * loop, which may be asleep in a system call when an event loop would run them.
 */
import type { Host } from "../../sync/index.ts";

export class KernelClock implements Host {
  #soon: (() => void)[] = [];
  #alarm: (() => void) | undefined;
  #deadlineMs = Number.POSITIVE_INFINITY;
  /** When what is waited for outside has changed last. */
  outsideSinceMs = 0;

  now(): number {
    return performance.now();
  }

  soon(run: () => void): void {
    this.#soon.push(run);
  }

  at(deadlineMs: number, run: () => void): void {
    this.#deadlineMs = deadlineMs;
    this.#alarm = run;
  }

  outside(): void {
    this.outsideSinceMs = this.now();
  }

  /** Runs what is due. True when there was anything. */
  runDue(): boolean {
    const due = this.#soon;
    if (due.length > 0) this.#soon = [];
    for (const run of due) run();
    if (this.now() < this.#deadlineMs) return due.length > 0;
    const alarm = this.#alarm;
    this.#deadlineMs = Number.POSITIVE_INFINITY;
    this.#alarm = undefined;
    alarm?.();
    return true;
  }

  /** Milliseconds until something is due: 0 for now, infinity for never. */
  get idleMs(): number {
    return this.#soon.length > 0 ? 0 : Math.max(0, this.#deadlineMs - this.now());
  }
}
