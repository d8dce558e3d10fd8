import { describe, expect, it } from "vitest";
import { EFAULT } from "../../../src/base/index.ts";
import {
  isWritable,
  PTE_PROTNONE,
  PTE_VALID,
  ptePfn,
  unpinPages,
  VM_READ,
} from "../../../src/mm/index.ts";
import { ZERO_PFN } from "../../../src/phys/index.ts";
import {
  HUGE,
  hugeFrames,
  RW,
  TestBacking,
  type TestProcess,
  type TestWorld,
  testWorld,
} from "../test-world.ts";

/** Pages 0 to `count` - 1, written with 10, 11, … */
function filled(count: number, options = {}): TestWorld {
  const world = testWorld(options);
  world.map(0, count);
  for (let page = 0; page < count; page++) world.store(page, 10 + page);
  return world;
}

const isLockedOut = (world: TestProcess, page: number): boolean =>
  (world.pte(page) & (PTE_PROTNONE | PTE_VALID)) === PTE_PROTNONE;

describe("a page that NUMA balancing wants to hear of", () => {
  it("keeps its frame, and the next touch lets the CPU in again", () => {
    const world = filled(2);
    const frame = world.frame(0);
    const log = world.watch();
    expect([world.lockOut(0, 2), log]).toEqual([2, ["start 2 0..2", "end 2 0..2"]]);
    world.check();
    expect([isLockedOut(world, 0), world.frame(0), world.space.rssPages]).toEqual([true, frame, 2]);
    expect([world.load(0), isWritable(world.pte(0)), isLockedOut(world, 1)]).toEqual([
      10,
      true,
      true,
    ]);
    expect([world.store(1, 7), log.length, world.count("mm:cow")]).toEqual([0, 2, 0]);
  });

  it("is not there for a device that looks, and faulted in for one that asks", () => {
    const world = filled(2);
    world.deviceLoad(0);
    world.lockOut(0, 2);
    expect([world.snapshot(0, 2), world.deviceEntry(0)]).toEqual([[0, 0], 0]);
    expect([world.deviceLoad(0), world.deviceStore(1, 7)]).toEqual([10, 0]);
    expect([isLockedOut(world, 0), isLockedOut(world, 1), world.load(1)]).toEqual([
      false,
      false,
      7,
    ]);
  });

  it("is counted once: who is locked out already is not again", () => {
    const world = filled(2);
    expect([world.lockOut(0, 1), world.lockOut(0, 2), world.lockOut(0, 2)]).toEqual([1, 1, 0]);
  });

  it("may be pinned or exclusive to a device, after a fault", () => {
    const world = filled(2);
    world.lockOut(0, 2);
    const pinned = world.pin(0, 1, true);
    expect([isLockedOut(world, 0), world.exclusive(1, 1)]).toEqual([false, 0]);
    unpinPages(pinned);
  });

  it("moves to a device as if nothing were", () => {
    const world = filled(1);
    world.lockOut(0, 1);
    expect([world.toDevice(0, 1), world.deviceLoad(0)]).toEqual([0, 10]);
    expect([world.load(0), world.store(0, 7)]).toEqual([10, 0]);
  });

  it("is the child's, too, and both fault it in and write apart", () => {
    const world = filled(1);
    world.lockOut(0, 1);
    const child = world.fork();
    expect([isLockedOut(child, 0), child.load(0), world.load(0)]).toEqual([true, 10, 10]);
    child.store(0, 7);
    expect([world.load(0), child.load(0)]).toEqual([10, 7]);
  });

  it("that is shared after fork stays read-only when it is let in", () => {
    const world = filled(1);
    world.lockOut(0, 1);
    world.fork();
    world.load(0);
    expect([isLockedOut(world, 0), isWritable(world.pte(0))]).toEqual([false, false]);
  });

  it("keeps to what its mapping allows", () => {
    const world = filled(2);
    world.lockOut(0, 2);
    world.protect(0, 1, VM_READ);
    world.protect(1, 1, 0);
    expect([world.load(0), world.store(0, 1), world.load(1)]).toEqual([10, -EFAULT, -EFAULT]);
    world.protect(0, 2, RW);
    expect([world.store(0, 5), world.load(1)]).toEqual([0, 11]);
  });

  it("of a file that is written back faults once more for its first write", () => {
    const world = testWorld();
    const file = world.file(1, new TestBacking(1));
    world.map(0, 1, RW, { file, isShared: true });
    world.store(0, 7);
    world.run(file.sync());
    world.lockOut(0, 1);
    expect([world.load(0), isWritable(world.pte(0))]).toEqual([7, false]);
    expect([world.store(0, 8), file.isDirty(world.frame(0)), world.run(file.sync())]).toEqual([
      0,
      true,
      1,
    ]);
  });
});

describe("what NUMA balancing leaves alone", () => {
  it("is the zero page, and what is not there for the CPU", () => {
    const world = filled(2);
    world.map(2, 2);
    world.load(2);
    world.toDevice(0, 1);
    world.exclusive(1, 1);
    expect([world.lockOut(0, 4), world.frame(2)]).toEqual([0, ZERO_PFN]);
    expect([world.pte(3), world.loads(0, 2)]).toEqual([0, [10, 11]]);
  });

  it("is what several share after fork, until one has its own", () => {
    const world = filled(2);
    const child = world.fork();
    expect([world.lockOut(0, 2), child.lockOut(0, 2)]).toEqual([0, 0]);
    child.store(1, 7);
    expect([world.lockOut(0, 2), child.lockOut(0, 2)]).toEqual([1, 1]);
    expect([world.load(1), child.load(1)]).toEqual([11, 7]);
  });

  it("is memory that nobody may read", () => {
    const world = filled(1);
    world.map(5, 1);
    world.store(5, 7);
    world.protect(5, 1, 0);
    const log = world.watch();
    expect([world.lockOut(0, 6), log]).toEqual([1, ["start 2 0..1", "end 2 0..1"]]);
    world.protect(5, 1, RW);
    expect(world.load(5)).toBe(7);
  });

  it("is part of a huge page, but not the whole", () => {
    const world = testWorld({ frames: hugeFrames(1), hugePages: "always" });
    world.map(0, HUGE);
    world.store(5, 7);
    expect([world.lockOut(0, 5), world.lockOut(0, HUGE)]).toEqual([0, HUGE]);
    expect([isLockedOut(world, 5), world.isHuge(0), ptePfn(world.pte(5)) > 0]).toEqual([
      true,
      true,
      true,
    ]);
    expect([world.deviceLoad(5), world.isHuge(0), isLockedOut(world, 6)]).toEqual([7, true, false]);
    expect([world.store(6, 8), world.load(6)]).toEqual([0, 8]);
  });
});
