import { describe, expect, it } from "vitest";
import { EBUSY, EFAULT, EINVAL, EIO, ENOMEM, EOPNOTSUPP } from "../../../src/base/index.ts";
import { DMIRROR_PROT_PMD, DMIRROR_PROT_WRITE } from "../../../src/driver/dmirror/index.ts";
import { Advice, isWritable, poisonPage, VM_READ } from "../../../src/mm/index.ts";
import { PG_HUGETLB } from "../../../src/phys/index.ts";
import { HUGE, hugeFrames, pageAt, RW, type TestWorld, testWorld } from "../test-world.ts";

const pool = (count: number): TestWorld =>
  testWorld({ frames: hugeFrames(count), hugetlbPages: count });

/** How many pages of the pool are free, promised, in use. */
const state = ({ memory: { hugetlb } }: TestWorld): number[] => [
  hugetlb.freeCount,
  hugetlb.reservedCount,
  hugetlb.inUse,
];

describe("a mapping from the pool of huge pages", () => {
  it("is promised its pages when it is made, and takes them when it is touched", () => {
    const world = pool(3);
    world.map(0, 2 * HUGE, RW, { isHugetlb: true });
    expect(state(world)).toEqual([1, 2, 0]);
    expect([world.store(5, 7), world.load(5), world.load(6)]).toEqual([0, 7, 0]);
    expect([state(world), world.isHuge(0), world.isHuge(HUGE)]).toEqual([[1, 1, 1], true, false]);
    expect(world.memory.pages.is(world.frame(5), PG_HUGETLB)).toBe(true);
    world.unmap(0, 2 * HUGE);
    expect(state(world)).toEqual([3, 0, 0]);
  });

  it("has whole huge pages only, at addresses that fit", () => {
    const world = pool(2);
    expect(world.tryMap(1, HUGE, { isHugetlb: true })).toBe(-EINVAL);
    world.map(0, 1, RW, { isHugetlb: true });
    expect([world.layout, state(world)]).toEqual([[[0, HUGE]], [1, 1, 0]]);
    const anywhere = world.tryMap(1, HUGE, { isHugetlb: true, mode: "anywhere" });
    expect(anywhere % (HUGE * 4096)).toBe(0);
  });

  it("cannot be made when too few pages are left, shared, or of something else", () => {
    const world = pool(2);
    world.map(0, HUGE, RW, { isHugetlb: true });
    expect(world.tryMap(2 * HUGE, 2 * HUGE, { isHugetlb: true })).toBe(-ENOMEM);
    expect(world.tryMap(2 * HUGE, HUGE, { isHugetlb: true, isShared: true })).toBe(-EOPNOTSUPP);
    expect([state(world), world.layout]).toEqual([[1, 1, 0], [[0, HUGE]]]);
  });

  it("takes the promise of what it replaces only after that is gone", () => {
    const world = pool(1);
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.store(0, 7);
    expect(world.tryMap(0, HUGE, { isHugetlb: true, mode: "fixed" })).toBe(pageAt(0));
    expect(state(world)).toEqual([0, 1, 0]);
    expect([world.load(0), state(world)]).toEqual([0, [0, 0, 1]]);
  });

  it("is not charged, but counts as resident", () => {
    const world = testWorld({ frames: hugeFrames(1), hugetlbPages: 1, limitPages: 1 });
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.store(0, 7);
    expect([world.memory.group.chargedPages, world.space.rssPages]).toEqual([0, HUGE]);
  });

  it("is read-only after a read, so that its first write is seen", () => {
    const world = pool(1);
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.load(5);
    expect([world.isHuge(0), isWritable(world.pte(5)), state(world)]).toEqual([
      true,
      false,
      [0, 0, 1],
    ]);
    const before = world.frame(0);
    expect([world.store(5, 7), world.frame(0)]).toEqual([0, before]);
  });

  it("is read and written by devices in place, which cannot take it", () => {
    const world = pool(1);
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.store(5, 7);
    expect([world.deviceLoad(5), world.deviceStore(5, 8), world.load(5)]).toEqual([7, 0, 8]);
    expect(world.snapshot(5, 1)).toEqual([DMIRROR_PROT_WRITE | DMIRROR_PROT_PMD]);
    expect([world.toDevice(0, 1), world.exclusive(5, 1)]).toEqual([-EINVAL, -EBUSY]);
    expect(world.isHuge(0)).toBe(true);
  });
});

