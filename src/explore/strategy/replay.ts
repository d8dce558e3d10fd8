/** One given schedule. */
import type { Chooser, Point } from "../execution.ts";
import { type Schedule, ScheduleError } from "../schedule.ts";
import { nextOf } from "./search.ts";

export class Replay implements Chooser {
  readonly #schedule: Schedule;
  readonly #isLenient: boolean;
  #at = 0;

  /** `isLenient`: steps of tasks that cannot run are skipped; else they are an error. */
  constructor(schedule: Schedule, isLenient = false) {
    this.#schedule = schedule;
    this.#isLenient = isLenient;
  }

  /** Steps of the schedule that have not been taken. */
  get left(): number {
    return this.#schedule.length - this.#at;
  }

  choose(point: Point): number {
    for (; this.#at < this.#schedule.length; this.#at++) {
      const task = this.#schedule[this.#at]!;
      if (point.enabled.includes(task)) {
        this.#at++;
        return task;
      }
      if (this.#isLenient) continue;
      const can = point.enabled.join(", ");
      throw new ScheduleError(
        `step ${point.depth + 1} of the schedule is task ${task}, which cannot run then ` +
          `(those that can: ${can}): it belongs to another scenario or version`,
      );
    }
    return nextOf(point);
  }
}
