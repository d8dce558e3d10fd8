import { describe, expect, it } from "vitest";
import { EFAULT, EINVAL, EIO, ENOMEM, type Result, vpnOf } from "../../../src/base/index.ts";
import { isWritable, munmap, SwapArea, unpinPages, VM_READ } from "../../../src/mm/index.ts";
import { type Sleeps, YIELD } from "../../../src/sync/index.ts";
import { bytesOf, pageAt, type TestWorld, TURNS, testWorld } from "../test-world.ts";
import {
  type DeviceTest,
  deviceTest,
  inProcess,
  TestDevice,
  type TestDeviceOptions,
  TestMirror,
} from "./test-device.ts";

/** Pages 0 to 3, written with 10 to 13, on the device unless `isHome`. */
function fourPages(options = {}, device: TestDeviceOptions = {}, isHome = false) {
  const world = testWorld(options);
  const test = deviceTest(world, device);
  world.map(0, 4);
  for (let page = 0; page < 4; page++) world.store(page, 10 + page);
  if (!isHome) expect(test.moveIn(0, 4)).toBe(4);
  return { world, test };
}

/** Uses up RAM but for `left` frames, from page 32 of the test on. */
function fill(world: TestWorld, left = 0): void {
  const count = world.memory.ram.freeCount - left;
  world.map(32, count);
  for (let page = 0; page < count; page++) expect(world.store(32 + page, 1)).toBe(0);
}

describe("moving pages in", () => {
  it("takes also those that were never touched, with the program's rights", () => {
    const world = testWorld();
    const test = deviceTest(world);
    world.map(0, 4);
    world.store(1, 11);
    world.load(2);
    expect([test.moveIn(0, 4), test.places(), test.device.framesUsed]).toEqual([4, "dddd", 4]);
    expect([test.moveIn(0, 4), [0, 1, 2, 3].map((page) => test.load(page))]).toEqual([
      0,
      [0, 11, 0, 0],
    ]);
    world.map(8, 1, VM_READ);
    expect([test.moveIn(8, 1), test.load(8)]).toEqual([1, 0]);
    expect(test.shadow.allows(vpnOf(pageAt(8)), true)).toBe(false);
    expect(world.loads(0, 4)).toEqual([0, 11, 0, 0]);
  });

  it("leaves what somebody holds, what is away, and what finds no frame", () => {
    const { world, test } = fourPages({}, { frames: 2 }, true);
    const pinned = world.pin(0, 1, false);
    expect(world.toDevice(1, 1)).toBe(0);
    expect([test.moveIn(0, 4), test.places()]).toEqual([2, "rrdd"]);
    unpinPages(pinned);
    expect([test.moveIn(0, 1), test.places()]).toEqual([0, "rrdd"]);
    expect(world.loads(0, 4)).toEqual([10, 11, 12, 13]);
  });

  it("is for one Vma: -EINVAL", () => {
    const { world, test } = fourPages({}, {}, true);
    world.protect(2, 2, VM_READ);
    expect(test.moveIn(0, 4)).toBe(-EINVAL);
  });

  it("leaves everything as it was when the copy fails", () => {
    const { world, test } = fourPages({}, {}, true);
    test.device.isBroken = true;
    expect([test.moveIn(0, 4), test.places(), test.device.framesUsed]).toEqual([-EIO, "rrrr", 0]);
    expect([world.loads(0, 4), isWritable(world.pte(0))]).toEqual([[10, 11, 12, 13], true]);
  });

  it("gives nobody the right to write a page that a child shares, whoever had copies of it", () => {
    const { world, test } = fourPages({}, { reachesRam: false }, true);
    expect([test.load(1), test.load(2)]).toEqual([11, 12]);
    const child = world.fork();
    expect([test.moveIn(0, 4), isWritable(world.pte(1))]).toEqual([4, false]);
    expect([test.store(1, 50), child.load(1), world.load(1)]).toEqual([0, 11, 50]);
  });
});

