/** A schedule that stops one task after so many steps and lets everybody else go first. */
import type { Strategy, Task } from "../../sync/index.ts";

export class PauseAfter implements Strategy {
  readonly explores = true;
  readonly replay: string;
  readonly #steps: number;
  #watched: Task | undefined;
  #taken = 0;

  constructor(steps: number) {
    this.#steps = steps;
    this.replay = `pause after ${steps}`;
  }

  /** From now on it is `task` that is stopped. */
  watch(task: Task): void {
    this.#watched = task;
    this.#taken = 0;
  }

  /** The task has taken all its steps. */
  get isPaused(): boolean {
    return this.#taken >= this.#steps;
  }

  next(runnable: readonly Task[]): number {
    const at = this.#watched === undefined ? -1 : runnable.indexOf(this.#watched);
    if (at < 0) return 0;
    if (this.isPaused) return runnable.length > 1 && at === 0 ? 1 : 0;
    this.#taken++;
    return at;
  }
}

/** Calls `play` with a pause after 0, 1, 2, … steps, until it is over before the pause. */
export function atEveryPause(play: (schedule: PauseAfter) => void): number {
  for (let steps = 0; ; steps++) {
    const schedule = new PauseAfter(steps);
    play(schedule);
    if (!schedule.isPaused) return steps;
  }
}
