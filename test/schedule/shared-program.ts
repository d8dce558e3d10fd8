/**
 * A concurrent program over memory that is shared: a parent and its child, two devices that both
 * processes use, swap because there are too few frames; and an oracle that knows what every page
 * of each process must hold. Everything that the tasks do besides storing changes where pages are
 * and never what they hold.
 */
import { assert, PAGE_SIZE, type VirtAddr, virtAddr } from "../../src/base/index.ts";
import { checkWorld } from "../../src/check/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import { Dmirror, DmirrorDevice } from "../../src/driver/dmirror/index.ts";
import { buildWorld, type World } from "../../src/machine/index.ts";
import {
  AddressSpace,
  Advice,
  changeProtNuma,
  fork,
  MapMode,
  madvise,
  mmap,
  mmput,
  mprotect,
  mremap,
  reclaimPages,
  SwapArea,
  VM_READ,
  VM_WRITE,
} from "../../src/mm/index.ts";
import { Random, RandomStrategy, type Sleeps, TaskState } from "../../src/sync/index.ts";
import type { ProgramOptions, ProgramResult } from "./program.ts";

/** Pages 0 to 5 are private, 6 and 7 are shared by parent and child. */
const PRIVATE = 6;
const PAGES = 8;
const BASE = 0x1000_0000;
const ELSEWHERE = 0x2000_0000;
const RW = VM_READ | VM_WRITE;

/** One process: its CPU, its mirrors, and what its pages must hold. */
class Process {
  readonly space: AddressSpace;
  readonly cpu: SoftCpu;
  readonly mirrors: readonly Dmirror[];
  readonly words = new Uint32Array(PAGES);

  constructor(space: AddressSpace, devices: readonly DmirrorDevice[]) {
    this.space = space;
    this.cpu = new SoftCpu(space);
    this.mirrors = devices.map((device) => Dmirror.open(device, space) as Dmirror);
  }

  *exit(): Sleeps<void> {
    yield* mmput(this.space);
    for (const mirror of this.mirrors) yield* mirror.close();
    this.cpu.dispose();
  }
}

/** Runs one program under one random schedule. Throws when anything is wrong. */
export function runSharedProgram(options: ProgramOptions): ProgramResult {
  return new SharedProgram(options).run();
}

class SharedProgram {
  readonly #world: World;
  readonly #devices: readonly DmirrorDevice[];
  readonly #random: Random;
  readonly #operations: number;
  readonly #processes: Process[] = [];
  #nextValue = 1;
  #steps = 0;

