import { describe, expect, it } from "vitest";
import {
  EBUSY,
  EFAULT,
  EINVAL,
  EIO,
  ENOENT,
  ENOMEM,
  EOPNOTSUPP,
  PAGE_SIZE,
  type Result,
} from "../../../src/base/index.ts";
import { isWritable, munmap, SwapArea, VM_READ } from "../../../src/mm/index.ts";
import { migrateRange } from "../../../src/svm/index.ts";
import { type Sleeps, YIELD } from "../../../src/sync/index.ts";
import { pageAt, RW, type TestWorld, TURNS, testWorld } from "../test-world.ts";
import { inProcess, SvmDevice, SvmMirror, SvmTest, svmTest } from "./svm-device.ts";

/** Pages 0 to 3, written with 10 to 13, in one range. */
function fourPages(options = {}, frames = 16) {
  const world = testWorld(options);
  const test = svmTest(world, frames);
  world.map(0, 4);
  for (let page = 0; page < 4; page++) world.store(page, 10 + page);
  return { world, test, range: test.range(0) };
}

const places = (test: SvmTest, count = 4): string =>
  Array.from({ length: count }, (_, page) => (test.isAway(page) ? "d" : "r")).join("");

const evict = (test: SvmTest): number => test.run(test.device.memory.evictAll());

describe("migrating a range to the device", () => {
  it("moves all of its pages, also those that were never touched", () => {
    const world = testWorld();
    const test = svmTest(world);
    world.map(0, 4);
    world.store(1, 11);
    world.load(2);
    const range = test.range(0);
    expect([test.migrate(range), places(test), test.device.framesUsed]).toEqual([0, "dddd", 4]);
    expect([test.migrate(range), test.device.memory.allocations.length]).toEqual([0, 1]);
    expect([0, 1, 2, 3].map((page) => test.load(page))).toEqual([0, 11, 0, 0]);
    expect(world.loads(0, 4)).toEqual([0, 11, 0, 0]);
  });

  it("drops what the device had of it: it maps them where they are now", () => {
    const { test, range } = fourPages();
    expect([test.store(1, 50), range.isBound]).toEqual([0, true]);
    expect([test.migrate(range), range.isBound, range.pagesValid]).toEqual([0, false, false]);
    expect(test.mirror.log).toEqual(["+0..4", "-0..4"]);
    expect(test.load(1)).toBe(50);
  });

  it("needs a device with memory, a space and a Vma: -EOPNOTSUPP, -EFAULT, -ENOENT", () => {
    const { world, test, range } = fourPages();
    const bare = svmTest(world, 1, { deviceMemory: undefined as never });
    expect(bare.migrate(range)).toBe(-EOPNOTSUPP);
    world.unmap(0, 4);
    expect(test.migrate(range)).toBe(-ENOENT);
    world.leave();
    expect(test.migrate(range)).toBe(-EFAULT);
  });

  it("needs one Vma of private memory: -EINVAL, -EBUSY", () => {
    const { world, test, range } = fourPages();
    world.protect(2, 2, VM_READ);
    expect(test.migrate(range)).toBe(-EINVAL);
    world.map(4, 4, RW, { file: world.file(4) });
    world.map(8, 4, RW, { isShared: true });
    expect([test.migrate(test.range(4)), test.migrate(test.range(8))]).toEqual([-EBUSY, -EBUSY]);
    expect(test.device.framesUsed).toBe(0);
  });

  it("takes all or nothing: not with a page that somebody holds, or that is away: -EBUSY", () => {
    const { world, test, range } = fourPages();
    const pinned = world.pin(2, 1, false);
    expect([test.migrate(range), places(test)]).toEqual([-EBUSY, "rrrr"]);
    world.memory.pages.unpin(pinned.frames[0]!, false);
    expect(world.toDevice(3, 1)).toBe(0);
    expect([test.migrate(range), places(test)]).toEqual([-EBUSY, "rrrd"]);
    expect([test.device.framesUsed, world.loads(0, 4)]).toEqual([0, [10, 11, 12, 13]]);
    // It was known before a byte was copied.
    expect([world.count("svm:undo"), test.device.released]).toEqual([0, []]);
  });

  it("leaves everything as it was when the copy fails", () => {
    const { world, test, range } = fourPages();
    test.device.isBroken = true;
    expect([test.migrate(range), places(test), test.device.framesUsed]).toEqual([-EIO, "rrrr", 0]);
    expect([world.loads(0, 4), isWritable(world.pte(0))]).toEqual([[10, 11, 12, 13], true]);
    expect(test.device.released.length).toBe(1);
  });

  it("is undone when a page appears in between: -EBUSY", () => {
    const world = testWorld({ strategy: TURNS });
    const test = svmTest(world);
    world.map(0, 4);
    world.store(0, 10);
    const range = test.range(0);
    let isOver = false;
    world.scheduler.spawn("cpu", touchSoon());
    function* touchSoon(): Sleeps<void> {
      // Page 2 was never touched, so nothing keeps the CPU from doing so while page 0 is copied.
      while (test.device.framesUsed === 0) yield YIELD;
      yield* world.cpu.store(pageAt(2), 99);
      isOver = true;
    }
    expect([test.migrate(range), isOver, places(test)]).toEqual([-EBUSY, true, "rrrr"]);
    expect([world.count("svm:undo"), test.device.framesUsed]).toEqual([1, 0]);
    expect(world.loads(0, 4)).toEqual([10, 0, 99, 0]);
  });

  it("is not possible when the device is full: -ENOMEM", () => {
    const { test, range } = fourPages({}, 3);
    expect([test.migrate(range), places(test)]).toEqual([-ENOMEM, "rrrr"]);
  });

  it("makes room by evicting what has had its timeslice, oldest first", () => {
    const { world, test, range } = fourPages({}, 8);
    world.map(4, 8);
    expect(test.migrate(range, { timesliceMs: 20 })).toBe(0);
    expect(test.migrate(test.range(4))).toBe(0);
    expect(test.migrate(test.range(8))).toBe(0);
    expect(places(test, 12)).toBe("ddddrrrrdddd");
    expect(test.migrate(test.range(4), { timesliceMs: 50 })).toBe(0);
    expect(test.migrate(test.range(8))).toBe(-ENOMEM);
    test.pass(30);
    expect(test.migrate(test.range(8))).toBe(0);
    expect(places(test, 12)).toBe("rrrrdddddddd");
    expect(world.loads(0, 4)).toEqual([10, 11, 12, 13]);
  });
});