describe("part of a huge page of the pool", () => {
  it("can be neither unmapped, protected, replaced nor advised on", () => {
    const world = pool(2);
    world.map(0, 2 * HUGE, RW, { isHugetlb: true });
    world.store(5, 7);
    expect([
      world.unmap(0, 1),
      world.unmap(1, HUGE),
      world.protect(0, 1, VM_READ),
      world.protect(1, 2 * HUGE - 1, VM_READ),
      world.advise(1, HUGE, Advice.dontNeed),
      world.tryMap(5, 1, { mode: "fixed" }),
      world.advise(1, 1, Advice.hugePage),
    ]).toEqual([-EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL, -EINVAL]);
    expect([world.load(5), world.isHuge(0), world.layout]).toEqual([7, true, [[0, 2 * HUGE]]]);
  });

  it("to which nothing changes may be protected", () => {
    const world = pool(1);
    world.map(0, HUGE, RW, { isHugetlb: true });
    expect(world.protect(1, 1, RW)).toBe(0);
  });

  it("at the end of a range that is not needed is kept", () => {
    const world = pool(2);
    world.map(0, 2 * HUGE, RW, { isHugetlb: true });
    for (const page of [0, HUGE]) world.store(page, 7);
    const log = world.watch();
    expect(world.advise(0, HUGE + 5, Advice.dontNeed)).toBe(0);
    expect([world.load(0), world.load(HUGE), log]).toEqual([
      0,
      7,
      [`start 1 0..${HUGE}`, `end 1 0..${HUGE}`],
    ]);
    expect(world.advise(0, 5, Advice.dontNeed)).toBe(0);
  });
});

describe("whole huge pages of the pool", () => {
  it("are unmapped and protected apart, the promises with them", () => {
    const world = pool(3);
    world.map(0, 3 * HUGE, RW, { isHugetlb: true });
    world.store(2 * HUGE, 7);
    expect([world.unmap(HUGE, HUGE), state(world)]).toEqual([0, [1, 1, 1]]);
    expect([world.protect(2 * HUGE, HUGE, VM_READ), world.store(2 * HUGE, 1)]).toEqual([
      0,
      -EFAULT,
    ]);
    expect([world.load(2 * HUGE), world.isHuge(2 * HUGE)]).toEqual([7, true]);
    world.unmap(0, HUGE);
    expect(state(world)).toEqual([2, 0, 1]);
  });

  it("take the promise along when they move", () => {
    const world = pool(2);
    world.map(0, 2 * HUGE, RW, { isHugetlb: true });
    world.store(0, 7);
    expect(world.move(0, 2 * HUGE, 4 * HUGE)).toBe(4 * HUGE);
    expect([state(world), world.load(4 * HUGE), world.isHuge(4 * HUGE)]).toEqual([
      [0, 1, 1],
      7,
      true,
    ]);
    expect([world.store(5 * HUGE, 8), state(world)]).toEqual([0, [0, 0, 2]]);
  });

  it("may be moved one without the other", () => {
    const world = pool(2);
    world.map(0, 2 * HUGE, RW, { isHugetlb: true });
    expect(world.move(HUGE, HUGE, 4 * HUGE)).toBe(4 * HUGE);
    expect([state(world), world.store(0, 1), world.store(4 * HUGE, 2)]).toEqual([[0, 2, 0], 0, 0]);
    expect(state(world)).toEqual([0, 0, 2]);
  });

  it("are broken only as a whole, which is refused", () => {
    const world = pool(1);
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.store(0, 7);
    expect(world.run(poisonPage(world.space, pageAt(3)))).toBe(-EOPNOTSUPP);
    expect([world.isHuge(0), world.load(0)]).toEqual([true, 7]);
  });
});

describe("huge pages of the pool at fork", () => {
  it("are shared until somebody writes, who takes another one from the pool", () => {
    const world = pool(2);
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.store(5, 7);
    const child = world.fork();
    expect([child.load(5), child.frame(0), state(world)]).toEqual([7, world.frame(0), [1, 0, 1]]);
    const log = child.watch();
    expect([child.store(5, 8), log]).toEqual([0, ["start 1 0..512", "end 1 0..512"]]);
    expect([world.load(5), child.load(5), child.isHuge(0)]).toEqual([7, 8, true]);
    expect(state(world)).toEqual([0, 0, 2]);
    child.leave();
    expect(state(world)).toEqual([1, 0, 1]);
  });

  it("leave the promise with the parent: the child's first touch may fail", () => {
    const world = pool(1);
    world.map(0, HUGE, RW, { isHugetlb: true });
    const child = world.fork();
    expect([child.load(0), child.store(0, 1), child.deviceLoad(0)]).toEqual([-EIO, -EIO, -EFAULT]);
    expect([world.store(0, 7), state(world)]).toEqual([0, [0, 0, 1]]);
  });

  it("are a bus error for the child that cannot get its copy", () => {
    const world = pool(1);
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.store(0, 7);
    const child = world.fork();
    expect([child.store(0, 8), child.load(0)]).toEqual([-EIO, 7]);
  });

  it("are the survivor's again, without a copy", () => {
    const world = pool(1);
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.store(0, 7);
    const frame = world.frame(0);
    world.fork().leave();
    expect([world.store(0, 8), world.frame(0)]).toEqual([0, frame]);
  });
});
