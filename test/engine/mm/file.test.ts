import { describe, expect, it } from "vitest";
import { EFAULT, EINVAL, EIO, ENOMEM, ENOSPC } from "../../../src/base/index.ts";
import {
  Advice,
  type CachedFile,
  isWritable,
  MM_FILEPAGES,
  MM_SHMEMPAGES,
  SwapArea,
  VM_READ,
} from "../../../src/mm/index.ts";
import { PG_DIRTY } from "../../../src/phys/index.ts";
import { bytesOf, RW, TestBacking, type TestWorld, testWorld } from "../test-world.ts";

/** A file of `count` pages behind a shared and a private mapping: pages 0 up and 20 up. */
function mapTwice(world: TestWorld, count: number, backing?: TestBacking): CachedFile {
  const file = world.file(count, backing);
  world.map(0, count, RW, { file, isShared: true });
  world.map(20, count, RW, { file });
  return file;
}

const wordAt = (file: CachedFile, index: number): number => {
  const out = new Uint8Array(4);
  expect(file.read(bytesOf(index), out)).toBe(4);
  return new DataView(out.buffer).getUint32(0, true);
};

describe("a mapping of a file", () => {
  it("shows what is in the file, page by page, from its offset on", () => {
    const world = testWorld();
    const file = world.file(4);
    world.map(0, 2, VM_READ, { file, offset: bytesOf(2) });
    expect([world.loads(0, 2), world.deviceLoad(1)]).toEqual([[102, 103], 103]);
    expect(world.frame(0)).toBe(file.find(2));
  });

  it("that is shared writes into the file; a private one keeps what it writes", () => {
    const world = testWorld();
    const file = mapTwice(world, 2);
    expect([world.store(0, 7), world.store(21, 8)]).toEqual([0, 0]);
    expect([wordAt(file, 0), wordAt(file, 1)]).toEqual([7, 101]);
    expect([world.load(20), world.load(21), world.load(1)]).toEqual([7, 8, 101]);
  });

  it("that is private follows the file until it writes", () => {
    const world = testWorld();
    mapTwice(world, 1);
    expect(world.load(20)).toBe(100);
    const log = world.watch();
    world.store(0, 7);
    expect([world.load(20), log]).toEqual([7, []]);
    world.store(20, 8);
    world.store(0, 9);
    expect([world.load(20), log]).toEqual([8, ["start 1 20..21", "end 1 20..21"]]);
  });

  it("is a bus error behind the end of the file, for the device a bad address", () => {
    const world = testWorld();
    const file = world.file(1);
    world.map(0, 3, RW, { file, isShared: true });
    expect([world.load(0), world.load(1), world.store(2, 1)]).toEqual([100, -EIO, -EIO]);
    expect([world.deviceLoad(1), world.deviceStore(1, 1)]).toEqual([-EFAULT, -EFAULT]);
  });

  it("maps what is cached around a page that is read, but reads nothing in for that", () => {
    const world = testWorld();
    const backing = new TestBacking(40);
    const file = world.file(40, backing);
    world.map(0, 40, RW, { file, isShared: true });
    for (const index of [3, 15, 16]) file.load(index);
    world.load(5);
    expect([3, 5, 15].map((page) => world.pte(page) !== 0)).toEqual([true, true, true]);
    expect([world.pte(4), world.pte(16)]).toEqual([0, 0]);
    expect(backing.log).toEqual(["read 3", "read 15", "read 16", "read 5"]);
  });

  it("maps only the page itself when it is written", () => {
    const world = testWorld();
    mapTwice(world, 4);
    world.store(1, 7);
    expect([world.pte(0), world.pte(2), world.rss[MM_SHMEMPAGES]]).toEqual([0, 0, 1]);
  });

  it("counts as file, memory file or anonymous, whatever is behind the page", () => {
    const world = testWorld();
    mapTwice(world, 2);
    const disk = world.file(2, new TestBacking(2));
    world.map(40, 2, RW, { file: disk });
    for (const page of [0, 20, 40]) world.load(page);
    expect(world.rss).toEqual([1, 0, 0, 4]);
    for (const page of [20, 40]) world.store(page, 1);
    expect(world.rss).toEqual([0, 2, 0, 3]);
    expect(world.memory.group.chargedPages).toBe(2 + 1 + 2);
  });

  it("keeps the file alive when everybody else has closed it", () => {
    const world = testWorld();
    const backing = new TestBacking(1);
    const file = world.file(1, backing);
    world.map(0, 1, RW, { file, isShared: true });
    world.close(file);
    world.store(0, 7);
    expect([world.load(0), backing.log.includes("close")]).toEqual([7, false]);
    world.unmap(0, 1);
    expect([backing.word(0), backing.log.at(-1)]).toEqual([7, "close"]);
    expect(world.memory.ram.usedCount).toBe(0);
  });

  it("fails like its file: what cannot be read is a bus error, no frame means no memory", () => {
    const world = testWorld({ frames: 2 });
    const backing = new TestBacking(4);
    world.map(0, 4, RW, { file: world.file(4, backing), isShared: true });
    backing.readError = -EIO;
    expect([world.load(0), world.store(0, 1), world.memory.ram.usedCount]).toEqual([-EIO, -EIO, 0]);
    backing.readError = 0;
    for (const page of [0, 1]) expect(world.store(page, 1)).toBe(0);
    backing.writeError = -EIO;
    expect(world.store(2, 1)).toBe(-ENOMEM);
    backing.writeError = 0;
    expect([world.store(2, 2), world.load(0), world.load(1)]).toEqual([0, 1, 1]);
  });

  it("of which a device changes a page of its own is the device's private copy", () => {
    const world = testWorld();
    const file = mapTwice(world, 2);
    world.store(20, 7);
    expect([world.toDevice(20, 1), world.deviceStore(20, 8)]).toEqual([0, 0]);
    expect(world.memory.isPrivate(world.frame(20))).toBe(true);
    expect([world.load(20), wordAt(file, 0), world.load(0)]).toEqual([8, 100, 100]);
  });

  it("does not let pages of the file go to a device", () => {
    const world = testWorld();
    const file = mapTwice(world, 2);
    world.loads(0, 2);
    world.deviceLoad(0);
    expect(world.toDevice(0, 2)).toBeLessThan(0);
    expect([world.frame(0), world.load(1)]).toEqual([file.find(0), 101]);
    expect(world.device.pagemap.zone.usedCount).toBe(0);
  });
});

