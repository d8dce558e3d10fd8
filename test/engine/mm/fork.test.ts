import { describe, expect, it } from "vitest";
import { EFAULT, ENOMEM, EOPNOTSUPP } from "../../../src/base/index.ts";
import {
  AddressSpace,
  Advice,
  fork,
  isDevicePrivate,
  isExclusive,
  isWritable,
  mmput,
  mremap,
  SwapArea,
  unpinPages,
  VM_DONTCOPY,
  VM_READ,
} from "../../../src/mm/index.ts";
import { PG_EXCLUSIVE } from "../../../src/phys/index.ts";
import { bytesOf, pageAt, RW, type TestWorld, testWorld } from "../test-world.ts";

/** Pages 0 to `count` - 1, written with 10, 11, … */
function filled(count: number, options = {}): TestWorld {
  const world = testWorld(options);
  world.map(0, count);
  for (let page = 0; page < count; page++) world.store(page, 10 + page);
  return world;
}

describe("a child", () => {
  it("sees what its parent has, in the same frames, and costs nothing more", () => {
    const world = filled(2);
    world.load(1);
    const child = world.fork();
    expect([child.loads(0, 2), child.frame(0)]).toEqual([[10, 11], world.frame(0)]);
    expect([child.space.rssPages, world.memory.ram.usedCount]).toEqual([2, 2]);
    expect(world.memory.group.chargedPages).toBe(2);
    expect(world.memory.pages.refs[world.frame(0)]).toBe(2);
  });

  it("and its parent write apart, whoever writes first", () => {
    const world = filled(2);
    const child = world.fork();
    world.store(0, 50);
    child.store(1, 60);
    expect([world.loads(0, 2), child.loads(0, 2)]).toEqual([
      [50, 11],
      [10, 60],
    ]);
    expect(world.count("mm:cow")).toBe(2);
  });

  it("takes the parent's right to write in place, telling the parent's devices", () => {
    const world = filled(2);
    world.deviceLoad(0);
    const log = world.watch();
    world.fork();
    expect(log).toEqual(["start 3 0..2", "end 3 0..2"]);
    expect([isWritable(world.pte(0)), world.deviceEntry(0)]).toEqual([false, 0]);
    expect(world.memory.pages.is(world.frame(0), PG_EXCLUSIVE)).toBe(false);
  });

  it("has what the last writer left when it is alone: no copy is made", () => {
    const world = filled(1);
    const child = world.fork();
    const frame = world.frame(0);
    child.leave();
    expect([world.store(0, 7), world.frame(0), world.count("mm:cow")]).toEqual([0, frame, 0]);
    expect(world.memory.pages.is(frame, PG_EXCLUSIVE)).toBe(true);
  });

  it("outlives its parent with all that it shares", () => {
    const world = filled(2);
    const child = world.fork();
    world.leave();
    expect([child.loads(0, 2), child.store(1, 7), world.memory.ram.usedCount]).toEqual([
      [10, 11],
      0,
      2,
    ]);
  });

  it("has children of its own, and all write apart", () => {
    const world = filled(1);
    const child = world.fork();
    const grandchild = world.fork(child);
    for (const [i, each] of [world, child, grandchild].entries()) each.store(0, 20 + i);
    expect([world.load(0), child.load(0), grandchild.load(0)]).toEqual([20, 21, 22]);
    expect(world.memory.ram.usedCount).toBe(3);
  });

  it("gets no new memory of its parent's, nor the other way round", () => {
    const world = filled(1);
    const child = world.fork();
    world.map(5, 1);
    child.map(6, 1);
    child.unmap(0, 1);
    expect([child.load(5), world.load(6), child.load(0), world.load(0)]).toEqual([
      -EFAULT,
      -EFAULT,
      -EFAULT,
      10,
    ]);
  });

  it("does not get mappings that stay with the parent", () => {
    const world = filled(1);
    world.map(2, 1);
    world.vma(2).flags |= VM_DONTCOPY;
    const child = world.fork();
    expect([child.layout, child.load(2)]).toEqual([[[0, 1]], -EFAULT]);
  });

  it("does not get pages that it finds again in a file", () => {
    const world = testWorld();
    const file = world.file(2);
    world.map(0, 2, VM_READ, { file });
    world.map(10, 2, RW, { file, isShared: true });
    for (const page of [0, 10]) world.load(page);
    const log = world.watch();
    const child = world.fork();
    expect([child.space.pageTable.usedCount, log]).toEqual([0, []]);
    expect([child.load(0), child.load(11)]).toEqual([100, 101]);
  });

  it("gets the private copies of a file's pages", () => {
    const world = testWorld();
    const file = world.file(2);
    world.map(0, 2, RW, { file });
    world.store(0, 7);
    world.load(1);
    const child = world.fork();
    child.store(0, 8);
    child.store(1, 9);
    expect([world.loads(0, 2), child.loads(0, 2)]).toEqual([
      [7, 101],
      [8, 9],
    ]);
  });

  it("shares zero pages without counting them", () => {
    const world = filled(1);
    world.map(1, 1);
    world.load(1);
    const child = world.fork();
    expect([child.load(1), child.space.rssPages]).toEqual([0, 1]);
    child.store(1, 7);
    expect(world.load(1)).toBe(0);
  });

  it("gets the rights, also where the parent has none", () => {
    const world = filled(2);
    world.protect(0, 1, 0);
    world.protect(1, 1, VM_READ);
    const child = world.fork();
    expect([child.load(0), child.store(1, 1)]).toEqual([-EFAULT, -EFAULT]);
    child.protect(0, 2, RW);
    expect([child.store(0, 7), child.store(1, 8), child.loads(0, 2)]).toEqual([0, 0, [7, 8]]);
    world.protect(0, 2, VM_READ);
    expect(world.loads(0, 2)).toEqual([10, 11]);
  });
});

