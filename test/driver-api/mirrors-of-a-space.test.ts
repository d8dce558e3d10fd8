/**
 * What the 2019 documents say of a space's mirrors as a whole: one object stands behind all of
 * them, they come and go beside events, and one that refuses an event ends it.
 */
import { describe, expect, it } from "vitest";
import { EAGAIN, EFAULT, EINVAL, type Pfn, type Result } from "../../src/base/index.ts";
import { Mirror, type MirrorOps, type MirrorRange } from "../../src/hmm/index.ts";
import { AddressSpace, makeDeviceExclusive, mmput, putExclusive } from "../../src/mm/index.ts";
import {
  Invalidation,
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_MIGRATE,
} from "../../src/notifier/index.ts";
import { Completion, type Sleeps, TaskState, YIELD } from "../../src/sync/index.ts";
import { pageAt, rangeAt, type TestWorld, testWorld } from "../engine/test-world.ts";

/** A mirror of the world's space that does `act` in its callback. */
function mirrorThat(
  world: TestWorld,
  act: (update: Invalidation) => Sleeps<boolean>,
  ops: Partial<MirrorOps> = {},
): Mirror {
  const all: MirrorOps = { syncCpuDevicePagetables: act, ...ops };
  const mirror = world.run(Mirror.register(world.space, { ops: all }));
  if (typeof mirror === "number") throw new Error(`register: ${mirror}`);
  return mirror;
}

function* agree(): Sleeps<boolean> {
  return true;
}

/** Starts and ends an event on page `page`. */
function* event(world: TestWorld, page: number, blockable = true): Sleeps<Result> {
  const options = { ...rangeAt(page, 1), event: MMU_NOTIFY_CLEAR, blockable };
  const invalidation = new Invalidation(options);
  const result = yield* world.space.notifiers.start(invalidation);
  if (result === 0) world.space.notifiers.end(invalidation);
  return result;
}

/** Page `page` is the world's device's alone. */
function* takeExclusive(world: TestWorld, page: number): Sleeps<void> {
  const frames: Pfn[] = [];
  using _mmap = yield* world.space.mmapLock.acquireRead();
  const taken = yield* makeDeviceExclusive(world.space, rangeAt(page, 1), frames, world.device);
  expect(taken).toBe(1);
  putExclusive(world.space, frames);
}

function* steps(count: number): Sleeps<void> {
  for (let i = 0; i < count; i++) yield YIELD;
}