describe("an allocation", () => {
  it("lives until its last page is free", () => {
    const { world, test, range } = fourPages();
    expect(test.migrate(range)).toBe(0);
    const [allocation] = test.device.memory.allocations;
    world.unmap(0, 1);
    expect([allocation!.frames.size, test.device.released]).toEqual([3, []]);
    world.unmap(1, 3);
    expect([test.device.released, test.device.memory.allocations]).toEqual([[allocation], []]);
    test.fault(0);
  });

  it("is the same for all spaces that share its pages", () => {
    const { world, test, range } = fourPages();
    expect(test.migrate(range)).toBe(0);
    const child = world.fork();
    const other = inProcess(test, child);
    expect(other.load(1)).toBe(11);
    world.unmap(0, 4);
    expect([test.device.framesUsed, other.load(2), other.store(3, 33)]).toEqual([4, 12, 0]);
    child.run(other.svm.close());
    expect(child.loads(0, 4)).toEqual([10, 11, 12, 33]);
    expect(test.device.framesUsed).toBe(0);
  });

  it("comes home by frame, wherever its pages are mapped by now", () => {
    const { world, test, range } = fourPages();
    expect([test.migrate(range, { timesliceMs: 1000 }), world.move(0, 4, 20)]).toEqual([0, 20]);
    const child = world.fork();
    world.unmap(21, 1);
    expect([evict(test), test.device.framesUsed, world.scheduler.nowMs]).toEqual([0, 0, 0]);
    expect([world.load(20), child.loads(20, 4)]).toEqual([10, [10, 11, 12, 13]]);
  });

  it("is tried three times while somebody holds its pages: -EBUSY", () => {
    const { world, test, range } = fourPages();
    expect(test.migrate(range)).toBe(0);
    const { pages } = world.memory;
    const frame = world.frame(1);
    pages.get(frame);
    expect([evict(test), places(test), world.count("devmem:skip")]).toEqual([-EBUSY, "rdrr", 3]);
    pages.put(frame);
    expect([evict(test), places(test)]).toEqual([0, "rrrr"]);
    expect(world.loads(0, 4)).toEqual([10, 11, 12, 13]);
  });

  it("is waited for while its pages move", () => {
    const { world, test, range } = fourPages({ strategy: TURNS });
    expect(test.migrate(range)).toBe(0);
    test.device.copyTurns = 50;
    const frame = world.frame(0);
    const load = world.scheduler.spawn("cpu", world.cpu.load(pageAt(0)));
    function* evictLate(): Sleeps<Result> {
      while (!world.memory.pages.isLocked(frame)) yield YIELD;
      return yield* test.device.memory.evictAll();
    }
    expect([test.run(evictLate()), places(test), load.result]).toEqual([0, "rrrr", { value: 10 }]);
  });

  it("stays when there is no RAM: -ENOMEM; comes home when there is room to be made", () => {
    for (const [swap, result] of [
      [undefined, -ENOMEM],
      [new SwapArea(16), 0],
    ] as const) {
      const { world, test, range } = fourPages({ frames: 8, ...(swap ? { swap } : {}) });
      expect(test.migrate(range)).toBe(0);
      world.map(8, 8);
      for (let page = 8; page < 16; page++) world.store(page, page);
      expect(evict(test)).toBe(result);
      world.unmap(8, 8);
      expect(world.loads(0, 4)).toEqual([10, 11, 12, 13]);
    }
  });

  it("stays when a copy fails", () => {
    const { world, test, range } = fourPages();
    expect(test.migrate(range)).toBe(0);
    test.device.isBroken = true;
    expect([evict(test), places(test)]).toEqual([-EIO, "dddd"]);
    test.device.isBroken = false;
    expect([world.load(0), test.device.framesUsed]).toEqual([10, 0]);
  });

  it("lets its device memory go when it is gone", () => {
    const { world, test, range } = fourPages();
    expect(test.migrate(range)).toBe(0);
    expect(() => test.device.memory.remove()).toThrow("still has 4 frames");
    expect(evict(test)).toBe(0);
    const zones = world.memory.pages.zones.length;
    test.device.memory.remove();
    expect(world.memory.pages.zones.length).toBe(zones - 1);
  });
});

