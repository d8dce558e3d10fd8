import { describe, expect, it } from "vitest";
import { AssertionError } from "../base/index.ts";
import { Mutex } from "./mutex.ts";
import { DeadlockError, type Host, Scheduler } from "./scheduler.ts";
import { RandomStrategy } from "./strategy.ts";
import { BLOCK, type Sleeps, TaskState, YIELD } from "./task.ts";
import { WaitQueue } from "./wait-queue.ts";

/** Notes `name` before each of `turns` turns. */
function* worker(log: string[], name: string, turns: number): Sleeps<string> {
  for (let turn = 0; turn < turns; turn++) {
    log.push(`${name}${turn}`);
    yield YIELD;
  }
  return name;
}

function* failing(message: string): Sleeps<void> {
  throw new Error(message);
}

describe("a scheduler", () => {
  it("runs tasks in turn, first come first served", () => {
    const scheduler = new Scheduler();
    const log: string[] = [];
    const a = scheduler.spawn("a", worker(log, "a", 2));
    const b = scheduler.spawn("b", worker(log, "b", 3));
    scheduler.run();
    expect(log).toEqual(["a0", "b0", "a1", "b1", "b2"]);
    expect([a.state, a.result, b.result]).toEqual([TaskState.done, "a", "b"]);
    expect(scheduler.liveTasks.size).toBe(0);
  });

  it("gives the same run for the same seed, and another for another", () => {
    const runWith = (seed: number): string => {
      const scheduler = new Scheduler({ strategy: new RandomStrategy(seed) });
      const log: string[] = [];
      for (const name of ["a", "b", "c"]) scheduler.spawn(name, worker(log, name, 5));
      scheduler.run();
      return log.join(" ");
    };
    expect(runWith(7)).toBe(runWith(7));
    expect(new Set([1, 2, 3, 4].map(runWith)).size).toBeGreaterThan(1);
  });

  it("tells who waits for what when nobody can ever run again", () => {
    const scheduler = new Scheduler();
    const queue = new WaitQueue(scheduler, "a wake-up that never comes");
    const wait = (): string => scheduler.runTask("sleeper", queue.sleep()) as never;
    expect(wait).toThrow(DeadlockError);
    expect(wait).toThrow(/"sleeper" blocked on a wake-up that never comes.*schedule native/);
  });

  it("throws what a task threw that nobody looks at", () => {
    const scheduler = new Scheduler();
    scheduler.spawn("bad", failing("seen by nobody"));
    expect(() => scheduler.run()).toThrow("seen by nobody");
    expect(() => scheduler.run()).not.toThrow();
  });

  it("still throws it when another task failed before that somebody looked at", () => {
    const scheduler = new Scheduler();
    expect(() => scheduler.runTask("first", failing("looked at"))).toThrow("looked at");
    scheduler.spawn("second", failing("seen by nobody"));
    expect(() => scheduler.run()).toThrow("seen by nobody");
  });

  it("throws it also when one that somebody looks at fails in the same run", () => {
    const scheduler = new Scheduler();
    const first = scheduler.spawn("first", failing("looked at"));
    first.observed = true;
    scheduler.spawn("second", failing("seen by nobody"));
    expect(() => scheduler.run()).toThrow("seen by nobody");
    expect(first.state).toBe(TaskState.failed);
  });

  it("fails a task that ends with a lock held", () => {
    const scheduler = new Scheduler();
    const lock = new Mutex(scheduler, "driver", "a lock");
    expect(() =>
      scheduler.runTask(
        "forgetful",
        (function* (): Sleeps<void> {
          yield* lock.acquire();
        })(),
      ),
    ).toThrow(/"forgetful" ended with a lock held/);
  });

  it("refuses a task that blocks without having said on what", () => {
    const scheduler = new Scheduler();
    const body = (function* (): Sleeps<void> {
      yield BLOCK;
    })();
    expect(() => scheduler.runTask("odd", body)).toThrow(/blocks on nothing/);
  });

  it("moves virtual time only when nobody can run", () => {
    const scheduler = new Scheduler();
    const fired: number[] = [];
    scheduler.timer(30, () => fired.push(scheduler.nowMs));
    scheduler.timer(10, () => fired.push(scheduler.nowMs));
    const cancel = scheduler.timer(20, () => fired.push(-1));
    cancel();
    scheduler.run();
    expect(fired).toEqual([10, 30]);
  });
});

