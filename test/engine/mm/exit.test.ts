import { describe, expect, it } from "vitest";
import { EFAULT, EINVAL } from "../../../src/base/index.ts";
import { Dmirror } from "../../../src/driver/dmirror/index.ts";
import { mmput, mmputAsync } from "../../../src/mm/index.ts";
import { type Sleeps, TaskState, YIELD } from "../../../src/sync/index.ts";
import { pageAt, type TestWorld, TURNS, testWorld } from "../test-world.ts";

describe("the end of a space", () => {
  it("comes with its last user, wherever its pages are", () => {
    const world = testWorld();
    world.map(0, 4);
    for (const page of [0, 1, 2]) world.store(page, 1);
    world.load(3);
    world.toDevice(1, 1);
    world.deviceLoad(2);
    world.space.users.get();
    world.run(mmput(world.space));
    expect([world.load(0), world.count("mm:exit")]).toEqual([1, 0]);
    world.exit();
    expect(world.count("mm:exit")).toBe(1);
    expect([world.memory.space(world.space.id), world.memory.ram.usedCount]).toEqual([
      undefined,
      0,
    ]);
  });

  it("lets no device in any more", () => {
    const world = testWorld();
    world.map(0, 1);
    world.exit();
    expect(Dmirror.open(world.device, world.space)).toBe(-EINVAL);
    expect([world.deviceLoad(0), world.toDevice(0, 1)]).toEqual([-EFAULT, -EINVAL]);
    const snapshot = world.mirror.snapshot(pageAt(0), 1, new Uint8Array(1));
    expect(world.run(snapshot).result).toBe(-EINVAL);
  });

  it.each(["read", "snapshot", "migrate"] as const)("waits for a device at work: %s", (work) => {
    const world = testWorld({ strategy: TURNS });
    world.map(0, 4);
    for (const page of [0, 1, 2, 3]) world.store(page, 1);
    const device = world.scheduler.spawn("device", operation(world, work));
    let usersDuring = 0;
    const exit = world.scheduler.spawn(
      "exit",
      (function* (): Sleeps<void> {
        while (world.space.users.count < 2) yield YIELD;
        yield* mmput(world.space);
        usersDuring = world.space.users.count;
      })(),
    );
    world.scheduler.run();
    expect([device.state, exit.state]).toEqual([TaskState.done, TaskState.done]);
    expect([usersDuring, world.count("mm:exit")]).toEqual([1, 1]);
  });

  it("goes on when the task that waits for it is killed", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 1);
    const waiter = world.scheduler.spawn("waiter", mmput(world.space));
    let steps = 0;
    world.scheduler.afterStep = () => {
      if (++steps === 1) world.scheduler.kill(waiter);
    };
    world.scheduler.run();
    world.scheduler.afterStep = undefined;
    expect([waiter.state, world.count("mm:exit")]).toEqual([TaskState.killed, 1]);
  });

  it("can be left to a task of its own", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 1);
    world.run(
      (function* (): Sleeps<void> {
        mmputAsync(world.space);
      })(),
    );
    expect(world.count("mm:exit")).toBe(1);
  });
});

function operation(world: TestWorld, work: "read" | "snapshot" | "migrate"): Sleeps<unknown> {
  const { mirror } = world;
  if (work === "read") return mirror.read(pageAt(0), 4, () => {});
  if (work === "snapshot") return mirror.snapshot(pageAt(0), 4, new Uint8Array(4));
  return mirror.migrateToDevice(pageAt(0), 4, () => {});
}
