import { describe, expect, it } from "vitest";
import { EFAULT, ENOMEM } from "../../../src/base/index.ts";
import { DMIRROR_PROT_PMD, DMIRROR_PROT_WRITE } from "../../../src/driver/dmirror/index.ts";
import { Advice, isDevicePrivate, isWritable, unpinPages, VM_READ } from "../../../src/mm/index.ts";
import { PG_LARGE, ZERO_PFN } from "../../../src/phys/index.ts";
import { HUGE, hugeFrames, RW, type TestWorld, testWorld } from "../test-world.ts";

/** One huge page, written: page 5 has 7. */
function huge(count = 1, options = {}): TestWorld {
  const world = testWorld({ frames: hugeFrames(count), hugePages: "always", ...options });
  world.map(0, HUGE);
  world.store(5, 7);
  expect(world.isHuge(0)).toBe(true);
  return world;
}

const isLarge = (world: TestWorld, page: number): boolean =>
  world.memory.pages.is(world.frame(page), PG_LARGE);

describe("a huge page", () => {
  it("comes with the first write to 2 MiB that have nothing yet", () => {
    const world = huge();
    expect([world.load(5), world.load(6), world.space.rssPages]).toEqual([7, 0, HUGE]);
    expect([world.memory.group.chargedPages, world.count("mm:huge-fault")]).toEqual([HUGE, 1]);
    expect([world.frame(0) % HUGE, world.frame(511) - world.frame(0)]).toEqual([0, 511]);
  });

  it("is shown to devices as one", () => {
    const world = huge();
    const one = DMIRROR_PROT_WRITE | DMIRROR_PROT_PMD;
    expect([...new Set(world.snapshot(0, HUGE))]).toEqual([one]);
    expect([world.deviceLoad(5), world.deviceStore(6, 8), world.load(6)]).toEqual([7, 0, 8]);
  });

  it("is the huge zero page for readers, and one small page for the first writer", () => {
    const world = testWorld({ hugePages: "always" });
    world.map(0, HUGE);
    expect([world.load(3), world.isHuge(0), world.frame(511)]).toEqual([0, true, ZERO_PFN]);
    expect(world.space.rssPages).toBe(0);
    const log = world.watch();
    expect(world.store(3, 7)).toBe(0);
    expect(log).toEqual(["start 1 0..512", "end 1 0..512", "start 1 3..4", "end 1 3..4"]);
    expect([world.isHuge(0), world.space.rssPages, world.load(4)]).toEqual([false, 1, 0]);
  });

  it("appears only where it is welcome, fits, and nothing has been", () => {
    const world = testWorld({ frames: hugeFrames(4), hugePages: "madvise" });
    world.map(0, 4 * HUGE);
    world.store(0, 1);
    world.advise(HUGE, 3 * HUGE, Advice.hugePage);
    world.unmap(3 * HUGE - 1, 1);
    for (const page of [HUGE, 2 * HUGE, 3 * HUGE]) world.store(page, 1);
    expect([0, HUGE, 2 * HUGE, 3 * HUGE].map((page) => world.isHuge(page))).toEqual([
      false,
      true,
      false,
      true,
    ]);
    world.advise(0, HUGE, Advice.hugePage);
    world.store(1, 1);
    expect(world.isHuge(0)).toBe(false);
  });

  it("does not appear where huge pages are unwanted, or where the policy is never", () => {
    const world = testWorld({ frames: hugeFrames(1), hugePages: "always" });
    world.map(0, HUGE);
    world.advise(0, HUGE, Advice.noHugePage);
    world.store(0, 1);
    expect(world.isHuge(0)).toBe(false);
    const never = testWorld({ frames: hugeFrames(1), hugePages: "never" });
    never.map(0, HUGE);
    never.advise(0, HUGE, Advice.hugePage);
    never.store(0, 1);
    expect(never.isHuge(0)).toBe(false);
  });

  it("is a small one when there is no room for it, or nobody pays for it all", () => {
    for (const options of [{ frames: 64 }, { frames: hugeFrames(1), limitPages: HUGE - 1 }]) {
      const world = testWorld({ hugePages: "always", ...options });
      world.map(0, HUGE);
      expect([world.store(0, 1), world.isHuge(0), world.memory.ram.usedCount]).toEqual([
        0,
        false,
        1,
      ]);
    }
  });
});

