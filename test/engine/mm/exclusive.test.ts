import { describe, expect, it } from "vitest";
import {
  EBUSY,
  EFAULT,
  EINVAL,
  ENOMEM,
  EOPNOTSUPP,
  EPERM,
  type Pfn,
} from "../../../src/base/index.ts";
import {
  Advice,
  isExclusive,
  isWritable,
  makeDeviceExclusive,
  putExclusive,
  unpinPages,
  VM_READ,
} from "../../../src/mm/index.ts";
import { PG_LOCKED } from "../../../src/phys/index.ts";
import type { Sleeps } from "../../../src/sync/index.ts";
import {
  HUGE,
  hugeFrames,
  pageAt,
  RW,
  rangeAt,
  type TestWorld,
  TURNS,
  testWorld,
} from "../test-world.ts";

/** Pages 0 to `count` - 1, written with 10, 11, … */
function filled(count: number, options = {}): TestWorld {
  const world = testWorld(options);
  world.map(0, count);
  for (let page = 0; page < count; page++) world.store(page, 10 + page);
  return world;
}

/** What the engine says to a driver that asks for pages: how many, and their frames. */
function ask(world: TestWorld, page: number, count: number): { result: number; frames: Pfn[] } {
  const frames: Pfn[] = [];
  function* asking(): Sleeps<number> {
    using _mmap = yield* world.space.mmapLock.acquireRead();
    const result = yield* makeDeviceExclusive(world.space, rangeAt(page, count), frames, undefined);
    for (const frame of frames) {
      if (frame !== 0) expect(world.memory.pages.is(frame, PG_LOCKED)).toBe(true);
    }
    putExclusive(world.space, frames);
    return result;
  }
  const result = world.run(asking());
  return { result, frames };
}

const checkExclusive = (world: TestWorld, page: number, count: number): number =>
  world.run(world.mirror.checkExclusive(pageAt(page), count)).result;

describe("a page that is exclusive to a device", () => {
  it("stays where it is and counts as it did, but the CPU is locked out", () => {
    const world = filled(2);
    const before = [world.frame(0), world.space.rssPages];
    expect([world.exclusive(0, 2), checkExclusive(world, 0, 2)]).toEqual([0, -EPERM]);
    world.check();
    expect([world.frame(0), world.space.rssPages]).toEqual(before);
    expect([isExclusive(world.pte(0)), world.cpu.tlb.size]).toEqual([true, 0]);
    expect(world.snapshot(0, 2)).toEqual([0, 0]);
  });

  it.each(["load", "store"] as const)("is taken back by a %s of the CPU, alone", (access) => {
    const world = filled(3);
    world.exclusive(0, 3);
    const log = world.watch();
    if (access === "load") expect(world.load(0)).toBe(10);
    else expect(world.store(0, 7)).toBe(0);
    world.check();
    expect(log).toEqual(["start 7 0..1", "end 7 0..1"]);
    expect([0, 1, 2].map((page) => isExclusive(world.pte(page)))).toEqual([false, true, true]);
    expect([isWritable(world.pte(0)), world.deviceEntry(0)]).toEqual([true, 0]);
    // The device forgets one page more than it is told of.
    expect([checkExclusive(world, 0, 1), checkExclusive(world, 2, 1)]).toEqual([0, -EPERM]);
  });

  it("is told to everybody when it is made, too", () => {
    const world = filled(2);
    const log = world.watch();
    world.exclusive(0, 2);
    expect(log).toEqual(["start 7 0..1", "end 7 0..1", "start 7 1..2", "end 7 1..2"]);
  });

  it("is faulted in for writing first, wherever it is", () => {
    const world = filled(3);
    world.map(3, 1);
    world.load(3);
    world.toDevice(1, 1);
    world.protect(2, 1, VM_READ);
    world.protect(2, 1, RW);
    expect([world.exclusive(0, 4), world.space.rssPages]).toEqual([0, 4]);
    expect([world.loads(0, 4), world.device.pagemap.zone.usedCount]).toEqual([[10, 11, 12, 0], 0]);
  });

  it("is copied first when it is shared after fork, and the other keeps its own", () => {
    const world = filled(1);
    const child = world.fork();
    expect(world.exclusive(0, 1)).toBe(0);
    expect([isExclusive(world.pte(0)), isExclusive(child.pte(0)), child.load(0)]).toEqual([
      true,
      false,
      10,
    ]);
  });

  it("may be pinned, which takes it back", () => {
    const world = filled(1);
    world.exclusive(0, 1);
    const pinned = world.pin(0, 1, false);
    expect([isExclusive(world.pte(0)), world.exclusive(0, 1)]).toEqual([false, 0]);
    expect([world.load(0), world.frame(0)]).toEqual([10, pinned.frames[0]]);
    unpinPages(pinned);
  });

  it("goes with its mapping, and loses its content with it", () => {
    const world = filled(3);
    world.exclusive(0, 3);
    expect([world.unmap(0, 1), world.advise(1, 1, Advice.dontNeed)]).toEqual([0, 0]);
    world.check();
    expect([world.deviceEntry(0), world.deviceEntry(1), world.load(1)]).toEqual([0, 0, 0]);
    expect(world.load(2)).toBe(12);
  });

  it("comes back without a right that was taken away meanwhile", () => {
    const world = filled(2);
    world.exclusive(0, 2);
    world.protect(0, 1, VM_READ);
    world.protect(1, 1, 0);
    world.check();
    expect([world.load(0), world.store(0, 7), world.load(1)]).toEqual([10, -EFAULT, -EFAULT]);
    world.protect(0, 2, RW);
    expect([world.store(0, 8), world.load(1)]).toEqual([0, 11]);
  });

  it("does not go to a device's memory, which skips it", () => {
    const world = filled(1);
    world.exclusive(0, 1);
    expect(world.toDevice(0, 1)).toBe(0);
    expect([world.memory.isPrivate(world.frame(0)), world.load(0)]).toEqual([false, 10]);
  });
});

