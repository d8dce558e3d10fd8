import { describe, expect, it } from "vitest";
import { EACCES, EFAULT, EINVAL, EIO, ENOMEM, virtAddr } from "../../../src/base/index.ts";
import {
  Advice,
  isWritable,
  MM_SWAPENTS,
  madvise,
  SPECIAL_GUARD,
  SwapArea,
  VM_HUGEPAGE,
  VM_NOHUGEPAGE,
  VM_READ,
} from "../../../src/mm/index.ts";
import { ZERO_PFN } from "../../../src/phys/index.ts";
import { BASE, bytesOf, HUGE, pageAt, RW, TestBacking, testWorld } from "../test-world.ts";

const ALL = Object.values(Advice);
/** What works on any private anonymous memory. */
const PLAIN = ALL.filter((advice) => advice !== Advice.remove);

describe("madvise, whatever the advice,", () => {
  it.each(ALL)("%s: refuses an unaligned start and what leaves the space", (advice) => {
    const world = testWorld();
    world.map(0, 1);
    const call = (start: number, bytes: number) =>
      world.run(madvise(world.space, virtAddr(start), bytes, advice));
    expect([call(BASE + 1, 4096), call(2 ** 32 - 4096, 8192), call(BASE, -4096)]).toEqual([
      -EINVAL,
      -EINVAL,
      -EINVAL,
    ]);
    expect(call(BASE, 0)).toBe(0);
  });

  it.each(PLAIN)("%s: does what it can around a hole and reports it", (advice) => {
    const world = testWorld();
    world.map(0, 1);
    world.map(2, 1);
    expect([world.advise(0, 3, advice), world.advise(5, 1, advice)]).toEqual([-ENOMEM, -ENOMEM]);
    expect(world.advise(0, 1, advice)).toBe(0);
  });

  it("counts part of a page as a page", () => {
    const world = testWorld();
    world.map(0, 2);
    for (const page of [0, 1]) world.store(page, 7);
    expect(world.run(madvise(world.space, pageAt(0), 1, Advice.dontNeed))).toBe(0);
    expect(world.loads(0, 2)).toEqual([0, 7]);
  });
});

describe("remove", () => {
  it("is for shared memory that may be written only", () => {
    const world = testWorld();
    const file = world.file(2, new TestBacking(2));
    world.map(0, 1);
    world.map(1, 1, RW, { file });
    world.map(2, 1, VM_READ, { file, isShared: true, isReadOnlyFile: true });
    world.map(3, 1, RW, { file, isShared: true });
    expect([0, 1, 2, 3].map((page) => world.advise(page, 1, Advice.remove))).toEqual([
      -EINVAL,
      -EACCES,
      -EACCES,
      -EINVAL,
    ]);
  });

  it("reaches the pages through the part of the file that is named", () => {
    const world = testWorld();
    const file = world.file(4);
    world.map(0, 2, RW, { file, isShared: true, offset: bytesOf(2) });
    expect(world.advise(1, 1, Advice.remove)).toBe(0);
    expect([world.loads(0, 2), file.find(1) === 0, file.find(3) === 0]).toEqual([
      [102, 0],
      false,
      false,
    ]);
  });

  it("works where the mapping is read-only now but may be written", () => {
    const world = testWorld();
    const file = world.file(1);
    world.map(0, 1, VM_READ, { file, isShared: true });
    expect([world.advise(0, 1, Advice.remove), world.load(0)]).toEqual([0, 0]);
  });

  it("ends at the first mapping that cannot, having done those before it", () => {
    const world = testWorld();
    world.map(0, 1, RW, { isShared: true });
    world.map(1, 1);
    world.map(2, 1, RW, { isShared: true });
    for (const page of [0, 1, 2]) world.store(page, 7);
    expect(world.advise(0, 3, Advice.remove)).toBe(-EINVAL);
    expect(world.loads(0, 3)).toEqual([0, 7, 7]);
  });
});

