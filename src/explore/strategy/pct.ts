/**
 * Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010):
 * tasks have random priorities, the highest that can run runs, and at `depth` - 1 random steps
 * whoever runs falls below all that have not fallen; among those who have, the order is random,
 * too. A bug that `depth` ordered points decide is found by one run with a chance of at least
 * 1 / (tasks * steps ^ (depth - 1)).
 */
import { Random } from "../../sync/index.ts";
import type { Point } from "../execution.ts";
import type { Search } from "./search.ts";

/** A task that runs so long on end waits for another by asking again and again: it falls. */
const PATIENCE = 200;

export class PctSearch implements Search {
  readonly states = 0;
  readonly share = undefined;
  readonly depth: number;
  readonly #seed: number;
  #random: Random;
  #runs = 0;
  // The most of both that a schedule had so far; what the next one is drawn from.
  #steps = 1;
  #tasks = 1;
  // The steps among which this schedule's falls were drawn.
  #stepsDrawn = 1;
  // task -> priority; above 0 from the start, below after a fall
  #priorities = new Map<number, number>();
  // step -> the priority of whoever falls there
  #falls = new Map<number, number>();
  #lowest = 0;
  #previous = 0;
  #turns = 0;

  constructor(seed: number, depth = 3) {
    this.#seed = seed;
    this.depth = depth;
    this.#random = new Random(seed);
  }

  /**
   * The least chance with which this run finds a bug of this depth. A run that is longer than all
   * before it promises nothing: nobody could have fallen at its last steps.
   */
  get chance(): number {
    if (this.depth > 1 && this.#steps > this.#stepsDrawn) return 0;
    const tasks = Math.max(this.#tasks, this.#priorities.size);
    return 1 / (tasks * this.#steps ** (this.depth - 1));
  }

  begin(): boolean {
    this.#tasks = Math.max(this.#tasks, this.#priorities.size);
    this.#random = new Random(this.#seed + Math.imul(this.#runs++, 0x9e3779b1));
    this.#priorities = new Map();
    this.#stepsDrawn = this.#steps;
    this.#falls = new Map();
    this.#lowest = 1 - this.depth;
    for (let i = 1; i < this.depth; i++) this.#falls.set(this.#random.below(this.#steps), -i);
    this.#previous = 0;
    return true;
  }

  choose({ enabled, depth }: Point): number {
    this.#steps = Math.max(this.#steps, depth + 1);
    for (const task of enabled) {
      if (!this.#priorities.has(task)) this.#priorities.set(task, 1 + this.#random.fraction());
    }
    const fall = this.#turns > PATIENCE ? --this.#lowest : this.#falls.get(depth);
    if (fall !== undefined && this.#previous !== 0) this.#priorities.set(this.#previous, fall);
    const highest = enabled.reduce((best, task) =>
      this.#priorities.get(task)! > this.#priorities.get(best)! ? task : best,
    );
    this.#turns = highest === this.#previous ? this.#turns + 1 : 0;
    this.#previous = highest;
    return highest;
  }
}