describe("a CPU that touches a page of the device", () => {
  it("brings its neighbours home with it, if there is RAM for all", () => {
    const { world, test, range } = fourPages({ frames: 8 });
    expect(test.migrate(range)).toBe(0);
    expect([world.load(1), places(test)]).toEqual([11, "rrrr"]);
    expect(test.migrate(range)).toBe(0);
    world.map(8, 5);
    for (let page = 8; page < 13; page++) world.store(page, page);
    expect([world.load(1), places(test)]).toEqual([11, "drdd"]);
  });

  it("leaves neighbours that are in another device's memory to that device", () => {
    const owner = {};
    const world = testWorld({ frames: 12 });
    const [first, second] = [
      new SvmDevice(world.memory, 4, owner),
      new SvmDevice(world.memory, 1, owner),
    ];
    const one = new SvmTest(world, world, new SvmMirror(world.space, first));
    const two = new SvmTest(
      world,
      world,
      new SvmMirror(world.space, second, { chunkSizes: [PAGE_SIZE] }),
    );
    world.map(0, 4);
    for (let page = 0; page < 4; page++) world.store(page, 10 + page);
    expect(one.migrate(one.range(0))).toBe(0);
    world.map(8, 9);
    for (let page = 8; page < 17; page++) world.store(page, page);
    expect([world.load(1), two.migrate(two.range(1))]).toEqual([11, 0]);
    world.unmap(8, 9);
    expect([world.load(0), places(one), second.framesUsed]).toEqual([10, "rdrr", 1]);
    expect(world.loads(0, 4)).toEqual([10, 11, 12, 13]);
  });

  it("brings only what is in its Vma", () => {
    const { world, test, range } = fourPages();
    expect(test.migrate(range)).toBe(0);
    world.protect(0, 2, VM_READ);
    expect([world.load(2), places(test)]).toEqual([12, "ddrr"]);
    expect([world.load(1), isWritable(world.pte(1))]).toEqual([11, false]);
  });

  it("gets SIGBUS when the copy fails, and -ENOMEM without RAM", () => {
    const { world, test, range } = fourPages({ frames: 4 });
    expect(test.migrate(range)).toBe(0);
    test.device.isBroken = true;
    expect(world.load(1)).toBe(-EIO);
    test.device.isBroken = false;
    world.map(8, 4);
    for (let page = 8; page < 12; page++) world.store(page, page);
    expect(world.load(1)).toBe(-ENOMEM);
    world.unmap(8, 1);
    expect([world.load(1), places(test)]).toEqual([11, "drdd"]);
  });
});

