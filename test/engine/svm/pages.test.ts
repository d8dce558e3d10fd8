import { describe, expect, it } from "vitest";
import {
  EAGAIN,
  EBUSY,
  EFAULT,
  ENOMEM,
  EOPNOTSUPP,
  EPERM,
  ETIME,
  PAGE_SIZE,
} from "../../../src/base/index.ts";
import { HMM_PFN_VALID, HMM_PFN_WRITE } from "../../../src/hmm/index.ts";
import { isPresent, isWritable, SwapArea, VM_READ } from "../../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR, MMU_NOTIFY_UNMAP } from "../../../src/notifier/index.ts";
import { getPages, scanRange, serviceFault } from "../../../src/svm/index.ts";
import { type Sleeps, YIELD } from "../../../src/sync/index.ts";
import { pageAt, RW, rangeAt, type TestWorld, TURNS, testWorld } from "../test-world.ts";
import { SvmDevice, SvmMirror, SvmTest, svmTest } from "./svm-device.ts";

/** Pages 0 to 3 are mapped, and the device has a range there. */
function fourPages(options = {}, svm = {}) {
  const world = testWorld(options);
  const test = svmTest(world, 16, svm);
  world.map(0, 4);
  return { world, test, range: test.range(0) };
}

/** An event on page `page` that stays open for `ms`. */
function* longEvent(world: TestWorld, page: number, ms: number): Sleeps<void> {
  const event = new Invalidation({ ...rangeAt(page, 1), event: MMU_NOTIFY_CLEAR });
  yield* world.space.notifiers.start(event);
  yield* world.memory.pages.waitForChange(world.scheduler.nowMs + ms);
  world.space.notifiers.end(event);
}

/** Events on page 0 for ever, or nearly. */
function* storm(world: TestWorld, count: number): Sleeps<void> {
  for (let i = 0; i < count; i++) {
    const event = new Invalidation({ ...rangeAt(0, 1), event: MMU_NOTIFY_CLEAR });
    yield* world.space.notifiers.start(event);
    world.space.notifiers.end(event);
    yield YIELD;
  }
}

