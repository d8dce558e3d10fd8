import { describe, expect, it } from "vitest";
import { EIO, ENOMEM, type Pfn, type Result } from "../../../src/base/index.ts";
import { type CopyHome, evictFrames, evictPagemap } from "../../../src/devmem/index.ts";
import { isDevicePrivate, isWritable, mmput } from "../../../src/mm/index.ts";
import { PG_DIRTY } from "../../../src/phys/index.ts";
import { pageAt, type TestWorld, TURNS, testWorld } from "../test-world.ts";

/** Pages 0 to `count` - 1, written with 10, 11, …, all on the device. */
function away(count: number, options = {}): TestWorld {
  const world = testWorld(options);
  world.map(0, count);
  for (let page = 0; page < count; page++) world.store(page, 10 + page);
  expect(world.toDevice(0, count)).toBe(0);
  return world;
}

const evictAll = (world: TestWorld): Result => world.run(world.device.evictAll());
const onDevice = (world: TestWorld): number => world.device.pagemap.zone.usedCount;

const copyOf = (world: TestWorld): CopyHome =>
  function* (from, to) {
    from.forEach((frame, i) => {
      if (to[i] !== 0) world.memory.bytes.write(to[i]!, world.device.bytesOf(frame), 0);
    });
    return 0;
  };

describe("emptying a device", () => {
  it("brings every page home with what is in it, rights and accounts as they were", () => {
    const world = away(3);
    world.deviceStore(1, 50);
    const before = [world.rss, world.memory.group.chargedPages];
    expect([evictAll(world), onDevice(world)]).toEqual([3, 0]);
    world.check();
    expect([world.rss, world.memory.group.chargedPages]).toEqual(before);
    expect([isWritable(world.pte(0)), world.loads(0, 3)]).toEqual([true, [10, 50, 12]]);
    expect(world.memory.pages.is(world.frame(1), PG_DIRTY)).toBe(true);
  });

  it("tells each mapper of each page, and no one's device passes over it", () => {
    const world = away(2);
    const log = world.watch();
    evictAll(world);
    expect(log).toEqual(["start 1 0..1", "end 1 0..1", "start 1 1..2", "end 1 1..2"]);
    expect([world.deviceEntry(0), world.deviceEntry(1)]).toEqual([0, 0]);
  });

  it("is for all spaces at once", () => {
    const world = away(2);
    const child = world.fork();
    child.map(10, 1);
    child.store(10, 99);
    child.toDevice(10, 1);
    expect([evictAll(world), onDevice(world)]).toEqual([3, 0]);
    world.check();
    expect([child.loads(0, 2), world.loads(0, 2), child.load(10)]).toEqual([
      [10, 11],
      [10, 11],
      99,
    ]);
    expect(world.frame(0)).toBe(child.frame(0));
  });

  it("that is empty does nothing", () => {
    const world = testWorld();
    const log = world.watch();
    expect([evictAll(world), log, world.count("devmem:to-ram")]).toEqual([0, [], 0]);
  });

  it("leaves what there is no room for, and the device goes on with it", () => {
    const world = testWorld({ frames: 3 });
    world.map(0, 6);
    for (const page of [0, 1, 2]) world.store(page, 10 + page);
    world.toDevice(0, 3);
    for (const page of [3, 4]) world.store(page, 10 + page);
    expect([evictAll(world), onDevice(world)]).toEqual([1, 2]);
    world.check();
    expect([world.load(0), world.deviceLoad(1), world.load(1)]).toEqual([10, 11, -ENOMEM]);
    world.unmap(3, 2);
    expect([evictAll(world), world.loads(0, 3)]).toEqual([2, [10, 11, 12]]);
  });

  it("leaves what somebody references or locks", () => {
    const world = away(3);
    const { pages } = world.memory;
    const [held, locked] = [world.frame(0), world.frame(1)];
    pages.get(held);
    function* evictBesideLock() {
      expect(pages.tryLock(locked)).toBe(true);
      const evicted = yield* evictPagemap(world.memory, world.device.pagemap, copyOf(world));
      pages.unlock(locked);
      return evicted;
    }
    expect(world.run(evictBesideLock())).toBe(1);
    pages.put(held);
    world.check();
    expect([0, 1, 2].map((page) => isDevicePrivate(world.pte(page)))).toEqual([true, true, false]);
    expect([world.deviceLoad(0), evictAll(world), world.loads(0, 3)]).toEqual([
      10,
      2,
      [10, 11, 12],
    ]);
  });

  it("brings pages home to where their mapping is now", () => {
    const world = away(2);
    world.move(0, 2, 20);
    expect([evictAll(world), world.loads(20, 2)]).toEqual([2, [10, 11]]);
  });

  it("keeps pages home that the program may not touch now", () => {
    const world = away(1);
    world.protect(0, 1, 0);
    expect([evictAll(world), world.load(0)]).toEqual([1, -14]);
    world.protect(0, 1, 3);
    expect(world.load(0)).toBe(10);
  });
});

describe("evicting frames", () => {
  const evict = (world: TestWorld, frames: readonly Pfn[], copy = copyOf(world)): Result =>
    world.run(evictFrames(world.memory, frames, copy));

  it("takes those that are named, and passes over those that are free", () => {
    const world = away(3);
    const frames = [0, 2].map((page) => world.frame(page));
    world.unmap(2, 1);
    expect([evict(world, frames), onDevice(world)]).toEqual([1, 1]);
    world.check();
    expect([isDevicePrivate(world.pte(1)), world.load(0)]).toEqual([true, 10]);
  });

  it("that cannot be copied stay where they are, all of them", () => {
    const world = away(2);
    const result = world.run(
      evictPagemap(world.memory, world.device.pagemap, function* () {
        return -EIO;
      }),
    );
    expect([result, onDevice(world), world.memory.ram.usedCount]).toEqual([-EIO, 2, 0]);
    world.check();
    expect([world.deviceLoad(0), world.deviceStore(1, 7), world.loads(0, 2)]).toEqual([
      10,
      0,
      [10, 7],
    ]);
  });

  it("does not even copy what somebody holds", () => {
    const world = away(1);
    const frame = world.frame(0);
    world.memory.pages.get(frame);
    let copied = -1;
    const count: CopyHome = function* (from) {
      copied = from.length;
      return 0;
    };
    expect([evict(world, [frame], count), copied]).toEqual([0, 0]);
    world.memory.pages.put(frame);
    expect(world.load(0)).toBe(10);
  });

  it("lets a CPU wait that touches a page on the way", () => {
    const world = away(1);
    world.during(0, () => world.cpu.store(pageAt(0), 77));
    expect(evictAll(world)).toBe(1);
    world.scheduler.run();
    expect([world.load(0), world.count("devmem:to-ram")]).toEqual([77, 1]);
  });

  it("does nothing for pages whose space ends meanwhile", () => {
    const world = testWorld({ strategy: TURNS });
    world.map(0, 4);
    for (const page of [0, 1, 2, 3]) world.store(page, 10 + page);
    world.toDevice(0, 4);
    world.scheduler.spawn("evict", world.device.evictAll());
    world.scheduler.spawn("exit", mmput(world.space));
    world.scheduler.run();
    expect([onDevice(world), world.memory.ram.usedCount]).toEqual([0, 0]);
  });
});
