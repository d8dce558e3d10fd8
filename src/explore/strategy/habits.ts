/**
 * Whether a step touches the same places whenever it is taken. One that looks at a place and, by
 * what it finds there, touches another or not, meets some steps in one schedule only: who went
 * first decides what conflicts with what. Races are seen between steps that were taken, so the
 * orders behind such a step may be missed.
 */
import { type Step, VISIBLE } from "../execution.ts";

/** A task after it has touched certain places, step by step. */
interface Past {
  // what the next step touches, as text -> the past behind it
  readonly next: Map<string, Past>;
}

export class Habits {
  readonly #pasts = new Map<number, Past>();
  // task -> where it is in the schedule that runs now
  readonly #now = new Map<number, Past>();
  #vary = false;

  /** Some step has touched other places than one of the same task with the same past. */
  get vary(): boolean {
    return this.#vary;
  }

  /** Another schedule begins. */
  begin(): void {
    this.#now.clear();
  }

  /** `step` is the next one of its task in this schedule. */
  add(step: Step): void {
    const past = this.#now.get(step.task) ?? this.#firstOf(step.task);
    const text = textOf(step);
    let next = past.next.get(text);
    // What a killed task would have touched nobody knows.
    if (step.killed?.length) this.#vary = true;
    if (next === undefined) {
      if (past.next.size > 0) this.#vary = true;
      next = { next: new Map() };
      past.next.set(text, next);
    }
    this.#now.set(step.task, next);
  }

  #firstOf(task: number): Past {
    let past = this.#pasts.get(task);
    if (past === undefined) {
      past = { next: new Map() };
      this.#pasts.set(task, past);
    }
    return past;
  }
}

function textOf({ reads, writes }: Step): string {
  const own = writes.filter((place) => place !== VISIBLE);
  return `${[...reads].sort().join()} ${own.sort().join()}`;
}
