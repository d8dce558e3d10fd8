import { describe, expect, it } from "vitest";
import { EFAULT, EINVAL, ENOMEM, virtAddr } from "../../../src/base/index.ts";
import {
  Advice,
  isDevicePrivate,
  isExclusive,
  mremap,
  SPECIAL_GUARD,
  SPECIAL_SWAP,
  SwapArea,
  VM_READ,
} from "../../../src/mm/index.ts";
import {
  BASE,
  bytesOf,
  HUGE,
  hugeFrames,
  pageAt,
  RW,
  type TestWorld,
  testWorld,
} from "../test-world.ts";

const resize = (world: TestWorld, page: number, count: number, to: number, mayMove = false) =>
  world.run(
    mremap(world.space, {
      start: pageAt(page),
      bytes: bytesOf(count),
      newBytes: bytesOf(to),
      mayMove,
    }),
  );

/** Pages 0 to `count` - 1, written with 10, 11, … */
function filled(count: number, options = {}): TestWorld {
  const world = testWorld(options);
  world.map(0, count);
  for (let page = 0; page < count; page++) world.store(page, 10 + page);
  return world;
}

describe("mremap to another place", () => {
  it("moves pages with what is in them, frames and all", () => {
    const world = filled(3);
    const before = world.frame(1);
    expect(world.move(0, 3, 20)).toBe(20);
    expect([world.loads(20, 3), world.frame(21), world.load(1)]).toEqual([
      [10, 11, 12],
      before,
      -EFAULT,
    ]);
    expect([world.layout, world.space.rssPages]).toEqual([[[20, 23]], 3]);
  });

  it("tells devices that the old place is gone, and they find the new one", () => {
    const world = filled(2);
    world.deviceLoad(0);
    const log = world.watch();
    world.move(0, 2, 20);
    expect(log).toEqual(["start 0 0..2", "end 0 0..2", "start 0 0..2", "end 0 0..2"]);
    expect([world.deviceEntry(0), world.deviceLoad(0), world.deviceLoad(20)]).toEqual([
      0,
      -EFAULT,
      10,
    ]);
  });

  it("takes only the part that is named", () => {
    const world = filled(4);
    expect(world.move(1, 2, 20)).toBe(20);
    expect(world.layout).toEqual([
      [0, 1],
      [3, 4],
      [20, 22],
    ]);
    expect([world.load(0), world.loads(20, 2), world.load(3)]).toEqual([10, [11, 12], 13]);
  });

  it("unmaps what is at the new place", () => {
    const world = filled(2);
    world.map(20, 4);
    for (const page of [20, 21, 22]) world.store(page, 99);
    expect(world.move(0, 2, 20)).toBe(20);
    expect([world.loads(20, 3), world.space.rssPages]).toEqual([[10, 11, 99], 3]);
  });

  it("can shrink or grow on the way", () => {
    const world = filled(3);
    expect(world.move(0, 3, 20, 1)).toBe(20);
    expect([world.layout, world.load(20), world.space.rssPages]).toEqual([[[20, 21]], 10, 1]);
    expect(world.move(20, 1, 30, 3)).toBe(30);
    expect([world.layout, world.loads(30, 3)]).toEqual([[[30, 33]], [10, 0, 0]]);
  });

  it("finds pages again that are on the device, and brings them home there", () => {
    const world = filled(2);
    world.toDevice(0, 2);
    world.deviceStore(1, 50);
    expect(world.move(0, 2, 20)).toBe(20);
    world.check();
    expect([isDevicePrivate(world.pte(20)), world.deviceLoad(20)]).toEqual([true, 10]);
    expect([world.loads(20, 2), world.device.pagemap.zone.usedCount]).toEqual([[10, 50], 0]);
  });

  it("keeps a page exclusive to its device, which looks it up again", () => {
    const world = filled(1);
    world.exclusive(0, 1);
    world.move(0, 1, 20);
    world.check();
    expect([isExclusive(world.pte(20)), world.deviceEntry(0)]).toEqual([true, 0]);
    expect([world.load(20), isExclusive(world.pte(20))]).toEqual([10, false]);
    expect(world.store(20, 7)).toBe(0);
  });

  it("takes swapped pages and guards along", () => {
    const world = filled(3, { swap: new SwapArea(4) });
    world.advise(0, 1, Advice.pageOut);
    world.advise(1, 1, Advice.guardInstall);
    world.move(0, 3, 20);
    expect([world.special(20), world.special(21), world.memory.swap.usedCount]).toEqual([
      SPECIAL_SWAP,
      SPECIAL_GUARD,
      1,
    ]);
    expect([world.load(20), world.load(21), world.load(22)]).toEqual([10, -EFAULT, 12]);
  });

  it("keeps copy on write between parent and child", () => {
    const world = filled(1);
    const child = world.fork();
    expect(world.move(0, 1, 20)).toBe(20);
    world.store(20, 5);
    expect([world.load(20), child.load(0)]).toEqual([5, 10]);
  });

  it("does not lose pages to a migration of the old place", () => {
    const world = filled(2);
    world.move(0, 2, 20);
    expect([world.toDevice(20, 2), world.loads(20, 2)]).toEqual([0, [10, 11]]);
  });

  it("keeps the place in the file", () => {
    const world = testWorld();
    const file = world.file(4);
    world.map(0, 4, RW, { file, isShared: true });
    world.load(2);
    expect(world.move(2, 2, 20)).toBe(20);
    expect([world.loads(20, 2), world.load(1)]).toEqual([[102, 103], 101]);
    world.run(file.truncate(bytesOf(3)));
    expect(world.load(20)).toBe(102);
    expect(world.load(21)).toBeLessThan(0);
  });

  it("of no length maps shared memory a second time", () => {
    const world = testWorld();
    world.map(0, 2, RW, { isShared: true });
    world.store(1, 7);
    expect(world.move(0, 0, 20, 2)).toBe(20);
    expect([world.load(21), world.load(1)]).toEqual([7, 7]);
    world.store(20, 8);
    expect(world.load(0)).toBe(8);
  });

  it("moves a huge page as one when both places allow it, else in parts", () => {
    const world = testWorld({ frames: hugeFrames(1), hugePages: "always" });
    world.map(0, HUGE);
    world.store(5, 7);
    expect(world.move(0, HUGE, 2 * HUGE)).toBe(2 * HUGE);
    expect([world.isHuge(2 * HUGE), world.load(2 * HUGE + 5)]).toEqual([true, 7]);
    expect(world.move(2 * HUGE, HUGE, 4 * HUGE + 1)).toBe(4 * HUGE + 1);
    expect([world.isHuge(4 * HUGE + 1), world.load(4 * HUGE + 6)]).toEqual([false, 7]);
    expect(world.space.rssPages).toBe(HUGE);
  });
});