describe("a page of the device", () => {
  it("is the same for all spaces that share it, and lives until its last mapping goes", () => {
    const { world, test } = fourPages();
    const child = world.fork();
    const other = inProcess(test, child);
    expect(other.load(1)).toBe(11);
    world.unmap(0, 4);
    expect([test.device.framesUsed, other.load(2), other.store(3, 33)]).toEqual([4, 12, 0]);
    expect(child.loads(0, 4)).toEqual([10, 11, 12, 33]);
    expect(test.device.framesUsed).toBe(0);
  });

  it("comes home to a space that the device does not see", () => {
    const { world, test } = fourPages();
    const child = world.fork();
    expect([child.loads(0, 4), test.load(0)]).toEqual([[10, 11, 12, 13], 10]);
  });

  it("comes home by frame, wherever it is mapped by now", () => {
    const { world, test } = fourPages();
    expect(world.move(0, 4, 20)).toBe(20);
    const child = world.fork();
    world.unmap(21, 1);
    expect([test.evictAll(), test.device.framesUsed]).toEqual([4, 0]);
    expect([world.load(20), child.loads(20, 4)]).toEqual([10, [10, 11, 12, 13]]);
  });

  it("is tried three times by an eviction while somebody holds it", () => {
    const { world, test } = fourPages();
    const { pages } = world.memory;
    const frame = world.frame(1);
    pages.get(frame);
    expect(world.run(test.device.memory.evictAll())).toBe(3);
    expect([test.places(), world.count("devmem:skip")]).toEqual(["rdrr", 3]);
    pages.put(frame);
    expect([test.evictAll(), test.places()]).toEqual([1, "rrrr"]);
    expect(world.loads(0, 4)).toEqual([10, 11, 12, 13]);
  });

  it("is waited for by an eviction while it moves", () => {
    const { world, test } = fourPages({ strategy: TURNS });
    test.device.copyTurns = 50;
    const frame = world.frame(0);
    const load = world.scheduler.spawn("cpu", world.cpu.load(pageAt(0)));
    function* evictLate(): Sleeps<Result> {
      while (!world.memory.pages.isLocked(frame)) yield YIELD;
      return yield* test.device.memory.evictAll();
    }
    expect(test.run(evictLate())).toBe(3);
    expect([test.places(), load.result]).toEqual(["rrrr", { value: 10 }]);
  });

  it("stays when there is no RAM, and comes home when there is room to be made", () => {
    for (const [swap, evicted] of [
      [undefined, 0],
      [new SwapArea(64), 4],
    ] as const) {
      const { world, test } = fourPages({ frames: 12, ...(swap ? { swap } : {}) });
      fill(world);
      expect(test.evictAll()).toBe(evicted);
      world.unmap(32, 12);
      expect(world.loads(0, 4)).toEqual([10, 11, 12, 13]);
    }
  });

  it("stays when a copy fails", () => {
    const { world, test } = fourPages();
    test.device.isBroken = true;
    expect([test.evictAll(), world.load(0), test.places()]).toEqual([-EIO, -EIO, "dddd"]);
    test.device.isBroken = false;
    expect([world.load(0), test.places()]).toEqual([10, "rddd"]);
  });
});

describe("a CPU that touches a page of the device", () => {
  it("brings it home alone, or with neighbours if there is RAM for all", () => {
    for (const [readsAhead, frames, places] of [
      [false, 64, "drdd"],
      [true, 64, "rrrr"],
      [true, 12, "drdd"],
    ] as const) {
      const { world, test } = fourPages({ frames }, { readsAhead });
      expect([world.load(1), test.places()]).toEqual([11, places]);
    }
  });

  it("brings four times as many when it goes on where the last one ended", () => {
    const world = testWorld({ frames: 256 });
    const test = deviceTest(world, { frames: 128, readsAhead: true });
    world.map(0, 128);
    expect(test.moveIn(0, 128)).toBe(128);
    world.load(0);
    expect(test.places(128)).toBe("r".repeat(16) + "d".repeat(112));
    world.load(16);
    expect(test.places(128)).toBe("r".repeat(80) + "d".repeat(48));
    world.load(100);
    expect(test.places(128)).toBe(
      `${"r".repeat(80)}${"d".repeat(16)}${"r".repeat(16)}${"d".repeat(16)}`,
    );
  });

  it("is -ENOMEM without RAM, and its neighbours stay", () => {
    for (const readsAhead of [false, true]) {
      const { world, test } = fourPages({ frames: 12 }, { readsAhead });
      fill(world);
      expect([world.load(1), world.store(2, 5), test.places()]).toEqual([-ENOMEM, -ENOMEM, "dddd"]);
      expect([test.load(1), test.load(2)]).toEqual([11, 12]);
      world.unmap(32, 1);
      expect([world.load(1), test.places()]).toEqual([11, "drdd"]);
    }
  });

  it("leaves neighbours in another device's memory to that device", () => {
    const owner = {};
    const world = testWorld({ frames: 64 });
    const one = deviceTest(world, { owner, readsAhead: true });
    const two = deviceTest(world, { owner, readsAhead: true });
    world.map(0, 4);
    for (let page = 0; page < 4; page++) world.store(page, 10 + page);
    expect([one.moveIn(0, 2), two.moveIn(2, 2)]).toEqual([2, 2]);
    expect([world.load(0), one.places(), two.places()]).toEqual([10, "rrrr", "rrdd"]);
    expect(world.loads(0, 4)).toEqual([10, 11, 12, 13]);
  });

  it("brings only what is in its Vma", () => {
    const { world, test } = fourPages({}, { readsAhead: true });
    world.protect(0, 2, VM_READ);
    expect([world.load(2), test.places()]).toEqual([12, "ddrr"]);
    expect([world.load(1), isWritable(world.pte(1))]).toEqual([11, false]);
  });
});