describe("willneed", () => {
  it("reads a file in without mapping it", () => {
    const world = testWorld();
    const backing = new TestBacking(3);
    const file = world.file(3, backing);
    world.map(0, 4, VM_READ, { file });
    expect(world.advise(1, 3, Advice.willNeed)).toBe(0);
    expect([backing.log, file.cachedCount, world.pte(1)]).toEqual([["read 1", "read 2"], 2, 0]);
  });

  it("brings swapped pages back", () => {
    const world = testWorld({ swap: new SwapArea(4) });
    world.map(0, 2);
    for (const page of [0, 1]) world.store(page, page + 1);
    world.advise(0, 2, Advice.pageOut);
    expect(world.rss[MM_SWAPENTS]).toBe(2);
    expect(world.advise(0, 2, Advice.willNeed)).toBe(0);
    expect([world.rss[MM_SWAPENTS], world.memory.swap.usedCount]).toEqual([0, 0]);
    expect(world.loads(0, 2)).toEqual([1, 2]);
  });

  it("is a hint: what fails will say so when it is touched", () => {
    const world = testWorld({ frames: 1, swap: new SwapArea(1) });
    const backing = new TestBacking(1);
    world.map(0, 1, VM_READ, { file: world.file(1, backing) });
    backing.readError = -EIO;
    expect([world.advise(0, 1, Advice.willNeed), world.load(0)]).toEqual([0, -EIO]);
  });
});

describe("populate", () => {
  it("for reading brings zero pages, for writing pages that may be written", () => {
    const world = testWorld();
    world.map(0, 4);
    expect(world.advise(0, 2, Advice.populateRead)).toBe(0);
    expect(world.advise(1, 3, Advice.populateWrite)).toBe(0);
    expect([0, 1, 2].map((page) => world.frame(page) === ZERO_PFN)).toEqual([true, false, false]);
    expect([world.space.rssPages, isWritable(world.pte(3))]).toEqual([3, true]);
    const faults = world.count("mm:fault");
    world.advise(0, 4, Advice.populateRead);
    expect(world.count("mm:fault")).toBe(faults);
  });

  it("brings pages home from the device and writes through a read-only entry", () => {
    const world = testWorld();
    world.map(0, 2);
    for (const page of [0, 1]) world.store(page, 7);
    world.toDevice(0, 1);
    world.exclusive(1, 1);
    expect(world.advise(0, 2, Advice.populateWrite)).toBe(0);
    expect([isWritable(world.pte(0)), world.device.pagemap.zone.usedCount]).toEqual([true, 0]);
    expect(world.count("mm:restore-exclusive")).toBe(1);
  });

  it("refuses mappings without the right", () => {
    const world = testWorld();
    world.map(0, 1, VM_READ);
    world.map(1, 1, 0);
    expect([
      world.advise(0, 1, Advice.populateRead),
      world.advise(0, 1, Advice.populateWrite),
      world.advise(1, 1, Advice.populateRead),
    ]).toEqual([0, -EINVAL, -EINVAL]);
  });

  it("says bad address where a touch would be a bus error or hit a guard", () => {
    const world = testWorld();
    world.map(0, 2, RW, { file: world.file(1) });
    world.map(2, 1);
    world.advise(2, 1, Advice.guardInstall);
    expect([world.advise(0, 2, Advice.populateRead), world.pte(0) !== 0]).toEqual([-EFAULT, true]);
    expect(world.advise(2, 1, Advice.populateWrite)).toBe(-EFAULT);
  });

  it("stops when there is no memory, and keeps what it has", () => {
    const world = testWorld({ frames: 2 });
    world.map(0, 4);
    expect([world.advise(0, 4, Advice.populateWrite), world.space.rssPages]).toEqual([-ENOMEM, 2]);
  });
});

describe("pageout", () => {
  it("forgets clean pages of a file and keeps dirty ones", () => {
    const world = testWorld();
    const file = world.file(2, new TestBacking(2));
    world.map(0, 2, RW, { file, isShared: true });
    world.load(0);
    world.store(1, 7);
    expect(world.advise(0, 2, Advice.pageOut)).toBe(0);
    expect([file.find(0), world.pte(0), world.load(1), world.load(0)]).toEqual([0, 0, 7, 100]);
  });

  it("leaves what others map, and pages without a place to go", () => {
    const world = testWorld({ swap: new SwapArea(1) });
    world.map(0, 2);
    for (const page of [0, 1]) world.store(page, 7);
    const child = world.fork();
    child.store(1, 8);
    world.store(1, 9);
    world.advise(0, 2, Advice.pageOut);
    expect([world.rss[MM_SWAPENTS], world.special(0), world.memory.swap.usedCount]).toEqual([
      1, 0, 1,
    ]);
    child.advise(1, 1, Advice.pageOut);
    expect(child.rss[MM_SWAPENTS]).toBe(0);
  });
});