describe("what mremap finds as one mapping", () => {
  it("is three that have become alike, the middle one untouched", () => {
    const world = testWorld();
    world.map(0, 16);
    world.load(0);
    world.protect(12, 2, VM_READ);
    world.store(7, 5);
    world.protect(12, 2, RW);
    expect(world.layout).toEqual([[0, 16]]);
    expect(world.move(0, 16, 40)).toBe(40);
    expect(world.load(47)).toBe(5);
  });

  it("is what a new one joins, of which the upper is untouched", () => {
    const world = testWorld();
    world.map(0, 3);
    world.unmap(1, 1);
    world.store(0, 5);
    world.map(1, 1);
    expect(world.layout).toEqual([[0, 3]]);
    expect([world.move(0, 3, 40), world.loads(40, 3)]).toEqual([40, [5, 0, 0]]);
  });

  it("is not one that grows and the one below, though they could have become one", () => {
    const world = testWorld();
    world.map(0, 4);
    world.protect(0, 2, VM_READ);
    world.store(2, 5);
    world.protect(2, 2, VM_READ);
    world.protect(0, 4, RW);
    world.store(0, 6);
    expect(resize(world, 2, 2, 3)).toBe(pageAt(2));
    expect(world.layout).toEqual([
      [0, 2],
      [2, 5],
    ]);
    expect(world.move(0, 5, 40)).toBe(-EFAULT);
  });
});