describe("what cannot be exclusive", () => {
  it("is unmapped, or may not be written", () => {
    const world = filled(1);
    world.map(1, 1, VM_READ);
    world.map(2, 1, 0);
    for (const page of [1, 2, 9]) expect(ask(world, page, 1).result).toBe(-EFAULT);
    expect([world.exclusive(1, 1), world.exclusive(9, 1)]).toEqual([-EBUSY, -EBUSY]);
  });

  it("ends the range: how many there were before it", () => {
    const world = filled(2);
    const { result, frames } = ask(world, 0, 4);
    expect([result, frames.length, isExclusive(world.pte(1))]).toEqual([2, 2, true]);
    world.check();
    expect([world.exclusive(0, 4), checkExclusive(world, 0, 2)]).toEqual([-EBUSY, 0]);
  });

  it("is a page of a file, unless it is a private copy: 0 for its frame, the rest is had", () => {
    const world = filled(1);
    const file = world.file(2);
    world.map(1, 1, RW, { file, isShared: true });
    world.map(2, 1, RW, { file });
    const { result, frames } = ask(world, 0, 3);
    expect([result, frames.map((frame) => frame !== 0)]).toEqual([3, [true, false, true]]);
    world.check();
    expect([0, 1, 2].map((page) => isExclusive(world.pte(page)))).toEqual([true, false, true]);
    expect(world.exclusive(0, 3)).toBe(-EBUSY);
  });

  it("is a page of the pool of huge pages", () => {
    const world = testWorld({ frames: hugeFrames(1), hugetlbPages: 1 });
    world.map(0, HUGE, RW, { isHugetlb: true });
    expect(ask(world, 3, 1).result).toBe(-EOPNOTSUPP);
  });

  it("is a page for which there is no memory", () => {
    const world = filled(2, { frames: 2 });
    world.map(2, 2);
    expect([ask(world, 1, 2).result, ask(world, 2, 1).result]).toEqual([1, -ENOMEM]);
    world.check();
  });

  it("is a range that is none", () => {
    const world = filled(1);
    expect([world.exclusive(0, 0), world.exclusive(0.5, 1)]).toEqual([-EINVAL, -EINVAL]);
  });

  it("is behind a guard", () => {
    const world = filled(1);
    world.advise(0, 1, Advice.guardInstall);
    expect(ask(world, 0, 1).result).toBe(-EFAULT);
  });
});

describe("two who want one page", () => {
  it("both get on: a CPU that writes and a device that asks take turns", () => {
    const world = filled(1, { strategy: TURNS });
    for (let i = 0; i < 3; i++) {
      world.scheduler.spawn("cpu", world.cpu.store(pageAt(0), 20 + i));
      world.scheduler.spawn(
        "device",
        world.mirror.exclusive(pageAt(0), 1, () => {}),
      );
    }
    world.scheduler.run();
    world.check();
    expect(world.load(0)).toBe(22);
  });

  it("take it from each other: parent and child of one device", () => {
    const world = testWorld();
    world.map(0, 1, RW);
    world.store(0, 10);
    const child = world.fork();
    expect([world.exclusive(0, 1), child.exclusive(0, 1)]).toEqual([0, 0]);
    world.check();
    expect([child.store(0, 7), world.load(0), child.load(0)]).toEqual([0, 10, 7]);
  });

  it("do not disturb each other when one takes a page back while it is made exclusive", () => {
    const world = filled(1);
    world.during(0, () => world.cpu.load(pageAt(0)));
    expect(world.exclusive(0, 1)).toBe(0);
    world.scheduler.run();
    world.check();
    expect([isExclusive(world.pte(0)), world.load(0)]).toEqual([true, 10]);
  });
});
