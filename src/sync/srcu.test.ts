import { describe, expect, it } from "vitest";
import { Scheduler } from "./scheduler.ts";
import { Srcu } from "./srcu.ts";
import { TaskState } from "./task.ts";

describe("sleepable read-copy-update", () => {
  it("waits for readers that are inside, not for those who come later", () => {
    const scheduler = new Scheduler();
    const srcu = new Srcu(scheduler, "things");
    const before = srcu.readLock();
    const task = scheduler.spawn("writer", srcu.synchronize());
    scheduler.run();
    const after = srcu.readLock();
    expect(task.state).toBe(TaskState.blocked);
    srcu.readUnlock(before);
    scheduler.run();
    expect(task.state).toBe(TaskState.done);
    srcu.readUnlock(after);
  });

  it("is over at once when nobody reads", () => {
    const scheduler = new Scheduler();
    const srcu = new Srcu(scheduler, "things");
    scheduler.runTask("writer", srcu.synchronize());
    let ran = false;
    srcu.call(() => {
      ran = true;
    });
    expect(ran).toBe(true);
  });

  it("keeps a young epoch waiting for an old reader", () => {
    const scheduler = new Scheduler();
    const srcu = new Srcu(scheduler, "things");
    const log: string[] = [];
    const old = srcu.readLock();
    srcu.call(() => log.push("first"));
    const young = srcu.readLock();
    srcu.call(() => log.push("second"));
    srcu.readUnlock(young);
    expect(log).toEqual([]);
    srcu.readUnlock(old);
    expect(log).toEqual(["first", "second"]);
  });

  it("refuses to leave what was not entered", () => {
    const srcu = new Srcu(new Scheduler(), "things");
    const epoch = srcu.readLock();
    srcu.readUnlock(epoch);
    expect(() => srcu.readUnlock(epoch)).toThrow(/without readLock/);
  });
});
