import { describe, expect, it } from "vitest";
import { EFAULT, EIO, ENOMEM } from "../../../src/base/index.ts";
import {
  Advice,
  MemorySwapStore,
  MM_SWAPENTS,
  reclaimPages,
  SPECIAL_SWAP,
  SwapArea,
  type SwapStore,
  unpinPages,
  VM_READ,
} from "../../../src/mm/index.ts";
import { PG_DUPLICATED, PG_REFERENCED } from "../../../src/phys/index.ts";
import { pageAt, RW, TestBacking, type TestWorld, testWorld } from "../test-world.ts";

/** `count` pages written with 10, 11, … in `frames` frames, with `slots` slots to go to. */
function filled(count: number, frames: number, slots = 16): TestWorld {
  const world = testWorld({ frames, swap: new SwapArea(slots) });
  world.map(0, count);
  for (let page = 0; page < count; page++) expect(world.store(page, 10 + page)).toBe(0);
  return world;
}

const expected = (count: number): number[] => Array.from({ length: count }, (_, i) => 10 + i);
const reclaim = (world: TestWorld, wanted: number): number =>
  world.run(reclaimPages(world.memory, wanted));
const isSwapped = (world: TestWorld, page: number): boolean => world.special(page) === SPECIAL_SWAP;

/** Fails when it is told to. */
class FailingStore implements SwapStore {
  readonly #store = new MemorySwapStore();
  readError = 0;
  writeError = 0;
  write = (slot: number, page: Uint8Array): number =>
    this.writeError < 0 ? this.writeError : this.#store.write(slot, page);
  read = (slot: number, page: Uint8Array): number =>
    this.readError < 0 ? this.readError : this.#store.read(slot, page);
}

describe("more pages than RAM", () => {
  it("keep what is in them", () => {
    const world = filled(12, 4);
    expect([world.loads(0, 12), world.loads(0, 12)]).toEqual([expected(12), expected(12)]);
    world.check();
    expect(world.memory.ram.usedCount).toBeLessThanOrEqual(4);
    expect(world.memory.swap.usedCount).toBe(world.rss[MM_SWAPENTS]);
    expect(world.space.rssPages + world.memory.swap.usedCount).toBe(12);
  });

  it("are charged only while they are in RAM", () => {
    const world = filled(8, 4);
    expect(world.memory.group.chargedPages).toBe(world.memory.ram.usedCount);
  });

  it("find room below a limit as well", () => {
    const world = testWorld({ limitPages: 2, swap: new SwapArea(8) });
    world.map(0, 4);
    for (const page of [0, 1, 2, 3]) expect(world.store(page, 10 + page)).toBe(0);
    expect([world.loads(0, 4), world.memory.group.chargedPages]).toEqual([
      expected(4),
      world.memory.ram.usedCount,
    ]);
    expect(world.memory.group.chargedPages).toBeLessThanOrEqual(2);
  });

  it("are too many when the swap area is full", () => {
    const world = testWorld({ frames: 2, swap: new SwapArea(2) });
    world.map(0, 8);
    const results = [0, 1, 2, 3, 4].map((page) => world.store(page, 10 + page));
    expect(results).toEqual([0, 0, 0, 0, -ENOMEM]);
    world.check();
    world.unmap(0, 2);
    expect([world.store(4, 14), world.loads(2, 3)]).toEqual([0, [12, 13, 14]]);
  });

  it("may be written by devices and read by CPUs and the other way round", () => {
    const world = filled(6, 3);
    for (const page of [0, 2, 4]) expect(world.deviceStore(page, 50 + page)).toBe(0);
    world.check();
    expect(world.loads(0, 6)).toEqual([50, 11, 52, 13, 54, 15]);
    expect([0, 5].map((page) => world.deviceLoad(page))).toEqual([50, 15]);
  });

  it("come home from a device although RAM is full", () => {
    const world = testWorld({ frames: 2, swap: new SwapArea(8) });
    world.map(0, 4);
    world.store(0, 10);
    world.toDevice(0, 1);
    for (const page of [1, 2, 3]) world.store(page, 10 + page);
    expect(world.loads(0, 4)).toEqual(expected(4));
  });

  it("hold their place in both spaces after fork, one slot for both", () => {
    const world = filled(2, 4);
    const child = world.fork();
    expect(reclaim(world, 2)).toBe(2);
    expect([world.memory.swap.usedCount, child.rss[MM_SWAPENTS]]).toEqual([2, 2]);
    expect([world.memory.swap.usesOf(0), isSwapped(world, 0)]).toEqual([2, true]);
    child.store(0, 7);
    expect([world.loads(0, 2), child.loads(0, 2)]).toEqual([
      [10, 11],
      [7, 11],
    ]);
  });
});

