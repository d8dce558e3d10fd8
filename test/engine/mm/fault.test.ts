import { describe, expect, it } from "vitest";
import { EFAULT, EIO, ENOMEM, type Pfn, vpnOf } from "../../../src/base/index.ts";
import { DevicePagemap } from "../../../src/devmem/index.ts";
import {
  type AddressSpace,
  cpuFault,
  FAULT_WRITE,
  fork,
  isWritable,
  makePte,
  mmap,
  mmput,
  mprotect,
  PTE_DEVICE_PRIVATE,
  PTE_PROTNONE,
  PTE_VALID,
  ptePfn,
  VM_READ,
} from "../../../src/mm/index.ts";
import { PG_DIRTY, PG_DUPLICATED, PG_EXCLUSIVE, ZERO_PFN } from "../../../src/phys/index.ts";
import { BASE, bytesOf, pageAt, RW, type TestWorld, TURNS, testWorld } from "../test-world.ts";

const flags = (world: TestWorld, page: number): number => world.pte(page) & 0xff;

describe("a first touch", () => {
  it("that reads maps the zero page, which costs nobody anything", () => {
    const world = testWorld();
    world.map(0, 2);
    expect([world.load(0), world.load(1)]).toEqual([0, 0]);
    expect([ptePfn(world.pte(0)), flags(world, 0)]).toEqual([ZERO_PFN, PTE_VALID]);
    expect([world.space.rssPages, world.memory.group.chargedPages]).toEqual([0, 0]);
  });

  it("that writes maps a cleared frame of its own, charged", () => {
    const world = testWorld({ frames: 1 });
    world.map(0, 1);
    world.memory.bytes.u8.fill(0xee);
    expect(world.store(0, 7)).toBe(0);
    const frame = ptePfn(world.pte(0));
    expect(world.memory.bytes.loadWord(frame, 1)).toBe(0);
    expect(isWritable(world.pte(0))).toBe(true);
    expect(world.memory.pages.is(frame, PG_EXCLUSIVE)).toBe(true);
    expect([world.space.rssPages, world.memory.group.chargedPages]).toEqual([1, 1]);
  });

  it("raises no invalidation: nobody holds more than there was", () => {
    const world = testWorld();
    world.map(0, 2);
    const log = world.watch();
    world.load(0);
    world.store(1, 1);
    expect(log).toEqual([]);
  });

  it("fails where nothing is mapped or the right is missing", () => {
    const world = testWorld();
    world.map(0, 1, VM_READ);
    world.map(2, 1, 0);
    expect([world.load(1), world.store(0, 1), world.load(2)]).toEqual([-EFAULT, -EFAULT, -EFAULT]);
    expect(world.load(0)).toBe(0);
  });

  it("fails when there is no frame, or no charge, and leaves nothing behind", () => {
    const world = testWorld({ frames: 3, limitPages: 2 });
    world.map(0, 4);
    expect([0, 1, 2].map((page) => world.store(page, 1))).toEqual([0, 0, -ENOMEM]);
    world.check();
    expect(world.memory.ram.usedCount).toBe(2);
    const small = testWorld({ frames: 2 });
    small.map(0, 4);
    expect([0, 1, 2].map((page) => small.store(page, 1))).toEqual([0, 0, -ENOMEM]);
  });
});

describe("a write to the zero page", () => {
  it("replaces it by a cleared page inside an invalidation", () => {
    const world = testWorld({ frames: 1 });
    world.map(0, 1);
    world.load(0);
    world.memory.bytes.u8.fill(0xee);
    const log = world.watch();
    expect(world.store(0, 7)).toBe(0);
    expect(log).toEqual(["start 1 0..1", "end 1 0..1"]);
    expect(world.memory.bytes.loadWord(ptePfn(world.pte(0)), 1)).toBe(0);
    expect([world.load(0), world.space.rssPages, world.count("mm:cow")]).toEqual([7, 1, 1]);
  });

  it("makes devices that read the zero page look again", () => {
    const world = testWorld();
    world.map(0, 1);
    expect(world.deviceLoad(0)).toBe(0);
    world.store(0, 7);
    world.check();
    expect(world.deviceLoad(0)).toBe(7);
  });

  it("gives its frame back when somebody else is faster", () => {
    const world = testWorld({ strategy: TURNS });
    world.map(0, 1);
    world.load(0);
    const log = world.watch();
    for (const value of [8, 9]) {
      world.scheduler.spawn(`store ${value}`, world.cpu.store(pageAt(0), value));
    }
    world.scheduler.run();
    expect([log.length, world.count("mm:cow"), world.load(0)]).toEqual([4, 1, 9]);
    expect(world.memory.ram.usedCount).toBe(1);
  });
});

