/**
 * A small device for the tests of `device`: memory of its own that is an array of bytes, a table
 * for each space, and access to all of it through the table only.
 */
import { onTestFinished } from "vitest";
import {
  EBUSY,
  EIO,
  PAGE_SIZE,
  type Pfn,
  type Result,
  vpn,
  vpnOf,
} from "../../../src/base/index.ts";
import {
  type Block,
  DeviceMemory,
  type DeviceMemoryOptions,
  type DeviceOps,
  DeviceShadow,
  entryFrame,
  type MoveOptions,
  moveIn,
  type ServeOptions,
  serve,
} from "../../../src/device/index.ts";
import { type AddressSpace, type Memory, PageTable } from "../../../src/mm/index.ts";
import { PG_DIRTY } from "../../../src/phys/index.ts";
import { type Sleeps, YIELD } from "../../../src/sync/index.ts";
import {
  firstWord,
  pageAt,
  setFirstWord,
  type TestProcess,
  type TestWorld,
} from "../test-world.ts";

/** How often an access faults before the device gives up. */
const ACCESSES_MAX = 64;

export type TestDeviceOptions = Partial<
  Pick<DeviceMemoryOptions, "frames" | "owner" | "reachesRam" | "readsAhead">
>;

/** The device: its memory, shared by all spaces. */
export class TestDevice implements DeviceOps {
  readonly memory: DeviceMemory;
  /** Copies fail. */
  isBroken = false;
  /** Turns that the copy of a page takes. */
  copyTurns = 1;
  // frame's place in the zone * PAGE_SIZE -> bytes
  readonly #bytes: Uint8Array;
  readonly #ram: Memory;

  constructor(ram: Memory, options: TestDeviceOptions = {}) {
    const { frames = 16 } = options;
    this.#ram = ram;
    this.#bytes = new Uint8Array(frames * PAGE_SIZE);
    this.memory = new DeviceMemory(ram, { name: "gpu", ...options, frames, ops: this });
  }

  /** Frames that hold pages or copies. */
  get framesUsed(): number {
    return this.memory.residentPages;
  }