describe("reading and writing a file", () => {
  it("goes through the same pages as the mappings", () => {
    const world = testWorld();
    const file = mapTwice(world, 2);
    world.store(1, 7);
    expect(wordAt(file, 1)).toBe(7);
    expect(file.write(bytesOf(1), new Uint8Array([9, 0, 0, 0]))).toBe(4);
    expect([world.load(1), world.deviceLoad(21)]).toEqual([9, 9]);
  });

  it("crosses pages, stops at the end, and grows the file", () => {
    const world = testWorld();
    const file = world.file(1);
    const out = new Uint8Array(8);
    expect([file.read(bytesOf(1) - 4, out), file.read(bytesOf(1), out)]).toEqual([4, 0]);
    expect(file.write(bytesOf(1) - 2, new Uint8Array([1, 2, 3, 4]))).toBe(4);
    expect([file.bytes, file.pageCount, file.cachedCount]).toEqual([bytesOf(1) + 2, 2, 2]);
    expect(file.read(bytesOf(1) - 2, out)).toBe(4);
    expect([...out.subarray(0, 4)]).toEqual([1, 2, 3, 4]);
    expect(file.read(-1, out)).toBe(-EINVAL);
    expect(file.read(0.5, out)).toBe(-EINVAL);
  });

  it("says how far it came, or why it did not begin", () => {
    const world = testWorld({ frames: 1 });
    const backing = new TestBacking(2);
    const file = world.file(2, backing);
    expect(file.write(0, new Uint8Array(bytesOf(2)))).toBe(bytesOf(1));
    expect(file.read(bytesOf(1), new Uint8Array(4))).toBe(-ENOMEM);
    backing.resizeError = -ENOSPC;
    expect(file.write(bytesOf(2), new Uint8Array(4))).toBe(-ENOSPC);
    expect(file.bytes).toBe(bytesOf(2));
  });
});

