/** Runs a schedule twice: whoever explores relies on getting the same run again. */
import type { Place } from "../sync/index.ts";
import {
  type Chooser,
  execute,
  type Outcome,
  type Point,
  type Step,
  VISIBLE,
} from "./execution.ts";
import { NondeterminismError } from "./failure.ts";
import { Order } from "./order.ts";
import type { Scenario } from "./scenario.ts";
import { formatSchedule } from "./schedule.ts";
import { Replay } from "./strategy/index.ts";

/** As `execute`; throws a `NondeterminismError` when the same schedule is another run. */
export function executeTwice(scenario: Scenario, chooser: Chooser): Outcome {
  const diary = new Diary(chooser);
  const outcome = execute(scenario, diary);
  const { schedule } = outcome;
  // A pruned schedule has been asked once more than it has steps.
  const lines = diary.lines.slice(0, schedule.length);
  const second = new Diary(new Replay(schedule, true), schedule.length);
  const again = execute(scenario, second);
  const at = lines.findIndex((line, i) => line !== second.lines[i]);
  const failures = [outcome, again].map((each) => each.failure?.message ?? "none");
  if (at < 0 && (outcome.isPruned || failures[0] === failures[1])) return outcome;
  const where = at < 0 ? `failure: ${failures.join(" and then ")}` : `step ${at + 1}`;
  throw new NondeterminismError(
    `scenario "${scenario.name}" differs from itself, ${where} (schedule ` +
      `${formatSchedule(schedule)}): it must not use chance, clocks or state of its own`,
  );
}

/** Notes who could run and what the steps before had in common, line by line. */
class Diary implements Chooser {
  readonly lines: string[] = [];
  readonly #order = new Order();
  readonly #chooser: Chooser;
  readonly #length: number;

  constructor(chooser: Chooser, length = Number.POSITIVE_INFINITY) {
    this.#chooser = chooser;
    this.#length = length;
  }

  get observed(): Set<Place> | undefined {
    return this.#chooser.observed;
  }

  choose(point: Point): number {
    if (point.depth < this.#length) this.lines.push(`${point.enabled} ${this.#order.state}`);
    return this.#chooser.choose(point);
  }

  took(step: Step, depth: number): void {
    // Where the checkers have looked is learned on the way: not the same the second time.
    this.#order.add({ ...step, writes: step.writes.filter((place) => place !== VISIBLE) });
    this.#chooser.took?.(step, depth);
  }

  isNew(depth: number): boolean {
    return this.#chooser.isNew?.(depth) ?? true;
  }
}
