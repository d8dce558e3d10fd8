/**
 * A small world for one test: a space with a soft CPU, and a test device if one is asked for.
 * When the test is over everything is checked, given back, and checked again.
 */
import { expect, onTestFinished } from "vitest";
import {
  addrOf,
  PAGE_SIZE,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpnOf,
} from "../../src/base/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import { Dmirror, DmirrorDevice } from "../../src/driver/dmirror/index.ts";
import {
  type CheckOptions,
  type CpuShadow,
  checkWorld,
  type Shadow,
} from "../../src/machine/check.ts";
import { buildWorld, type World } from "../../src/machine/world.ts";
import {
  AddressSpace,
  MapMode,
  type Memory,
  mmap,
  mmput,
  type Pte,
  VM_READ,
  VM_WRITE,
  type Vma,
} from "../../src/mm/index.ts";
import type { Invalidation, NotifierOps } from "../../src/notifier/index.ts";
import type { Scheduler, Sleeps, Strategy } from "../../src/sync/index.ts";
import type { EventName } from "../../src/trace/index.ts";

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

export interface TestWorldOptions {
  /** Frames of RAM. Default 64. */
  readonly frames?: number;
  readonly limitPages?: number;
  readonly strategy?: Strategy;
  /** Frames of the device. Default 8. */
  readonly deviceFrames?: number;
}

export class TestWorld {
  readonly world: World;
  readonly memory: Memory;
  readonly scheduler: Scheduler;
  readonly space: AddressSpace;
  readonly cpu: SoftCpu;
  readonly device: DmirrorDevice;
  readonly mirror: Dmirror;
  /** Other devices' shadows, for the checks. */
  readonly shadows: Shadow[] = [];
  readonly cpus: CpuShadow[] = [];
  #isExited = false;

  constructor(options: TestWorldOptions = {}) {
    const { deviceFrames = 8, ...rest } = options;
    this.world = buildWorld({ frames: 64, ...rest });
    this.memory = this.world.memory;
    this.scheduler = this.world.scheduler;
    this.space = new AddressSpace(this.memory);
    this.cpu = new SoftCpu(this.space);
    this.cpus.push(this.cpu);
    this.device = new DmirrorDevice(this.memory, { name: "dmirror0", frames: deviceFrames });
    this.mirror = Dmirror.open(this.device, this.space) as Dmirror;
    this.shadows.push(this.mirror);
  }

  run<T>(body: Sleeps<T>): T {
    return this.scheduler.runTask("test", body);
  }

  /** Maps `count` pages from page `page` of the test. */
  map(page: number, count: number, flags = RW): VirtAddr {
    const options = { start: pageAt(page), bytes: bytesOf(count), flags };
    const at = this.run(mmap(this.space, { ...options, mode: MapMode.noReplace }));
    expect(at).toBe(pageAt(page));
    return pageAt(page);
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

  pte(page: number): Pte {
    return this.space.pageTable.get(vpnOf(pageAt(page)));
  }

  deviceEntry(page: number): Pte {
    return this.mirror.table.get(vpnOf(pageAt(page)));
  }

  vma(page: number): Vma {
    return this.space.vmas.find(pageAt(page))!;
  }

  count(name: EventName): number {
    return this.world.tracer.count(name);
  }

  /** Notes every invalidation: "start", "end", and what it covers in pages of the test. */
  watch(): string[] {
    const log: string[] = [];
    this.space.notifiers.register(watcher(log));
    return log;
  }

  check(options: Partial<CheckOptions> = {}): void {
    checkWorld(this.memory, { shadows: this.shadows, cpus: this.cpus, ...options });
  }

  /** The space goes away: nothing may be left. */
  exit(): void {
    if (this.#isExited) return;
    this.#isExited = true;
    if (this.space.users.count > 0) this.run(mmput(this.space));
    this.run(this.mirror.close());
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

export const firstWord = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);

export const setFirstWord = (bytes: Uint8Array, value: number): void =>
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, value, true);

/** The number of a test's page, for callbacks that get a Vpn. */
export const pageNumber = (page: Vpn): number => (addrOf(page) - BASE) / PAGE_SIZE;
