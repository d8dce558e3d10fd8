import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RwSemaphore } from "./rw-semaphore.ts";
import { Scheduler } from "./scheduler.ts";
import { RandomStrategy } from "./strategy.ts";
import { type Sleeps, type Task, TaskState, YIELD } from "./task.ts";

function build() {
  const scheduler = new Scheduler();
  const lock = new RwSemaphore(scheduler, "mmap", "the lock");
  const log: string[] = [];
  const gates = new Set<string>();
  /** Takes the lock, notes it, and keeps it until its gate opens. */
  function* holder(name: string, writes: boolean): Sleeps<void> {
    using _held = yield* writes ? lock.acquireWrite() : lock.acquireRead();
    log.push(name);
    while (!gates.has(name)) yield YIELD;
  }
  const spawn = (name: string): Task => {
    const task = scheduler.spawn(name, holder(name, name.startsWith("w"))) as Task;
    return task;
  };
  /** Lets everybody run a few turns. */
  const turn = (): void => {
    let left = 20;
    scheduler.afterStep = () => {
      if (--left === 0) throw new Error("enough");
    };
    try {
      scheduler.run();
    } catch (error) {
      if ((error as Error).message !== "enough") throw error;
    }
  };
  return { scheduler, lock, log, gates, spawn, turn };
}

describe("a reader-writer semaphore", () => {
  it("lets readers in together and a writer alone", () => {
    const { lock, log, gates, spawn, turn } = build();
    for (const name of ["r1", "r2", "w1"]) spawn(name);
    turn();
    expect(log).toEqual(["r1", "r2"]);
    gates.add("r1");
    turn();
    expect(log).toEqual(["r1", "r2"]);
    gates.add("r2");
    turn();
    expect(log).toEqual(["r1", "r2", "w1"]);
    gates.add("w1");
    turn();
    expect(lock.isLocked).toBe(false);
  });

  it("lets no later reader overtake a waiting writer", () => {
    const { lock, log, gates, spawn, turn } = build();
    for (const name of ["r1", "w1", "r2"]) spawn(name);
    turn();
    expect(log).toEqual(["r1"]);
    gates.add("r1");
    turn();
    expect(log).toEqual(["r1", "w1"]);
    for (const name of ["w1", "r2"]) gates.add(name);
    turn();
    expect(log).toEqual(["r1", "w1", "r2"]);
    expect(lock.isLocked).toBe(false);
  });

  it("does not overtake by trying, either", () => {
    const { scheduler, lock, gates, spawn, turn } = build();
    for (const name of ["r1", "w1"]) spawn(name);
    turn();
    const tried: boolean[] = [];
    scheduler.spawn(
      "try",
      (function* (): Sleeps<void> {
        tried.push(lock.tryAcquireRead() !== undefined, lock.tryAcquireWrite() !== undefined);
      })(),
    );
    turn();
    expect(tried).toEqual([false, false]);
    for (const name of ["r1", "w1"]) gates.add(name);
    turn();
    scheduler.runTask(
      "try again",
      (function* (): Sleeps<void> {
        const guard = lock.tryAcquireWrite();
        tried.push(guard !== undefined, lock.isLocked);
        guard?.[Symbol.dispose]();
        guard?.[Symbol.dispose]();
      })(),
    );
    expect([...tried, lock.isLocked]).toEqual([false, false, true, true, false]);
  });

  it("wakes the readers behind a writer that is killed while it waits", () => {
    const { scheduler, log, gates, spawn, turn } = build();
    const [, writer] = ["r1", "w1", "r2"].map(spawn);
    turn();
    scheduler.kill(writer!);
    turn();
    expect(log).toEqual(["r1", "r2"]);
    for (const name of ["r1", "r2"]) gates.add(name);
    turn();
  });

  it("hands on what a task was given that is killed before it ran", () => {
    const { scheduler, lock, log, gates, spawn, turn } = build();
    const [, first] = ["w0", "w1", "w2"].map(spawn);
    turn();
    let isKilled = false;
    gates.add("w0");
    scheduler.afterStep = () => {
      // w0 has given the lock to w1, which has not run since.
      if (!isKilled && first!.state === TaskState.runnable) {
        isKilled = true;
        scheduler.kill(first!);
        gates.add("w2");
      }
    };
    scheduler.run();
    expect([isKilled, log, lock.isLocked]).toEqual([true, ["w0", "w2"], false]);
  });

  it("knows who holds it", () => {
    const { scheduler, lock } = build();
    scheduler.runTask(
      "who",
      (function* (): Sleeps<void> {
        expect(() => lock.assertHeld()).toThrow(/"who" needs the lock/);
        {
          using _read = yield* lock.acquireRead();
          lock.assertHeld();
          expect(() => lock.assertHeldWrite()).toThrow(/for writing/);
        }
        using _write = yield* lock.acquireWrite();
        lock.assertHeld();
        lock.assertHeldWrite();
      })(),
    );
  });

  it("never has a writer beside anybody, and never forgets a waiter, whoever is killed", () => {
    const task = fc.record({ writes: fc.boolean(), turns: fc.nat(3), killedAt: fc.nat(40) });
    fc.assert(
      fc.property(fc.array(task, { maxLength: 8 }), fc.integer(), (plan, seed) => {
        const scheduler = new Scheduler({ strategy: new RandomStrategy(seed) });
        const lock = new RwSemaphore(scheduler, "mmap", "the lock");
        const inside = { readers: 0, writers: 0 };
        function* body(writes: boolean, turns: number): Sleeps<void> {
          using _held = yield* writes ? lock.acquireWrite() : lock.acquireRead();
          const mine = writes ? "writers" : "readers";
          inside[mine]++;
          try {
            expect(inside.writers === 0 || inside.writers + inside.readers === 1).toBe(true);
            for (let i = 0; i < turns; i++) yield YIELD;
          } finally {
            inside[mine]--;
          }
        }
        const tasks = plan.map(({ writes, turns }, i) =>
          scheduler.spawn(`t${i}`, body(writes, turns)),
        );
        let step = 0;
        scheduler.afterStep = () => {
          step++;
          for (const [i, each] of plan.entries()) {
            if (each.killedAt === step) scheduler.kill(tasks[i]! as Task);
          }
        };
        scheduler.run();
        expect(tasks.every((each) => each.isSettled)).toBe(true);
        expect(lock.isLocked).toBe(false);
      }),
      { numRuns: 300 },
    );
  });
});
