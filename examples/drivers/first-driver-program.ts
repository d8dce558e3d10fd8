/**
 * What goes on around the first driver (or a wrong version of it) in one random schedule: a
 * process whose CPU loads and stores, which unmaps, protects, forks and perhaps ends; another
 * device, swap and a reaper that take its pages away; and an oracle that knows what every page
 * must hold. The seed decides everything.
 */
import {
  assert,
  EFAULT,
  EPERM,
  errnoName,
  PAGE_SIZE,
  type Pfn,
  type Result,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpnOf,
} from "../../src/base/index.ts";
import { checkWorld, tableShadow } from "../../src/check/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import { Dmirror, DmirrorDevice } from "../../src/driver/dmirror/index.ts";
import { buildWorld, type World } from "../../src/machine/index.ts";
import {
  AddressSpace,
  Advice,
  fork,
  MapMode,
  madvise,
  mmap,
  mmput,
  mmputAsync,
  mprotect,
  munmap,
  SwapArea,
  VM_READ,
  VM_WRITE,
} from "../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../src/notifier/index.ts";
import { Random, RandomStrategy, type Sleeps, TaskState, YIELD } from "../../src/sync/index.ts";
import type { FirstDriver } from "./first-driver.ts";

const PAGES = 4;
/** Steps between two checks of everything. */
const CHECK_EVERY = 8;
const BASE = 0x1000_0000;
const RW = VM_READ | VM_WRITE;

export type DriverClass = new (space: AddressSpace) => FirstDriver;

/** Moves pages by itself. */
interface Mover {
  move(page: Vpn): Sleeps<Result>;
}

const isMover = (driver: FirstDriver): driver is FirstDriver & Mover => "move" in driver;

export interface DriverProgramOptions {
  readonly seed: number;
  readonly Driver: DriverClass;
  /** `checkWorld` after every step. Otherwise only what devices and CPUs see can tell. */
  readonly isWatched: boolean;
}

export interface DriverProgramResult {
  readonly world: World;
  /** Accesses of the driver's device that came through, and events that it refused. */
  readonly counts: { reads: number; writes: number; moves: number; refused: number; late: number };
}

/** Runs one schedule. Throws, naming the seed, when anything is wrong. */
export function runDriverProgram(options: DriverProgramOptions): DriverProgramResult {
  const program = new DriverProgram(options);
  try {
    return program.run();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`seed ${options.seed}: ${reason}`, { cause: error });
  }
}

class DriverProgram {
  readonly #isWatched: boolean;
  readonly #random: Random;
  readonly #world: World;
  readonly #space: AddressSpace;
  readonly #cpu: SoftCpu;
  readonly #driver: FirstDriver;
  readonly #other: DmirrorDevice;
  readonly #mirror: Dmirror;
  /** The process ends while the device works. */
  readonly #exits: boolean;
  // page -> what it holds
  readonly #words = new Uint32Array(PAGES);
  // page -> how often it was unmapped, and made read-only
  readonly #unmapped = new Uint32Array(PAGES);
  readonly #protected = new Uint32Array(PAGES);
  readonly #counts = { reads: 0, writes: 0, moves: 0, refused: 0, late: 0 };
  #nextValue = 1;
  #steps = 0;

  constructor({ seed, Driver, isWatched }: DriverProgramOptions) {
    this.#isWatched = isWatched;
    this.#random = new Random(seed ^ 0x1b873593);
    const strategy = new RandomStrategy(seed);
    this.#world = buildWorld({ frames: 32, strategy, swap: new SwapArea(64) });
    const { memory } = this.#world;
    this.#space = new AddressSpace(memory);
    this.#cpu = new SoftCpu(this.#space);
    this.#driver = new Driver(this.#space);
    this.#other = new DmirrorDevice(memory, { name: "dmirror0", frames: 4 });
    this.#mirror = Dmirror.open(this.#other, this.#space) as Dmirror;
    this.#exits = this.#random.below(4) === 0;
  }