describe("a timeslice", () => {
  function away(options = {}, timesliceMs = 100): { world: TestWorld; test: SvmTest } {
    const { world, test, range } = fourPages(options);
    expect(test.migrate(range, { timesliceMs })).toBe(0);
    return { world, test };
  }

  it("keeps CPUs waiting until it is over, without burning time", () => {
    const { world, test } = away();
    const faults = world.count("mm:fault");
    expect([world.load(1), world.scheduler.nowMs, places(test)]).toEqual([11, 100, "rrrr"]);
    expect([world.count("device:timeslice"), world.count("mm:fault") - faults]).toEqual([1, 2]);
  });

  it("is not longer for those who come later, or at once when it is over", () => {
    const { world, test } = away();
    test.pass(60);
    expect([world.store(1, 5), world.scheduler.nowMs]).toEqual([0, 100]);
    expect(test.migrate(test.range(0), { timesliceMs: 100 })).toBe(0);
    test.pass(100);
    expect([world.load(1), world.scheduler.nowMs]).toEqual([5, 200]);
  });

  it("leaves the pages to the device", () => {
    const { world, test } = away();
    const load = world.scheduler.spawn("cpu", world.cpu.load(pageAt(1)));
    let seen = 0;
    test.run(
      (function* () {
        yield YIELD;
        yield* test.mirror.access(pageAt(1), (bytes) => bytes.fill(7, 0, 1), { write: true });
        seen = world.scheduler.nowMs;
      })(),
    );
    expect([seen, load.result]).toEqual([0, { value: 7 }]);
  });

  it("holds nothing meanwhile: others change the mapping, and evict the page", () => {
    const { world, test } = away();
    const load = world.scheduler.spawn("cpu", world.cpu.load(pageAt(1)));
    const times: number[] = [];
    const { scheduler } = world;
    test.run(
      (function* () {
        yield YIELD;
        const [allocation] = test.device.memory.allocations;
        expect(yield* test.device.memory.evict(allocation!)).toBe(0);
        times.push(scheduler.nowMs);
        using _mmap = yield* world.space.mmapLock.acquireWrite();
        times.push(scheduler.nowMs);
      })(),
    );
    expect([times, load.result, places(test)]).toEqual([[0, 0], { value: 11 }, "rrrr"]);
  });

  it("is waited for once an access, also when the device has the page again by then", () => {
    const { world, test } = away();
    const load = world.scheduler.spawn("cpu", world.cpu.load(pageAt(1)));
    let over = -1;
    load.onSettled = () => {
      over = world.scheduler.nowMs;
    };
    const { svm } = test;
    test.run(
      (function* () {
        yield YIELD;
        const [allocation] = test.device.memory.allocations;
        yield* test.device.memory.evict(allocation!);
        using _svm = yield* svm.lock.acquire();
        const range = svm.ranges.find(pageAt(0))!;
        expect(yield* migrateRange(svm, range, { timesliceMs: 5000 })).toBe(0);
      })(),
    );
    expect([over, load.result]).toEqual([100, { value: 11 }]);
  });

  it("is for CPUs only: a pin does not wait", () => {
    const { world } = away();
    const pinned = world.pin(1, 1, false);
    expect(world.scheduler.nowMs).toBe(0);
    world.memory.pages.unpin(pinned.frames[0]!, false);
  });

  it("is no promise that the memory is there at its end", () => {
    const { world, test } = away();
    const load = world.scheduler.spawn("cpu", world.cpu.load(pageAt(1)));
    let unmapped = -1;
    test.run(
      (function* (): Sleeps<void> {
        yield YIELD;
        yield* munmap(world.space, pageAt(0), 4 * PAGE_SIZE);
        unmapped = world.scheduler.nowMs;
      })(),
    );
    expect([unmapped, load.result, test.device.framesUsed]).toEqual([0, -EFAULT, 0]);
  });

  it("does not begin for a migration that is undone, whether that works or not", () => {
    const world = testWorld({ strategy: TURNS });
    const test = svmTest(world);
    world.map(0, 4);
    const range = test.range(0);
    function* touchSoon(): Sleeps<void> {
      while (test.device.framesUsed === 0) yield YIELD;
      yield* world.cpu.store(pageAt(2), 99);
      while (world.count("svm:undo") === 0) yield YIELD;
      test.device.isBroken = true;
    }
    world.scheduler.spawn("cpu", touchSoon());
    expect([test.migrate(range, { timesliceMs: 1000 }), places(test)]).toEqual([-EBUSY, "ddrd"]);
    test.device.isBroken = false;
    expect([world.loads(0, 4), world.scheduler.nowMs]).toEqual([[0, 0, 99, 0], 0]);
  });
});
