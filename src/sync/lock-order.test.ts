import { describe, expect, it } from "vitest";
import { assertMayWait, LOCK_ORDER, noteAcquired, noteReleased } from "./lock-order.ts";
import { RwSemaphore } from "./rw-semaphore.ts";
import { Scheduler } from "./scheduler.ts";
import { type Sleeps, Task } from "./task.ts";

const newTask = (): Task => new Task(1, "t", (function* (): Sleeps<void> {})());

describe("the lock order", () => {
  it("lets a task wait for a lock below all that it holds, and for no other", () => {
    for (const [inner, innerClass] of LOCK_ORDER.entries()) {
      for (const [outer, outerClass] of LOCK_ORDER.entries()) {
        const task = newTask();
        noteAcquired(task, outerClass);
        const wait = (): void => assertMayWait(task, innerClass);
        if (inner > outer) wait();
        else expect(wait).toThrow(/lock order: task "t" waits for/);
      }
    }
  });

  it("allows a second lock of a class for a reason that is named", () => {
    const task = newTask();
    noteAcquired(task, "mmap");
    assertMayWait(task, "mmap", "the child of a fork");
    noteAcquired(task, "page");
    expect(() => assertMayWait(task, "mmap", "the child of a fork")).toThrow(/lock order/);
  });

  it("refuses to give back what is not held", () => {
    expect(() => noteReleased(newTask(), "driver")).toThrow(/gives back a "driver" it lacks/);
  });

  it("is checked in the first run, even when nobody would have to wait", () => {
    const scheduler = new Scheduler();
    const mmap = new RwSemaphore(scheduler, "mmap", "mmapLock");
    const driver = new RwSemaphore(scheduler, "driver", "the device's lock");
    const body = (function* (): Sleeps<void> {
      using _driver = yield* driver.acquireWrite();
      using _mmap = yield* mmap.acquireRead();
    })();
    expect(() => scheduler.runTask("upside down", body)).toThrow(
      /"upside down" waits for "mmap" while it holds "driver"/,
    );
  });
});