describe("killing a task", () => {
  it("gives its locks back and ends it", () => {
    const scheduler = new Scheduler();
    const lock = new Mutex(scheduler, "driver", "a lock");
    const task = scheduler.spawn(
      "victim",
      (function* (): Sleeps<void> {
        using _held = yield* lock.acquire();
        yield* new WaitQueue(scheduler, "for ever").sleep();
      })(),
    );
    scheduler.run();
    expect(lock.isLocked).toBe(true);
    let settled = 0;
    task.onSettled = () => settled++;
    scheduler.kill(task);
    expect(lock.isLocked).toBe(false);
    expect([task.state, settled, scheduler.liveTasks.size]).toEqual([TaskState.killed, 1, 0]);
    scheduler.kill(task);
    expect(settled).toBe(1);
  });

  it("refuses the task that runs, and one that would sleep on its way out", () => {
    const scheduler = new Scheduler();
    const suicide = scheduler.spawn(
      "suicide",
      (function* (): Sleeps<void> {
        scheduler.kill(scheduler.current);
      })(),
    );
    expect(() => scheduler.runUntil(suicide)).toThrow(/cannot kill itself/);
    const clinging = scheduler.spawn(
      "clinging",
      (function* (): Sleeps<void> {
        try {
          yield* new WaitQueue(scheduler, "for ever").sleep();
        } finally {
          yield YIELD;
        }
      })(),
    );
    scheduler.run();
    expect(() => scheduler.kill(clinging)).toThrow(/slept while it was being killed/);
  });
});

describe("atomic code", () => {
  it("may yield but not sleep", () => {
    const scheduler = new Scheduler();
    const queue = new WaitQueue(scheduler, "something");
    const lock = new Mutex(scheduler, "driver", "a lock");
    const inAtomic = (body: Sleeps<unknown>): unknown =>
      scheduler.runTask(
        "caller",
        (function* (): Sleeps<unknown> {
          return scheduler.runAtomic(body);
        })(),
      );
    expect(inAtomic(worker([], "done", 2))).toBe("done");
    expect(() => inAtomic(queue.sleep())).toThrow(/may not sleep here/);
    expect(() => inAtomic(lock.acquire())).toThrow(/may not wait/);
  });
});

/** A host whose clock and event loop are turned by hand. */
class HandHost implements Host {
  ms = 0;
  waitedFor = 0;
  readonly soons: (() => void)[] = [];
  alarm: { readonly deadlineMs: number; readonly run: () => void } | undefined;

  now(): number {
    return this.ms;
  }

  soon(run: () => void): void {
    this.soons.push(run);
  }

  at(deadlineMs: number, run: () => void): void {
    this.alarm = { deadlineMs, run };
  }

  outside(count: number): void {
    this.waitedFor = count;
  }
}

describe("a scheduler with a host", () => {
  it("asks once to be driven when work appears", () => {
    const host = new HandHost();
    const scheduler = new Scheduler({ host });
    const log: string[] = [];
    scheduler.spawn("a", worker(log, "a", 1));
    scheduler.spawn("b", worker(log, "b", 1));
    expect([host.soons.length, log.length]).toEqual([1, 0]);
    host.soons.shift()!();
    expect(log).toEqual(["a0", "b0"]);
  });

  it("wakes a sleeper at its deadline by the host's clock", () => {
    const host = new HandHost();
    const scheduler = new Scheduler({ host });
    const queue = new WaitQueue(scheduler, "nothing");
    const task = scheduler.spawn("sleeper", queue.sleep(50));
    scheduler.run();
    expect([host.alarm?.deadlineMs, task.state]).toEqual([50, TaskState.blocked]);
    host.ms = 50;
    host.alarm!.run();
    expect([task.state, task.result]).toEqual([TaskState.done, false]);
  });

  it("sets the alarm again when it rings too early", () => {
    const host = new HandHost();
    const scheduler = new Scheduler({ host });
    const task = scheduler.spawn("sleeper", new WaitQueue(scheduler, "nothing").sleep(50));
    scheduler.run();
    const early = host.alarm!;
    host.alarm = undefined;
    host.ms = 49;
    early.run();
    expect([task.state, host.alarm]).toEqual([TaskState.blocked, expect.anything()]);
  });

  it("says that broken invariants are broken invariants", () => {
    const scheduler = new Scheduler();
    expect(() => scheduler.current).toThrow(AssertionError);
  });
});
