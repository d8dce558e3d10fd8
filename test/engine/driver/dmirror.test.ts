import { describe, expect, it } from "vitest";
import { EFAULT, EINVAL, ENOENT, EPERM, PAGE_SIZE, virtAddr } from "../../../src/base/index.ts";
import {
  DMIRROR_PROT_DEV_PRIVATE_LOCAL,
  DMIRROR_PROT_ERROR,
  DMIRROR_PROT_NONE,
  DMIRROR_PROT_READ,
  DMIRROR_PROT_WRITE,
  DMIRROR_PROT_ZERO,
  Dmirror,
  DmirrorDevice,
} from "../../../src/driver/dmirror/index.ts";
import {
  isDevicePrivate,
  munmap,
  PTE_VALID,
  PTE_WRITE,
  ptePfn,
  VM_READ,
} from "../../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../../src/notifier/index.ts";
import { PG_DIRTY, ZERO_PFN } from "../../../src/phys/index.ts";
import { RandomStrategy, type Sleeps, TaskState, YIELD } from "../../../src/sync/index.ts";
import { eachSeed } from "../../replay/replay.ts";
import {
  bytesOf,
  firstWord,
  pageAt,
  pageNumber,
  rangeAt,
  type TestWorld,
  testWorld,
} from "../test-world.ts";

function snapshot(world: TestWorld, page: number, count: number, mirror = world.mirror): number[] {
  const out = new Uint8Array(count).fill(0xaa);
  const { result } = world.run(mirror.snapshot(pageAt(page), count, out));
  expect(result).toBe(0);
  return [...out];
}

