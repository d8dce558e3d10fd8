/**
 * Every schedule with at most so many preemptions, depth first. A preemption is taking a task
 * off that could have gone on; waiting costs none. Most races need two (Musuvathi and Qadeer,
 * PLDI 2007).
 *
 * With reduction, a point is not followed when one with the same history (`Order.state`) and the
 * same last task was reached with no more preemptions: whatever can follow here could follow
 * there, within the bound. Unlike sleep sets this is sound under a bound, and it reaches every
 * state, not only every outcome: so it is right for checkers that look at all of a world.
 */
import { type Point, PRUNE, type Step } from "../execution.ts";
import { Order } from "../order.ts";
import { nextOf, notTheSame, type Search } from "./search.ts";

export interface DfsOptions {
  /** Default: no bound. */
  readonly preemptionsMax?: number;
  /** Look at each history once. Default true. */
  readonly reduces?: boolean;
}

interface Node {
  readonly enabled: readonly number[];
  readonly previous: number;
  /** Preemptions before this point. */
  readonly preemptions: number;
  // enabled, in the order in which they are tried; those before `at` are done
  readonly order: readonly number[];
  at: number;
}

export class Dfs implements Search {
  readonly #preemptionsMax: number;
  readonly #reduces: boolean;
  readonly #nodes: Node[] = [];
  // history and last task -> fewest preemptions with which it was reached
  readonly #seen = new Map<number, number>();
  readonly #histories = new Set<number>();
  #order = new Order();
  #fresh = 0;
  #isFirst = true;

  constructor(options: DfsOptions = {}) {
    this.#preemptionsMax = options.preemptionsMax ?? Number.POSITIVE_INFINITY;
    this.#reduces = options.reduces ?? true;
  }

  get states(): number {
    return this.#histories.size;
  }

  /** How much of the tree lies behind, by its branches: exact at both ends only. */
  get share(): number {
    let share = 0;
    let width = 1;
    for (const node of this.#nodes) {
      width /= node.order.length;
      share += node.at * width;
    }
    return this.#isFirst ? 0 : this.#nodes.length === 0 ? 1 : share;
  }

  begin(): boolean {
    this.#order = new Order();
    if (this.#isFirst) {
      this.#isFirst = false;
      return true;
    }
    for (; this.#nodes.length > 0; this.#nodes.pop()) {
      const node = this.#nodes.at(-1)!;
      node.at++;
      if (node.at < node.order.length) break;
    }
    this.#fresh = this.#nodes.length - 1;
    return this.#nodes.length > 0;
  }

  isNew(depth: number): boolean {
    return depth >= this.#fresh;
  }

  choose(point: Point): number {
    if (point.isLater) this.#order.barrier();
    let node = this.#nodes[point.depth];
    if (node === undefined) {
      const preemptions = this.#preemptionsAt(point.depth);
      if (this.#isKnown(point, preemptions)) return PRUNE;
      node = this.#newNode(point, preemptions);
      this.#nodes.push(node);
    } else {
      const isSame = node.enabled.join() === point.enabled.join();
      if (!isSame) throw notTheSame(point);
    }
    return node.order[node.at]!;
  }

  took(step: Step): void {
    this.#order.add(step);
  }

  #preemptionsAt(depth: number): number {
    const last = this.#nodes[depth - 1];
    if (last === undefined) return 0;
    if (this.#preemptionsMax === Number.POSITIVE_INFINITY) return 0;
    return last.preemptions + (isPreemption(last, last.order[last.at]!) ? 1 : 0);
  }

  #isKnown(point: Point, preemptions: number): boolean {
    // The last task matters only where going on with it is free and others are not.
    const isBounded = this.#preemptionsMax !== Number.POSITIVE_INFINITY;
    const matters = isBounded && point.enabled.includes(point.previous);
    this.#histories.add(this.#order.state);
    const key = this.#order.stateBefore(matters ? point.previous : 0);
    const best = this.#seen.get(key);
    if (best !== undefined && best <= preemptions && this.#reduces) return true;
    this.#seen.set(key, Math.min(best ?? preemptions, preemptions));
    return false;
  }

  #newNode(point: Point, preemptions: number): Node {
    const { enabled, previous } = point;
    const first = nextOf(point);
    const isSpent = enabled.includes(previous) && preemptions >= this.#preemptionsMax;
    const others = isSpent ? [] : enabled.filter((task) => task !== first);
    return { enabled, previous, preemptions, order: [first, ...others], at: 0 };
  }
}

const isPreemption = (node: Node, task: number): boolean =>
  task !== node.previous && node.enabled.includes(node.previous);