describe("a write to a page that is write-protected", () => {
  it("reuses a page that is ours alone, without an invalidation", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 5);
    const before = ptePfn(world.pte(0));
    for (const rights of [VM_READ, RW]) {
      world.run(mprotect(world.space, pageAt(0), bytesOf(1), rights));
    }
    expect(isWritable(world.pte(0))).toBe(true);
    const cursor = world.space.cursor.begin();
    cursor.set(vpnOf(BASE), makePte(before, PTE_VALID));
    cursor.flush();
    world.memory.pages.clearFlag(before, PG_DIRTY);
    const log = world.watch();
    expect([world.store(0, 6), log, ptePfn(world.pte(0))]).toEqual([0, [], before]);
    expect(world.memory.pages.is(before, PG_DIRTY)).toBe(true);
  });

  it("copies a page that others may see", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 5);
    const before = ptePfn(world.pte(0));
    const child = world.run(fork(world.space)) as AddressSpace;
    expect(world.deviceLoad(0)).toBe(5);
    const log = world.watch();
    world.memory.bytes.storeWord(before, 9, 99);
    expect(world.store(0, 6)).toBe(0);
    expect(log).toEqual(["start 1 0..1", "end 1 0..1"]);
    const after = ptePfn(world.pte(0));
    expect([after === before, world.memory.bytes.loadWord(after, 9)]).toEqual([false, 99]);
    expect([world.memory.pages.refs[before], world.deviceLoad(0)]).toEqual([1, 6]);
    world.run(mmput(child));
    expect(world.memory.pages.refs[before]).toBe(0);
  });

  it("takes a duplicated page back from the devices first", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 5);
    const frame = ptePfn(world.pte(0));
    const cursor = world.space.cursor.begin();
    cursor.set(vpnOf(BASE), makePte(frame, PTE_VALID));
    cursor.flush();
    world.memory.pages.setFlag(frame, PG_DUPLICATED);
    const log = world.watch();
    expect(world.store(0, 6)).toBe(0);
    expect(log).toEqual(["start 1 0..1", "end 1 0..1"]);
    expect(ptePfn(world.pte(0))).toBe(frame);
    expect(world.memory.pages.is(frame, PG_DUPLICATED)).toBe(false);
  });
});

describe("a page that is locked out", () => {
  it("is let in again by the next access when the Vma allows it", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 5);
    const frame = ptePfn(world.pte(0));
    const lockOut = (): void => {
      const cursor = world.space.cursor.begin();
      cursor.set(vpnOf(BASE), makePte(frame, PTE_PROTNONE));
      cursor.flush();
    };
    lockOut();
    expect([world.load(0), isWritable(world.pte(0))]).toEqual([5, true]);
    lockOut();
    world.memory.pages.setFlag(frame, PG_DUPLICATED);
    expect([world.load(0), isWritable(world.pte(0))]).toEqual([5, false]);
  });
});

describe("a fault on a page that lives on a device", () => {
  it("brings it home with what the device wrote", () => {
    const world = testWorld();
    world.map(0, 2);
    world.store(0, 5);
    expect([world.toDevice(0, 1), world.deviceStore(0, 6)]).toEqual([0, 0]);
    expect([world.load(0), world.deviceEntry(0)]).toEqual([6, 0]);
    expect([world.space.rssPages, world.memory.group.chargedPages]).toEqual([1, 1]);
    expect(world.device.pagemap.zone.usedCount).toBe(0);
  });

  it("is a bus error when its owner cannot, and out of memory when there is no RAM", () => {
    const world = testWorld();
    const answers = [-EIO, -EFAULT, -ENOMEM];
    const pagemap: DevicePagemap = new DevicePagemap(world.memory, {
      name: "broken",
      owner: {},
      frames: 1,
      *migrateToRam() {
        return answers.shift()!;
      },
    });
    world.map(0, 1);
    const { pages, group } = world.memory;
    const frame = pages.alloc(pagemap.zone) as Pfn;
    pages.charge(frame, group);
    world.space.ownAnonymous(frame, world.vma(0), vpnOf(BASE));
    const cursor = world.space.cursor.begin();
    cursor.map(vpnOf(BASE), makePte(frame, PTE_DEVICE_PRIVATE));
    cursor.flush();
    pages.put(frame);
    expect([world.load(0), world.load(0), world.load(0)]).toEqual([-EIO, -EIO, -ENOMEM]);
    world.check();
  });

  it("fails, and does not try for ever, when RAM is full", () => {
    const world = testWorld({ frames: 2 });
    world.map(0, 4);
    world.store(0, 5);
    world.toDevice(0, 1);
    expect([world.store(1, 1), world.store(2, 2), world.load(0)]).toEqual([0, 0, -ENOMEM]);
    expect(world.deviceLoad(0)).toBe(5);
  });
});

describe("cpuFault", () => {
  it("is told of the access it is for", () => {
    const world = testWorld();
    world.run(mmap(world.space, { start: pageAt(0), bytes: bytesOf(1), flags: VM_READ }));
    expect(world.run(cpuFault(world.space, pageAt(0), FAULT_WRITE))).toBe(-EFAULT);
    expect(world.run(cpuFault(world.space, pageAt(0), 0))).toBe(0);
    expect(world.run(cpuFault(world.space, pageAt(0), 0))).toBe(0);
  });
});