describe("pages that are elsewhere at fork", () => {
  it("stay on the device for both, and come home for both at the first touch", () => {
    const world = filled(2);
    world.toDevice(0, 2);
    const child = world.fork();
    expect([isDevicePrivate(child.pte(0)), child.frame(0)]).toEqual([true, world.frame(0)]);
    expect(child.load(0)).toBe(10);
    expect([isDevicePrivate(world.pte(0)), world.frame(0)]).toEqual([false, child.frame(0)]);
    child.store(0, 7);
    expect([world.load(0), world.loads(0, 2), child.loads(0, 2)]).toEqual([10, [10, 11], [7, 11]]);
  });

  it("cannot be written on the device by either any more", () => {
    const world = filled(1);
    world.toDevice(0, 1);
    const child = world.fork();
    expect([world.deviceStore(0, 5), child.deviceStore(0, 5)]).toEqual([-EFAULT, -EFAULT]);
    expect([world.deviceLoad(0), child.deviceLoad(0)]).toEqual([10, 10]);
    expect([world.store(0, 6), world.deviceStore(0, 7), child.load(0)]).toEqual([0, 0, 10]);
    expect(world.load(0)).toBe(7);
  });

  it("are shared in swap, and each reads its own", () => {
    const world = filled(1, { swap: new SwapArea(4) });
    world.advise(0, 1, Advice.pageOut);
    const child = world.fork();
    expect([world.memory.swap.usedCount, world.memory.swap.usesOf(0)]).toEqual([1, 2]);
    child.store(0, 7);
    expect([world.memory.swap.usesOf(0), world.load(0), child.load(0)]).toEqual([1, 10, 7]);
    expect(world.memory.swap.usedCount).toBe(0);
  });

  it("are ordinary again when they were exclusive to a device", () => {
    const world = filled(1);
    world.exclusive(0, 1);
    const child = world.fork();
    expect([isExclusive(world.pte(0)), isExclusive(child.pte(0)), world.deviceEntry(0)]).toEqual([
      false,
      false,
      0,
    ]);
    world.store(0, 7);
    expect([world.load(0), child.load(0)]).toEqual([7, 10]);
  });
});

