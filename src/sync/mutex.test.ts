import { describe, expect, it } from "vitest";
import { Mutex } from "./mutex.ts";
import { Scheduler } from "./scheduler.ts";
import { type Sleeps, YIELD } from "./task.ts";

describe("a mutex", () => {
  it("has one holder at a time, first come first served", () => {
    const scheduler = new Scheduler();
    const lock = new Mutex(scheduler, "driver", "the lock");
    const log: string[] = [];
    function* body(name: string): Sleeps<void> {
      using _held = yield* lock.acquire();
      log.push(`${name} in`);
      yield YIELD;
      lock.assertHeld();
      log.push(`${name} out`);
    }
    for (const name of ["a", "b", "c"]) scheduler.spawn(name, body(name));
    scheduler.run();
    expect(log).toEqual(["a in", "a out", "b in", "b out", "c in", "c out"]);
    expect(lock.isLocked).toBe(false);
  });

  it("can be tried, and refuses who has not got it", () => {
    const scheduler = new Scheduler();
    const lock = new Mutex(scheduler, "driver", "the lock");
    scheduler.runTask(
      "a",
      (function* (): Sleeps<void> {
        using held = lock.tryAcquire();
        expect(held).toBeDefined();
        expect(lock.tryAcquire()).toBeUndefined();
      })(),
    );
    const body = (function* (): Sleeps<void> {
      lock.assertHeld();
    })();
    expect(() => scheduler.runTask("b", body)).toThrow(/"b" needs the lock/);
  });
});