describe("the mirrors of a space", () => {
  it("share its subscriptions, which are there from its birth, and so do their ranges", () => {
    const world = testWorld();
    world.map(0, 2);
    const { notifiers } = world.space;
    const fresh = new AddressSpace(world.memory);
    expect([fresh.notifiers.intervalCount, fresh.notifiers.listCount]).toEqual([0, 0]);
    world.run(mmput(fresh));
    const before = notifiers.intervalCount;
    const told: string[] = [];
    const mirrors = ["a", "b"].map((name) =>
      mirrorThat(world, function* () {
        told.push(name);
        return true;
      }),
    );
    const ranges = mirrors.map((mirror) => mirror.range(rangeAt(0, 2)) as MirrorRange);
    expect(notifiers.intervalCount).toBe(before + 4);
    for (const range of ranges) expect(world.run(range.waitUntilValid())).toBe(true);
    expect(world.run(event(world, 0))).toBe(0);
    expect([told.sort(), ranges.map((range) => range.valid)]).toEqual([
      ["a", "b"],
      [false, false],
    ]);
    for (const range of ranges) range.unregister();
    for (const mirror of mirrors) world.run(mirror.unregister());
    expect([notifiers.intervalCount, notifiers.listCount]).toEqual([before, 0]);
  });

  it("are told what changes, why, and whether they may sleep", () => {
    const world = testWorld();
    world.map(0, 1);
    const told: unknown[] = [];
    mirrorThat(world, function* ({ start, end, event, blockable }) {
      told.push([start, end, event, blockable]);
      return true;
    });
    expect([world.run(event(world, 0)), world.run(event(world, 0, false))]).toEqual([0, 0]);
    expect(told).toEqual([
      [pageAt(0), pageAt(1), MMU_NOTIFY_CLEAR, true],
      [pageAt(0), pageAt(1), MMU_NOTIFY_CLEAR, false],
    ]);
  });

  it("are told by whom, if it is somebody who may pass over it", () => {
    const world = testWorld();
    world.map(0, 2);
    for (const page of [0, 1]) world.store(page, 1);
    const told: [number, boolean][] = [];
    mirrorThat(world, function* ({ event, owner }) {
      told.push([event, owner === world.device]);
      return true;
    });
    const tellsOf = (act: () => unknown): [number, boolean][] => {
      told.length = 0;
      act();
      return [...told];
    };
    expect(tellsOf(() => world.toDevice(0, 1))).toEqual([[MMU_NOTIFY_MIGRATE, true]]);
    expect(tellsOf(() => world.run(takeExclusive(world, 1)))).toEqual([
      [MMU_NOTIFY_EXCLUSIVE, true],
    ]);
    // Taken back by a CPU: nobody may pass over that, nor over an eviction.
    expect(tellsOf(() => world.load(1))).toEqual([[MMU_NOTIFY_EXCLUSIVE, false]]);
    expect(tellsOf(() => world.run(world.device.evictAll()))).toEqual([[MMU_NOTIFY_CLEAR, false]]);
  });

  it("are not told any more when one of them refuses an event that may not wait", () => {
    const world = testWorld();
    world.map(0, 1);
    let told: string[] = [];
    let refuser = "nobody";
    for (const name of ["a", "b", "c"]) {
      mirrorThat(world, function* ({ blockable }) {
        told.push(name);
        return blockable || name !== refuser;
      });
    }
    const range = mirrorThat(world, agree).range(rangeAt(0, 1)) as MirrorRange;
    expect(world.run(event(world, 0))).toBe(0);
    const order = told;
    told = [];
    refuser = order[1]!;
    expect(world.run(event(world, 0, false))).toBe(-EAGAIN);
    expect([order.length, told]).toEqual([3, order.slice(0, 2)]);
    // Nothing of it is left: who reads the range need not wait.
    expect([world.space.notifiers.activeCount, range.tryUntilValid()]).toEqual([0, true]);
    range.unregister();
  });

  it("may not refuse an event that waits for them", () => {
    const world = testWorld();
    world.map(0, 1);
    let agrees = false;
    mirrorThat(world, function* () {
      return agrees;
    });
    expect(() => world.run(event(world, 0))).toThrow(/refused an event that may sleep/);
    agrees = true;
  });

  it("come and go without failing an event that may not wait", () => {
    const world = testWorld();
    world.map(0, 8);
    const gate = new Completion<void>(world.scheduler, "the gate");
    const leaving = mirrorThat(world, function* () {
      yield* gate.wait();
      return true;
    });
    world.scheduler.spawn("slow event", event(world, 0));
    world.scheduler.run();
    const leaver = world.scheduler.spawn("leaver", leaving.unregister());
    function* hold(): Sleeps<void> {
      using _mmap = yield* world.space.mmapLock.acquireRead();
      yield* gate.wait();
    }
    world.scheduler.spawn("holder", hold());
    const ops = { syncCpuDevicePagetables: agree };
    const comer = world.scheduler.spawn("comer", Mirror.register(world.space, { ops }));
    world.scheduler.run();
    expect([leaver.state, comer.state]).toEqual([TaskState.blocked, TaskState.blocked]);
    expect(world.run(event(world, 5, false))).toBe(0);
    gate.complete();
    world.scheduler.run();
    expect([leaver.state, comer.result instanceof Mirror]).toEqual([TaskState.done, true]);
  });
});

describe("a mirror", () => {
  it("needs a callback", () => {
    const world = testWorld();
    expect(world.run(Mirror.register(world.space, { ops: {} as MirrorOps }))).toBe(-EINVAL);
    expect(world.space.notifiers.listCount).toBe(0);
  });

  it("takes mmapLock for writing itself, so nobody has it when it is registered", () => {
    const world = testWorld();
    const ops = { syncCpuDevicePagetables: agree };
    function* holder(): Sleeps<void> {
      using _mmap = yield* world.space.mmapLock.acquireRead();
      yield* steps(5);
      expect(register.state).toBe(TaskState.blocked);
    }
    function* holdsIt(): Sleeps<unknown> {
      using _mmap = yield* world.space.mmapLock.acquireRead();
      return yield* Mirror.register(world.space, { ops });
    }
    world.scheduler.spawn("holder", holder());
    const register = world.scheduler.spawn("register", Mirror.register(world.space, { ops }));
    world.scheduler.run();
    expect(register.result).toBeInstanceOf(Mirror);
    expect(() => world.run(holdsIt())).toThrow(/lock order/);
  });

  it("knows its space after the end of that, and can still be unregistered", () => {
    const world = testWorld();
    world.map(0, 1);
    const mirror = mirrorThat(world, agree);
    world.run(mmput(world.space));
    expect([mirror.space === world.space, mirror.isRegistered]).toEqual([true, true]);
    expect(mirror.range(rangeAt(0, 1))).toBe(-EFAULT);
    const left = world.space.notifiers.intervalCount;
    world.run(mirror.unregister());
    expect(world.space.notifiers.intervalCount).toBe(left - 1);
  });

  it("needs no release, and one that has it is called once", () => {
    const world = testWorld();
    let releases = 0;
    mirrorThat(world, agree);
    mirrorThat(world, agree, {
      *release() {
        releases++;
      },
    });
    world.run(mmput(world.space));
    expect(releases).toBe(1);
  });
});