describe("pinned pages at fork", () => {
  it("stay the parent's, who goes on writing where the pin looks; the child gets copies", () => {
    const world = filled(2);
    const pinned = world.pin(0, 1, true);
    const child = world.fork();
    world.store(0, 50);
    expect(world.frame(0)).toBe(pinned.frames[0]);
    expect(world.memory.bytes.loadWord(pinned.frames[0]!, 0)).toBe(50);
    expect([child.loads(0, 2), child.frame(1)]).toEqual([[10, 11], world.frame(1)]);
    expect([isWritable(child.pte(0)), child.store(0, 60), world.load(0)]).toEqual([true, 0, 50]);
    unpinPages(pinned);
  });

  it("need memory: without it there is no child, and the parent goes on", () => {
    const world = filled(2, { frames: 2 });
    const pinned = world.pin(1, 1, true);
    const spaces = [...world.memory.spaces].length;
    expect(world.run(fork(world.space))).toBe(-ENOMEM);
    world.check();
    expect([[...world.memory.spaces].length, world.count("mm:fork")]).toEqual([spaces, 0]);
    unpinPages(pinned);
    for (const page of [0, 1]) expect(world.store(page, 7)).toBe(0);
    expect(world.memory.ram.usedCount).toBe(2);
  });

  it("count against the limit, too", () => {
    const world = filled(2, { limitPages: 2 });
    const pinned = world.pin(0, 1, false);
    expect(world.run(fork(world.space))).toBe(-ENOMEM);
    unpinPages(pinned);
    const child = world.fork();
    expect([child.store(0, 7), child.load(1)]).toEqual([-ENOMEM, 11]);
  });
});

describe("fork", () => {
  it("is not for windows, whose pages have no second place", () => {
    const world = testWorld();
    const window = new AddressSpace(world.memory, { isIdentity: true });
    expect(world.run(fork(window))).toBe(-EOPNOTSUPP);
    world.run(mmput(window));
  });

  it("tells nobody about what cannot change", () => {
    const world = testWorld();
    world.map(0, 1);
    world.map(5, 1, RW, { isShared: true });
    world.store(5, 7);
    const log = world.watch();
    world.fork();
    expect([log, isWritable(world.pte(5))]).toEqual([[], true]);
  });

  it("takes along what is written before the parent loses its right to write", () => {
    const world = filled(1);
    world.during(0, () => world.cpu.store(pageAt(0), 77));
    const child = world.fork();
    expect([world.load(0), child.load(0)]).toEqual([77, 77]);
    world.store(0, 78);
    expect(child.load(0)).toBe(77);
  });
});

describe("two spaces on one device", () => {
  it("write apart, on the device and on the CPU", () => {
    const world = filled(2);
    const child = world.fork();
    expect([world.deviceStore(0, 50), child.deviceStore(0, 60)]).toEqual([0, 0]);
    expect([world.load(0), child.load(0)]).toEqual([50, 60]);
    child.store(1, 61);
    expect([world.deviceLoad(1), child.deviceLoad(1)]).toEqual([11, 61]);
    world.check();
  });

  it("move their own pages, not each other's", () => {
    const world = filled(2);
    const child = world.fork();
    for (const [i, each] of [world, child].entries()) each.store(0, 20 + i);
    expect([world.toDevice(0, 1), child.toDevice(0, 1)]).toEqual([0, 0]);
    expect([world.deviceLoad(0), child.deviceLoad(0)]).toEqual([20, 21]);
    expect([child.toRam(0, 1), isDevicePrivate(world.pte(0))]).toEqual([0, true]);
    expect([world.load(0), child.load(0)]).toEqual([20, 21]);
  });

  it("lose the entry of a shared page when the other takes it home", () => {
    const world = filled(1);
    const child = world.fork();
    world.toDevice(0, 1);
    expect([world.deviceLoad(0), child.deviceLoad(0)]).toEqual([10, 10]);
    child.store(0, 7);
    world.check();
    expect([world.deviceLoad(0), child.deviceLoad(0)]).toEqual([10, 7]);
  });

  it("are told of each other's migrations of shared pages, in the reverse map's order", () => {
    const world = filled(1);
    const child = world.fork();
    const logs = [world.watch(), child.watch()];
    world.toDevice(0, 1);
    expect(logs[1]).toEqual(["start 1 0..1", "end 1 0..1"]);
    expect(logs[0]![0]).toBe("start 6 0..1");
  });

  it("find shared pages after one side has moved its mapping", () => {
    const world = filled(2);
    const child = world.fork();
    const options = { start: pageAt(0), bytes: bytesOf(2), newBytes: bytesOf(2) };
    child.run(mremap(child.space, { ...options, newStart: pageAt(30) }));
    world.toDevice(0, 2);
    world.check();
    expect([isDevicePrivate(child.pte(30)), child.loads(30, 2)]).toEqual([true, [10, 11]]);
    expect(world.loads(0, 2)).toEqual([10, 11]);
  });
});
