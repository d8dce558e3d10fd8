import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../test/replay/replay.ts";
import { RwSemaphore } from "./rw-semaphore.ts";
import { Scheduler } from "./scheduler.ts";
import { RandomStrategy } from "./strategy.ts";
import { type Sleeps, type Task, TaskState, YIELD } from "./task.ts";
import { Completion } from "./wait-queue.ts";

function build() {
  const scheduler = new Scheduler();
  const lock = new RwSemaphore(scheduler, "mmap", "the lock");
  const log: string[] = [];
  const gates = new Map<string, Completion<void>>();
  /** Takes the lock, notes it, and keeps it until its gate opens. */
  function* holder(name: string, gate: Completion<void>): Sleeps<void> {
    using _held = yield* name.startsWith("w") ? lock.acquireWrite() : lock.acquireRead();
    log.push(name);
    yield* gate.wait();
  }
  const spawn = (...names: readonly string[]): Task[] => {
    const tasks = names.map((name) => {
      const gate = new Completion<void>(scheduler, `the gate of ${name}`);
      gates.set(name, gate);
      return scheduler.spawn(name, holder(name, gate)) as Task;
    });
    scheduler.run();
    return tasks;
  };
  const open = (...names: readonly string[]): void => {
    for (const name of names) gates.get(name)!.complete();
    scheduler.run();
  };
  return { scheduler, lock, log, gates, spawn, open };
}

describe("a reader-writer semaphore", () => {
  it("lets readers in together and a writer alone", () => {
    const { lock, log, spawn, open } = build();
    spawn("r1", "r2", "w1");
    expect(log).toEqual(["r1", "r2"]);
    open("r1");
    expect(log).toEqual(["r1", "r2"]);
    open("r2");
    expect(log).toEqual(["r1", "r2", "w1"]);
    open("w1");
    expect(lock.isLocked).toBe(false);
  });

  it("lets no later reader overtake a waiting writer", () => {
    const { lock, log, spawn, open } = build();
    spawn("r1", "w1", "r2", "r3");
    expect(log).toEqual(["r1"]);
    open("r1");
    expect(log).toEqual(["r1", "w1"]);
    open("w1");
    expect(log).toEqual(["r1", "w1", "r2", "r3"]);
    open("r2", "r3");
    expect(lock.isLocked).toBe(false);
  });

  it("does not overtake by trying, either", () => {
    const { scheduler, lock, spawn, open } = build();
    spawn("r1", "w1");
    function* tryBoth(): Sleeps<boolean[]> {
      using read = lock.tryAcquireRead();
      using write = lock.tryAcquireWrite();
      return [read !== undefined, write !== undefined];
    }
    expect(scheduler.runTask("try", tryBoth())).toEqual([false, false]);
    open("r1", "w1");
    expect(scheduler.runTask("try again", tryBoth())).toEqual([true, false]);
    expect(lock.isLocked).toBe(false);
  });

  it("is given back once by a guard that is disposed twice", () => {
    const { scheduler, lock } = build();
    function* twice(): Sleeps<void> {
      using _outer = yield* lock.acquireRead();
      const inner = yield* lock.acquireRead({ nested: "for this test" });
      for (let i = 0; i < 2; i++) inner[Symbol.dispose]();
      expect(lock.isLocked).toBe(true);
    }
    scheduler.runTask("twice", twice());
    expect(lock.isLocked).toBe(false);
  });

  it("wakes the readers behind a writer that is killed while it waits", () => {
    const { scheduler, log, spawn, open } = build();
    const [, writer] = spawn("r1", "w1", "r2");
    scheduler.kill(writer!);
    scheduler.run();
    expect(log).toEqual(["r1", "r2"]);
    open("r1", "r2");
  });

  it("hands on what a task was given that is killed before it ran", () => {
    const { scheduler, lock, log, gates, spawn, open } = build();
    const [, first] = spawn("w0", "w1", "w2");
    gates.get("w0")!.complete();
    scheduler.afterStep = () => {
      // w0 has given the lock to w1, which has not run since.
      if (first!.state === TaskState.runnable) scheduler.kill(first!);
    };
    scheduler.run();
    expect([first!.state, log]).toEqual([TaskState.killed, ["w0", "w2"]]);
    open("w2");
    expect(lock.isLocked).toBe(false);
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
      replayable("rw-semaphore", { numRuns: 300 }),
    );
  });
});
