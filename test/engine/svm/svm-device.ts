/**
 * A small device for the tests of `svm`: a table from page to frame for each space, memory of its
 * own that is an array of bytes, and access to all of it through the table only.
 */
import { onTestFinished } from "vitest";
import {
  EBUSY,
  EIO,
  PAGE_SIZE,
  type Pfn,
  type Result,
  type VirtAddr,
  vpn,
  vpnOf,
} from "../../../src/base/index.ts";
import { reachableIn, type Shadow, type ShadowVisitor } from "../../../src/check/index.ts";
import {
  type AddressSpace,
  asPte,
  type Memory,
  PageTable,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  ptePfn,
} from "../../../src/mm/index.ts";
import { PG_DIRTY } from "../../../src/phys/index.ts";
import {
  evictRange,
  type FindOptions,
  type GetPagesOptions,
  getPages,
  type MigrateOptions,
  migrateRange,
  type ServiceOptions,
  Svm,
  type SvmAllocation,
  SvmDeviceMemory,
  type SvmMemoryOps,
  type SvmOps,
  type SvmOptions,
  type SvmRange,
  serviceFault,
} from "../../../src/svm/index.ts";
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

/** The device: its memory, shared by all spaces. */
export class SvmDevice implements SvmMemoryOps {
  readonly memory: SvmDeviceMemory;
  readonly released: SvmAllocation[] = [];
  /** The next copies fail. */
  isBroken = false;
  /** Turns that the copy of a page takes. */
  copyTurns = 1;
  // frame's place in the zone * PAGE_SIZE -> bytes
  readonly #bytes: Uint8Array;
  readonly #memory: Memory;

  constructor(memory: Memory, frames: number, owner?: object) {
    this.#memory = memory;
    this.#bytes = new Uint8Array(frames * PAGE_SIZE);
    const options = { name: "gpu", frames, ops: this };
    this.memory = new SvmDeviceMemory(
      memory,
      owner === undefined ? options : { ...options, owner },
    );
  }

  get framesUsed(): number {
    return this.memory.pagemap.zone.usedCount;
  }

