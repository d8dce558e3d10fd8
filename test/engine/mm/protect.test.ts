import { describe, expect, it } from "vitest";
import { EINVAL, ENOMEM, virtAddr } from "../../../src/base/index.ts";
import {
  isWritable,
  madviseDontNeed,
  mprotect,
  PTE_DEVICE_PRIVATE,
  PTE_PROTNONE,
  PTE_VALID,
  PTE_WRITE,
  ptePfn,
  VM_ACCESS,
  VM_READ,
} from "../../../src/mm/index.ts";
import { PG_DUPLICATED } from "../../../src/phys/index.ts";
import { BASE, bytesOf, pageAt, RW, type TestWorld, testWorld } from "../test-world.ts";

const protect = (world: TestWorld, page: number, count: number, access: number) =>
  world.run(mprotect(world.space, pageAt(page), bytesOf(count), access));

const vmasOf = (world: TestWorld) =>
  world.space.vmas.all.map(({ start, end, flags }) => [
    (start - BASE) / 4096,
    (end - BASE) / 4096,
    flags & VM_ACCESS,
  ]);

describe("mprotect", () => {
  it("takes write rights from CPUs and devices, and gives them back", () => {
    const world = testWorld();
    world.map(0, 1);
    expect([world.store(0, 5), world.deviceStore(0, 6)]).toEqual([0, 0]);
    const log = world.watch();
    expect(protect(world, 0, 1, VM_READ)).toBe(0);
    world.check();
    expect(log).toEqual(["start 2 0..1", "end 2 0..1"]);
    expect([world.load(0), world.store(0, 7), world.deviceStore(0, 7)]).toEqual([6, -14, -1]);
    expect(protect(world, 0, 1, RW)).toBe(0);
    expect([isWritable(world.pte(0)), world.store(0, 7), world.deviceStore(0, 8)]).toEqual([
      true,
      0,
      0,
    ]);
    expect(world.load(0)).toBe(8);
  });

  it("locks pages out without losing them", () => {
    const world = testWorld();
    world.map(0, 2);
    world.store(0, 5);
    world.load(1);
    expect(protect(world, 0, 2, 0)).toBe(0);
    expect([world.load(0), world.load(1), world.pte(0) & 0xff]).toEqual([-14, -14, PTE_PROTNONE]);
    expect(world.space.rssPages).toBe(1);
    protect(world, 0, 2, RW);
    expect([world.load(0), world.load(1)]).toEqual([5, 0]);
    expect(world.pte(1) & 0xff).toBe(PTE_VALID);
  });

  it("gives no write right to the zero page or to a page with copies", () => {
    const world = testWorld();
    world.map(0, 2, VM_READ);
    world.load(0);
    protect(world, 1, 1, RW);
    world.store(1, 5);
    protect(world, 1, 1, VM_READ);
    world.memory.pages.setFlag(ptePfn(world.pte(1)), PG_DUPLICATED);
    protect(world, 0, 2, RW);
    world.check();
    expect([isWritable(world.pte(0)), isWritable(world.pte(1))]).toEqual([false, false]);
    expect([world.store(0, 1), world.store(1, 2)]).toEqual([0, 0]);
  });

  it("takes the write right of a page that lives on a device", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 5);
    world.toDevice(0, 1);
    expect(world.pte(0) & 0xff).toBe(PTE_DEVICE_PRIVATE | PTE_WRITE);
    protect(world, 0, 1, VM_READ);
    world.check();
    expect(world.pte(0) & 0xff).toBe(PTE_DEVICE_PRIVATE);
    expect([world.deviceStore(0, 6), world.load(0), world.store(0, 7)]).toEqual([-14, 5, -14]);
  });

  it("splits and merges Vmas", () => {
    const world = testWorld();
    world.map(0, 4);
    protect(world, 1, 2, VM_READ);
    expect(vmasOf(world)).toEqual([
      [0, 1, RW],
      [1, 3, VM_READ],
      [3, 4, RW],
    ]);
    protect(world, 0, 4, VM_READ);
    expect(vmasOf(world)).toEqual([[0, 4, VM_READ]]);
  });

  it("changes what lies before a hole, as Linux does, and says so", () => {
    const world = testWorld();
    world.map(0, 1);
    world.map(2, 1);
    expect(protect(world, 0, 3, VM_READ)).toBe(-ENOMEM);
    expect(vmasOf(world)).toEqual([
      [0, 1, VM_READ],
      [2, 3, RW],
    ]);
    expect([protect(world, 1, 1, RW), protect(world, 2, 2, RW)]).toEqual([-ENOMEM, -ENOMEM]);
  });

  it("refuses an odd start and odd rights, takes whole pages, and does nothing for no length", () => {
    const world = testWorld();
    world.map(0, 2);
    const call = (start: number, bytes: number) =>
      world.run(mprotect(world.space, virtAddr(start), bytes, VM_READ));
    expect([call(BASE + 1, 4096), call(BASE, 0), call(2 ** 32 - 4096, 8192)]).toEqual([
      -EINVAL,
      0,
      -ENOMEM,
    ]);
    expect(call(BASE, 1)).toBe(0);
    expect([protect(world, 0, 1, 8), protect(world, 0, 1, -1)]).toEqual([-EINVAL, -EINVAL]);
    expect(vmasOf(world)).toEqual([
      [0, 1, VM_READ],
      [1, 2, RW],
    ]);
  });

  it("tells nobody when the rights stay as they are", () => {
    const world = testWorld();
    world.map(0, 2);
    const log = world.watch();
    expect([protect(world, 0, 2, RW), log]).toEqual([0, []]);
  });
});

describe("madvise DONTNEED", () => {
  const dontNeed = (world: TestWorld, page: number, count: number) =>
    world.run(madviseDontNeed(world.space, pageAt(page), bytesOf(count)));

  it("forgets contents and keeps the mapping, wherever the pages live", () => {
    const world = testWorld();
    world.map(0, 3);
    for (const page of [0, 1, 2]) world.store(page, 9);
    world.toDevice(1, 1);
    world.deviceLoad(0);
    const log = world.watch();
    expect(dontNeed(world, 0, 2)).toBe(0);
    world.check();
    expect(log).toEqual(["start 1 0..2", "end 1 0..2"]);
    expect([0, 1, 2].map((page) => world.load(page))).toEqual([0, 0, 9]);
    expect([world.deviceLoad(0), world.space.rssPages]).toEqual([0, 1]);
  });

  it("does what it can over a hole and says so", () => {
    const world = testWorld();
    world.map(0, 1);
    world.map(2, 1);
    for (const page of [0, 2]) world.store(page, 9);
    expect(dontNeed(world, 0, 3)).toBe(-ENOMEM);
    expect([world.load(0), world.load(2)]).toEqual([0, 0]);
    expect(world.run(madviseDontNeed(world.space, virtAddr(BASE + 1), 4096))).toBe(-EINVAL);
    expect(dontNeed(world, 0, 0)).toBe(0);
  });
});
