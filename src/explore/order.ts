/**
 * Which steps of a schedule must come before which: a step comes after the last step of its own
 * task, after the one that woke it, and after every earlier step that it conflicts with (both
 * touch a place and one writes it). Two schedules with the same order are the same run to
 * everybody in it, so only one of them needs to be looked at. Mazurkiewicz 1977.
 */
import { assert } from "../base/index.ts";
import type { Place } from "../sync/index.ts";
import type { Step } from "./execution.ts";

/** What happened at a place since it was last written. */
interface History {
  // index of the step | -1
  write: number;
  readonly reads: number[];
}

export class Order {
  // index of a step -> …
  readonly tasks: number[] = [];
  // … its number among the steps of its task, from 1
  readonly #ordinals: number[] = [];
  // … task slot -> how many of that task's steps come before it (itself included)
  readonly #clocks: Int32Array[] = [];
  // … two halves of its name, which is the same in every schedule with the same order
  readonly #high: number[] = [];
  readonly #low: number[] = [];
  readonly #places = new Map<Place, History>();
  // task -> slot of its column in a clock
  readonly #slots = new Map<number, number>();
  // slot -> index of the last step | -1
  readonly #last: number[] = [];
  // slot -> index of the step that woke it | -1
  readonly #waker: number[] = [];
  #slotCount = 8;
  // Steps before this one come before all that follow: the clock moved, which everybody waits for.
  #floor = 0;
  #floorClock = new Int32Array(8);
  #stateHigh = 0;
  #stateLow = 0;

  get length(): number {
    return this.tasks.length;
  }

  /** A name for what has happened so far, in whatever order it was chosen: 53 bits. */
  get state(): number {
    return this.stateBefore(0);
  }

  /** The same, and another name for each task that may go on from here. */
  stateBefore(task: number): number {
    const low = this.#stateLow ^ Math.imul(task, 0x9e3779b1);
    return (this.#stateHigh & 0x1fffff) * 2 ** 32 + (low >>> 0);
  }

  /** Everybody waited and the clock moved: nothing that follows can come before it. */
  barrier(): void {
    this.#floor = this.length;
    const clock = new Int32Array(this.#slotCount);
    for (const last of this.#last) if (last >= 0) join(clock, this.#clocks[last]!);
    this.#floorClock = clock;
    this.#stateLow = (this.#stateLow + 0x9e3779b9) | 0;
  }

  /** Step `a` comes before step `b`. */
  precedes(a: number, b: number): boolean {
    if (a >= b) return false;
    const slot = this.#slots.get(this.tasks[a]!)!;
    return this.#clocks[b]![slot]! >= this.#ordinals[a]!;
  }

  /**
   * Adds a step. Gives the earlier steps that it races with: they conflict, nothing lies between,
   * and its task could have gone first.
   */
  add(step: Step): number[] {
    const index = this.length;
    const slot = this.#slotOf(step.task);
    const own = this.#last[slot]!;
    const waker = this.#waker[slot]!;
    const before = this.#directlyBefore(step);
    const clock = new Int32Array(this.#slotCount);
    join(clock, this.#floorClock);
    for (const each of before) join(clock, this.#clocks[each]!);
    if (own >= 0) join(clock, this.#clocks[own]!);
    if (waker >= 0) join(clock, this.#clocks[waker]!);
    this.#append(step.task, clock, before);
    const races = [...before].filter((each) => {
      if (each < this.#floor || each === waker || this.tasks[each] === step.task) return false;
      const between = (other: number): boolean => other >= 0 && this.precedes(each, other);
      if (between(own) || between(waker)) return false;
      for (const other of before) if (other !== each && between(other)) return false;
      return true;
    });
    this.#note(step, index);
    return races;
  }

  /** Steps that touched what this one touches, with nobody in between. */
  #directlyBefore(step: Step): Set<number> {
    const before = new Set<number>();
    for (const place of step.writes) {
      const history = this.#places.get(place);
      if (history === undefined) continue;
      if (history.write >= 0) before.add(history.write);
      for (const read of history.reads) before.add(read);
    }
    for (const place of step.reads) {
      const write = this.#places.get(place)?.write ?? -1;
      if (write >= 0) before.add(write);
    }
    return before;
  }

  #append(task: number, clock: Int32Array, before: ReadonlySet<number>): void {
    const index = this.length;
    const slot = this.#slotOf(task);
    const ordinal = (clock[slot] ?? 0) + 1;
    clock[slot] = ordinal;
    // Sums, because the order in which two predecessors were found says nothing.
    let high = Math.imul(task, 0x85ebca6b);
    let low = Math.imul(ordinal, 0xc2b2ae35) ^ this.#floor;
    for (const each of before) {
      high = (high + mix(this.#high[each]!, this.#low[each]!)) | 0;
      low = (low + mix(this.#low[each]!, this.#high[each]! ^ 0x27d4eb2f)) | 0;
    }
    const own = this.#last[slot]!;
    if (own >= 0) {
      high = mix(high, this.#high[own]!);
      low = mix(low, this.#low[own]!);
    }
    high = mix(high, task);
    low = mix(low, high ^ ordinal);
    this.tasks.push(task);
    this.#ordinals.push(ordinal);
    this.#clocks.push(clock);
    this.#high.push(high);
    this.#low.push(low);
    this.#stateHigh = (this.#stateHigh + high) | 0;
    this.#stateLow = (this.#stateLow + low) | 0;
    this.#last[slot] = index;
    this.#waker[slot] = -1;
  }

  #note(step: Step, index: number): void {
    for (const place of step.reads) this.#history(place).reads.push(index);
    for (const place of step.writes) {
      const history = this.#history(place);
      history.write = index;
      history.reads.length = 0;
    }
    for (const task of step.woken) this.#waker[this.#slotOf(task)] = index;
  }

  #history(place: Place): History {
    let history = this.#places.get(place);
    if (history === undefined) {
      history = { write: -1, reads: [] };
      this.#places.set(place, history);
    }
    return history;
  }

  #slotOf(task: number): number {
    let slot = this.#slots.get(task);
    if (slot === undefined) {
      slot = this.#slots.size;
      this.#slots.set(task, slot);
      this.#last.push(-1);
      this.#waker.push(-1);
      if (slot >= this.#slotCount) this.#slotCount *= 2;
    }
    return slot;
  }
}

/** `into` comes after all that `from` comes after. Clocks may be shorter than later ones. */
function join(into: Int32Array, from: Int32Array): void {
  assert(from.length <= into.length, "clocks only grow");
  for (let i = 0; i < from.length; i++) if (from[i]! > into[i]!) into[i] = from[i]!;
}

/** Two steps that may not trade places. */
export function conflict(a: Step, b: Step): boolean {
  const touches = (places: readonly Place[], other: Step): boolean =>
    places.some((place) => other.writes.includes(place));
  return touches(a.writes, b) || touches(a.reads, b) || touches(b.reads, a);
}

function mix(a: number, b: number): number {
  let mixed = Math.imul(a ^ (b >>> 15) ^ (b << 7), 0x2c1b3c6d);
  mixed = Math.imul(mixed ^ (mixed >>> 12) ^ b, 0x297a2d39);
  return (mixed ^ (mixed >>> 15)) | 0;
}
