/** What is explored: a world and its tasks, made afresh for every schedule. */
import type { Scheduler, Strategy } from "../sync/index.ts";

/** One world, with its tasks spawned and none of them begun. */
export interface Run {
  readonly scheduler: Scheduler;
  /** Looks at the world after a step, with nobody running. Throws what does not hold. */
  checkStep?(): void;
  /** Looks at the world when all tasks have ended; may run further tasks to tear it down. */
  checkEnd?(): void;
  /** All that matters of the end, before `checkEnd`: what `findUndeclared` compares. */
  fingerprint?(): string;
}

export interface Scenario {
  readonly name: string;
  /** One sentence: who does what to whom. */
  readonly about: string;
  /** More steps than this are a livelock. Default 2000. */
  readonly stepsMax?: number;
  /**
   * Builds the world with `strategy` and spawns the tasks. It must do the same every time: no
   * chance, clock or state of its own. Tasks that it runs to their end are not explored.
   */
  setUp(strategy: Strategy): Run;
}

export const STEPS_MAX = 2000;