describe("bringing a range home", () => {
  it("brings what is here, Vma by Vma, and says how many", () => {
    const { world, test } = fourPages();
    world.protect(2, 1, VM_READ);
    world.map(8, 1);
    expect([test.run(test.shadow.moveHome(pageAt(1), pageAt(16))), test.places()]).toEqual([
      3,
      "drrr",
    ]);
    expect(test.run(test.shadow.moveHome(pageAt(0), pageAt(16)))).toBe(1);
    expect(test.run(test.shadow.moveHome(pageAt(0), pageAt(16)))).toBe(0);
    expect([world.loads(0, 4), test.device.memory.counters.pagesHome]).toEqual([
      [10, 11, 12, 13],
      4,
    ]);
  });

  it("leaves what finds no RAM", () => {
    const { world, test } = fourPages({ frames: 12 });
    fill(world, 2);
    expect([test.run(test.shadow.moveHome(pageAt(0), pageAt(4))), test.places()]).toEqual([
      2,
      "rrdd",
    ]);
  });
});

describe("making room", () => {
  it("takes the oldest first: copies are dropped, pages go home", () => {
    const world = testWorld();
    const test = deviceTest(world, { reachesRam: false, frames: 5 });
    world.map(0, 8);
    for (let page = 0; page < 8; page++) world.store(page, 10 + page);
    expect([test.load(0), test.store(1, 21), test.load(2), test.store(3, 23)]).toEqual([
      10, 0, 12, 0,
    ]);
    expect([test.load(4), test.load(5), test.places(8)]).toEqual([14, 15, "rrrdrrrr"]);
    const { copiesDropped, pagesEvicted, pagesHome } = test.device.memory.counters;
    expect([copiesDropped, pagesEvicted, pagesHome]).toEqual([1, 1, 1]);
    expect([world.load(1), test.mirror.table.usedCount, world.count("device:evict")]).toEqual([
      21, 4, 2,
    ]);
  });

  it("drops the copies of other spaces, too", () => {
    const world = testWorld();
    const test = deviceTest(world, { reachesRam: false, frames: 3 });
    world.map(0, 4);
    for (let page = 0; page < 4; page++) world.store(page, 10 + page);
    const other = inProcess(test, world.fork());
    expect([test.load(0), other.load(1), other.load(2), other.load(3)]).toEqual([10, 11, 12, 13]);
    expect([test.mirror.table.usedCount, other.mirror.table.usedCount]).toEqual([0, 2]);
  });

  it("leaves what came after an arrival, or has its timeslice still", () => {
    const world = testWorld();
    const test = deviceTest(world, { frames: 4 });
    world.map(0, 8);
    const { memory } = test.device;
    expect(test.moveIn(0, 2, { timesliceMs: 50 })).toBe(2);
    const { arrivals } = memory.frames;
    expect(test.moveIn(2, 2)).toBe(2);
    expect([test.run(memory.makeRoom(1, arrivals)), test.places()]).toEqual([false, "dddd"]);
    expect([test.run(memory.makeRoom(3)), test.places()]).toEqual([false, "dddd"]);
    expect([test.run(memory.makeRoom(2)), test.places()]).toEqual([true, "ddrr"]);
    test.pass(60);
    expect([test.run(memory.makeRoom(3)), test.places()]).toEqual([true, "rdrr"]);
    expect(test.run(memory.makeRoom(5))).toBe(false);
  });
});

