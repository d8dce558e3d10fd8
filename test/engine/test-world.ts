/**
 * A small world for one test: a space with a soft CPU, and a test device if one is asked for.
 * When the test is over everything is checked, given back, and checked again.
 */
import { expect, onTestFinished } from "vitest";
import {
  addrOf,
  PAGE_SIZE,
  type Pfn,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpnOf,
} from "../../src/base/index.ts";
import { type CheckOptions, checkWorld, type Shadow } from "../../src/check/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import { Dmirror, DmirrorDevice } from "../../src/driver/dmirror/index.ts";
import { buildWorld, type World, type WorldOptions } from "../../src/machine/world.ts";
import {
  AddressSpace,
  type Advice,
  CachedFile,
  changeProtNuma,
  fork,
  MapMode,
  type Memory,
  type MmapOptions,
  madvise,
  mmap,
  mmput,
  mprotect,
  mremap,
  munmap,
  type PinnedPages,
  type Pte,
  pinPages,
  ptePfn,
  specialOf,
  VM_READ,
  VM_WRITE,
  type Vma,
} from "../../src/mm/index.ts";
import type { Invalidation, NotifierOps } from "../../src/notifier/index.ts";
import { FIRST_ZONE_PFN } from "../../src/phys/index.ts";
import { type Scheduler, type Sleeps, type Strategy, YIELD } from "../../src/sync/index.ts";
import type { EventName } from "../../src/trace/index.ts";
import { firstWord, setFirstWord, type TestBacking, wordBytes } from "./test-backing.ts";

export { firstWord, setFirstWord, TestBacking } from "./test-backing.ts";

/** Where tests map their pages: page 0 of a test is here. */
export const BASE = virtAddr(0x1000_0000);
export const RW = VM_READ | VM_WRITE;

export const pageAt = (page: number): VirtAddr => virtAddr(BASE + page * PAGE_SIZE);
export const rangeAt = (page: number, count: number) => ({
  start: pageAt(page),
  end: pageAt(page + count),
});
export const bytesOf = (count: number): number => count * PAGE_SIZE;

/** Tasks take turns, and every lock operation ends a turn. */
export const TURNS: Strategy = { explores: true, replay: "turns", next: () => 0 };

export interface TestWorldOptions
  extends Pick<WorldOptions, "limitPages" | "strategy" | "hugePages" | "hugetlbPages" | "swap"> {
  /** Frames of RAM. Default 64; huge pages need `HUGE_FRAMES` each. */
  readonly frames?: number;
  /** Frames of the device. Default 8. */
  readonly deviceFrames?: number;
  /** The CPU can touch the device's memory. Default false. */
  readonly isCoherent?: boolean;
}

/** RAM for `count` huge pages: zones begin at frame 16, huge pages at multiples of 512. */
export const hugeFrames = (count: number): number => count * HUGE + HUGE - FIRST_ZONE_PFN;
export const HUGE = 512;

/** One process: a space, a CPU in it, and what the device sees of it. */
export class TestProcess {
  readonly memory: Memory;
  readonly scheduler: Scheduler;
  readonly space: AddressSpace;
  readonly cpu: SoftCpu;
  readonly device: DmirrorDevice;
  readonly mirror: Dmirror;
  #isExited = false;

  constructor(space: AddressSpace, device: DmirrorDevice) {
    this.memory = space.memory;
    this.scheduler = space.memory.scheduler;
    this.space = space;
    this.cpu = new SoftCpu(space);
    this.device = device;
    this.mirror = Dmirror.open(device, space) as Dmirror;
  }

  run<T>(body: Sleeps<T>): T {
    return this.scheduler.runTask("test", body);
  }

  /** Maps `count` pages from page `page` of the test. */
  map(page: number, count: number, flags = RW, options: Partial<MmapOptions> = {}): VirtAddr {
    expect(this.tryMap(page, count, { flags, ...options })).toBe(pageAt(page));
    return pageAt(page);
  }

  /** The same, where it may fail: the address or a negated errno. */
  tryMap(page: number, count: number, options: Partial<MmapOptions> = {}): number {
    const where = { start: pageAt(page), bytes: bytesOf(count), flags: RW };
    return this.run(mmap(this.space, { ...where, mode: MapMode.noReplace, ...options }));
  }

  unmap(page: number, count: number): number {
    return this.run(munmap(this.space, pageAt(page), bytesOf(count)));
  }