describe("mremap to another length", () => {
  it("shrinks in place, over several mappings too", () => {
    const world = filled(3);
    world.map(3, 1, VM_READ);
    expect(resize(world, 0, 4, 1)).toBe(BASE);
    expect([world.layout, world.space.rssPages]).toEqual([[[0, 1]], 1]);
  });

  it("to what it has is content", () => {
    const world = filled(2);
    const log = world.watch();
    expect([resize(world, 0, 2, 2), resize(world, 1, 1, 1), log]).toEqual([BASE, pageAt(1), []]);
  });

  it("grows in place when there is room", () => {
    const world = filled(2);
    const log = world.watch();
    expect([resize(world, 0, 2, 4), resize(world, 3, 1, 2)]).toEqual([BASE, pageAt(3)]);
    expect([world.layout, world.loads(0, 5), log]).toEqual([[[0, 5]], [10, 11, 0, 0, 0], []]);
  });

  it("moves when there is none and it may, else there is no memory", () => {
    const world = filled(2);
    world.map(2, 1, VM_READ);
    expect(resize(world, 0, 2, 3)).toBe(-ENOMEM);
    expect(world.loads(0, 2)).toEqual([10, 11]);
    expect(resize(world, 0, 2, 3, true)).toBe(pageAt(3));
    expect([world.loads(3, 3), world.load(0)]).toEqual([[10, 11, 0], -EFAULT]);
  });

  it("from the middle of a mapping cannot grow in place", () => {
    const world = filled(3);
    expect(resize(world, 0, 1, 2)).toBe(-ENOMEM);
    expect(resize(world, 0, 1, 2, true)).toBe(pageAt(3));
    expect([world.load(3), world.loads(1, 2), world.load(0)]).toEqual([10, [11, 12], -EFAULT]);
  });
});

describe("mremap refuses", () => {
  const call = (world: TestWorld, start: number, bytes: number, newBytes: number, to?: number) =>
    world.run(
      mremap(world.space, {
        start: virtAddr(start),
        bytes,
        newBytes,
        ...(to === undefined ? {} : { newStart: virtAddr(to) }),
      }),
    );

  it("addresses and lengths that are none", () => {
    const world = filled(2);
    expect([
      call(world, BASE + 1, 4096, 4096),
      call(world, BASE, 4096, 0),
      call(world, BASE, Number.NaN, 4096),
      call(world, BASE, -4096, 4096),
      call(world, BASE, 4096, 4096, BASE + 4097),
      call(world, BASE, 4096, 8192, 2 ** 32 - 4096),
      call(world, BASE, 4096, 4096, 4096),
    ]).toEqual([-EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL]);
    expect(world.loads(0, 2)).toEqual([10, 11]);
  });

  it("a new place that overlaps the old one", () => {
    const world = filled(4);
    for (const to of [0, 1, 3]) expect(world.move(1, 3, to, 3)).toBe(-EINVAL);
    expect([world.move(1, 1, 0, 2), world.loads(0, 4)]).toEqual([-EINVAL, [10, 11, 12, 13]]);
  });

  it("what is not mapped, or more than one mapping", () => {
    const world = filled(2);
    world.map(2, 2, VM_READ);
    expect([world.move(5, 1, 20), resize(world, 5, 1, 2)]).toEqual([-EFAULT, -EFAULT]);
    expect([world.move(1, 2, 20), resize(world, 1, 2, 3)]).toEqual([-EFAULT, -EFAULT]);
    expect(world.move(0, 5, 20)).toBe(-EFAULT);
    expect(world.loads(0, 2)).toEqual([10, 11]);
  });

  it("to double private memory", () => {
    const world = filled(1);
    expect([world.move(0, 0, 20, 1), resize(world, 0, 0, 1)]).toEqual([-EINVAL, -EINVAL]);
  });

  it("more than fits", () => {
    const world = filled(1);
    world.map(1, 1, VM_READ);
    expect(resize(world, 0, 1, 2 ** 20 - 1, true)).toBe(-ENOMEM);
    expect(world.load(0)).toBe(10);
  });

  it("huge pages of the pool in part, unaligned, or more of them", () => {
    const world = testWorld({ frames: hugeFrames(2), hugetlbPages: 2 });
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.store(0, 7);
    expect([world.move(1, 1, HUGE), world.move(0, HUGE, HUGE + 1)]).toEqual([-EINVAL, -EINVAL]);
    expect([resize(world, 0, HUGE, 2 * HUGE), world.move(0, HUGE, HUGE, 2 * HUGE)]).toEqual([
      -EINVAL,
      -EINVAL,
    ]);
    expect([world.move(0, HUGE, 2 * HUGE), world.load(2 * HUGE)]).toEqual([2 * HUGE, 7]);
    expect(world.memory.hugetlb.reservedCount).toBe(0);
  });
});