describe("part of a huge page", () => {
  it("is unmapped without the rest, which stays as small entries", () => {
    const world = huge();
    world.deviceLoad(5);
    world.deviceLoad(300);
    const log = world.watch();
    expect(world.unmap(256, 256)).toBe(0);
    expect(log).toEqual(["start 1 0..512", "end 1 0..512", "start 0 256..512", "end 0 256..512"]);
    world.check();
    expect([world.isHuge(0), world.load(5), world.load(300), world.space.rssPages]).toEqual([
      false,
      7,
      -EFAULT,
      256,
    ]);
    expect([world.deviceLoad(5), world.deviceLoad(300), isLarge(world, 5)]).toEqual([
      7,
      -EFAULT,
      true,
    ]);
    // One allocation, until it is taken apart.
    expect(world.memory.ram.usedCount).toBe(HUGE);
    world.unmap(0, 256);
    expect(world.memory.ram.usedCount).toBe(0);
  });

  it("is protected without the rest", () => {
    const world = huge();
    world.deviceStore(5, 8);
    world.deviceStore(300, 9);
    expect(world.protect(256, 256, VM_READ)).toBe(0);
    world.check();
    expect([world.store(300, 1), world.store(5, 10), world.deviceStore(300, 1)]).toEqual([
      -EFAULT,
      0,
      -1,
    ]);
    expect([world.deviceLoad(5), world.deviceLoad(300)]).toEqual([10, 9]);
    world.protect(256, 256, RW);
    expect([world.store(300, 2), world.count("mm:cow"), world.layout]).toEqual([0, 0, [[0, HUGE]]]);
  });

  it("is given up without the rest", () => {
    const world = huge();
    world.store(300, 9);
    world.deviceLoad(300);
    world.advise(256, 256, Advice.dontNeed);
    world.check();
    expect([world.load(5), world.load(300), world.deviceLoad(300)]).toEqual([7, 0, 0]);
    expect(world.space.rssPages).toBe(256);
  });

  it("keeps the whole where all of it is protected or given up", () => {
    const world = huge();
    world.protect(0, HUGE, VM_READ);
    expect([world.isHuge(0), isWritable(world.pte(5))]).toEqual([true, false]);
    world.protect(0, HUGE, RW);
    expect([world.store(5, 8), world.isHuge(0)]).toEqual([0, true]);
    world.advise(0, HUGE, Advice.dontNeed);
    expect([world.space.rssPages, world.memory.ram.usedCount]).toEqual([0, 0]);
    expect([world.store(5, 9), world.isHuge(0)]).toEqual([0, true]);
  });

  it("can be replaced, moved or guarded alone", () => {
    const world = huge(1);
    world.move(5, 1, 2 * HUGE);
    world.advise(6, 1, Advice.guardInstall);
    world.tryMap(7, 1, { mode: "fixed" });
    expect([world.load(2 * HUGE), world.load(6), world.load(7), world.load(5)]).toEqual([
      7,
      -EFAULT,
      0,
      -EFAULT,
    ]);
    expect(world.store(8, 3)).toBe(0);
    expect(world.space.rssPages).toBe(HUGE - 2);
  });

  it("goes to a device, when the large page has been taken apart; zeros stay behind", () => {
    const world = huge();
    world.store(6, 8);
    expect(world.toDevice(5, 1)).toBe(0);
    world.check();
    expect([isDevicePrivate(world.pte(5)), isLarge(world, 6), world.isHuge(0)]).toEqual([
      true,
      false,
      false,
    ]);
    expect([world.frame(100), world.space.rssPages]).toEqual([ZERO_PFN, 2]);
    expect([world.load(5), world.load(6), world.load(100)]).toEqual([7, 8, 0]);
    expect(world.memory.ram.usedCount).toBe(2);
  });

  it("does not go while any of it is pinned or shared in part", () => {
    const world = huge();
    const pinned = world.pin(400, 1, false);
    expect(world.toDevice(5, 1)).toBeLessThan(0);
    world.check();
    expect([isDevicePrivate(world.pte(5)), world.isHuge(0)]).toEqual([false, true]);
    unpinPages(pinned);
    expect([world.toDevice(5, 1), world.load(5)]).toEqual([0, 7]);
  });

  it("is exclusive to a device alone", () => {
    const world = huge();
    expect([world.exclusive(5, 1), world.isHuge(0)]).toEqual([0, false]);
    world.check();
    expect([world.store(6, 8), world.count("mm:restore-exclusive")]).toEqual([0, 0]);
    expect([world.load(5), world.count("mm:restore-exclusive")]).toEqual([7, 1]);
  });
});

describe("a huge page and fork", () => {
  it("is shared as one until somebody writes, who copies the small page only", () => {
    const world = huge();
    const child = world.fork();
    expect([child.isHuge(0), child.space.rssPages, child.load(5)]).toEqual([true, HUGE, 7]);
    expect([child.store(5, 8), child.isHuge(0), world.isHuge(0)]).toEqual([0, false, true]);
    expect([world.load(5), child.load(5), world.memory.ram.usedCount]).toEqual([7, 8, HUGE + 1]);
  });

  it("may be written as one again when the child is gone", () => {
    const world = huge();
    world.fork().leave();
    const before = world.frame(0);
    expect([world.store(5, 8), world.isHuge(0), world.frame(0)]).toEqual([0, true, before]);
  });

  it("is copied in part when part of it is pinned", () => {
    const world = huge();
    const pinned = world.pin(5, 1, true);
    const child = world.fork();
    world.check();
    world.store(5, 8);
    expect(world.memory.bytes.loadWord(pinned.frames[0]!, 0)).toBe(8);
    expect([child.load(5), world.isHuge(0), child.frame(6)]).toEqual([7, false, world.frame(6)]);
    unpinPages(pinned);
  });

  it("goes to a device only when both let go of it, and then for both", () => {
    const world = huge();
    const child = world.fork();
    expect([world.toDevice(5, 1), isDevicePrivate(child.pte(5))]).toEqual([0, true]);
    world.check();
    expect([child.load(5), world.load(5), child.isHuge(0)]).toEqual([7, 7, false]);
  });

  it("of zeros is shared, too", () => {
    const world = testWorld({ hugePages: "always" });
    world.map(0, HUGE);
    world.load(0);
    const child = world.fork();
    expect([child.isHuge(0), child.frame(5), child.store(5, 1)]).toEqual([true, ZERO_PFN, 0]);
    expect([world.load(5), child.load(5)]).toEqual([0, 1]);
  });
});

describe("no memory for the copy of a huge page's part", () => {
  it("is told to who writes, and nothing else has changed", () => {
    const world = huge(1, { limitPages: HUGE });
    const child = world.fork();
    expect([child.store(5, 8), child.load(5), world.load(5)]).toEqual([-ENOMEM, 7, 7]);
  });
});
