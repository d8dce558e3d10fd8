import { describe, expect, it } from "vitest";
import { EACCES, EEXIST, EFAULT, EINVAL, ENOMEM, virtAddr } from "../../../src/base/index.ts";
import {
  MapMode,
  MMAP_MIN_ADDR,
  mmap,
  mprotect,
  munmap,
  VM_EXEC,
  VM_READ,
  VM_SHARED,
} from "../../../src/mm/index.ts";
import { BASE, bytesOf, HUGE, hugeFrames, RW, type TestWorld, testWorld } from "../test-world.ts";

const TOP = 2 ** 32;

/** Three mappings: read-write 0..2, read-only 2..4, a hole, read-write 5..6; 0 and 5 are written. */
function patchwork(): TestWorld {
  const world = testWorld();
  world.map(0, 2);
  world.map(2, 2, VM_READ);
  world.map(5, 1);
  for (const page of [0, 5]) world.store(page, 7);
  return world;
}

/** Nothing has changed. */
function isUntouched(world: TestWorld): void {
  expect(world.layout).toEqual([
    [0, 2],
    [2, 4],
    [5, 6],
  ]);
  expect([world.load(0), world.load(5), world.store(2, 1), world.load(4)]).toEqual([
    7,
    7,
    -EFAULT,
    -EFAULT,
  ]);
}

describe("munmap", () => {
  const call = (world: TestWorld, start: number, bytes: number): number =>
    world.run(munmap(world.space, virtAddr(start), bytes));

  it.each([
    ["an unaligned start", BASE + 1, 4096],
    ["no length", BASE, 0],
    ["a negative length", BASE, -4096],
    ["a length that is no number", BASE, Number.NaN],
    ["a length without end", BASE, Number.POSITIVE_INFINITY],
    ["what leaves the space", TOP - 4096, 8192],
    ["what begins behind the space", TOP, 4096],
  ])("refuses %s", (_what, start, bytes) => {
    const world = patchwork();
    expect(call(world, start, bytes)).toBe(-EINVAL);
    isUntouched(world);
  });

  it("rounds the length up, and takes holes and several mappings", () => {
    const world = patchwork();
    expect(call(world, BASE + bytesOf(1), bytesOf(4) + 1)).toBe(0);
    expect([world.layout, world.load(0)]).toEqual([[[0, 1]], 7]);
  });

  it("takes all there is", () => {
    const world = patchwork();
    expect([call(world, 0, TOP), world.layout, world.space.rssPages]).toEqual([0, [], 0]);
  });
});

describe("mprotect", () => {
  const call = (world: TestWorld, start: number, bytes: number, access = RW): number =>
    world.run(mprotect(world.space, virtAddr(start), bytes, access));

  it.each([
    ["an unaligned start", BASE + 1, 4096, RW, -EINVAL],
    ["a right that is none", BASE, 4096, VM_SHARED, -EINVAL],
    ["rights with one that is none", BASE, 4096, RW | VM_SHARED, -EINVAL],
    ["a negative length", BASE, -4096, RW, -ENOMEM],
    ["what leaves the space", TOP - 4096, 8192, RW, -ENOMEM],
    ["what is not mapped", BASE + bytesOf(10), 4096, RW, -ENOMEM],
    ["what begins in a hole", BASE + bytesOf(4), bytesOf(2), VM_READ, -ENOMEM],
  ])("refuses %s", (_what, start, bytes, access, errno) => {
    const world = patchwork();
    expect(call(world, start, bytes, access)).toBe(errno);
    isUntouched(world);
  });

  it("changes what lies before a hole, and says so", () => {
    const world = patchwork();
    expect(call(world, BASE, bytesOf(6), VM_READ)).toBe(-ENOMEM);
    expect([world.store(0, 1), world.store(5, 8), world.layout]).toEqual([
      -EFAULT,
      0,
      [
        [0, 2],
        [2, 4],
        [5, 6],
      ],
    ]);
  });

  it("of nothing is content, wherever", () => {
    const world = patchwork();
    const log = world.watch();
    expect([call(world, BASE, 0), call(world, 0, 0), log]).toEqual([0, 0, []]);
  });

  it("to the rights that are there tells nobody", () => {
    const world = patchwork();
    const log = world.watch();
    expect([call(world, BASE, bytesOf(2)), call(world, BASE + bytesOf(2), 1, VM_READ)]).toEqual([
      0, 0,
    ]);
    expect(log).toEqual([]);
  });

  it("stops at the first mapping that may not have the right", () => {
    const world = testWorld();
    const file = world.file(1);
    world.map(0, 1, VM_READ);
    world.map(1, 1, VM_READ, { file, isShared: true, isReadOnlyFile: true });
    world.map(2, 1, VM_READ);
    expect(call(world, BASE, bytesOf(3))).toBe(-EACCES);
    expect([0, 1, 2].map((page) => world.store(page, 1))).toEqual([0, -EFAULT, -EFAULT]);
    expect(call(world, BASE + bytesOf(1), 1, VM_READ | VM_EXEC)).toBe(0);
  });
});