  protect(page: number, count: number, access: number): number {
    return this.run(mprotect(this.space, pageAt(page), bytesOf(count), access));
  }

  advise(page: number, count: number, advice: Advice): number {
    return this.run(madvise(this.space, pageAt(page), bytesOf(count), advice));
  }

  /** Moves `count` pages from page `from` to page `to`; the page where they are or an errno. */
  move(from: number, count: number, to: number, newCount = count): number {
    const length = { bytes: bytesOf(count), newBytes: bytesOf(newCount) };
    const options = { start: pageAt(from), newStart: pageAt(to), ...length };
    const result = this.run(mremap(this.space, options));
    return result < 0 ? result : (result - BASE) / PAGE_SIZE;
  }

  /** Stores `value` in the first word of a page: 0 or a negated errno. */
  store(page: number, value: number): number {
    return this.run(this.cpu.store(pageAt(page), value));
  }

  /** The first word of a page, or a negated errno. */
  load(page: number): number {
    const loaded = this.run(this.cpu.load(pageAt(page)));
    return typeof loaded === "number" ? loaded : loaded.value;
  }

  /** The first words of `count` pages. */
  loads(page: number, count: number): number[] {
    return Array.from({ length: count }, (_, i) => this.load(page + i));
  }

  /** What the device reads as the first word of a page, or a negated errno. */
  deviceLoad(page: number): number {
    let value = 0;
    const take = (_page: Vpn, bytes: Uint8Array): void => {
      value = firstWord(bytes);
    };
    const { result } = this.run(this.mirror.read(pageAt(page), 1, take));
    return result < 0 ? result : value;
  }

  deviceStore(page: number, value: number): number {
    const fill = (_page: Vpn, bytes: Uint8Array): void => setFirstWord(bytes, value);
    return this.run(this.mirror.write(pageAt(page), 1, fill)).result;
  }

  toDevice(page: number, count: number): number {
    return this.run(this.mirror.migrateToDevice(pageAt(page), count, () => {})).result;
  }

  toRam(page: number, count: number): number {
    return this.run(this.mirror.migrateToRam(pageAt(page), count)).result;
  }

  /** Makes pages exclusive to the device: 0 or a negated errno. */
  exclusive(page: number, count: number): number {
    return this.run(this.mirror.exclusive(pageAt(page), count, () => {})).result;
  }

  /** What a device may know, `DMIRROR_PROT_…` a page. */
  snapshot(page: number, count: number): number[] {
    const out = new Uint8Array(count);
    expect(this.run(this.mirror.snapshot(pageAt(page), count, out)).result).toBe(0);
    return [...out];
  }

  /** Locks the CPU out as NUMA balancing does: how many pages. */
  lockOut(page: number, count: number): number {
    const { space } = this;
    function* locked(): Sleeps<number> {
      using _mmap = yield* space.mmapLock.acquireRead();
      return yield* changeProtNuma(space, rangeAt(page, count));
    }
    return this.run(locked());
  }

  /** Pins pages for the running test. */
  pin(page: number, count: number, write: boolean): PinnedPages {
    const failure = { address: pageAt(page) };
    const pinned = this.run(pinPages(this.space, rangeAt(page, count), { write, failure }));
    if (typeof pinned === "number") throw new Error(`pages cannot be pinned: ${pinned}`);
    return pinned;
  }

  pte(page: number): Pte {
    return this.space.pageTable.get(vpnOf(pageAt(page)));
  }

  /** The frame of a page, wherever it lives. */
  frame(page: number): Pfn {
    return ptePfn(this.pte(page));
  }

  /** What kind of special entry is at `page`; 0 for none. */
  special(page: number): number {
    return specialOf(this.pte(page));
  }

  isHuge(page: number): boolean {
    return this.space.pageTable.isHuge(vpnOf(pageAt(page)));
  }

  deviceEntry(page: number): Pte {
    return this.mirror.table.get(vpnOf(pageAt(page)));
  }

  vma(page: number): Vma {
    return this.space.vmas.find(pageAt(page))!;
  }

  /** Mapped pages: of files, anonymous, swapped out, of files in memory. */
  get rss(): number[] {
    return [...this.space.rss];
  }

  /** First and last page (exclusive) of each Vma. */
  get layout(): number[][] {
    const pageOf = (address: number): number => (address - BASE) / PAGE_SIZE;
    return this.space.vmas.all.map(({ start, end }) => [pageOf(start), pageOf(end)]);
  }