describe("a timeslice", () => {
  const away = (options = {}): { world: TestWorld; test: DeviceTest } => {
    const made = fourPages(options, { readsAhead: true }, true);
    expect(made.test.moveIn(0, 4, { timesliceMs: 100 })).toBe(4);
    return made;
  };

  it("keeps CPUs waiting until it is over, without burning time", () => {
    const { world, test } = away();
    const faults = world.count("mm:fault");
    expect([world.load(1), world.scheduler.nowMs, test.places()]).toEqual([11, 100, "rrrr"]);
    expect([world.count("device:timeslice"), world.count("mm:fault") - faults]).toEqual([1, 2]);
  });

  it("is not longer for those who come later, or at once when it is over", () => {
    const { world, test } = away();
    test.pass(60);
    expect([world.store(1, 5), world.scheduler.nowMs]).toEqual([0, 100]);
    expect(test.moveIn(0, 4, { timesliceMs: 100 })).toBe(4);
    test.pass(100);
    expect([world.load(1), world.scheduler.nowMs]).toEqual([5, 200]);
  });

  it("leaves the pages to the device, and holds nothing meanwhile", () => {
    const { world, test } = away();
    const { scheduler } = world;
    const load = scheduler.spawn("cpu", world.cpu.load(pageAt(1)));
    const times: number[] = [];
    test.run(
      (function* (): Sleeps<void> {
        yield YIELD;
        yield* test.mirror.access(1, (bytes) => bytes.fill(7, 0, 1), { write: true });
        times.push(scheduler.nowMs);
        expect(yield* test.device.memory.evictAll()).toBe(4);
        times.push(scheduler.nowMs);
        using _mmap = yield* world.space.mmapLock.acquireWrite();
        times.push(scheduler.nowMs);
      })(),
    );
    expect([times, load.result, test.places()]).toEqual([[0, 0, 0], { value: 7 }, "rrrr"]);
  });

  it("is waited for once an access, also when the device has the page again by then", () => {
    const { world, test } = away();
    const load = world.scheduler.spawn("cpu", world.cpu.load(pageAt(1)));
    let over = -1;
    load.onSettled = () => {
      over = world.scheduler.nowMs;
    };
    test.run(
      (function* (): Sleeps<void> {
        yield YIELD;
        yield* test.device.memory.evictAll();
        expect(yield* test.mirror.moveIn(0, 4, { timesliceMs: 5000 })).toBe(4);
      })(),
    );
    expect([over, load.result]).toEqual([100, { value: 11 }]);
  });

  it("is for CPUs only: a pin does not wait", () => {
    const { world } = away();
    const pinned = world.pin(1, 1, false);
    expect(world.scheduler.nowMs).toBe(0);
    unpinPages(pinned);
  });

  it("is no promise that the memory is there at its end", () => {
    const { world, test } = away();
    const load = world.scheduler.spawn("cpu", world.cpu.load(pageAt(1)));
    let unmapped = -1;
    test.run(
      (function* (): Sleeps<void> {
        yield YIELD;
        yield* munmap(world.space, pageAt(0), bytesOf(4));
        unmapped = world.scheduler.nowMs;
      })(),
    );
    expect([unmapped, load.result, test.device.framesUsed]).toEqual([0, -EFAULT, 0]);
  });
});

it("a space is seen once by a device, and a device goes when it is empty", () => {
  const { world, test } = fourPages();
  expect(() => new TestMirror(world.space, test.device)).toThrow("sees a space once");
  const device = new TestDevice(world.memory, { frames: 4, reachesRam: false });
  const zones = world.memory.pages.zones.length;
  device.memory.remove();
  expect(world.memory.pages.zones.length).toBe(zones - 1);
  expect(() => test.device.memory.remove()).toThrow("still has 4 frames");
});
