/**
 * Runs a scenario under one schedule, which a chooser makes up as it goes. The scheduler asks who
 * is next; after each step the chooser learns what the step touched, and the checkers look.
 */
import { assert } from "../base/index.ts";
import {
  DeadlockError,
  Footprint,
  type Note,
  type Place,
  type Scheduler,
  type Strategy,
  type Task,
  TaskState,
} from "../sync/index.ts";
import type { TracedEvent } from "../trace/index.ts";
import { type Failure, kindOf, messageOf, SearchError } from "./failure.ts";
import { type Run, type Scenario, STEPS_MAX } from "./scenario.ts";
import { formatSchedule } from "./schedule.ts";

/** What a chooser knows when it chooses. */
export interface Point {
  /** Steps so far. */
  readonly depth: number;
  /** Numbers of the tasks that can run, rising. */
  readonly enabled: readonly number[];
  /** Who ran last; 0 at the beginning. */
  readonly previous: number;
  /** A timer has fired since the last step: everybody had to wait. */
  readonly isLater: boolean;
}

export interface Step {
  readonly task: number;
  readonly reads: readonly Place[];
  readonly writes: readonly Place[];
  /** Tasks that could not run before this step and can after it. */
  readonly woken: readonly number[];
  /** Tasks that could run before this step and never will: it killed them. Absent: none. */
  readonly killed?: readonly number[];
}

/** What `choose` answers to end a schedule that need not be followed further. */
export const PRUNE = -1;

export interface Chooser {
  /** One of `point.enabled`, or `PRUNE`. */
  choose(point: Point): number;
  /** What the chosen step did. */
  took?(step: Step, depth: number): void;
  /** False: the checkers have seen the state after the step at `depth` before. */
  isNew?(depth: number): boolean;
  /**
   * Where checkers have looked after steps so far. Present: it is kept up, and steps that change
   * something there conflict with each other, so that no state is passed over that a checker
   * could tell apart.
   */
  readonly observed?: Set<Place> | undefined;
}

/** A step as a reader of a report wants it. */
export interface ToldStep {
  readonly task: number;
  readonly notes: readonly Note[];
  readonly events: readonly TracedEvent[];
}

export interface Outcome {
  readonly schedule: readonly number[];
  /** Number -> name of every task that has run. */
  readonly names: ReadonlyMap<number, string>;
  readonly isPruned: boolean;
  readonly failure: Failure | undefined;
  /** What the run said at its end; empty for one that did not get there. */
  readonly fingerprint: string;
  /** Only when it was asked for. */
  readonly told: readonly ToldStep[];
}

/** The place that all steps touch that a checker could see. */
export const VISIBLE: Place = -0.5;

/** Ends a run from within; never leaves this file. */
class Stop extends Error {}

export interface ExecutionOptions {
  /** Collect what a report needs. Default false. */
  readonly tells?: boolean;
}

export function execute(
  scenario: Scenario,
  chooser: Chooser,
  options: ExecutionOptions = {},
): Outcome {
  return new Execution(scenario, chooser, options).run();
}

class Execution implements Strategy {
  readonly explores = true;
  readonly footprint = new Footprint();
  readonly #scenario: Scenario;
  readonly #chooser: Chooser;
  readonly #options: ExecutionOptions;
  readonly #schedule: number[] = [];
  readonly #names = new Map<number, string>();
  readonly #told: ToldStep[] = [];
  #run: Run | undefined;
  #isSetUp = false;
  #isPruned = false;
  #failure: Failure | undefined;
  #fingerprint = "";
  #current: Task | undefined;
  #enabled: number[] = [];
  // who could run after the last step
  #able: number[] = [];
  #events = 0;

  constructor(scenario: Scenario, chooser: Chooser, options: ExecutionOptions) {
    this.#scenario = scenario;
    this.#chooser = chooser;
    this.#options = options;
  }

