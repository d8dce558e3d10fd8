/**
 * Who runs next? Production wants the oldest runnable task; tests want any of them, chosen by
 * a seed so that a run can be had again.
 */
import { assert } from "../base/index.ts";
import type { Footprint } from "./footprint.ts";
import type { Task } from "./task.ts";

export interface Strategy {
  /** True: every lock operation is a scheduling point. False: tasks run until they must wait. */
  readonly explores: boolean;
  /** The index of the task to run; `runnable` is never empty. */
  next(runnable: readonly Task[]): number;
  /** How to have the same run again, for failure messages. */
  readonly replay: string;
  /** Where steps declare what they share; only explorers want to know. */
  readonly footprint?: Footprint;
}

/** First in, first out. */
export class NativeStrategy implements Strategy {
  readonly explores = false;
  readonly replay = "native";
  next(): number {
    return 0;
  }
}

/** Any runnable task with equal chance, from a 32-bit seed. */
export class RandomStrategy implements Strategy {
  readonly explores = true;
  readonly replay: string;
  readonly #random: Random;

  constructor(seed: number) {
    this.replay = `random:${seed >>> 0}`;
    this.#random = new Random(seed);
  }

  next(runnable: readonly Task[]): number {
    return this.#random.below(runnable.length);
  }
}

/** A small seeded generator (mulberry32): the core has no other source of chance. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** An integer from 0 to `limit` - 1. */
  below(limit: number): number {
    assert(limit > 0, "below(limit) needs a limit above 0");
    return Math.floor(this.fraction() * limit);
  }

  /** From 0 inclusive to 1 exclusive. */
  fraction(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}
