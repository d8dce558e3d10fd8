import { describe, expect, it } from "vitest";
import {
  DMIRROR_PROT_DEV_COHERENT_LOCAL,
  DMIRROR_PROT_DEV_COHERENT_REMOTE,
  DMIRROR_PROT_READ,
  DMIRROR_PROT_WRITE,
  Dmirror,
  DmirrorDevice,
} from "../../../src/driver/dmirror/index.ts";
import {
  Advice,
  isPresent,
  isWritable,
  SwapArea,
  unpinPages,
  VM_READ,
} from "../../../src/mm/index.ts";
import { pageAt, RW, type TestProcess, type TestWorld, testWorld } from "../test-world.ts";

/** Pages 0 to `count` - 1, written with 10, 11, …, all on a coherent device. */
function away(count: number, options = {}): TestWorld {
  const world = testWorld({ isCoherent: true, ...options });
  world.map(0, count);
  for (let page = 0; page < count; page++) world.store(page, 10 + page);
  expect(world.toDevice(0, count)).toBe(0);
  return world;
}

const isAway = (world: TestProcess, page: number): boolean =>
  world.memory.pages.isDevice(world.frame(page));
const onDevice = (world: TestWorld): number => world.device.pagemap.zone.usedCount;

describe("a page on a coherent device", () => {
  it("is mapped there: the CPU reads and writes it without a fault", () => {
    const world = away(2);
    const faults = world.count("mm:fault");
    expect([isAway(world, 0), isPresent(world.pte(0)), isWritable(world.pte(0))]).toEqual([
      true,
      true,
      true,
    ]);
    expect([world.loads(0, 2), world.store(0, 7)]).toEqual([[10, 11], 0]);
    expect([world.deviceLoad(0), world.count("mm:fault"), isAway(world, 0)]).toEqual([
      7,
      faults,
      true,
    ]);
  });

  it("is written by the device for the CPU to see", () => {
    const world = away(1);
    expect([world.deviceStore(0, 7), world.load(0), onDevice(world)]).toEqual([0, 7, 1]);
  });

  it("counts and costs as in RAM", () => {
    const world = away(3);
    expect([world.space.rssPages, world.memory.group.chargedPages]).toEqual([3, 3]);
    expect(world.memory.ram.usedCount).toBe(0);
  });

  it("comes home when it is asked for", () => {
    const world = away(2);
    const log = world.watch();
    expect([world.toRam(0, 1), log]).toEqual([0, ["start 6 0..1", "end 6 0..1"]]);
    expect([isAway(world, 0), isAway(world, 1), world.loads(0, 2)]).toEqual([
      false,
      true,
      [10, 11],
    ]);
  });

  it("comes home with everything else when the device is emptied", () => {
    const world = away(2);
    world.store(1, 50);
    expect([world.run(world.device.evictAll()), onDevice(world)]).toEqual([2, 0]);
    world.check();
    expect(world.loads(0, 2)).toEqual([10, 50]);
  });

  it("may be new: what was never touched begins there, cleared", () => {
    const world = testWorld({ isCoherent: true });
    world.map(0, 2);
    world.load(1);
    expect([world.toDevice(0, 2), world.loads(0, 2), isAway(world, 1)]).toEqual([0, [0, 0], true]);
    expect(isWritable(world.pte(0))).toBe(true);
  });

  it("keeps the rights of its mapping", () => {
    const world = testWorld({ isCoherent: true });
    world.map(0, 1);
    world.store(0, 7);
    world.protect(0, 1, VM_READ);
    expect([world.toDevice(0, 1), isWritable(world.pte(0)), world.store(0, 1)]).toEqual([
      0,
      false,
      -14,
    ]);
    expect([world.deviceStore(0, 1) < 0, world.protect(0, 1, RW)]).toEqual([true, 0]);
    expect([world.store(0, 8), world.deviceLoad(0), isAway(world, 0)]).toEqual([0, 8, true]);
  });

  it("is told apart from others' by who looks", () => {
    const world = away(1);
    expect(world.snapshot(0, 1)).toEqual([DMIRROR_PROT_DEV_COHERENT_LOCAL | DMIRROR_PROT_WRITE]);
    const other = new DmirrorDevice(world.memory, { name: "dmirror1", frames: 2 });
    const mirror = Dmirror.open(other, world.space) as Dmirror;
    const out = new Uint8Array(1);
    world.run(mirror.snapshot(pageAt(0), 1, out));
    expect([...out]).toEqual([DMIRROR_PROT_DEV_COHERENT_REMOTE | DMIRROR_PROT_WRITE]);
    world.run(mirror.close());
  });

  it("is read by another device where it is, and goes there only by way of RAM", () => {
    const world = away(1);
    const other = new DmirrorDevice(world.memory, { name: "dmirror1", frames: 2 });
    const mirror = Dmirror.open(other, world.space) as Dmirror;
    world.shadows.push(mirror);
    expect(world.run(mirror.read(pageAt(0), 1, () => {})).result).toBe(0);
    world.run(mirror.migrateToDevice(pageAt(0), 1, () => {}));
    expect(world.device.pagemap.zone.contains(world.frame(0))).toBe(true);
    world.toRam(0, 1);
    expect(world.run(mirror.migrateToDevice(pageAt(0), 1, () => {})).result).toBe(0);
    expect(other.pagemap.zone.contains(world.frame(0))).toBe(true);
    expect(world.load(0)).toBe(10);
    world.run(mirror.close());
  });

  it("stays while it is pinned", () => {
    const world = away(1);
    const pinned = world.pin(0, 1, true);
    world.toRam(0, 1);
    expect([world.run(world.device.evictAll()), isAway(world, 0), world.store(0, 7)]).toEqual([
      0,
      true,
      0,
    ]);
    unpinPages(pinned);
    expect([world.toRam(0, 1), isAway(world, 0), world.load(0)]).toEqual([0, false, 7]);
  });

  it("is shared after fork and copied to RAM by who writes", () => {
    const world = away(1);
    const child = world.fork();
    expect([child.frame(0), isWritable(world.pte(0)), child.load(0)]).toEqual([
      world.frame(0),
      false,
      10,
    ]);
    expect([child.store(0, 7), isAway(child, 0), isAway(world, 0)]).toEqual([0, false, true]);
    expect([world.load(0), world.snapshot(0, 1)]).toEqual([
      10,
      [DMIRROR_PROT_DEV_COHERENT_LOCAL | DMIRROR_PROT_READ],
    ]);
  });

  it("does not go to swap", () => {
    const world = away(1, { swap: new SwapArea(4) });
    expect([world.advise(0, 1, Advice.pageOut), isAway(world, 0)]).toEqual([0, true]);
    expect(world.memory.swap.usedCount).toBe(0);
  });

  it("is freed with its mapping", () => {
    const world = away(3);
    world.unmap(0, 1);
    world.advise(1, 1, Advice.dontNeed);
    expect([onDevice(world), world.load(1), world.move(2, 1, 20), world.load(20)]).toEqual([
      1, 0, 20, 12,
    ]);
  });

  it("stays in RAM when the device is full, or when it is a file's", () => {
    const world = testWorld({ isCoherent: true, deviceFrames: 1 });
    world.map(0, 2);
    for (const page of [0, 1]) world.store(page, 10 + page);
    expect([world.toDevice(0, 2), isAway(world, 0), isAway(world, 1)]).toEqual([-2, true, false]);
    world.map(5, 1, RW, { file: world.file(1), isShared: true });
    world.load(5);
    world.unmap(0, 1);
    world.toDevice(5, 1);
    expect([isAway(world, 5), world.load(5)]).toEqual([false, 100]);
  });
});
