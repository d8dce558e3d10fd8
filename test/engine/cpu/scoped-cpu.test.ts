import { afterEach, describe, expect, it } from "vitest";
import {
  EFAULT,
  ENOMEM,
  PAGE_SIZE,
  type Result,
  type VirtAddr,
  virtAddr,
  vpn,
  vpnOf,
} from "../../../src/base/index.ts";
import { checkWorld } from "../../../src/check/index.ts";
import { type Bracket, Brackets, createWindow, ScopedCpu } from "../../../src/cpu/index.ts";
import { protectForCopies } from "../../../src/devmem/index.ts";
import { Dmirror, DmirrorDevice } from "../../../src/driver/dmirror/index.ts";
import { buildWorld, type World } from "../../../src/machine/world.ts";
import {
  AddressSpace,
  MapMode,
  mmap,
  mmput,
  mprotect,
  munmap,
  ptePfn,
  VM_READ,
} from "../../../src/mm/index.ts";
import { FIRST_ZONE_PFN, PG_DIRTY, ZERO_PFN } from "../../../src/phys/index.ts";
import type { Sleeps } from "../../../src/sync/index.ts";
import { bytesOf, RW } from "../test-world.ts";

const window = createWindow();

/** Low in the space, so that a small zone has the frames of these pages. */
const at = (page: number): VirtAddr => virtAddr(0x2_0000 + page * PAGE_SIZE);
const FIRST = vpnOf(at(0));

class WindowWorld {
  readonly world: World = buildWorld({ frames: 64, window });
  readonly space = new AddressSpace(this.world.memory, { isIdentity: true });
  readonly cpu = new ScopedCpu(this.space);
  readonly brackets = new Brackets(this.space, this.cpu);
  readonly mirror = Dmirror.open(
    new DmirrorDevice(this.world.memory, { name: "dmirror0", frames: 4 }),
    this.space,
  ) as Dmirror;

  run<T>(body: Sleeps<T>): T {
    return this.world.scheduler.runTask("test", body);
  }

  map(page: number, count: number, flags = RW): void {
    const options = { start: at(page), bytes: bytesOf(count), flags, mode: MapMode.noReplace };
    expect(this.run(mmap(this.space, options))).toBe(at(page));
  }

  access(page: number, count: number, write: boolean): Bracket | Result {
    const range = { start: at(page), end: at(page + count) };
    return this.run(this.brackets.open(range, write, { address: virtAddr(0) }));
  }

  open(page: number, count: number, write: boolean): Bracket {
    const pinned = this.access(page, count, write);
    expect(typeof pinned).toBe("object");
    return pinned as Bracket;
  }

  may(page: number, write: boolean, bytes = 4): boolean {
    return this.cpu.mayTouch(at(page), bytes, write);
  }

  toDevice(page: number): number {
    return this.run(this.mirror.migrateToDevice(at(page), 1, () => {})).result;
  }

  /** What the CPU may touch is within the page table, and the rest adds up. */
  check(isOver = false): void {
    checkWorld(this.world.memory, { shadows: [this.cpu, this.mirror], isOver });
  }

  over(): void {
    this.check();
    this.run(mmput(this.space));
    this.run(this.mirror.close());
    this.check(true);
    // Free frames of a window are all zero.
    expect(window.u32.subarray(at(0) >>> 2, at(64) >>> 2).every((word) => word === 0)).toBe(true);
  }
}

let running: WindowWorld | undefined;
const windowWorld = (): WindowWorld => {
  running = new WindowWorld();
  return running;
};

afterEach(({ task }) => {
  if (task.result?.state !== "fail") running?.over();
  window.u8.fill(0, at(0), at(64));
  running = undefined;
});

describe("an access bracket", () => {
  it("lets user code touch the bytes at their own addresses", () => {
    const world = windowWorld();
    world.map(0, 2);
    expect(world.may(0, false)).toBe(false);
    const pinned = world.open(0, 2, true);
    expect(world.may(0, true, 2 * PAGE_SIZE)).toBe(true);
    window.u32[at(1) >>> 2] = 7;
    expect(
      world.world.memory.bytes.loadWord(ptePfn(world.space.pageTable.get(vpn(FIRST + 1))), 0),
    ).toBe(7);
    world.check();
    world.brackets.close(pinned);
    expect(() => world.brackets.close(pinned)).toThrow(/closed twice/);
  });

  it("gives all pages or none", () => {
    const world = windowWorld();
    world.map(0, 1);
    const failure = { address: virtAddr(0) };
    const range = { start: at(0), end: at(2) };
    expect(world.run(world.brackets.open(range, false, failure))).toBe(-EFAULT);
    expect([failure.address, world.brackets.count]).toEqual([at(1), 0]);
  });

  it("keeps its pages from moving to a device until it is closed", () => {
    const world = windowWorld();
    world.map(0, 1);
    const pinned = world.open(0, 1, false);
    window.u32[at(0) >>> 2] = 7;
    world.toDevice(0);
    expect([world.may(0, false), window.u32[at(0) >>> 2]]).toEqual([true, 7]);
    world.brackets.close(pinned);
    expect([world.toDevice(0), world.may(0, false)]).toEqual([0, false]);
    expect(window.u32[at(0) >>> 2]).toBe(0);
    world.brackets.close(world.open(0, 1, false));
    expect(window.u32[at(0) >>> 2]).toBe(7);
  });

  it("for writing keeps devices from making copies, and marks what was written", () => {
    const world = windowWorld();
    world.map(0, 1);
    const pinned = world.open(0, 1, true);
    const { pages } = world.world.memory;
    pages.clearFlag(pinned.frames[0]!, PG_DIRTY);
    function* protect(): Sleeps<Result> {
      using _mmap = yield* world.space.mmapLock.acquireRead();
      return yield* protectForCopies(world.space, FIRST, vpn(FIRST + 1), world);
    }
    expect([world.run(protect()), world.may(0, true)]).toEqual([-16, true]);
    world.brackets.close(pinned);
    expect(pages.is(pinned.frames[0]!, PG_DIRTY)).toBe(true);
    expect([world.run(protect()), world.may(0, true), world.may(0, false)]).toEqual([
      0,
      false,
      false,
    ]);
  });

  it("can be found by the pages that it covers", () => {
    const world = windowWorld();
    world.map(0, 4);
    const pinned = world.open(1, 2, false);
    const find = (start: number, end: number) =>
      world.brackets.find(vpn(FIRST + start), vpn(FIRST + end));
    expect([find(0, 1), find(0, 2), find(2, 9), find(3, 9)]).toEqual([
      undefined,
      pinned,
      pinned,
      undefined,
    ]);
    world.brackets.close(pinned);
    expect(find(0, 9)).toBeUndefined();
  });
});