  run(): DriverProgramResult {
    const { scheduler } = this.#world;
    scheduler.runTask("set up", this.#setUp());
    if (this.#isWatched) scheduler.afterStep = () => this.#afterStep();
    const devices = [this.#deviceTask(), this.#deviceTask(), this.#otherTask()];
    const tasks = [
      ...devices.map((body, i) => scheduler.spawn(`device ${i}`, body)),
      ...this.#threads().map((body, i) => scheduler.spawn(`thread ${i}`, this.#thread(body))),
    ];
    if (this.#exits) tasks.push(scheduler.spawn("first thread", mmput(this.#space)));
    scheduler.run();
    for (const task of tasks) {
      assert(task.state === TaskState.done, () => `never ends: ${scheduler.describeWaits()}`);
    }
    if (this.#isWatched) this.#check(true);
    scheduler.runTask("late device", this.#lateTask());
    this.#finish();
    return { world: this.#world, counts: this.#counts };
  }

  *#setUp(): Sleeps<void> {
    assert((yield* this.#driver.open()) === 0, "a live space can be mirrored");
    yield* this.#map(0, PAGES);
    for (const page of [0, 2]) yield* this.#store(page);
  }

  #finish(): void {
    const { scheduler, memory } = this.#world;
    scheduler.afterStep = undefined;
    if (!this.#exits && this.#random.below(2) === 0) scheduler.runTask("exit", mmput(this.#space));
    scheduler.runTask("close", this.#driver.close());
    assert(this.#driver.table.usedCount === 0, "a closed driver reaches nothing");
    if (this.#space.users.count > 0) scheduler.runTask("exit", mmput(this.#space));
    scheduler.runTask("close", this.#mirror.close());
    this.#cpu.dispose();
    assert(scheduler.liveTasks.size === 0, () => `tasks are left: ${scheduler.describeWaits()}`);
    checkWorld(memory, { shadows: [], isOver: true });
  }

  #afterStep(): void {
    if (++this.#steps % CHECK_EVERY === 0) this.#check(false);
  }

  #check(isQuiet: boolean): void {
    const shadows = [this.#cpu, this.#mirror, tableShadow("driver", this.#driver)];
    checkWorld(this.#world.memory, { shadows, isQuiet });
  }

  // The driver's device.

  *#deviceTask(): Sleeps<void> {
    for (let i = 0; i < 6; i++) {
      const page = this.#random.below(PAGES);
      const act = this.#random.below(8);
      if (act < 2) yield* this.#read(page);
      else if (act < 4) yield* this.#write(page);
      else if (act < 7) yield* this.#prefetch(page);
      else if (isMover(this.#driver)) yield* this.#move(this.#driver, page);
      yield* this.#pause();
    }
  }

  *#read(page: number): Sleeps<void> {
    const result = yield* this.#driver.access(vpnAt(page), false, (bytes) => {
      this.#expectFrame(bytes);
      this.#expectWord(page, wordOf(bytes), "the device");
      this.#counts.reads++;
    });
    this.#expectResult(result, page, 1, false);
  }

  *#write(page: number): Sleeps<void> {
    const result = yield* this.#driver.access(vpnAt(page), true, (bytes) => {
      this.#expectFrame(bytes);
      const value = this.#nextValue++;
      new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, value, true);
      this.#words[page] = value;
      this.#counts.writes++;
    });
    this.#expectResult(result, page, 1, true);
  }

  /** A fault of several pages at once, for reading or writing. */
  *#prefetch(page: number): Sleeps<void> {
    const count = Math.min(3, PAGES - page);
    const write = this.#random.below(3) === 0;
    const result = yield* this.#driver.serviceFault(rangeAt(page, count), write);
    this.#expectResult(result, page, count, write);
  }

  *#move(driver: Mover, page: number): Sleeps<void> {
    if ((yield* driver.move(vpnAt(page))) > 0) this.#counts.moves++;
  }

  /** The process is over: nobody reaches its memory. */
  *#lateTask(): Sleeps<void> {
    if (!this.#exits) return;
    for (let page = 0; page < PAGES; page++) {
      const result = yield* this.#driver.access(vpnAt(page), false, (bytes) => {
        this.#expectFrame(bytes);
      });
      assert(result === -EFAULT, () => `after the end page ${page} can be read`);
      this.#counts.late++;
    }
  }

  /** What the device reaches in RAM belongs to somebody. */
  #expectFrame({ buffer, byteOffset }: Uint8Array): void {
    const frame = (byteOffset / PAGE_SIZE) as Pfn;
    const { bytes, pages } = this.#world.memory;
    const isFree = buffer === bytes.u8.buffer && pages.refs[frame] === 0;
    assert(!isFree, () => `the device uses frame ${frame}, which is free`);
  }

  #expectWord(page: number, got: number, who: string): void {
    const wanted = this.#words[page]!;
    assert(got === wanted, () => `${who} reads ${got} at page ${page}, last store was ${wanted}`);
  }

  /** A fault fails only where something was taken away since the beginning. */
  #expectResult(result: Result, page: number, count: number, write: boolean): void {
    if (result >= 0) return;
    const has = (lost: Uint32Array): boolean => lost.slice(page, page + count).some((n) => n > 0);
    const mayBeGone = this.#exits || has(this.#unmapped);
    if (result === -EFAULT && mayBeGone) return;
    if (result === -EPERM && write && has(this.#protected)) return;
    const act = write ? "writing" : "reading";
    assert(false, () => `${act} page ${page} fails with ${errnoName(result)}`);
  }

  // Everybody else.

  #threads(): Sleeps<void>[] {
    const threads = [this.#cpuThread(), this.#breakingThread()];
    if (this.#random.below(2) === 0) threads.push(this.#forkingThread());
    if (this.#random.below(2) === 0) threads.push(this.#reaper());
    for (const _ of threads) this.#space.users.get();
    return threads;
  }

  /** Each thread uses the space until it ends. */
  *#thread(body: Sleeps<void>): Sleeps<void> {
    try {
      yield* body;
    } finally {
      mmputAsync(this.#space);
    }
  }

  *#pause(): Sleeps<void> {
    for (let i = this.#random.below(8); i > 0; i--) yield YIELD;
  }

  *#cpuThread(): Sleeps<void> {
    for (let i = 0; i < 6; i++) {
      const page = this.#random.below(PAGES);
      if (this.#random.below(2) === 0) yield* this.#store(page);
      else yield* this.#load(page);
      yield* this.#pause();
    }
  }

  *#store(page: number): Sleeps<void> {
    const value = this.#nextValue++;
    if ((yield* this.#cpu.store(addressOf(page), value)) === 0) this.#words[page] = value;
  }

  *#load(page: number): Sleeps<void> {
    const loaded = yield* this.#cpu.load(addressOf(page));
    if (typeof loaded !== "number") this.#expectWord(page, loaded.value, "a CPU");
  }

  *#map(page: number, count: number): Sleeps<void> {
    const where = { start: addressOf(page), bytes: count * PAGE_SIZE, mode: MapMode.noReplace };
    const result = yield* mmap(this.#space, { ...where, flags: RW });
    assert(result >= 0, () => `mmap of what was unmapped: ${result}`);
  }

  /** Takes memory or rights away for a while. */
  *#breakingThread(): Sleeps<void> {
    const bytes = 2 * PAGE_SIZE;
    for (let i = 0; i < 3; i++) {
      const page = this.#random.below(PAGES - 1);
      const isUnmap = this.#random.below(2) === 0;
      for (const each of [page, page + 1]) {
        const lost = isUnmap ? this.#unmapped : this.#protected;
        lost[each]! += 1;
      }
      if (isUnmap) {
        assert((yield* munmap(this.#space, addressOf(page), bytes)) === 0, "munmap");
        // Between the end of munmap and this line nobody ran.
        this.#words.fill(0, page, page + 2);
        yield* this.#pause();
        yield* this.#map(page, 2);
      } else {
        yield* mprotect(this.#space, addressOf(page), bytes, VM_READ);
        yield* this.#pause();
        yield* mprotect(this.#space, addressOf(page), bytes, RW);
      }
      yield* this.#pause();
    }
  }

  /** What a child has does not change when its parent, or a device of that one, writes. */
  *#forkingThread(): Sleeps<void> {
    yield* this.#pause();
    const child = yield* fork(this.#space);
    assert(typeof child !== "number", "fork of a small space");
    const cpu = new SoftCpu(child);
    const seen = new Map<number, number>();
    for (let i = 0; i < 2 * PAGES; i++) {
      const page = i % PAGES;
      const loaded = yield* cpu.load(addressOf(page));
      if (typeof loaded === "number") continue;
      const before = seen.get(page) ?? loaded.value;
      assert(loaded.value === before, () => `a child's page ${page} changes under it`);
      seen.set(page, loaded.value);
    }
    yield* mmput(child);
    cpu.dispose();
  }

  /** Takes pages without waiting for anybody, as the OOM reaper of Linux does. */
  *#reaper(): Sleeps<void> {
    for (let i = 0; i < 3; i++) {
      yield* this.#pause();
      const page = this.#random.below(PAGES);
      const range = rangeAt(page, 1);
      const event = new Invalidation({ ...range, event: MMU_NOTIFY_CLEAR, blockable: false });
      using _mmap = yield* this.#space.mmapLock.acquireWrite();
      if ((yield* this.#space.notifiers.start(event)) < 0) {
        this.#counts.refused++;
        continue;
      }
      const cursor = this.#space.cursor.begin();
      cursor.clearRange(vpnOf(range.start), vpnOf(range.end));
      cursor.flush();
      this.#words[page] = 0;
      this.#space.notifiers.end(event);
    }
  }

  /** Another device, which takes pages and gives them back; and swap. */
  *#otherTask(): Sleeps<void> {
    for (let i = 0; i < 5; i++) {
      const page = this.#random.below(PAGES - 1);
      const { start, end } = rangeAt(page, 2);
      const take = (at: Vpn, bytes: Uint8Array): void =>
        this.#expectWord(at - vpnAt(0), wordOf(bytes), "another device");
      const act = this.#random.below(5);
      if (act < 2) yield* this.#mirror.migrateToDevice(start, 2, take);
      else if (act === 2) yield* this.#mirror.migrateToRam(start, 2);
      else if (act === 3) yield* this.#other.evictAll();
      else yield* madvise(this.#space, start, end - start, Advice.pageOut);
      yield* this.#pause();
    }
  }
}

const addressOf = (page: number): VirtAddr => virtAddr(BASE + page * PAGE_SIZE);
const vpnAt = (page: number): Vpn => vpnOf(addressOf(page));
const rangeAt = (page: number, count: number) => ({
  start: addressOf(page),
  end: addressOf(page + count),
});

const wordOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