describe("a page that is sent away", () => {
  it("is taken from devices and CPUs first", () => {
    const world = filled(1, 4);
    world.deviceLoad(0);
    const log = world.watch();
    expect(world.advise(0, 1, Advice.pageOut)).toBe(0);
    world.check();
    expect([log, world.deviceEntry(0), world.cpu.tlb.size]).toEqual([
      ["start 1 0..1", "end 1 0..1"],
      0,
      0,
    ]);
    expect([world.deviceLoad(0), world.memory.swap.usedCount]).toEqual([10, 0]);
  });

  it("is not present to a device that looks", () => {
    const world = filled(1, 4);
    world.advise(0, 1, Advice.pageOut);
    expect([world.snapshot(0, 1), isSwapped(world, 0)]).toEqual([[0], true]);
  });

  it("comes back with the rights of its mapping", () => {
    const world = filled(2, 4);
    world.advise(0, 2, Advice.pageOut);
    world.protect(0, 1, VM_READ);
    world.protect(1, 1, 0);
    expect([world.store(0, 1), world.load(0), world.load(1)]).toEqual([-EFAULT, 10, -EFAULT]);
    world.protect(0, 2, RW);
    expect([world.store(0, 5), world.load(1)]).toEqual([0, 11]);
  });

  it("frees its slot when it is unmapped, given up, or its space ends", () => {
    const world = filled(3, 4);
    const child = world.fork();
    world.advise(0, 3, Advice.pageOut);
    expect(reclaim(world, 8)).toBe(3);
    world.unmap(0, 1);
    world.advise(1, 1, Advice.dontNeed);
    expect(world.memory.swap.usedCount).toBe(3);
    child.leave();
    expect(world.memory.swap.usedCount).toBe(1);
    expect([world.load(1), world.load(2)]).toEqual([0, 12]);
  });

  it("stays at home on a device while its neighbour goes", () => {
    const world = filled(2, 4);
    world.toDevice(0, 1);
    expect([reclaim(world, 2), isSwapped(world, 0), isSwapped(world, 1)]).toEqual([1, false, true]);
    expect([world.deviceLoad(0), world.toDevice(1, 1)]).toEqual([10, -2]);
    expect(world.loads(0, 2)).toEqual(expected(2));
  });

  it("loses its read-only copies on devices", () => {
    const world = filled(1, 4);
    world.memory.pages.setFlag(world.frame(0), PG_DUPLICATED);
    world.protect(0, 1, VM_READ);
    world.advise(0, 1, Advice.pageOut);
    world.protect(0, 1, RW);
    expect([world.load(0), world.store(0, 5)]).toEqual([10, 0]);
    expect(world.memory.pages.is(world.frame(0), PG_DUPLICATED)).toBe(false);
  });
});

