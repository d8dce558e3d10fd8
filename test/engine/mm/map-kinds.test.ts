import { describe, expect, it } from "vitest";
import { EACCES, EINVAL, EOPNOTSUPP, virtAddr } from "../../../src/base/index.ts";
import {
  AddressSpace,
  Advice,
  isWritable,
  MM_SHMEMPAGES,
  mmap,
  mmput,
  ptePfn,
  VM_READ,
} from "../../../src/mm/index.ts";
import { PG_ANON, ZERO_PFN } from "../../../src/phys/index.ts";
import { bytesOf, pageAt, RW, TestBacking, testWorld } from "../test-world.ts";

describe("shared anonymous memory", () => {
  it("is seen by children, wherever and whenever it was first touched", () => {
    const world = testWorld();
    world.map(0, 3, RW, { isShared: true });
    world.store(0, 5);
    const child = world.fork();
    child.store(1, 6);
    child.store(0, 7);
    world.deviceStore(2, 8);
    expect([world.loads(0, 3), child.loads(0, 3)]).toEqual([
      [7, 6, 8],
      [7, 6, 8],
    ]);
    expect([child.deviceLoad(0), world.count("mm:cow")]).toEqual([7, 0]);
  });

  it("has no zero page: a read brings a page that may be written", () => {
    const world = testWorld();
    world.map(0, 1, RW, { isShared: true });
    expect([world.load(0), world.frame(0) === ZERO_PFN, isWritable(world.pte(0))]).toEqual([
      0,
      false,
      true,
    ]);
    expect(world.memory.pages.is(world.frame(0), PG_ANON)).toBe(false);
    expect(world.rss[MM_SHMEMPAGES]).toBe(1);
  });

  it("keeps what was in it when it is not needed, until it is removed", () => {
    const world = testWorld();
    world.map(0, 2, RW, { isShared: true });
    for (const page of [0, 1]) world.store(page, 5);
    world.advise(0, 2, Advice.dontNeed);
    expect([world.space.rssPages, world.loads(0, 2)]).toEqual([0, [5, 5]]);
    expect(world.advise(0, 1, Advice.remove)).toBe(0);
    expect(world.loads(0, 2)).toEqual([0, 5]);
  });

  it("is gone when the last that maps it is gone, not before", () => {
    const world = testWorld();
    world.map(0, 1, RW, { isShared: true });
    const child = world.fork();
    child.store(0, 5);
    world.unmap(0, 1);
    expect([child.load(0), world.memory.ram.usedCount]).toEqual([5, 1]);
    child.leave();
    expect(world.memory.ram.usedCount).toBe(0);
  });

  it("does not merge with other shared memory next to it", () => {
    const world = testWorld();
    for (const page of [0, 1]) world.map(page, 1, RW, { isShared: true });
    world.map(2, 1);
    world.map(3, 1);
    expect(world.layout).toEqual([
      [0, 1],
      [1, 2],
      [2, 4],
    ]);
  });

  it("may not go to a device", () => {
    const world = testWorld();
    world.map(0, 1, RW, { isShared: true });
    world.store(0, 5);
    world.toDevice(0, 1);
    expect([world.memory.isPrivate(world.frame(0)), world.load(0)]).toEqual([false, 5]);
  });
});