  /** What the device sees behind a frame: its own memory, or RAM. */
  bytesOf(frame: Pfn): Uint8Array {
    const isOwn = this.memory.pagemap.zone.contains(frame);
    const at = (isOwn ? this.memory.pagemap.indexOf(frame) : frame) * PAGE_SIZE;
    return (isOwn ? this.#bytes : this.#ram.bytes.u8).subarray(at, at + PAGE_SIZE);
  }

  *copyIn(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result> {
    for (const [i, frame] of to.entries()) {
      this.#ram.bytes.read(from[i]!, this.bytesOf(frame), 0);
      yield* this.#pause();
    }
    return this.isBroken ? -EIO : 0;
  }

  *clear(frames: readonly Pfn[]): Sleeps<Result> {
    for (const frame of frames) {
      this.bytesOf(frame).fill(0);
      yield* this.#pause();
    }
    return this.isBroken ? -EIO : 0;
  }

  *copyHome(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result> {
    for (const [i, frame] of from.entries()) {
      this.#ram.bytes.write(to[i]!, this.bytesOf(frame), 0);
      yield* this.#pause();
    }
    return this.isBroken ? -EIO : 0;
  }

  *#pause(): Sleeps<void> {
    for (let turn = 0; turn < this.copyTurns; turn++) yield YIELD;
  }
}

export interface AccessOptions extends ServeOptions {
  readonly write?: boolean;
  readonly how?: Block["how"];
  /** Pages that are served with the one that is touched: a power of two. Default 1. */
  readonly around?: number;
}

/** One space as the device sees it. */
export class TestMirror {
  readonly space: AddressSpace;
  readonly device: TestDevice;
  readonly table = new PageTable();
  readonly shadow: DeviceShadow;

  constructor(space: AddressSpace, device: TestDevice) {
    this.space = space;
    this.device = device;
    this.shadow = DeviceShadow.open(device.memory, space, { table: this.table }) as DeviceShadow;
  }

  /** Serves the block of page `page` of the test, once. */
  *serve(page: number, options: AccessOptions = {}): Sleeps<Result> {
    const { write = false, around = 1, ...rest } = options;
    const { reachesRam } = this.device.memory;
    const how = options.how ?? (reachesRam ? "map" : write ? "move" : "copy");
    const first = page - (page % around);
    const [start, end] = [vpnOf(pageAt(first)), vpnOf(pageAt(first + around))];
    const wanted = how === "map" ? [] : [{ page: vpnOf(pageAt(page)), write }];
    const need = how === "map" ? (write ? 3 : 1) : 0;
    return yield* serve(this.shadow, [{ start, end, how, wanted, need }], rest);
  }

  /** Calls `touch` with the bytes of page `page` of the test; faults as often as needed. */
  *access(
    page: number,
    touch: (bytes: Uint8Array) => void,
    options: AccessOptions = {},
  ): Sleeps<Result> {
    const { write = false } = options;
    for (let tries = 0; tries < ACCESSES_MAX; tries++) {
      {
        using _update = yield* this.shadow.lock.acquire();
        if (this.shadow.allows(vpnOf(pageAt(page)), write)) {
          const frame = entryFrame(this.shadow.get(vpnOf(pageAt(page))));
          if (write) this.space.memory.pages.setFlag(frame, PG_DIRTY);
          touch(this.device.bytesOf(frame));
          return 0;
        }
      }
      const result = yield* this.serve(page, options);
      if (result < 0) return result;
    }
    return -EBUSY;
  }

  /** Moves `count` pages in, in one migration: how many. */
  *moveIn(page: number, count: number, options: Partial<MoveOptions> = {}): Sleeps<Result> {
    using _mmap = yield* this.space.mmapLock.acquireRead();
    const vma = this.space.vmas.find(pageAt(page))!;
    const run = { start: vpnOf(pageAt(page)), end: vpnOf(pageAt(page + count)) };
    return yield* moveIn(this.shadow, { vma, ...run, ...options });
  }
}

/** The same for the running test: without generators. */
export class DeviceTest {
  readonly world: TestWorld;
  readonly process: TestProcess;
  readonly mirror: TestMirror;
  readonly device: TestDevice;
  readonly shadow: DeviceShadow;

  constructor(world: TestWorld, process: TestProcess, mirror: TestMirror) {
    this.world = world;
    this.process = process;
    this.mirror = mirror;
    this.device = mirror.device;
    this.shadow = mirror.shadow;
    world.shadows.push(mirror.shadow);
    onTestFinished(() => process.run(mirror.shadow.close()));
  }

  run<T>(body: Sleeps<T>): T {
    const result = this.process.run(body);
    this.world.check();
    return result;
  }

  load(page: number, options: AccessOptions = {}): number {
    let word = 0;
    const touch = (bytes: Uint8Array): void => {
      word = firstWord(bytes);
    };
    const result = this.run(this.mirror.access(page, touch, options));
    return result < 0 ? result : word;
  }

  store(page: number, value: number, options: AccessOptions = {}): number {
    const touch = (bytes: Uint8Array): void => setFirstWord(bytes, value);
    return this.run(this.mirror.access(page, touch, { ...options, write: true }));
  }

  serve(page: number, options: AccessOptions = {}): Result {
    return this.run(this.mirror.serve(page, options));
  }

  moveIn(page: number, count: number, options: Partial<MoveOptions> = {}): Result {
    return this.run(this.mirror.moveIn(page, count, options));
  }

  evictAll(): Result {
    return this.run(this.device.memory.evictAll());
  }

  /** Where page `page` lives. */
  isAway(page: number): boolean {
    return this.shadow.isHere(vpn(vpnOf(pageAt(page))));
  }

  /** "d" for each page on the device, "r" for the others. */
  places(count = 4): string {
    return Array.from({ length: count }, (_, page) => (this.isAway(page) ? "d" : "r")).join("");
  }

  /** Sleeps until the clock is `ms` further. */
  pass(ms: number): void {
    const { memory, scheduler } = this.process;
    const deadlineMs = scheduler.nowMs + ms;
    this.run(
      (function* (): Sleeps<void> {
        while (scheduler.nowMs < deadlineMs) yield* memory.pages.waitForChange(deadlineMs);
      })(),
    );
  }
}

/** A device that sees the space of the world. */
export function deviceTest(world: TestWorld, options: TestDeviceOptions = {}): DeviceTest {
  const device = new TestDevice(world.memory, options);
  onTestFinished(() => {
    device.isBroken = false;
    world.run(device.memory.evictAll());
    // Where there is no RAM the end of the space frees them.
    if (device.framesUsed === 0) device.memory.remove();
  });
  return new DeviceTest(world, world, new TestMirror(world.space, device));
}

/** The same device in the space of another process. */
export function inProcess(test: DeviceTest, process: TestProcess): DeviceTest {
  return new DeviceTest(test.world, process, new TestMirror(process.space, test.device));
}