describe("huge page advice", () => {
  it("belongs to the range: it cuts mappings and merges them again", () => {
    const world = testWorld();
    world.map(0, 3 * HUGE);
    expect(world.advise(HUGE, HUGE, Advice.hugePage)).toBe(0);
    expect([world.vma(0).flags, world.vma(HUGE).flags].map((f) => f & VM_HUGEPAGE)).toEqual([
      0,
      VM_HUGEPAGE,
    ]);
    expect(world.layout.length).toBe(3);
    world.advise(HUGE, HUGE, Advice.noHugePage);
    expect(world.vma(HUGE).flags & (VM_HUGEPAGE | VM_NOHUGEPAGE)).toBe(VM_NOHUGEPAGE);
    world.advise(0, 3 * HUGE, Advice.noHugePage);
    expect(world.layout).toEqual([[0, 3 * HUGE]]);
  });
});

describe("guards", () => {
  it("make every touch a segmentation fault, and the page's content is gone", () => {
    const world = testWorld();
    world.map(0, 3);
    for (const page of [0, 1, 2]) world.store(page, 7);
    world.deviceLoad(1);
    const log = world.watch();
    expect(world.advise(1, 1, Advice.guardInstall)).toBe(0);
    expect([log, world.layout]).toEqual([["start 1 1..2", "end 1 1..2"], [[0, 3]]]);
    expect([
      world.load(1),
      world.store(1, 1),
      world.deviceLoad(1),
      world.deviceStore(1, 1),
    ]).toEqual([-EFAULT, -EFAULT, -EFAULT, -EFAULT]);
    expect([world.load(0), world.load(2), world.space.rssPages]).toEqual([7, 7, 2]);
  });

  it("go when they are removed: zeros, and the page beside keeps what it has", () => {
    const world = testWorld();
    world.map(0, 2);
    world.store(0, 7);
    world.advise(1, 1, Advice.guardInstall);
    const log = world.watch();
    expect(world.advise(0, 2, Advice.guardRemove)).toBe(0);
    expect([world.loads(0, 2), log]).toEqual([[7, 0], []]);
  });

  it("are inherited by children, and each removes its own", () => {
    const world = testWorld();
    world.map(0, 1);
    world.advise(0, 1, Advice.guardInstall);
    const child = world.fork();
    expect(child.load(0)).toBe(-EFAULT);
    child.advise(0, 1, Advice.guardRemove);
    expect([child.load(0), world.load(0)]).toEqual([0, -EFAULT]);
  });

  it("over a page on the device take it from there", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 7);
    world.toDevice(0, 1);
    world.advise(0, 1, Advice.guardInstall);
    expect([world.device.pagemap.zone.usedCount, world.toDevice(0, 1)]).toEqual([0, -2]);
    expect(world.special(0)).toBe(SPECIAL_GUARD);
  });

  it("stay where rights change, and go with the mapping", () => {
    const world = testWorld();
    world.map(0, 1);
    world.advise(0, 1, Advice.guardInstall);
    for (const access of [VM_READ, 0, RW]) world.protect(0, 1, access);
    expect(world.load(0)).toBe(-EFAULT);
    world.unmap(0, 1);
    world.map(0, 1);
    expect(world.load(0)).toBe(0);
  });

  it("are not for huge pages of the pool", () => {
    const world = testWorld({ frames: 1008, hugetlbPages: 1 });
    world.map(0, HUGE, RW, { isHugetlb: true });
    for (const advice of [Advice.guardInstall, Advice.guardRemove, Advice.pageOut]) {
      expect(world.advise(0, HUGE, advice)).toBe(-EINVAL);
    }
    expect(world.advise(0, HUGE, Advice.remove)).toBe(-EACCES);
  });
});
