import { describe, expect, it } from "vitest";
import { EBUSY, EFAULT, EINVAL, EIO, ENOMEM, type Pfn } from "../../../src/base/index.ts";
import {
  Advice,
  isWritable,
  mapSpecial,
  poisonPage,
  reclaimPages,
  releaseSpecial,
  SpecialKind,
  unpinPages,
  VM_READ,
} from "../../../src/mm/index.ts";
import { PG_DIRTY } from "../../../src/phys/index.ts";
import { bytesOf, HUGE, hugeFrames, pageAt, RW, TestBacking, testWorld } from "../test-world.ts";

describe("guards", () => {
  it("stay when the memory around them is given up", () => {
    const world = testWorld();
    world.map(0, 2);
    world.store(1, 7);
    world.advise(0, 1, Advice.guardInstall);
    expect(world.advise(0, 2, Advice.dontNeed)).toBe(0);
    expect([world.load(0), world.load(1)]).toEqual([-EFAULT, 0]);
  });
});

describe("a driver's mappings", () => {
  it("take no advice about guards and do not merge", () => {
    const world = testWorld();
    const frames = [0, 1].map(() => world.memory.allocFrame() as Pfn);
    for (const i of [0, 1]) {
      const one = { start: pageAt(i), frames: [frames[i]!], flags: RW };
      world.run(mapSpecial(world.space, { ...one, kind: SpecialKind.mixed }));
    }
    expect(world.advise(0, 1, Advice.guardRemove)).toBe(-EINVAL);
    world.protect(0, 2, VM_READ);
    expect(world.layout).toEqual([
      [0, 1],
      [1, 2],
    ]);
    world.unmap(0, 2);
    releaseSpecial(world.space, frames);
    for (const frame of frames) world.memory.pages.put(frame);
  });
});

describe("the pool of huge pages", () => {
  it("is not for files", () => {
    const world = testWorld({ frames: hugeFrames(1), hugetlbPages: 1 });
    expect(world.tryMap(0, HUGE, { isHugetlb: true, file: world.file(1) })).toBe(-EINVAL);
  });

  it("promises a page again that is given up", () => {
    const world = testWorld({ frames: hugeFrames(1), hugetlbPages: 1 });
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.store(0, 1);
    world.advise(0, HUGE, Advice.dontNeed);
    expect([world.memory.hugetlb.reservedCount, world.store(0, 2)]).toEqual([1, 0]);
    world.fork();
    world.advise(0, HUGE, Advice.dontNeed);
    expect(world.memory.hugetlb.reservedCount).toBe(0);
  });

  it("does not fail a parent that writes: its children lose the page", () => {
    const world = testWorld({ frames: hugeFrames(1), hugetlbPages: 1 });
    world.map(0, HUGE, RW, { isHugetlb: true });
    world.store(5, 7);
    const child = world.fork();
    expect(child.deviceLoad(5)).toBe(7);
    const log = child.watch();
    expect([world.store(5, 8), log]).toEqual([0, ["start 1 0..512", "end 1 0..512"]]);
    world.check();
    expect([world.load(5), child.load(5), child.deviceLoad(5)]).toEqual([8, -EIO, -EFAULT]);
  });
});

describe("a pin for reading", () => {
  it("of a page that is shared after fork sees what is written later", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 5);
    const child = world.fork();
    const pinned = world.pin(0, 1, false);
    world.store(0, 6);
    expect(world.memory.bytes.loadWord(pinned.frames[0]!, 0)).toBe(6);
    expect(child.load(0)).toBe(5);
    unpinPages(pinned);
  });
});

