/**
 * Kills a task after its first step, after its second, and so on to its last, each time in a
 * fresh world, and sees to it that what is left adds up: nobody who shares the world waits for
 * ever, no lock or reference stays, shadow is within fact within intent.
 */
import { assert } from "../../src/base/index.ts";
import { RandomStrategy, type Sleeps, type Strategy, type Task } from "../../src/sync/index.ts";
import { TestWorld, type TestWorldOptions } from "../engine/test-world.ts";

export interface Scenario {
  readonly world?: TestWorldOptions;
  /** Before anybody is killed. */
  setUp(world: TestWorld): void;
  /** What the victim does. */
  victim(world: TestWorld): Sleeps<unknown>;
  /** Who else runs meanwhile and must always come to an end. */
  rivals?(world: TestWorld): readonly Sleeps<unknown>[];
  /** Looks at what is left when everybody else is done; `isKilled` false: the victim was faster. */
  afterwards?(world: TestWorld, isKilled: boolean): void;
}

/** Runs `scenario` with the victim killed after each of its steps, in each schedule. */
export function killAtEveryStep(scenario: Scenario, seeds: number): { readonly kills: number } {
  let kills = 0;
  for (let seed = 0; seed < seeds; seed++) {
    for (let step = 0; ; step++) {
      const isKilled = runAndKill(scenario, seed, step);
      if (!isKilled) break;
      kills++;
    }
  }
  return { kills };
}

/** False when the victim was done before its step number `steps` was over. */
function runAndKill(scenario: Scenario, seed: number, steps: number): boolean {
  const strategy = new CountingStrategy(seed);
  const world = new TestWorld({ ...scenario.world, strategy });
  try {
    scenario.setUp(world);
    const { scheduler } = world;
    const victim = scheduler.spawn("victim", scenario.victim(world)) as Task;
    const rivals = (scenario.rivals?.(world) ?? []).map((body, i) =>
      scheduler.spawn(`rival ${i}`, body),
    );
    strategy.watched = victim;
    const kill = (): void => {
      if (strategy.steps >= steps) scheduler.kill(victim);
    };
    kill();
    scheduler.afterStep = () => {
      kill();
      world.check({ isQuiet: false });
    };
    scheduler.run();
    scheduler.afterStep = undefined;
    const isKilled = victim.state === "killed";
    for (const task of [victim, ...rivals]) checkIsOver(task as Task, world);
    world.check();
    scenario.afterwards?.(world, isKilled);
    world.exit();
    return isKilled;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`killed after step ${steps} of ${strategy.replay}: ${reason}`, {
      cause: error,
    });
  }
}

function checkIsOver(task: Task, world: TestWorld): void {
  assert(task.isSettled, () => `never ends: ${world.scheduler.describeWaits()}`);
  assert(
    task.held.every((count) => count === 0),
    () => `"${task.name}" is over and has a lock`,
  );
}

/** A random schedule that counts the steps of one task. */
class CountingStrategy implements Strategy {
  readonly explores = true;
  readonly replay: string;
  readonly #random: RandomStrategy;
  watched: Task | undefined;
  steps = 0;

  constructor(seed: number) {
    this.#random = new RandomStrategy(seed);
    this.replay = this.#random.replay;
  }

  next(runnable: readonly Task[]): number {
    const index = this.#random.next(runnable);
    if (runnable[index] === this.watched) this.steps++;
    return index;
  }
}