describe("truncating a file", () => {
  it("takes pages from every mapping, private copies too, and makes them bus errors", () => {
    const world = testWorld();
    const file = mapTwice(world, 3);
    world.loads(0, 3);
    world.store(22, 7);
    world.toDevice(22, 1);
    world.deviceLoad(1);
    const log = world.watch();
    expect(world.run(file.truncate(bytesOf(1)))).toBe(0);
    world.check();
    const events = ["start 1 1..3", "end 1 1..3", "start 1 21..23", "end 1 21..23"];
    expect(log).toEqual(events);
    expect([world.load(0), world.load(1), world.load(22), world.deviceLoad(1)]).toEqual([
      100,
      -EIO,
      -EIO,
      -EFAULT,
    ]);
    expect([file.cachedCount, world.device.pagemap.zone.usedCount]).toEqual([1, 0]);
  });

  it("clears the rest of the last page, so that growing again shows zeros", () => {
    const world = testWorld();
    const file = mapTwice(world, 2);
    file.write(0, new Uint8Array(bytesOf(2)).fill(0xff));
    expect(world.run(file.truncate(4))).toBe(0);
    expect(world.run(file.truncate(bytesOf(2)))).toBe(0);
    const out = new Uint8Array(bytesOf(2));
    file.read(0, out);
    expect([out.indexOf(0), out.lastIndexOf(0xff), world.load(1)]).toEqual([4, 3, 0]);
  });

  it("to the length it has, or longer, tells nobody", () => {
    const world = testWorld();
    const file = mapTwice(world, 1);
    world.load(0);
    const log = world.watch();
    for (const bytes of [bytesOf(1), bytesOf(3)]) expect(world.run(file.truncate(bytes))).toBe(0);
    expect([log, file.pageCount, world.load(0)]).toEqual([[], 3, 100]);
  });

  it("refuses lengths that are none, and fails as the backing fails, having done nothing", () => {
    const world = testWorld();
    const backing = new TestBacking(2);
    const file = mapTwice(world, 2, backing);
    for (const bytes of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(world.run(file.truncate(bytes))).toBe(-EINVAL);
    }
    backing.resizeError = -EIO;
    expect([world.run(file.truncate(0)), file.bytes, world.load(1)]).toEqual([
      -EIO,
      bytesOf(2),
      101,
    ]);
  });
});

describe("punching a hole", () => {
  it("makes pages zeros again for whoever shares them, and leaves private copies", () => {
    const world = testWorld();
    const file = mapTwice(world, 3);
    world.loads(0, 3);
    world.loads(20, 3);
    world.store(21, 7);
    world.deviceLoad(1);
    const log = world.watch();
    expect(world.run(file.punchHole(bytesOf(1), bytesOf(2)))).toBe(0);
    world.check();
    expect(log).toEqual(["start 1 1..2", "end 1 1..2", "start 1 21..22", "end 1 21..22"]);
    expect([world.loads(0, 3), world.loads(20, 3)]).toEqual([
      [100, 0, 102],
      [100, 7, 102],
    ]);
    expect([world.deviceLoad(1), file.bytes]).toEqual([0, bytesOf(3)]);
  });

  it("leaves private copies that are on a device or swapped out", () => {
    const world = testWorld({ swap: new SwapArea(4) });
    const file = mapTwice(world, 2);
    for (const page of [20, 21]) world.store(page, page);
    world.toDevice(20, 1);
    world.advise(21, 1, Advice.pageOut);
    expect(world.memory.swap.usedCount).toBe(1);
    expect(world.run(file.punchHole(0, bytesOf(2)))).toBe(0);
    world.check();
    expect([world.loads(0, 2), world.loads(20, 2)]).toEqual([
      [0, 0],
      [20, 21],
    ]);
  });

  it("is not for files with something behind them", () => {
    const world = testWorld();
    const file = mapTwice(world, 1, new TestBacking(1));
    expect([world.run(file.punchHole(0, bytesOf(1))), world.load(0)]).toEqual([-EINVAL, 100]);
  });
});