describe("mmap", () => {
  const call = (world: TestWorld, start: number, bytes: number, mode: MapMode = MapMode.fixed) =>
    world.run(mmap(world.space, { start: virtAddr(start), bytes, flags: RW, mode }));

  it.each([
    ["no length", BASE, 0, -EINVAL],
    ["a length that is not whole pages", BASE, 100, -EINVAL],
    ["a negative length", BASE, -4096, -EINVAL],
    ["a length without end", BASE, Number.POSITIVE_INFINITY, -EINVAL],
    ["an unaligned place", BASE + 1, 4096, -EINVAL],
    ["a place too low", MMAP_MIN_ADDR - 4096, 8192, -ENOMEM],
    ["what leaves the space", TOP - 4096, 8192, -ENOMEM],
    ["what begins behind the space", TOP, 4096, -ENOMEM],
  ])("refuses %s", (_what, start, bytes, errno) => {
    const world = patchwork();
    expect(call(world, start, bytes)).toBe(errno);
    isUntouched(world);
  });

  it("of a place that is taken in part is refused when it may not replace", () => {
    const world = patchwork();
    for (const [page, count] of [
      [0, 1],
      [4, 2],
      [3, 2],
      [-1, 8],
    ] as const) {
      expect(call(world, BASE + bytesOf(page), bytesOf(count), MapMode.noReplace)).toBe(-EEXIST);
    }
    isUntouched(world);
  });

  it("replaces several mappings and holes at once, telling devices once", () => {
    const world = patchwork();
    world.deviceLoad(0);
    const log = world.watch();
    expect(call(world, BASE, bytesOf(6))).toBe(BASE);
    expect(log).toEqual(["start 0 0..6", "end 0 0..6"]);
    expect([world.layout, world.load(0), world.deviceLoad(5)]).toEqual([[[0, 6]], 0, 0]);
  });

  it("has nothing left to give when the space is full", () => {
    const world = testWorld();
    const bytes = TOP - MMAP_MIN_ADDR;
    expect(call(world, MMAP_MIN_ADDR, bytes, MapMode.noReplace)).toBe(MMAP_MIN_ADDR);
    expect(call(world, BASE, 4096, MapMode.anywhere)).toBe(-ENOMEM);
    expect(world.run(munmap(world.space, virtAddr(TOP - 8192), 4096))).toBe(0);
    expect(call(world, BASE, 4096, MapMode.anywhere)).toBe(TOP - 8192);
    expect(world.run(munmap(world.space, virtAddr(0), TOP))).toBe(0);
  });

  it("of huge pages of the pool fails over part of another, which stays", () => {
    const world = testWorld({ frames: hugeFrames(2), hugetlbPages: 2 });
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.store(0, 7);
    expect(call(world, BASE + bytesOf(HUGE - 1), bytesOf(2))).toBe(-EINVAL);
    expect([world.load(0), world.layout]).toEqual([7, [[0, HUGE]]]);
  });
});