describe("getting the pages of a range", () => {
  it("faults in what is missing and makes the range valid, with HMM's words", () => {
    const { world, test, range } = fourPages();
    world.store(1, 7);
    expect([range.pagesValid, test.pages(range)]).toEqual([false, 0]);
    expect(range.pagesValid).toBe(true);
    const rights = [...range.words].map((word) => word & (HMM_PFN_VALID | HMM_PFN_WRITE));
    expect(rights).toEqual([3, 3, 3, 3]);
    expect(range.words[1]! >>> 8).toBe(world.frame(1));
  });

  it("for reading needs no right to write, and allocates nothing", () => {
    const { world, test, range } = fourPages();
    expect(test.pages(range, { readOnly: true })).toBe(0);
    expect([...range.words].map((word) => word & HMM_PFN_WRITE)).toEqual([0, 0, 0, 0]);
    expect(world.memory.group.chargedPages).toBe(0);
  });

  it("is undone by an event that touches the range, and by no other", () => {
    const { world, test, range } = fourPages();
    world.map(4, 4);
    const other = test.range(4);
    expect([test.pages(range), test.pages(other)]).toEqual([0, 0]);
    world.protect(4, 1, VM_READ);
    expect([range.pagesValid, other.pagesValid]).toEqual([true, false]);
    expect(test.pages(other, { readOnly: true })).toBe(0);
    expect(other.pagesValid).toBe(true);
  });

  it("starts over when an event comes in between", () => {
    const { world, test, range } = fourPages({ strategy: TURNS });
    world.store(0, 1);
    world.fork();
    const retries = world.count("hmm:retry");
    // Copy on write is an event on the range that the fault itself asks for.
    expect(test.pages(range)).toBe(0);
    expect(world.count("hmm:retry")).toBeGreaterThan(retries);
    expect(isWritable(world.pte(0))).toBe(true);
  });

  it("does not start over for events elsewhere in the interval", () => {
    const { world, test, range } = fourPages({ strategy: TURNS });
    world.map(8, 1);
    let isOver = false;
    world.scheduler.spawn("storm", elsewhere());
    function* elsewhere(): Sleeps<void> {
      while (!isOver) {
        const event = new Invalidation({ ...rangeAt(8, 1), event: MMU_NOTIFY_CLEAR });
        yield* world.space.notifiers.start(event);
        yield YIELD;
        world.space.notifiers.end(event);
      }
    }
    const result = test.run(
      (function* () {
        using _svm = yield* test.svm.lock.acquire();
        const got = yield* getPages(test.svm, range);
        isOver = true;
        return got;
      })(),
    );
    expect([result, world.count("hmm:retry"), world.count("notifier:collide")]).toEqual([0, 0, 0]);
  });

  it("gives up after its time: -EBUSY", () => {
    const { world, test, range } = fourPages();
    world.scheduler.spawn("event", longEvent(world, 2, 5000));
    const start = world.scheduler.nowMs;
    let over = 0;
    const result = test.locked(function* () {
      const got = yield* getPages(test.svm, range, { timeoutMs: 200 });
      over = world.scheduler.nowMs;
      return got;
    });
    expect([result, over - start, range.pagesValid]).toEqual([-EBUSY, 200, false]);
    expect(test.pages(range, { timeoutMs: 0 })).toBe(-EBUSY);
  });

  it("gives up when event follows event: -EAGAIN", () => {
    const { world, test, range } = fourPages({ strategy: TURNS });
    world.scheduler.spawn("storm", storm(world, 2000));
    expect(test.pages(range)).toBe(-EAGAIN);
    expect([world.scheduler.nowMs, range.pagesValid]).toEqual([0, false]);
    expect(test.pages(range)).toBe(0);
  });

  it("finds nothing where nothing is mapped any more: -EFAULT", () => {
    const { world, test, range } = fourPages();
    world.unmap(3, 1);
    expect([range.isUnmapped, test.pages(range)]).toEqual([true, -EFAULT]);
  });

  it("notices that the range is unmapped while it looks: -EFAULT", () => {
    const { world, test, range } = fourPages({ strategy: TURNS });
    // The same memory again: only the mark tells that it is another.
    world.scheduler.spawn("unmap", unmapAndMap());
    function* unmapAndMap(): Sleeps<void> {
      const event = new Invalidation({ ...rangeAt(0, 4), event: MMU_NOTIFY_UNMAP });
      yield* world.space.notifiers.start(event);
      world.space.notifiers.end(event);
    }
    expect([test.pages(range), range.pagesValid]).toEqual([-EFAULT, false]);
  });

  it("needs the rights of every page: -EPERM, -EFAULT", () => {
    const { world, test, range } = fourPages();
    world.protect(2, 1, VM_READ);
    expect([test.pages(range), test.pages(range, { readOnly: true })]).toEqual([-EPERM, 0]);
    world.protect(2, 1, 0);
    expect(test.pages(range, { readOnly: true })).toBe(-EFAULT);
  });

  it("needs RAM: -ENOMEM", () => {
    const { test, range } = fourPages({ limitPages: 3 });
    expect(test.pages(range)).toBe(-ENOMEM);
  });

  it("needs a space: -EFAULT", () => {
    const { world, test, range } = fourPages();
    world.leave();
    expect([test.pages(range), test.evict(range)]).toEqual([-EFAULT, -EFAULT]);
  });

  it("refuses a mixture of the device's memory and other memory, unless asked: -EOPNOTSUPP", () => {
    const { world, test } = fourPages();
    const small = test.svm;
    expect(test.migrate(test.range(0))).toBe(0);
    expect(world.load(0)).toBe(0);
    // The CPU took all four home; pages 1 and 2 go again.
    test.locked(() => small.ranges.remove(test.svm.ranges.find(pageAt(0))!));
    for (const page of [1, 2]) {
      expect(test.migrate(test.range(page, { bytesMax: PAGE_SIZE }))).toBe(0);
      test.locked(() => small.ranges.remove(test.svm.ranges.find(pageAt(page))!));
    }
    world.store(3, 3);
    world.store(0, 1);
    const range = test.range(0);
    expect(test.pages(range)).toBe(-EOPNOTSUPP);
    expect([test.pages(range, { allowMixed: true }), range.pagesValid]).toEqual([0, true]);
    expect([0, 1, 2, 3].map((page) => test.isAway(page))).toEqual([false, true, true, false]);
    expect(test.pages(range, { allowMixed: true, devmemOnly: true })).toBe(-EFAULT);
  });

  it("refuses all other memory if asked: -EFAULT", () => {
    const { test, range } = fourPages();
    expect(test.pages(range, { devmemOnly: true })).toBe(-EFAULT);
    expect([test.migrate(range), test.pages(range, { devmemOnly: true })]).toEqual([0, 0]);
  });

  it("takes a page of its own home that it may not write in place", () => {
    const { world, test, range } = fourPages();
    for (const page of [0, 1, 2, 3]) world.store(page, 10 + page);
    expect(test.migrate(range, { timesliceMs: 500 })).toBe(0);
    const child = world.fork();
    const start = world.scheduler.nowMs;
    expect(test.pages(range)).toBe(0);
    // Its own timeslice is no reason to wait.
    expect([world.scheduler.nowMs - start, test.isAway(0)]).toEqual([0, false]);
    expect(child.loads(0, 4)).toEqual([10, 11, 12, 13]);
  });
});