describe("writing back", () => {
  it("stores dirty pages once and makes shared mappings fault at the next write", () => {
    const world = testWorld();
    const backing = new TestBacking(3);
    const file = mapTwice(world, 3, backing);
    world.loads(0, 3);
    world.store(1, 7);
    world.deviceLoad(1);
    const log = world.watch();
    expect(world.run(file.sync())).toBe(1);
    world.check();
    expect(log).toEqual(["start 3 1..2", "end 3 1..2"]);
    expect([backing.word(1), isWritable(world.pte(1)), world.run(file.sync())]).toEqual([
      7,
      false,
      0,
    ]);
    expect([world.store(1, 8), world.run(file.sync()), backing.word(1)]).toEqual([0, 1, 8]);
  });

  it("finds what a device wrote", () => {
    const world = testWorld();
    const backing = new TestBacking(1);
    const file = mapTwice(world, 1, backing);
    world.deviceStore(0, 7);
    world.run(file.sync());
    expect(backing.word(0)).toBe(7);
    world.deviceStore(0, 8);
    world.run(file.sync());
    expect(backing.word(0)).toBe(8);
  });

  it("does not store what private mappings wrote, nor what was only read", () => {
    const world = testWorld();
    const backing = new TestBacking(2);
    const file = mapTwice(world, 2, backing);
    world.store(20, 7);
    world.load(1);
    expect([world.run(file.sync()), backing.word(0)]).toEqual([0, 100]);
    expect(isWritable(world.pte(1))).toBe(false);
  });

  it("stores no byte behind the end of the file", () => {
    const world = testWorld();
    const backing = new TestBacking(1);
    const file = mapTwice(world, 1, backing);
    world.run(file.truncate(10));
    world.store(0, 7);
    world.run(file.sync());
    expect(backing.log.at(-1)).toBe("write 0 10");
  });

  it("that fails leaves the page dirty, and it can be tried again", () => {
    const world = testWorld();
    const backing = new TestBacking(2);
    const file = mapTwice(world, 2, backing);
    for (const page of [0, 1]) world.store(page, 7);
    backing.writeError = -EIO;
    expect(world.run(file.sync())).toBe(-EIO);
    expect(world.memory.pages.is(world.frame(0), PG_DIRTY)).toBe(true);
    backing.writeError = 0;
    expect([world.run(file.sync()), backing.word(0), backing.word(1)]).toEqual([2, 7, 7]);
  });

  it("of a file in memory has nothing to do, and its mappings are writable from the start", () => {
    const world = testWorld();
    const file = mapTwice(world, 1);
    world.load(0);
    expect([isWritable(world.pte(0)), isWritable(world.pte(20))]).toEqual([true, false]);
    expect([world.run(file.sync()), isWritable(world.pte(0))]).toEqual([0, true]);
  });

  it("drops a page from the cache only when nobody needs it", () => {
    const world = testWorld();
    const file = world.file(3, new TestBacking(3));
    world.map(0, 1, RW, { file, isShared: true });
    world.load(0);
    file.load(1);
    file.write(bytesOf(2), new Uint8Array([1]));
    expect([0, 1, 2, 1].map((index) => file.drop(index))).toEqual([false, true, false, false]);
    expect(world.rss[MM_FILEPAGES]).toBe(1);
    const shmem = world.file(1);
    expect(shmem.drop(0)).toBe(false);
  });
});