describe("the test device", () => {
  it("reads what the CPU wrote and writes what the CPU reads", () => {
    const world = testWorld();
    world.map(0, 3);
    world.store(0, 5);
    expect([world.deviceLoad(0), world.deviceLoad(1), world.deviceStore(2, 7)]).toEqual([5, 0, 0]);
    expect([ptePfn(world.pte(1)), world.load(2)]).toEqual([ZERO_PFN, 7]);
    expect(world.memory.pages.is(ptePfn(world.pte(2)), PG_DIRTY)).toBe(true);
  });

  it("faults in a whole range at once, and nothing that it has already", () => {
    const world = testWorld({ frames: 160 });
    world.map(0, 130);
    const seen: number[] = [];
    const read = () => world.run(world.mirror.read(pageAt(0), 130, (page) => seen.push(page)));
    expect(read()).toEqual({ result: 0, pages: 130, faults: 1 });
    expect(read()).toEqual({ result: 0, pages: 130, faults: 0 });
    expect(new Set(seen).size).toBe(130);
    const write = world.mirror.write(pageAt(0), 2, (page, bytes) => bytes.fill(pageNumber(page)));
    expect(world.run(write)).toEqual({ result: 0, pages: 2, faults: 1 });
    expect(world.load(1)).toBe(0x01010101);
  });

  it("gets no further than its rights go", () => {
    const world = testWorld();
    world.map(0, 1, VM_READ);
    world.map(2, 1);
    world.store(2, 1);
    const read = (count: number) => world.run(world.mirror.read(pageAt(0), count, () => {}));
    expect([read(1).result, read(3).result]).toEqual([0, -EFAULT]);
    expect(read(3).pages).toBe(1);
    expect(world.deviceStore(0, 1)).toBe(-EPERM);
    expect(world.load(0)).toBe(0);
  });

  it("refuses ranges that are none", () => {
    const world = testWorld();
    const read = (start: number, count: number) =>
      world.run(world.mirror.read(virtAddr(start), count, () => {})).result;
    const end = 2 ** 32 - PAGE_SIZE;
    expect([read(pageAt(0) + 4, 1), read(pageAt(0), 0), read(end, 2)]).toEqual([
      -EINVAL,
      -EINVAL,
      -EINVAL,
    ]);
    expect(read(end, 1)).toBe(-EFAULT);
    const out = new Uint8Array(1);
    expect(world.run(world.mirror.snapshot(virtAddr(1), 1, out)).result).toBe(-EINVAL);
    expect(world.run(world.mirror.migrateToDevice(virtAddr(1), 1, () => {})).result).toBe(-EINVAL);
    expect(world.run(world.mirror.migrateToRam(virtAddr(1), 1)).result).toBe(-EINVAL);
  });

  it("describes pages without touching them", () => {
    const world = testWorld();
    world.map(0, 5);
    world.map(5, 1, VM_READ);
    world.map(6, 1, 0);
    world.load(1);
    world.store(2, 1);
    world.store(3, 1);
    world.toDevice(3, 1);
    world.load(5);
    const used = world.space.pageTable.usedCount;
    expect(snapshot(world, 0, 8)).toEqual([
      DMIRROR_PROT_NONE,
      DMIRROR_PROT_ZERO | DMIRROR_PROT_READ,
      DMIRROR_PROT_WRITE,
      DMIRROR_PROT_DEV_PRIVATE_LOCAL | DMIRROR_PROT_WRITE,
      DMIRROR_PROT_NONE,
      DMIRROR_PROT_ZERO | DMIRROR_PROT_READ,
      DMIRROR_PROT_ERROR,
      DMIRROR_PROT_ERROR,
    ]);
    expect([world.space.pageTable.usedCount, world.space.notifiers.intervalCount]).toEqual([
      used,
      1,
    ]);
  });

  it("takes no snapshot of what is about to go", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 1);
    expect(world.toDevice(0, 1)).toBe(0);
    const out = new Uint8Array(1);
    function* holdLock(): Sleeps<void> {
      using _held = yield* world.mirror.lock.acquire();
      // Meanwhile the snapshot has looked and waits for the lock; the page goes behind its back.
      for (let i = 0; i < 5; i++) yield YIELD;
    }
    world.scheduler.spawn("holder", holdLock());
    world.scheduler.spawn("snapshot", world.mirror.snapshot(pageAt(0), 1, out));
    world.scheduler.spawn("evict", world.device.evictAll());
    world.scheduler.run();
    expect([out[0], world.count("notifier:collide")]).toEqual([DMIRROR_PROT_WRITE, 1]);
  });

  it("does not see what lives on another device; if it asks for it, it comes home", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 5);
    world.toDevice(0, 1);
    const other = new DmirrorDevice(world.memory, { name: "dmirror1", frames: 2 });
    const mirror = Dmirror.open(other, world.space) as Dmirror;
    world.shadows.push(mirror);
    expect(snapshot(world, 0, 1, mirror)).toEqual([DMIRROR_PROT_NONE]);
    let seen = 0;
    const read = mirror.read(pageAt(0), 1, (_page, bytes) => {
      seen = firstWord(bytes);
    });
    expect([world.run(read).result, seen, isDevicePrivate(world.pte(0))]).toEqual([0, 5, false]);
    world.run(mirror.close());
    expect(mirror.table.usedCount).toBe(0);
  });

  it("forgets what an invalidation covers and the page after it, as Linux's does", () => {
    const world = testWorld();
    world.map(0, 4);
    for (const page of [0, 1, 2, 3]) world.deviceStore(page, 1);
    world.run(munmap(world.space, pageAt(1), bytesOf(1)));
    world.check();
    expect([0, 1, 2, 3].map((page) => world.deviceEntry(page) !== 0)).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });

  it("refuses an event that may not wait for its lock, and changes nothing", () => {
    const world = testWorld();
    world.map(0, 1);
    world.deviceStore(0, 1);
    const before = world.deviceEntry(0);
    const event = new Invalidation({
      ...rangeAt(0, 1),
      event: MMU_NOTIFY_CLEAR,
      blockable: false,
    });
    function* holdLock(): Sleeps<void> {
      using _held = yield* world.mirror.lock.acquire();
      for (let i = 0; i < 5; i++) yield YIELD;
    }
    world.scheduler.spawn("holder", holdLock());
    const refused = world.scheduler.spawn("refused", world.space.notifiers.start(event));
    world.scheduler.run();
    expect([refused.result, world.deviceEntry(0)]).toEqual([-11, before]);
  });

  it("may read and write a page that moved to it, with the rights of the program", () => {
    const world = testWorld();
    world.map(0, 1);
    world.map(1, 1, VM_READ);
    world.store(0, 5);
    const seen: number[] = [];
    const move = world.mirror.migrateToDevice(pageAt(0), 2, (_page, bytes) => {
      seen.push(firstWord(bytes));
    });
    expect(world.run(move)).toEqual({ result: 0, pages: 2, faults: 0 });
    expect([seen, world.deviceEntry(0) & 0xff]).toEqual([[5, 0], PTE_VALID | PTE_WRITE]);
    expect(world.deviceEntry(1) & 0xff).toBe(PTE_VALID);
  });

  it("moves page by page what lies in several Vmas, up to the first hole", () => {
    const world = testWorld();
    world.map(0, 1);
    world.map(1, 1, VM_READ);
    world.map(3, 1);
    expect([world.toDevice(0, 2), world.toDevice(0, 4), world.toRam(2, 1)]).toEqual([
      0,
      -EINVAL,
      -EINVAL,
    ]);
    expect([0, 1, 3].map((page) => isDevicePrivate(world.pte(page)))).toEqual([true, true, false]);
  });

  it("says when a page did not come", () => {
    const world = testWorld({ deviceFrames: 1 });
    world.map(0, 2);
    expect(world.toDevice(0, 2)).toBe(-ENOENT);
  });

  it("brings its pages home when it is closed", () => {
    const world = testWorld();
    world.map(0, 2);
    world.store(0, 5);
    const other = new DmirrorDevice(world.memory, { name: "dmirror1", frames: 2 });
    const mirror = Dmirror.open(other, world.space) as Dmirror;
    world.run(mirror.migrateToDevice(pageAt(0), 2, () => {}));
    expect(other.pagemap.zone.usedCount).toBe(2);
    world.run(mirror.close());
    expect([other.pagemap.zone.usedCount, world.load(0)]).toEqual([0, 5]);
    other.pagemap.remove();
    expect(world.memory.pages.zones.length).toBe(2);
  });
});

describe("a device fault against an invalidation", () => {
  it("ends with the truth in the device's table, in every schedule", () => {
    let retries = 0;
    const isAll = eachSeed("dmirror", 200, (seed) => {
      const world = testWorld({ strategy: new RandomStrategy(seed) });
      world.map(0, 2);
      world.store(0, 1);
      world.scheduler.afterStep = () => world.check({ isQuiet: false });
      const read = world.scheduler.spawn(
        "read",
        world.mirror.read(pageAt(0), 2, () => {}),
      );
      world.scheduler.spawn("store", world.cpu.store(pageAt(1), 2));
      world.scheduler.spawn("unmap", munmap(world.space, pageAt(0), bytesOf(1)));
      world.scheduler.run();
      world.scheduler.afterStep = undefined;
      expect(read.state).toBe(TaskState.done);
      retries += world.count("hmm:retry") + world.count("notifier:collide");
    });
    if (!isAll) return;
    expect(retries).toBeGreaterThan(0);
  });
});