describe("what stays in RAM", () => {
  it("is pinned, however full it is", () => {
    const world = filled(2, 2);
    const pinned = world.pin(0, 2, true);
    expect([world.advise(0, 2, Advice.pageOut), reclaim(world, 2)]).toEqual([0, 0]);
    world.map(5, 1);
    expect([world.store(5, 1), world.loads(0, 2)]).toEqual([-ENOMEM, expected(2)]);
    unpinPages(pinned);
    expect(world.store(5, 1)).toBe(0);
  });

  it("is referenced by somebody", () => {
    const world = filled(1, 4);
    const frame = world.frame(0);
    world.memory.pages.get(frame);
    expect(reclaim(world, 1)).toBe(0);
    expect(world.frame(0)).toBe(frame);
    world.memory.pages.put(frame);
    expect(reclaim(world, 1)).toBe(1);
  });

  it("was looked at since the last round, for one round", () => {
    const world = filled(2, 4);
    world.memory.pages.setFlag(world.frame(0), PG_REFERENCED);
    expect(reclaim(world, 1)).toBe(1);
    expect([isSwapped(world, 0), isSwapped(world, 1)]).toEqual([false, true]);
  });

  it("cannot be stored: an error of the store leaves all as it was", () => {
    const store = new FailingStore();
    const world = testWorld({ frames: 2, swap: new SwapArea(4, store) });
    world.map(0, 4);
    for (const page of [0, 1]) world.store(page, 10 + page);
    store.writeError = -EIO;
    expect([world.store(2, 1), world.memory.swap.usedCount]).toEqual([-ENOMEM, 0]);
    world.check();
    expect(world.loads(0, 2)).toEqual(expected(2));
    store.writeError = 0;
    expect(world.store(2, 1)).toBe(0);
  });
});

describe("a page that cannot be read back", () => {
  it("is a bus error until it can, and costs no frame meanwhile", () => {
    const store = new FailingStore();
    const world = testWorld({ swap: new SwapArea(4, store) });
    world.map(0, 1);
    world.store(0, 10);
    world.advise(0, 1, Advice.pageOut);
    store.readError = -EIO;
    expect([world.load(0), world.deviceLoad(0), world.memory.ram.usedCount]).toEqual([
      -EIO,
      -EFAULT,
      0,
    ]);
    expect([world.memory.group.chargedPages, isSwapped(world, 0)]).toEqual([0, true]);
    store.readError = 0;
    expect(world.load(0)).toBe(10);
  });
});

describe("pages of files under pressure", () => {
  it("go when they are clean, mapped or not, and are read again", () => {
    const world = testWorld({ frames: 4, swap: new SwapArea(4) });
    const backing = new TestBacking(6);
    const file = world.file(6, backing);
    world.map(0, 6, VM_READ, { file });
    expect(world.loads(0, 6)).toEqual([100, 101, 102, 103, 104, 105]);
    expect([file.cachedCount <= 4, world.memory.swap.usedCount]).toEqual([true, 0]);
    expect(world.loads(0, 2)).toEqual([100, 101]);
    expect(backing.log.filter((line) => line === "read 0").length).toBe(2);
  });

  it("are written back first when they are dirty, and stay when they cannot be", () => {
    const world = testWorld({ swap: new SwapArea(4) });
    const backing = new TestBacking(2);
    const file = world.file(2, backing);
    world.map(0, 2, RW, { file, isShared: true });
    world.store(0, 7);
    world.load(1);
    backing.writeError = -EIO;
    expect([reclaim(world, 2), file.find(0) !== 0, file.find(1)]).toEqual([1, true, 0]);
    expect([world.frame(0), world.store(0, 8)]).toEqual([file.find(0), 0]);
    backing.writeError = 0;
    expect([reclaim(world, 1), file.cachedCount, world.load(0)]).toEqual([1, 0, 8]);
  });

  it("go to swap when they are private copies", () => {
    const world = testWorld({ swap: new SwapArea(4) });
    const file = world.file(1, new TestBacking(1));
    world.map(0, 1, RW, { file });
    world.store(0, 7);
    world.advise(0, 1, Advice.pageOut);
    expect([isSwapped(world, 0), world.load(0)]).toEqual([true, 7]);
  });
});

describe("while a page goes", () => {
  it("whoever touches it waits, and finds it in swap", () => {
    const world = filled(1, 4);
    world.during(0, () => world.cpu.store(pageAt(0), 77));
    expect(reclaim(world, 1)).toBe(1);
    world.scheduler.run();
    expect(world.load(0)).toBe(77);
  });

  it("a device that reads it waits, too", () => {
    const world = filled(1, 4);
    world.during(0, () => world.mirror.read(pageAt(0), 1, () => {}));
    world.advise(0, 1, Advice.pageOut);
    world.scheduler.run();
    world.check();
    expect([world.deviceLoad(0), world.load(0)]).toEqual([10, 10]);
  });
});