  /** What the device sees behind a frame: its own memory, or RAM. */
  bytesOf(frame: Pfn): Uint8Array {
    const isOwn = this.memory.pagemap.zone.contains(frame);
    const at = (isOwn ? this.memory.pagemap.indexOf(frame) : frame) * PAGE_SIZE;
    return (isOwn ? this.#bytes : this.#memory.bytes.u8).subarray(at, at + PAGE_SIZE);
  }

  *copyToDevice(from: readonly (Pfn | 0)[], to: readonly Pfn[]): Sleeps<Result> {
    for (const [i, frame] of to.entries()) {
      const source = from[i]!;
      if (source === 0) this.bytesOf(frame).fill(0);
      else this.#memory.bytes.read(source, this.bytesOf(frame), 0);
      for (let turn = 0; turn < this.copyTurns; turn++) yield YIELD;
    }
    return this.isBroken ? -EIO : 0;
  }

  *copyToRam(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result> {
    for (const [i, frame] of from.entries()) {
      if (to[i] !== 0) this.#memory.bytes.write(to[i]!, this.bytesOf(frame), 0);
      for (let turn = 0; turn < this.copyTurns; turn++) yield YIELD;
    }
    return this.isBroken ? -EIO : 0;
  }

  release(allocation: SvmAllocation): void {
    this.released.push(allocation);
  }
}

/** One space as the device sees it. */
export class SvmMirror implements Shadow, SvmOps {
  readonly name = "svm";
  readonly isCpu = false;
  readonly space: AddressSpace;
  readonly device: SvmDevice;
  readonly svm: Svm;
  readonly table = new PageTable();
  /** Ranges that were dropped (`-first..end`) and bound (`+first..end`), in pages of the test. */
  readonly log: string[] = [];
  /** What `bind` answers. */
  bindResult: Result = 0;

  constructor(space: AddressSpace, device: SvmDevice, options: Partial<SvmOptions> = {}) {
    this.space = space;
    this.device = device;
    this.svm = new Svm(space, {
      ops: this,
      window: { start: pageAt(0), end: pageAt(4096) },
      chunkSizes: [4 * PAGE_SIZE, PAGE_SIZE],
      notifierBytes: 16 * PAGE_SIZE,
      deviceMemory: device.memory,
      ...options,
    });
  }

  forEachReachable(visit: ShadowVisitor): void {
    reachableIn(this.table, visit);
  }

  *invalidate(range: SvmRange, mayWait: boolean): Sleeps<void> {
    this.svm.notifierLock.assertHeld();
    this.log.push(`-${pagesOf(range)}`);
    // The lock is held, and the table still has the pages: whoever looks now looks wrong.
    if (mayWait) yield YIELD;
    const end = vpnOf(range.end);
    for (let page = vpnOf(range.start); page < end; page = vpn(page + 1)) {
      this.table.set(page, PTE_NONE);
    }
  }

  *bind(range: SvmRange): Sleeps<Result> {
    this.svm.notifierLock.assertHeld();
    this.log.push(`+${pagesOf(range)}`);
    const first = vpnOf(range.start);
    for (const [i, word] of range.words.entries()) {
      this.table.set(vpn(first + i), asPte(word & (~0xff | PTE_VALID | PTE_WRITE)));
      yield YIELD;
    }
    return this.bindResult;
  }

  /** Calls `touch` with the bytes of the page of `address`; faults as often as needed. */
  *access(
    address: VirtAddr,
    touch: (bytes: Uint8Array) => void,
    options: ServiceOptions = {},
  ): Sleeps<Result> {
    const need = PTE_VALID | (options.write ? PTE_WRITE : 0);
    for (let tries = 0; tries < ACCESSES_MAX; tries++) {
      {
        using _notifier = yield* this.svm.notifierLock.acquire();
        const entry = this.table.get(vpnOf(address));
        if ((entry & need) === need) {
          if (options.write) this.space.memory.pages.setFlag(ptePfn(entry), PG_DIRTY);
          touch(this.device.bytesOf(ptePfn(entry)));
          return 0;
        }
      }
      const result = yield* serviceFault(this.svm, address, options);
      if (result < 0) return result;
    }
    return -EBUSY;
  }
}

const pagesOf = ({ start, end }: SvmRange): string =>
  `${(start - pageAt(0)) / PAGE_SIZE}..${(end - pageAt(0)) / PAGE_SIZE}`;

/** The same for the running test: without generators, and in pages of the test. */
export class SvmTest {
  readonly world: TestWorld;
  readonly process: TestProcess;
  readonly mirror: SvmMirror;
  readonly device: SvmDevice;
  readonly svm: Svm;

  constructor(world: TestWorld, process: TestProcess, mirror: SvmMirror) {
    this.world = world;
    this.process = process;
    this.mirror = mirror;
    this.device = mirror.device;
    this.svm = mirror.svm;
    world.shadows.push(mirror);
    onTestFinished(() => process.run(mirror.svm.close()));
  }

  run<T>(body: Sleeps<T>): T {
    return this.process.run(body);
  }

  /** With the svm lock. */
  locked<T>(body: () => Sleeps<T>): T {
    const { lock } = this.svm;
    function* run(): Sleeps<T> {
      using _svm = yield* lock.acquire();
      return yield* body();
    }
    const result = this.run(run());
    this.world.check();
    return result;
  }

  load(page: number, options: ServiceOptions = {}): number {
    let word = 0;
    const touch = (bytes: Uint8Array): void => {
      word = firstWord(bytes);
    };
    const result = this.run(this.mirror.access(pageAt(page), touch, options));
    this.world.check();
    return result < 0 ? result : word;
  }

  store(page: number, value: number, options: ServiceOptions = {}): number {
    const touch = (bytes: Uint8Array): void => setFirstWord(bytes, value);
    const access = this.mirror.access(pageAt(page), touch, { ...options, write: true });
    const result = this.run(access);
    this.world.check();
    return result;
  }

  fault(page: number, options: ServiceOptions = {}): Result {
    const result = this.run(serviceFault(this.svm, pageAt(page), options));
    this.world.check();
    return result;
  }

  find(page: number, options: FindOptions = {}): SvmRange | Result {
    return this.locked(() => this.svm.findOrInsert(pageAt(page), options));
  }

  /** The range of `page`, made if need be. */
  range(page: number, options: FindOptions = {}): SvmRange {
    const range = this.find(page, options);
    if (typeof range === "number") throw new Error(`no range: ${range}`);
    return range;
  }

  /** The same as first page and end (exclusive). */
  chunk(page: number, options: FindOptions = {}): number[] | Result {
    const range = this.find(page, options);
    return typeof range === "number" ? range : pagesOf(range).split("..").map(Number);
  }

  pages(range: SvmRange, options: GetPagesOptions = {}): Result {
    return this.locked(() => getPages(this.svm, range, options));
  }

  evict(range: SvmRange, timeoutMs?: number): Result {
    return this.locked(() => evictRange(this.svm, range, { timeoutMs }));
  }

  migrate(range: SvmRange, options: MigrateOptions = {}): Result {
    return this.locked(() => migrateRange(this.svm, range, options));
  }

  /** Where page `page` lives. */
  isAway(page: number): boolean {
    return this.process.memory.isPrivate(this.process.frame(page));
  }

  /** Sleeps until the clock is `ms` further. */
  pass(ms: number): void {
    const { scheduler } = this.process;
    this.run(sleepUntil(scheduler.nowMs + ms, this.process));
  }
}

function* sleepUntil(deadlineMs: number, { memory }: TestProcess): Sleeps<void> {
  while (memory.scheduler.nowMs < deadlineMs) yield* memory.pages.waitForChange(deadlineMs);
}

/** A device with `frames` frames of memory that sees the space of `process` (the world's own). */
export function svmTest(world: TestWorld, frames = 16, options: Partial<SvmOptions> = {}): SvmTest {
  const device = new SvmDevice(world.memory, frames);
  return new SvmTest(world, world, new SvmMirror(world.space, device, options));
}

/** The same device in the space of another process. */
export function inProcess(test: SvmTest, process: TestProcess): SvmTest {
  return new SvmTest(test.world, process, new SvmMirror(process.space, test.device));
}
