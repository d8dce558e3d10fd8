/**
 * Every order of conflicting steps once, however many preemptions it takes: source sets with
 * sleep sets (Abdulla, Aronis, Jonsson, Sagonas, POPL 2014). A schedule is run; wherever a step
 * raced with an earlier one, the other order is scheduled to be tried from the point before the
 * earlier one; tasks whose step there has been tried sleep until something conflicts with it.
 *
 * What makes it fit here: no step disables another task's, but for a kill. A task that has to wait
 * takes a step that puts it in line, and only its own steps put it to sleep. So the first steps of
 * what could have come instead are always enabled there. A step that kills a task races with that
 * task's next one, which nobody will see unless it is tried first.
 *
 * It also takes steps to conflict whenever they are taken or never. Where that is seen not to hold
 * (`Habits`) races may hide, so at the end depth-first search goes over everything once more.
 *
 * Checkers look at states, not at steps: steps that change what a checker looks at conflict with
 * each other. Where it looks is learned on the way; when it looked somewhere new, all begins again.
 */
import { assert } from "../../base/index.ts";
import type { Place } from "../../sync/index.ts";
import { type Point, PRUNE, type Step } from "../execution.ts";
import { conflict, Order } from "../order.ts";
import { Dfs } from "./dfs.ts";
import { Habits } from "./habits.ts";
import { nextOf, notTheSame, type Search } from "./search.ts";

interface Node {
  readonly enabled: readonly number[];
  /** Task -> the step that need not be tried here. */
  readonly sleep: ReadonlyMap<number, Step>;
  /** Task -> the step that it took here. */
  readonly done: Map<number, Step>;
  readonly wanted: Set<number>;
  chosen: number;
  step: Step | undefined;
}

export class Dpor implements Search {
  readonly #nodes: Node[] = [];
  readonly #seen = new Set<number>();
  readonly #observed = new Set<Place>();
  readonly #habits = new Habits();
  // what looks at the rest, when this cannot be sure
  #rest: Dfs | undefined;
  #observedAtStart = 0;
  #order = new Order();
  #fresh = 0;
  #isFirst = true;

  get states(): number {
    return this.#rest?.states ?? this.#seen.size;
  }

  /** Steps touch the same whenever they are taken, as far as was seen: nothing else has to look. */
  get isSure(): boolean {
    return !this.#habits.vary;
  }

  get observed(): Set<Place> | undefined {
    return this.#rest === undefined ? this.#observed : undefined;
  }

  get share(): number {
    if (this.#rest !== undefined) return this.#rest.share;
    let share = 0;
    let width = 1;
    for (const node of this.#nodes) {
      width /= Math.max(1, node.wanted.size);
      share += node.done.size * width;
    }
    return this.#isFirst ? 0 : this.#nodes.length === 0 ? 1 : Math.min(share, 1);
  }

  begin(): boolean {
    if (this.#rest !== undefined) return this.#rest.begin();
    const hasRun = this.#order.length > 0;
    this.#order = new Order();
    this.#habits.begin();
    if (this.#isFirst) {
      this.#isFirst = false;
      return true;
    }
    for (; this.#nodes.length > 0; this.#nodes.pop()) {
      const node = this.#nodes.at(-1)!;
      if (node.step !== undefined) node.done.set(node.chosen, node.step);
      const next = [...node.wanted].find((task) => !node.done.has(task) && !node.sleep.has(task));
      if (next === undefined) continue;
      node.chosen = next;
      node.step = undefined;
      break;
    }
    this.#fresh = this.#nodes.length - 1;
    if (this.#nodes.length > 0 || (hasRun && this.#startAgain())) return true;
    if (!this.#habits.vary) return false;
    this.#rest = new Dfs();
    return this.#rest.begin();
  }

  /** The checkers looked where they had not looked before: steps may conflict that did not. */
  #startAgain(): boolean {
    return this.#observed.size !== this.#observedAtStart;
  }

  isNew(depth: number): boolean {
    if (this.#rest !== undefined) return this.#rest.isNew(depth);
    return depth >= this.#fresh;
  }

  choose(point: Point): number {
    if (this.#rest !== undefined) return this.#rest.choose(point);
    if (this.#nodes.length === 0) this.#observedAtStart = this.#observed.size;
    if (point.isLater) this.#order.barrier();
    const node = this.#nodes[point.depth];
    if (node === undefined) return this.#open(point);
    const isSame = node.enabled.join() === point.enabled.join();
    if (!isSame) throw notTheSame(point);
    return node.chosen;
  }

  took(step: Step, depth: number): void {
    if (this.#rest !== undefined) {
      this.#rest.took(step);
      return;
    }
    this.#habits.add(step);
    const races = this.#order.add(step);
    if (!this.isNew(depth)) return;
    this.#seen.add(this.#order.state);
    this.#nodes[depth]!.step = step;
    for (const earlier of races) this.#want(earlier, depth);
    for (const task of step.killed ?? []) this.#nodes[depth]!.wanted.add(task);
  }

  #open(point: Point): number {
    const sleep = this.#sleepAt(point.depth);
    const first = nextOf(point);
    const awake = point.enabled.filter((task) => !sleep.has(task));
    if (awake.length === 0) return PRUNE;
    const chosen = awake.includes(first) ? first : awake[0]!;
    this.#nodes.push({
      enabled: point.enabled,
      sleep,
      done: new Map(),
      wanted: new Set([chosen]),
      chosen,
      step: undefined,
    });
    return chosen;
  }

  /** Those who slept or were done before the last step and have nothing to do with it. */
  #sleepAt(depth: number): Map<number, Step> {
    const sleep = new Map<number, Step>();
    const parent = this.#nodes[depth - 1];
    if (parent === undefined) return sleep;
    for (const known of [parent.sleep, parent.done]) {
      for (const [task, step] of known) {
        if (!conflict(step, parent.step!)) sleep.set(task, step);
      }
    }
    return sleep;
  }

  /**
   * The step at `depth` raced with the one at `earlier`: what did not have to come after `earlier`
   * shall be tried before it, beginning with somebody who can.
   */
  #want(earlier: number, depth: number): void {
    const { tasks } = this.#order;
    const instead: number[] = [];
    for (let at = earlier + 1; at < depth; at++) {
      if (!this.#order.precedes(earlier, at)) instead.push(at);
    }
    instead.push(depth);
    const firsts: number[] = [];
    const begun = new Set<number>();
    for (const at of instead) {
      const task = tasks[at]!;
      if (begun.has(task)) continue;
      begun.add(task);
      const follows = instead.some((other) => other < at && this.#order.precedes(other, at));
      if (!follows) firsts.push(task);
    }
    const node = this.#nodes[earlier]!;
    assert(firsts.length > 0, "a race has somebody who could have gone first");
    if (firsts.some((task) => node.wanted.has(task))) return;
    const first = firsts.includes(tasks[depth]!) ? tasks[depth]! : firsts[0]!;
    assert(node.enabled.includes(first), () => `task ${first} could not have gone first`);
    node.wanted.add(first);
  }
}