describe("pages of files", () => {
  it("make room when they are clean, also without swap", () => {
    const world = testWorld({ frames: 4 });
    world.map(0, 4, VM_READ, { file: world.file(4, new TestBacking(4)) });
    world.loads(0, 4);
    world.map(10, 4);
    expect([10, 11, 12, 13].map((page) => world.store(page, 1))).toEqual([0, 0, 0, 0]);
  });

  it("that come back while a hole is punched are taken again", () => {
    const world = testWorld();
    const file = world.file(1);
    for (const page of [0, 20]) {
      world.map(page, 1, RW, { file, isShared: true });
      world.load(page);
    }
    world.during(20, () => world.cpu.load(pageAt(0)));
    world.run(file.punchHole(0, bytesOf(1)));
    expect([world.load(20), world.load(0), world.frame(0)]).toEqual([0, 0, world.frame(20)]);
  });

  it("that are cut off while they are written back are not stored", () => {
    const world = testWorld();
    const backing = new TestBacking(2);
    const file = world.file(2, backing);
    world.map(0, 2, RW, { file, isShared: true });
    world.store(1, 7);
    world.during(1, () => file.truncate(0));
    world.run(file.sync());
    expect(backing.log.filter((line) => line.startsWith("write"))).toEqual([]);
  });

  it("that are written while they are written back stay dirty", () => {
    const world = testWorld();
    const file = world.file(1, new TestBacking(1));
    for (const page of [0, 20]) {
      world.map(page, 1, RW, { file, isShared: true });
      world.store(page, 7);
    }
    world.during(20, () => world.cpu.store(pageAt(0), 8));
    world.run(file.sync());
    const isDirty = world.memory.pages.is(world.frame(0), PG_DIRTY);
    expect([isWritable(world.pte(0)), isDirty]).toEqual([true, true]);
  });

  it("are not forgotten while they are clean but not stored yet", () => {
    const world = testWorld();
    const backing = new TestBacking(1);
    const file = world.file(1, backing);
    world.map(0, 1, RW, { file, isShared: true });
    world.store(0, 7);
    world.during(0, () => reclaimPages(world.memory, 1));
    expect([world.run(file.sync()), backing.word(0), world.load(0)]).toEqual([1, 7, 7]);
  });

  it("that are broken are not written back", () => {
    const world = testWorld();
    const backing = new TestBacking(1);
    const file = world.file(1, backing);
    world.map(0, 1, RW, { file, isShared: true });
    world.store(0, 7);
    world.run(poisonPage(world.space, pageAt(0)));
    expect([world.run(file.sync()), backing.word(0)]).toEqual([0, 100]);
  });

  it("that cannot be had are no part of the file that grows", () => {
    const world = testWorld({ frames: 1 });
    const file = world.file(1);
    expect([file.write(bytesOf(4), new Uint8Array(4)), file.bytes]).toEqual([-ENOMEM, bytesOf(1)]);
    expect([file.write(0, new Uint8Array(bytesOf(3))), file.bytes]).toEqual([
      bytesOf(1),
      bytesOf(1),
    ]);
    expect([file.write(-1, new Uint8Array(bytesOf(3))), file.bytes]).toEqual([-EINVAL, bytesOf(1)]);
  });

  it("are punched out as whole pages only", () => {
    const world = testWorld();
    const file = world.file(4);
    world.map(0, 4, RW, { file, isShared: true });
    world.loads(0, 4);
    expect([
      world.run(file.punchHole(1, 100)),
      world.run(file.punchHole(bytesOf(2), bytesOf(1))),
      world.run(file.punchHole(bytesOf(1), bytesOf(1))),
    ]).toEqual([-EINVAL, -EINVAL, -EINVAL]);
  });
});

describe("NUMA balancing", () => {
  it("leaves devices' memory and pinned pages alone", () => {
    const world = testWorld({ isCoherent: true });
    world.map(0, 2);
    for (const page of [0, 1]) world.store(page, 7);
    world.toDevice(0, 1);
    const pinned = world.pin(1, 1, true);
    expect(world.lockOut(0, 2)).toBe(0);
    unpinPages(pinned);
    expect(world.lockOut(0, 2)).toBe(1);
  });

  it("looks at shared memory, however many map it", () => {
    const world = testWorld();
    world.map(0, 1, RW, { isShared: true });
    world.store(0, 1);
    world.fork().load(0);
    expect(world.lockOut(0, 1)).toBe(1);
  });
});

describe("a broken page of a large page", () => {
  it("is taken out alone", () => {
    const world = testWorld({ frames: hugeFrames(1), hugePages: "always" });
    world.map(0, HUGE);
    for (const page of [5, 6]) world.store(page, 7);
    expect(world.run(poisonPage(world.space, pageAt(5)))).toBe(0);
    expect([world.load(5), world.load(6), world.memory.ram.usedCount]).toEqual([-EIO, 7, 2]);
  });

  it("cannot be taken out while somebody holds part of it", () => {
    const world = testWorld({ frames: hugeFrames(1), hugePages: "always" });
    world.map(0, HUGE);
    world.store(5, 7);
    const pinned = world.pin(6, 1, true);
    expect(world.run(poisonPage(world.space, pageAt(5)))).toBe(-EBUSY);
    unpinPages(pinned);
    expect([world.load(5), world.memory.poisoned]).toEqual([7, []]);
  });
});
