import { describe, expect, it } from "vitest";
import { Scheduler } from "./scheduler.ts";
import { type Sleeps, TaskState } from "./task.ts";
import { Completion, WaitQueue } from "./wait-queue.ts";

function* sleepOnce(queue: WaitQueue, log: string[], name: string): Sleeps<void> {
  log.push(`${name} ${yield* queue.sleep()}`);
}

function sleepers(count: number) {
  const scheduler = new Scheduler();
  const queue = new WaitQueue(scheduler, "a change");
  const log: string[] = [];
  const tasks = Array.from({ length: count }, (_, i) =>
    scheduler.spawn(`t${i}`, sleepOnce(queue, log, `t${i}`)),
  );
  scheduler.run();
  return { scheduler, queue, log, tasks };
}

describe("a wait queue", () => {
  it("wakes one, the first that came", () => {
    const { scheduler, queue, log } = sleepers(3);
    queue.wakeOne();
    scheduler.run();
    expect(log).toEqual(["t0 true"]);
    expect(queue.length).toBe(2);
  });

  it("wakes all, and those who come later sleep on", () => {
    const { scheduler, queue, log } = sleepers(3);
    queue.wakeAll();
    scheduler.spawn("late", sleepOnce(queue, log, "late"));
    scheduler.run();
    expect(log).toEqual(["t0 true", "t1 true", "t2 true"]);
    expect(queue.length).toBe(1);
  });

  it("passes the wake-up of a killed sleeper on", () => {
    const { scheduler, queue, log, tasks } = sleepers(2);
    queue.wakeOne();
    scheduler.kill(tasks[0]!);
    scheduler.run();
    expect(log).toEqual(["t1 true"]);
  });

  it("forgets a sleeper that is killed before it is woken", () => {
    const { scheduler, queue, log, tasks } = sleepers(2);
    scheduler.kill(tasks[0]!);
    expect(queue.length).toBe(1);
    queue.wakeOne();
    scheduler.run();
    expect(log).toEqual(["t1 true"]);
  });

  it("ends a sleep at its deadline, and leaves no timer behind a wake-up", () => {
    const scheduler = new Scheduler();
    const queue = new WaitQueue(scheduler, "a change");
    expect(scheduler.runTask("late", queue.sleep(5))).toBe(false);
    expect([scheduler.nowMs, queue.length]).toEqual([5, 0]);
    const woken = scheduler.spawn("woken", queue.sleep(100));
    scheduler.spawn(
      "waker",
      (function* (): Sleeps<void> {
        queue.wakeOne();
      })(),
    );
    scheduler.run();
    expect([woken.result, scheduler.nowMs]).toEqual([true, 5]);
  });

  it("looks again after every wake-up when it waits for a condition", () => {
    const scheduler = new Scheduler();
    const queue = new WaitQueue(scheduler, "a change");
    let value = 0;
    const task = scheduler.spawn(
      "waiter",
      queue.until(() => value === 2),
    );
    for (const next of [1, 2]) {
      scheduler.run();
      expect(task.state).toBe(TaskState.blocked);
      value = next;
      queue.wakeAll();
    }
    scheduler.run();
    expect(task.result).toBe(true);
    expect(
      scheduler.runTask(
        "late",
        queue.until(() => false, 9),
      ),
    ).toBe(false);
    expect(scheduler.nowMs).toBe(9);
  });
});

describe("a completion", () => {
  it("gives its value to all who wait and to all who come later", () => {
    const scheduler = new Scheduler();
    const done = new Completion<number>(scheduler, "the answer");
    const early = scheduler.spawn("early", done.wait());
    scheduler.run();
    expect([early.state, done.isDone]).toEqual([TaskState.blocked, false]);
    done.complete(42);
    expect([scheduler.runTask("late", done.wait()), early.result]).toEqual([42, 42]);
    expect(() => done.complete(43)).toThrow(/"the answer" completes twice/);
  });
});