  count(name: EventName): number {
    return this.memory.tracer.count(name);
  }

  /** Notes every invalidation: "start", "end", and what it covers in pages of the test. */
  watch(): string[] {
    const log: string[] = [];
    this.space.notifiers.register(watcher(log));
    return log;
  }

  /** Runs `act` in the middle of the first invalidation of page `page` from now on. */
  during(page: number, act: () => Sleeps<unknown>): void {
    let isOver = false;
    const { scheduler } = this;
    this.space.notifiers.register({
      *invalidateRangeStart({ start, end }) {
        if (isOver || pageAt(page) < start || pageAt(page) >= end) return 0;
        isOver = true;
        scheduler.spawn("meanwhile", act());
        for (let i = 0; i < 40; i++) yield YIELD;
        return 0;
      },
    });
  }

  /** Its last use of the space goes; false when it was gone already. */
  leave(): boolean {
    if (this.#isExited) return false;
    this.#isExited = true;
    if (this.space.users.count > 0) this.run(mmput(this.space));
    this.run(this.mirror.close());
    return true;
  }
}

export class TestWorld extends TestProcess {
  readonly world: World;
  /** What CPUs and devices reach, for the checks. */
  readonly shadows: Shadow[] = [];
  readonly #children: TestProcess[] = [];
  readonly #files: CachedFile[] = [];

  constructor(options: TestWorldOptions = {}) {
    const { deviceFrames = 8, isCoherent = false, ...rest } = options;
    const coherentFrames = isCoherent ? deviceFrames : 0;
    const world = buildWorld({ frames: 64, coherentFrames, ...rest });
    const device = { name: "dmirror0", frames: deviceFrames, isCoherent };
    super(new AddressSpace(world.memory), new DmirrorDevice(world.memory, device));
    this.world = world;
    this.shadows.push(this.cpu, this.mirror);
  }

  /** A child of `parent` (default: of the test's own space), mirrored by the same device. */
  fork(parent: TestProcess = this): TestProcess {
    const space = this.run(fork(parent.space));
    if (typeof space === "number") throw new Error(`fork: ${space}`);
    const child = new TestProcess(space, this.device);
    this.#children.push(child);
    this.shadows.push(child.cpu, child.mirror);
    return child;
  }

  /** A file of `count` pages that begin with 100, 101, …; the world gives it back. */
  file(count: number, backing?: TestBacking): CachedFile {
    const options = { name: "test", bytes: bytesOf(count) };
    const file = new CachedFile(this.memory, backing ? { ...options, backing } : options);
    this.#files.push(file);
    if (backing === undefined) {
      for (let i = 0; i < count; i++) file.write(bytesOf(i), wordBytes(100 + i));
    }
    return file;
  }

  /** The world's use of `file` ends before the test does. */
  close(file: CachedFile): void {
    this.#files.splice(this.#files.indexOf(file), 1);
    file.put();
  }

  check(options: Partial<CheckOptions> = {}): void {
    checkWorld(this.memory, { shadows: this.shadows, ...options });
  }

  /** All spaces go away: nothing may be left. */
  exit(): void {
    for (const child of this.#children) child.leave();
    if (!this.leave()) return;
    for (const file of this.#files) file.put();
    for (const task of this.scheduler.liveTasks) expect(task.name).toBe("an ended task");
    this.check({ isOver: true });
  }
}

function watcher(log: string[]): NotifierOps {
  const note = (act: string, { event, start, end }: Invalidation): void => {
    const [from, to] = [start, end].map((each) => (each - BASE) / PAGE_SIZE);
    log.push(`${act} ${event} ${from}..${to}`);
  };
  return {
    *invalidateRangeStart(invalidation) {
      note("start", invalidation);
      return 0;
    },
    invalidateRangeEnd: (invalidation) => note("end", invalidation),
  };
}

/** A world for the running test; checked and given back when the test is over. */
export function testWorld(options: TestWorldOptions = {}): TestWorld {
  const world = new TestWorld(options);
  onTestFinished(({ task }) => {
    // A test that failed has its own story to tell.
    if (task.result?.state === "fail") return;
    world.check();
    world.exit();
  });
  return world;
}

/** The number of a test's page, for callbacks that get a Vpn. */
export const pageNumber = (page: Vpn): number => (addrOf(page) - BASE) / PAGE_SIZE;