describe("bringing a range home", () => {
  it("is for all its pages, whatever they hold, and whatever their timeslice", () => {
    const { world, test, range } = fourPages();
    for (const page of [0, 2]) world.store(page, 20 + page);
    expect(test.migrate(range, { timesliceMs: 5000 })).toBe(0);
    expect([test.evict(range), test.device.framesUsed, world.scheduler.nowMs]).toEqual([0, 0, 0]);
    expect(world.loads(0, 4)).toEqual([20, 0, 22, 0]);
  });

  it("is for pages of other devices, too, and touches nothing else", () => {
    const { world, test, range } = fourPages();
    world.store(1, 5);
    expect(world.toDevice(1, 1)).toBe(0);
    expect(test.evict(range)).toBe(0);
    expect([0, 1, 2].map((page) => isPresent(world.pte(page)))).toEqual([false, true, false]);
    expect(world.load(1)).toBe(5);
  });

  it("leaves what the program may not read", () => {
    const { world, test, range } = fourPages();
    world.store(3, 9);
    expect(test.migrate(range)).toBe(0);
    world.protect(0, 2, 0);
    expect([test.evict(range), test.isAway(0), test.isAway(2)]).toEqual([0, true, false]);
    world.protect(0, 2, RW);
    expect(world.loads(0, 4)).toEqual([0, 0, 0, 9]);
  });

  it("gives up after its time: -ETIME", () => {
    const { world, test, range } = fourPages();
    expect(test.migrate(range)).toBe(0);
    world.scheduler.spawn("event", longEvent(world, 2, 5000));
    expect(test.evict(range, 100)).toBe(-ETIME);
    expect([test.isAway(0), test.evict(range), test.isAway(0)]).toEqual([true, 0, false]);
  });

  it("fails when the device cannot copy: -EFAULT, and the pages stay", () => {
    const { world, test, range } = fourPages();
    world.store(2, 8);
    expect(test.migrate(range)).toBe(0);
    test.device.isBroken = true;
    expect([test.evict(range), test.isAway(2)]).toEqual([-EFAULT, true]);
    test.device.isBroken = false;
    expect(world.load(2)).toBe(8);
  });

  it("fails without RAM: -ENOMEM; with somewhere to send pages it makes room", () => {
    for (const [swap, result] of [
      [undefined, -ENOMEM],
      [new SwapArea(16), 0],
    ] as const) {
      const { world, test, range } = fourPages({ frames: 8, ...(swap ? { swap } : {}) });
      for (let page = 0; page < 4; page++) world.store(page, page + 1);
      expect(test.migrate(range)).toBe(0);
      world.map(8, 8);
      for (let page = 8; page < 16; page++) world.store(page, page);
      expect(test.evict(range)).toBe(result);
      if (swap === undefined) world.unmap(8, 8);
      expect(world.loads(0, 4)).toEqual([1, 2, 3, 4]);
    }
  });
});

describe("a look at a range", () => {
  it("says where its pages are", () => {
    const { world, test, range } = fourPages();
    const look = (): string => scanRange(test.svm, range);
    expect(look()).toBe("unpopulated");
    world.loads(0, 4);
    expect(look()).toBe("system");
    expect([test.migrate(range), look()]).toEqual([0, "equal"]);
    expect(test.evict(range)).toBe(0);
    const one = new SvmMirror(world.space, test.device, { chunkSizes: [PAGE_SIZE] });
    const single = new SvmTest(world, world, one);
    expect([single.migrate(single.range(1)), look()]).toEqual([0, "mixed"]);
    expect(world.toDevice(2, 1)).toBe(0);
    expect(look()).toBe("unpopulated");
  });

  it("tells the devices of one owner apart", () => {
    const world = testWorld();
    const owner = {};
    const tests = [0, 1].map(() => {
      const device = new SvmDevice(world.memory, 8, owner);
      const sizes = { chunkSizes: [4 * PAGE_SIZE, PAGE_SIZE] };
      return new SvmTest(world, world, new SvmMirror(world.space, device, sizes));
    });
    const [first, second] = tests as [SvmTest, SvmTest];
    world.map(0, 4);
    const range = first.range(0);
    expect(first.migrate(range)).toBe(0);
    expect([scanRange(first.svm, range), scanRange(second.svm, range)]).toEqual(["equal", "other"]);
    expect(first.evict(range)).toBe(0);
    for (const page of [0, 1, 2, 3]) {
      const test = tests[page % 2]!;
      const chunk = new SvmMirror(world.space, test.device, { chunkSizes: [PAGE_SIZE] });
      const single = new SvmTest(world, world, chunk);
      expect(single.migrate(single.range(page))).toBe(0);
    }
    expect(scanRange(first.svm, range)).toBe("mixed device");
    expect(first.pages(range)).toBe(-EOPNOTSUPP);
    expect(first.pages(range, { allowMixed: true })).toBe(0);
    // Either brings home its own pages only, by its own means.
    expect([world.load(0), world.load(1)]).toEqual([0, 0]);
    expect(first.evict(range)).toBe(0);
    expect([first.device.framesUsed, second.device.framesUsed]).toEqual([0, 0]);
  });

  it("is for devices without memory, too", () => {
    const { world, test } = fourPages();
    const bare = new SvmMirror(world.space, test.device, { deviceMemory: undefined as never });
    expect(test.run(serviceFault(bare.svm, pageAt(0)))).toBe(0);
    expect(scanRange(bare.svm, rangeAt(0, 4))).toBe("system");
    expect(bare.svm.devPrivateOwner).toBeUndefined();
    test.run(bare.svm.close());
  });
});