  get replay(): string {
    return formatSchedule(this.#schedule);
  }

  run(): Outcome {
    this.footprint.isPaused = true;
    const run = this.#scenario.setUp(this);
    const { scheduler } = run;
    assert(scheduler.strategy === this, "a scenario builds its world with the given strategy");
    this.#run = run;
    this.footprint.tells = this.#options.tells === true;
    if (this.footprint.tells) this.#newEvents();
    this.#isSetUp = true;
    this.#check(0);
    this.footprint.isPaused = false;
    scheduler.afterStep = () => this.#afterStep(scheduler);
    try {
      if (this.#failure === undefined) {
        scheduler.run();
        this.#judgeEnd(run);
      }
    } catch (error) {
      if (error instanceof SearchError) throw error;
      if (!(error instanceof Stop)) this.#fail(error, 0);
    }
    return {
      schedule: this.#schedule,
      names: this.#names,
      isPruned: this.#isPruned,
      failure: this.#failure,
      fingerprint: this.#fingerprint,
      told: this.#told,
    };
  }

  next(runnable: readonly Task[]): number {
    if (!this.#isSetUp) return 0;
    const isFirst = this.#schedule.length === 0;
    this.#enabled = runnable.map((task) => task.id).sort((a, b) => a - b);
    const task = this.#chooser.choose({
      depth: this.#schedule.length,
      enabled: this.#enabled,
      previous: this.#schedule.at(-1) ?? 0,
      isLater: !isFirst && this.#able.length === 0,
    });
    if (task === PRUNE) {
      this.#isPruned = true;
      throw new Stop();
    }
    const index = runnable.findIndex((each) => each.id === task);
    assert(index >= 0, () => `task ${task} was chosen and cannot run`);
    this.#current = runnable[index]!;
    this.#names.set(task, this.#current.name);
    this.#schedule.push(task);
    return index;
  }

  #afterStep(scheduler: Scheduler): void {
    const depth = this.#schedule.length - 1;
    const task = this.#current!;
    this.#tell(task);
    this.footprint.isPaused = true;
    const live = [...scheduler.liveTasks];
    const able = live.filter(({ state }) => state === TaskState.runnable).map(({ id }) => id);
    this.#able = able;
    const woken = able.filter((each) => each !== task.id && !this.#enabled.includes(each));
    const killed = this.#enabled.filter((each) => each !== task.id && !able.includes(each));
    const { reads, writes } = this.footprint;
    const { observed } = this.#chooser;
    if (observed !== undefined && this.footprint.isObserved(observed)) writes.add(VISIBLE);
    const step = { task: task.id, reads: [...reads], writes: [...writes], woken, killed };
    this.#chooser.took?.(step, depth);
    if (task.state === TaskState.failed) this.#fail(task.error, task.id);
    const isNew = this.#chooser.isNew?.(depth) ?? true;
    if (isNew && this.#failure === undefined) this.#check(task.id);
    if (this.#failure !== undefined) throw new Stop();
    this.footprint.isPaused = false;
    if (depth + 1 <= (this.#scenario.stepsMax ?? STEPS_MAX)) return;
    const message = `no end after ${depth + 1} steps: ${scheduler.describeWaits()}`;
    this.#failure = { kind: "livelock", message, step: depth + 1, task: task.id, error: undefined };
    throw new Stop();
  }

  #check(task: number): void {
    this.footprint.observes = this.#chooser.observed;
    try {
      this.#run!.checkStep?.();
    } catch (error) {
      this.#fail(error, task);
    } finally {
      this.footprint.observes = undefined;
    }
  }

  #judgeEnd(run: Run): void {
    const { scheduler } = run;
    this.footprint.isPaused = true;
    const blocked = [...scheduler.liveTasks];
    if (blocked.length > 0) {
      throw new DeadlockError(
        blocked.map((task) => `${task.name} waits on ${task.waitsFor}`).join(),
      );
    }
    // What tears the world down is not explored.
    this.#isSetUp = false;
    scheduler.afterStep = undefined;
    this.#fingerprint = run.fingerprint?.() ?? "";
    run.checkEnd?.();
  }

  #fail(error: unknown, task: number): void {
    const step = this.#schedule.length;
    this.#failure = { kind: kindOf(error), message: messageOf(error), step, task, error };
  }

  #tell(task: Task): void {
    if (!this.footprint.tells) return;
    const told = { task: task.id, notes: [...this.footprint.notes], events: this.#newEvents() };
    this.#told.push(told);
  }

  #newEvents(): TracedEvent[] {
    const { tracer } = this.#run!.scheduler;
    const fresh = tracer.last(4096).filter((event) => event.index >= this.#events);
    this.#events = (fresh.at(-1)?.index ?? this.#events - 1) + 1;
    return fresh;
  }
}
