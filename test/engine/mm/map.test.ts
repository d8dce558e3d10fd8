import { describe, expect, it } from "vitest";
import { EEXIST, EINVAL, ENOMEM, virtAddr } from "../../../src/base/index.ts";
import { MapMode, MMAP_BASE, MMAP_MIN_ADDR, mmap, munmap, VM_READ } from "../../../src/mm/index.ts";
import { bytesOf, pageAt, RW, type TestWorld, testWorld } from "../test-world.ts";

const place = (world: TestWorld, page: number, count: number, mode?: MapMode, flags = RW) =>
  world.run(
    mmap(world.space, {
      start: pageAt(page),
      bytes: bytesOf(count),
      flags,
      ...(mode === undefined ? {} : { mode }),
    }),
  );

describe("mmap", () => {
  it("finds a place above the base, or takes the hint when it is free", () => {
    const world = testWorld();
    const anywhere = () => world.run(mmap(world.space, { bytes: bytesOf(2), flags: RW }));
    expect([anywhere(), anywhere()]).toEqual([MMAP_BASE, MMAP_BASE + bytesOf(2)]);
    expect(place(world, 100, 2)).toBe(pageAt(100));
    expect(place(world, 101, 2)).toBe(MMAP_BASE + bytesOf(4));
  });

  it("refuses what makes no sense", () => {
    const world = testWorld();
    const call = (start: number | undefined, bytes: number, mode: MapMode = MapMode.fixed) =>
      world.run(
        mmap(world.space, {
          bytes,
          flags: RW,
          mode,
          ...(start === undefined ? {} : { start: virtAddr(start) }),
        }),
      );
    const good = pageAt(0);
    expect([call(good, 0), call(good, -4096), call(good, 100), call(good, Number.NaN)]).toEqual([
      -EINVAL,
      -EINVAL,
      -EINVAL,
      -EINVAL,
    ]);
    expect([call(good + 1, 4096), call(undefined, 4096)]).toEqual([-EINVAL, -EINVAL]);
    expect([call(0, 4096), call(MMAP_MIN_ADDR - 4096, 4096)]).toEqual([-ENOMEM, -ENOMEM]);
    expect([call(2 ** 32 - 4096, 8192), call(2 ** 32 - 4096, 4096)]).toEqual([
      -ENOMEM,
      2 ** 32 - 4096,
    ]);
    expect(call(undefined, 2 ** 32, MapMode.anywhere)).toBe(-ENOMEM);
  });

  it("does not replace what is there unless it is told to", () => {
    const world = testWorld();
    world.map(0, 2);
    world.store(1, 7);
    expect(place(world, 1, 2, MapMode.noReplace)).toBe(-EEXIST);
    expect(world.load(1)).toBe(7);
    expect(place(world, 1, 2, MapMode.fixed, VM_READ)).toBe(pageAt(1));
    expect([world.load(1), world.load(0)]).toEqual([0, 0]);
    expect(world.space.vmas.all.map(({ start }) => start)).toEqual([pageAt(0), pageAt(1)]);
  });

  it("merges with neighbours of the same rights", () => {
    const world = testWorld();
    world.map(0, 1);
    world.map(2, 1);
    world.map(1, 1);
    world.map(3, 1, VM_READ);
    expect(world.space.vmas.all.map(({ start, end }) => [start, end])).toEqual([
      [pageAt(0), pageAt(3)],
      [pageAt(3), pageAt(4)],
    ]);
  });
});

describe("munmap", () => {
  const unmap = (world: TestWorld, start: number, bytes: number) =>
    world.run(munmap(world.space, virtAddr(start), bytes));

  it("takes pages, frames and rights away, in the middle too", () => {
    const world = testWorld();
    world.map(0, 4);
    for (const page of [0, 1, 2, 3]) world.store(page, page + 1);
    world.toDevice(2, 1);
    expect(unmap(world, pageAt(1), bytesOf(2))).toBe(0);
    expect([0, 1, 2, 3].map((page) => world.load(page))).toEqual([1, -14, -14, 4]);
    expect([world.space.rssPages, world.memory.group.chargedPages]).toEqual([2, 2]);
    expect(world.device.pagemap.zone.usedCount).toBe(0);
  });

  it("tells devices inside one invalidation, and they lose what they had", () => {
    const world = testWorld();
    world.map(0, 4);
    world.store(0, 1);
    world.deviceLoad(0);
    const log = world.watch();
    expect(unmap(world, pageAt(0), bytesOf(8))).toBe(0);
    expect([log, world.deviceEntry(0), world.deviceLoad(0)]).toEqual([
      ["start 0 0..8", "end 0 0..8"],
      0,
      -14,
    ]);
  });

  it("is content where nothing is, tells nobody, and refuses what makes no sense", () => {
    const world = testWorld();
    const log = world.watch();
    expect(unmap(world, pageAt(0), bytesOf(1))).toBe(0);
    expect([unmap(world, pageAt(0) + 1, 4096), unmap(world, pageAt(0), 0)]).toEqual([
      -EINVAL,
      -EINVAL,
    ]);
    expect(unmap(world, 2 ** 32 - 4096, 8192)).toBe(-EINVAL);
    expect(log).toEqual([]);
  });

  it("takes whole pages for a length that is not", () => {
    const world = testWorld();
    world.map(0, 3);
    unmap(world, pageAt(0), 4097);
    expect([world.load(1), world.load(2)]).toEqual([-14, 0]);
  });
});