  constructor(options: ProgramOptions) {
    this.#random = new Random(options.seed ^ 0x2545f491);
    this.#operations = options.operations ?? 5;
    this.#world = buildWorld({
      frames: 14,
      strategy: new RandomStrategy(options.seed),
      swap: new SwapArea(64),
    });
    this.#devices = ["dmirror0", "dmirror1"].map(
      (name) => new DmirrorDevice(this.#world.memory, { name, frames: 5 }),
    );
  }

  run(): ProgramResult {
    const { scheduler, memory } = this.#world;
    scheduler.runTask("set up", this.#setUp());
    scheduler.afterStep = () => this.#check(false);
    const [parent, child] = this.#processes as [Process, Process];
    const tasks = [
      scheduler.spawn("parent's cpu", this.#cpuTask(parent)),
      scheduler.spawn("child's cpu", this.#cpuTask(child)),
      scheduler.spawn("parent's devices", this.#deviceTask(parent)),
      scheduler.spawn("child's devices", this.#deviceTask(child)),
      scheduler.spawn("mover", this.#moverTask()),
    ];
    scheduler.run();
    for (const task of tasks) {
      assert(task.state === TaskState.done, () => `never ends: ${scheduler.describeWaits()}`);
    }
    scheduler.afterStep = undefined;
    this.#check(true);
    scheduler.runTask("look", this.#lookAtAll());
    for (const process of this.#processes) scheduler.runTask("exit", process.exit());
    checkWorld(memory, { shadows: [], isOver: true });
    return { world: this.#world, steps: this.#steps };
  }

  *#setUp(): Sleeps<void> {
    const parent = new Process(new AddressSpace(this.#world.memory), this.#devices);
    this.#processes.push(parent);
    yield* this.#map(parent, 0, PRIVATE, false);
    yield* this.#map(parent, PRIVATE, PAGES - PRIVATE, true);
    for (const page of [0, 1, 2, 6]) yield* this.#store(parent, page);
    yield* parent.mirrors[0]!.migrateToDevice(addressOf(1), 2, () => {});
    const space = yield* fork(parent.space);
    assert(typeof space !== "number", "fork of a small space");
    const child = new Process(space, this.#devices);
    child.words.set(parent.words);
    this.#processes.push(child);
  }

  *#map(process: Process, page: number, count: number, isShared: boolean): Sleeps<void> {
    const result = yield* mmap(process.space, {
      start: addressOf(page),
      bytes: count * PAGE_SIZE,
      flags: RW,
      mode: MapMode.noReplace,
      isShared,
    });
    assert(result >= 0, () => `mmap: ${result}`);
  }

  *#store(process: Process, page: number): Sleeps<void> {
    const value = this.#nextValue++;
    if ((yield* process.cpu.store(addressOf(page), value)) === 0) this.#note(process, page, value);
  }

  #note(process: Process, page: number, value: number): void {
    if (page < PRIVATE) process.words[page] = value;
    else for (const each of this.#processes) each.words[page] = value;
  }

  *#cpuTask(process: Process): Sleeps<void> {
    for (let i = 0; i < this.#operations; i++) {
      const page = this.#random.below(PAGES);
      if (this.#random.below(2) === 0) {
        yield* this.#store(process, page);
        continue;
      }
      const loaded = yield* process.cpu.load(addressOf(page));
      if (typeof loaded !== "number") this.#expect(process, page, loaded.value, "cpu");
    }
  }

  *#deviceTask(process: Process): Sleeps<void> {
    for (let i = 0; i < this.#operations; i++) {
      const page = this.#random.below(PAGES - 1);
      const address = addressOf(page);
      const mirror = process.mirrors[this.#random.below(2)]!;
      const take = (at: number, bytes: Uint8Array): void =>
        this.#expect(process, at - BASE / PAGE_SIZE, wordOf(bytes), "device");
      switch (this.#random.below(6)) {
        case 0:
          yield* mirror.read(address, 2, take);
          break;
        case 1:
          yield* mirror.write(address, 2, (at, bytes) => {
            const value = this.#nextValue++;
            new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, value, true);
            this.#note(process, at - BASE / PAGE_SIZE, value);
          });
          break;
        case 2:
          yield* mirror.migrateToDevice(address, 2, take);
          break;
        case 3:
          yield* mirror.migrateToRam(address, 2);
          break;
        case 4:
          yield* mirror.exclusive(address, 2, take);
          break;
        default:
          yield* mirror.snapshot(address, 2, new Uint8Array(2));
      }
    }
  }

  /** Moves memory about, in one process or in all. */
  *#moverTask(): Sleeps<void> {
    for (let i = 0; i < this.#operations; i++) {
      const { space } = this.#processes[this.#random.below(2)]!;
      const page = this.#random.below(PRIVATE - 1);
      const range = { start: addressOf(page), end: addressOf(page + 2) };
      switch (this.#random.below(7)) {
        case 0:
          yield* madvise(space, range.start, 2 * PAGE_SIZE, Advice.pageOut);
          break;
        case 1:
          yield* reclaimPages(this.#world.memory, 2);
          break;
        case 2:
          yield* this.#devices[this.#random.below(2)]!.evictAll();
          break;
        case 3: {
          using _mmap = yield* space.mmapLock.acquireRead();
          yield* changeProtNuma(space, range);
          break;
        }
        case 4:
          yield* mprotect(space, range.start, 2 * PAGE_SIZE, VM_READ);
          yield* mprotect(space, range.start, 2 * PAGE_SIZE, RW);
          break;
        case 5:
          yield* this.#forkOnce(space);
          break;
        default:
          yield* this.#moveAwayAndBack(space);
      }
    }
  }

  *#forkOnce(space: AddressSpace): Sleeps<void> {
    const grandchild = yield* fork(space);
    if (typeof grandchild !== "number") yield* mmput(grandchild);
  }

  /** Pages 4 and 5 go elsewhere; nobody finds them until they are back, and then they are whole. */
  *#moveAwayAndBack(space: AddressSpace): Sleeps<void> {
    const bytes = 2 * PAGE_SIZE;
    const home = addressOf(PRIVATE - 2);
    const away = virtAddr(ELSEWHERE);
    const there = { start: home, bytes, newBytes: bytes, newStart: away };
    if ((yield* mremap(space, there)) < 0) return;
    const back = yield* mremap(space, { ...there, start: away, newStart: home });
    assert(back === home, () => `what was moved comes back: ${back}`);
  }

  /** Nothing was lost, whoever holds it now. */
  *#lookAtAll(): Sleeps<void> {
    for (const process of this.#processes) {
      for (let page = 0; page < PAGES; page++) {
        const loaded = yield* process.cpu.load(addressOf(page));
        assert(typeof loaded !== "number", () => `page ${page} is lost: ${loaded}`);
        this.#expect(process, page, loaded.value, "the last look");
      }
    }
  }

  #expect(process: Process, page: number, got: number, who: string): void {
    const wanted = process.words[page]!;
    const name = process === this.#processes[0] ? "parent" : "child";
    assert(got === wanted, () => `${name}'s ${who} reads ${got} at page ${page}, not ${wanted}`);
  }

  #check(isQuiet: boolean): void {
    this.#steps++;
    checkWorld(this.#world.memory, {
      shadows: this.#processes.flatMap((each) => [each.cpu, ...each.mirrors]),
      isQuiet,
    });
  }
}

const addressOf = (page: number): VirtAddr => virtAddr(BASE + page * PAGE_SIZE);

const wordOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