describe("brackets of those who are gone", () => {
  it("are closed, the others stay, and each owner is asked for once", () => {
    const world = windowWorld();
    world.map(0, 4);
    const open = (page: number, owner: bigint): Bracket => {
      const range = { start: at(page), end: at(page + 1) };
      const failure = { address: virtAddr(0) };
      return world.run(world.brackets.open(range, true, failure, owner)) as Bracket;
    };
    const [own, alive] = [open(0, 0n), open(1, 5n)];
    for (const page of [2, 3]) open(page, 7n);
    const asked: bigint[] = [];
    world.brackets.closeOfGone((owner) => {
      asked.push(owner);
      return owner === 7n;
    });
    expect([asked, world.brackets.count]).toEqual([[5n, 7n], 2]);
    expect([world.brackets.get(own.id), world.brackets.get(alive.id)]).toEqual([own, alive]);
    expect(world.brackets.find(vpn(FIRST + 2), vpn(FIRST + 4))).toBeUndefined();
    world.brackets.close(own);
    world.brackets.close(alive);
  });
});

describe("the table of rights", () => {
  it("gives read and write apart, for every page of an access", () => {
    const world = windowWorld();
    world.map(0, 1, VM_READ);
    world.map(1, 1);
    world.brackets.close(world.open(0, 2, false));
    expect([world.may(0, false), world.may(0, true), world.may(1, true)]).toEqual([
      true,
      false,
      true,
    ]);
    expect(world.cpu.mayTouch(virtAddr(at(0) + 4092), 8, true)).toBe(false);
    expect(world.cpu.mayTouch(virtAddr(at(1) + 4092), 4, true)).toBe(true);
    expect(world.cpu.mayTouch(virtAddr(at(1) + 4092), 8, true)).toBe(false);
  });

  it("shrinks with the page table", () => {
    const world = windowWorld();
    world.map(0, 2);
    world.brackets.close(world.open(0, 2, true));
    world.run(mprotect(world.space, at(0), bytesOf(1), VM_READ));
    world.check();
    expect(world.may(0, true)).toBe(false);
    world.run(munmap(world.space, at(1), bytesOf(1)));
    expect(world.may(1, false)).toBe(false);
  });
});

describe("a window", () => {
  it("gives every page the frame whose bytes lie at its address, zeroed", () => {
    const world = windowWorld();
    world.map(0, 3);
    for (const page of [2, 0]) {
      const pinned = world.open(page, 1, true);
      expect(pinned.frames).toEqual([FIRST_ZONE_PFN + FIRST + page]);
      window.u32.fill(0xffffffff, at(page) >>> 2, at(page + 1) >>> 2);
      world.brackets.close(pinned);
    }
    world.run(munmap(world.space, at(0), bytesOf(3)));
    world.map(0, 1);
    world.brackets.close(world.open(0, 1, false));
    expect(window.u32[at(0) >>> 2]).toBe(0);
  });

  it("reads as zero where nobody has written", () => {
    const world = windowWorld();
    world.map(0, 1, VM_READ);
    const pinned = world.open(0, 1, false);
    expect([pinned.frames[0], window.u32[at(0) >>> 2]]).toEqual([ZERO_PFN, 0]);
    world.brackets.close(pinned);
  });

  it("has no second frame for a page whose first is still held", () => {
    const world = windowWorld();
    world.map(0, 1);
    const pinned = world.open(0, 1, true);
    world.run(munmap(world.space, at(0), bytesOf(1)));
    world.map(0, 1);
    expect(world.access(0, 1, true)).toBe(-ENOMEM);
    world.brackets.close(pinned);
    world.brackets.close(world.open(0, 1, true));
  });

  it("needs identity frames", () => {
    const { memory } = buildWorld({ frames: 4 });
    expect(() => new ScopedCpu(new AddressSpace(memory))).toThrow(/frame at its address/);
  });
});