describe("parts of one file", () => {
  it("merge when they follow each other in the file as they do in the space", () => {
    const world = testWorld();
    const file = world.file(8);
    world.map(0, 2, RW, { file, isShared: true });
    world.map(2, 2, RW, { file, isShared: true, offset: bytesOf(2) });
    world.map(4, 2, RW, { file, isShared: true, offset: bytesOf(6) });
    world.map(6, 2, RW, { file, offset: bytesOf(8) });
    expect(world.layout).toEqual([
      [0, 4],
      [4, 6],
      [6, 8],
    ]);
    expect(world.loads(0, 6)).toEqual([100, 101, 102, 103, 106, 107]);
  });

  it("keep their place in the file when the mapping is cut", () => {
    const world = testWorld();
    const file = world.file(6);
    world.map(0, 6, RW, { file, isShared: true });
    world.unmap(1, 2);
    world.protect(4, 1, VM_READ);
    expect(world.layout).toEqual([
      [0, 1],
      [3, 4],
      [4, 5],
      [5, 6],
    ]);
    expect([0, 3, 4, 5].map((page) => world.load(page))).toEqual([100, 103, 104, 105]);
    expect(file.reverse.vmas.length).toBe(4);
  });

  it("are the same memory in two places", () => {
    const world = testWorld();
    const file = world.file(1);
    for (const page of [0, 5]) world.map(page, 1, RW, { file, isShared: true });
    world.store(0, 7);
    expect([world.load(5), world.deviceLoad(5)]).toEqual([7, 7]);
    expect(world.memory.pages.mapcount[ptePfn(world.pte(0))]).toBe(2);
  });
});

describe("a file that was opened for reading", () => {
  it("cannot be mapped shared for writing, nor become so", () => {
    const world = testWorld();
    const file = world.file(2, new TestBacking(2));
    const readOnly = { file, isShared: true, isReadOnlyFile: true };
    expect(world.tryMap(0, 2, readOnly)).toBe(-EACCES);
    world.map(0, 2, VM_READ, readOnly);
    expect([world.protect(0, 1, RW), world.protect(0, 1, VM_READ)]).toEqual([-EACCES, 0]);
    expect([world.load(0), world.layout]).toEqual([100, [[0, 2]]]);
  });

  it("can be mapped privately and written there", () => {
    const world = testWorld();
    const file = world.file(1, new TestBacking(1));
    world.map(0, 1, RW, { file, isReadOnlyFile: true });
    expect([world.store(0, 7), world.load(0)]).toEqual([0, 7]);
    world.map(1, 1, VM_READ, { file, isReadOnlyFile: true });
    expect([world.protect(1, 1, RW), world.store(1, 8)]).toEqual([0, 0]);
  });

  it("stops mprotect where its mapping begins", () => {
    const world = testWorld();
    const file = world.file(1);
    world.map(0, 1, VM_READ);
    world.map(1, 1, VM_READ, { file, isShared: true, isReadOnlyFile: true });
    expect([world.protect(0, 2, RW), world.store(0, 1)]).toEqual([-EACCES, 0]);
  });
});

describe("what cannot be mapped", () => {
  it("is an offset without a file, or one that is not whole pages", () => {
    const world = testWorld();
    const file = world.file(1);
    expect([
      world.tryMap(0, 1, { offset: bytesOf(1) }),
      world.tryMap(0, 1, { file, offset: 100 }),
      world.tryMap(0, 1, { file, offset: -bytesOf(1) }),
    ]).toEqual([-EINVAL, -EINVAL, -EINVAL]);
    expect(world.layout).toEqual([]);
  });

  it("is shared or file memory in a window", () => {
    const world = testWorld();
    const window = new AddressSpace(world.memory, { isIdentity: true });
    const options = { start: virtAddr(0x1_0000), bytes: bytesOf(1), flags: RW };
    const file = world.file(1);
    expect([
      world.run(mmap(window, { ...options, isShared: true })),
      world.run(mmap(window, { ...options, file })),
      world.run(mmap(window, { ...options, bytes: bytesOf(512), isHugetlb: true })),
    ]).toEqual([-EOPNOTSUPP, -EOPNOTSUPP, -EOPNOTSUPP]);
    world.run(mmput(window));
  });

  it("leaves what was there when a fixed mapping is refused before it begins", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 5);
    const result = world.tryMap(0, 1, { mode: "fixed", offset: bytesOf(1), start: pageAt(0) });
    expect([result, world.load(0)]).toEqual([-EINVAL, 5]);
  });
});
