/**
 * A concurrent program over memory that a device shares by the room `device`, whether it reaches
 * RAM or gets copies: a parent and its child, whose
 * CPUs and whose device load and store, while others migrate, evict, protect, move and unmap, and
 * the child may go away at any time; and an oracle that knows what every page must hold. A store
 * is noted in the step in which it happens.
 */
import { assert, PAGE_SIZE, type VirtAddr, virtAddr } from "../../src/base/index.ts";
import { checkWorld } from "../../src/check/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import { buildWorld, type World } from "../../src/machine/index.ts";
import {
  AddressSpace,
  Advice,
  adviseAccess,
  fork,
  MapMode,
  madvise,
  mmap,
  mmput,
  mprotect,
  mremap,
  munmap,
  SwapArea,
  VM_HINTS,
  VM_READ,
  VM_WRITE,
} from "../../src/mm/index.ts";
import { Random, RandomStrategy, type Sleeps, TaskState } from "../../src/sync/index.ts";
import { type AccessOptions, TestDevice, TestMirror } from "../engine/device/test-device.ts";
import { firstWord, setFirstWord } from "../engine/test-backing.ts";
import { BASE } from "../engine/test-world.ts";
import type { ProgramOptions, ProgramResult } from "./program.ts";

/** Two blocks of four pages. */
const PAGES = 8;
const DEVICE_FRAMES = 7;
const ELSEWHERE = virtAddr(BASE + 64 * PAGE_SIZE);
const RW = VM_READ | VM_WRITE;

/** One process: its CPU, what the device sees of it, and what its pages must hold. */
class Process {
  readonly name: string;
  readonly space: AddressSpace;
  readonly cpu: SoftCpu;
  readonly mirror: TestMirror;
  readonly words = new Uint32Array(PAGES);
  isGone = false;

  constructor(name: string, space: AddressSpace, device: TestDevice) {
    this.name = name;
    this.space = space;
    this.cpu = new SoftCpu(space);
    this.mirror = new TestMirror(space, device);
  }

  *exit(): Sleeps<void> {
    if (this.isGone) return;
    this.isGone = true;
    yield* mmput(this.space);
  }
}

/** Runs one program under one random schedule. Throws, naming the seed, when anything is wrong. */
export function runDeviceProgram(options: ProgramOptions): ProgramResult {
  const program = new DeviceProgram(options);
  try {
    return program.run();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`seed ${options.seed}: ${reason}`, { cause: error });
  }
}

class DeviceProgram {
  readonly #world: World;
  readonly #device: TestDevice;
  readonly #random: Random;
  readonly #operations: number;
  readonly #processes: Process[] = [];
  #nextValue = 1;
  #steps = 0;

  constructor(options: ProgramOptions) {
    this.#random = new Random(options.seed ^ 0x3c6ef372);
    this.#operations = options.operations ?? 5;
    this.#world = buildWorld({
      frames: 18,
      strategy: new RandomStrategy(options.seed),
      swap: new SwapArea(64),
    });
    // Every other seed has a device that reaches RAM, the others one that does not.
    const reachesRam = options.seed % 2 === 0;
    const frames = DEVICE_FRAMES + (reachesRam ? 0 : 1);
    this.#device = new TestDevice(this.#world.memory, { frames, reachesRam, readsAhead: true });
  }

  run(): ProgramResult {
    const { scheduler, memory } = this.#world;
    scheduler.runTask("set up", this.#setUp());
    scheduler.afterStep = () => this.#check(false);
    const [parent, child] = this.#processes as [Process, Process];
    const tasks = [
      scheduler.spawn("parent's cpu", this.#cpuTask(parent)),
      scheduler.spawn("child's cpu", this.#cpuTask(child)),
      scheduler.spawn("parent's device", this.#deviceTask(parent)),
      scheduler.spawn("parent's device too", this.#deviceTask(parent)),
      scheduler.spawn("child's device", this.#deviceTask(child)),
      scheduler.spawn("parent's mover", this.#moverTask(parent)),
      scheduler.spawn("child's end", this.#endTask(child)),
    ];
    scheduler.run();
    for (const task of tasks) {
      assert(task.state === TaskState.done, () => `never ends: ${scheduler.describeWaits()}`);
    }
    scheduler.afterStep = undefined;
    this.#check(true);
    scheduler.runTask("look", this.#lookAtAll());
    for (const process of this.#processes) scheduler.runTask("exit", this.#close(process));
    this.#device.memory.remove();
    checkWorld(memory, { shadows: [], isOver: true });
    return { world: this.#world, steps: this.#steps };
  }

  *#setUp(): Sleeps<void> {
    const parent = new Process("parent", new AddressSpace(this.#world.memory), this.#device);
    this.#processes.push(parent);
    yield* this.#map(parent, 0, PAGES);
    yield* this.#advise(parent, 0, PAGES);
    for (const page of [0, 1, 2, 6]) yield* this.#store(parent, page);
    yield* this.#access(parent, 1, { write: true, how: "move", around: 4 });
    const space = yield* fork(parent.space);
    assert(typeof space !== "number", "fork of a small space");
    const child = new Process("child", space, this.#device);
    child.words.set(parent.words);
    this.#processes.push(child);
  }

  *#map(process: Process, page: number, count: number): Sleeps<void> {
    const where = { start: addressOf(page), bytes: count * PAGE_SIZE };
    const result = yield* mmap(process.space, { ...where, flags: RW, mode: MapMode.noReplace });
    assert(result >= 0, () => `mmap: ${result}`);
  }

  *#store(process: Process, page: number): Sleeps<void> {
    const value = this.#nextValue++;
    const result = yield* process.cpu.store(addressOf(page), value);
    if (result === 0) process.words[page] = value;
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
      const page = this.#random.below(PAGES);
      const write = this.#random.below(2) === 0;
      const moves = this.#random.below(2) === 0;
      const { reachesRam } = this.#device.memory;
      yield* this.#access(process, page, {
        write,
        how: moves ? "move" : reachesRam ? "map" : write ? "move" : "copy",
        around: [1, 2, 4][this.#random.below(3)]!,
        timesliceMs: this.#random.below(3),
        deadlineMs: this.#world.scheduler.nowMs + this.#random.below(3),
      });
    }
  }

  *#access(process: Process, page: number, options: AccessOptions): Sleeps<void> {
    const value = this.#nextValue++;
    const touch = (bytes: Uint8Array): void => {
      this.#expect(process, page, firstWord(bytes), "device");
      if (!options.write) return;
      setFirstWord(bytes, value);
      process.words[page] = value;
    };
    yield* process.mirror.access(page, touch, options);
  }

  /** Changes what the program has, and where it is. */
  *#moverTask(process: Process): Sleeps<void> {
    const { space } = process;
    for (let i = 0; i < this.#operations; i++) {
      const page = this.#random.below(PAGES - 1);
      const start = addressOf(page);
      const bytes = 2 * PAGE_SIZE;
      switch (this.#random.below(9)) {
        case 0:
          yield* this.#device.memory.evictAll();
          break;
        case 1:
          yield* this.#evict(process, page);
          break;
        case 2:
          yield* mprotect(space, start, bytes, this.#random.below(2) === 0 ? VM_READ : 0);
          yield* mprotect(space, start, bytes, RW);
          break;
        case 3:
          yield* madvise(space, start, bytes, Advice.pageOut);
          break;
        case 4:
          yield* this.#forkOnce(space);
          break;
        case 5:
          yield* this.#moveAwayAndBack(process, page);
          break;
        case 6:
          yield* this.#advise(process, page, 2);
          break;
        default:
          assert((yield* munmap(space, start, bytes)) === 0, "munmap");
          // Between the end of munmap and this line nobody ran.
          process.words.fill(0, page, page + 2);
          yield* this.#map(process, page, 2);
      }
    }
  }

  *#evict({ mirror }: Process, page: number): Sleeps<void> {
    const toRead = this.#random.below(2) === 0;
    yield* mirror.shadow.moveHome(addressOf(page), addressOf(page + 2), toRead);
  }

  /** Hints at random, which change nothing but where pages are. */
  *#advise({ space }: Process, page: number, count: number): Sleeps<void> {
    const set = VM_HINTS & -this.#random.below(2) & ~(this.#random.below(16) << 17);
    yield* adviseAccess(space, addressOf(page), count * PAGE_SIZE, { set, clear: VM_HINTS });
  }

  *#forkOnce(space: AddressSpace): Sleeps<void> {
    const grandchild = yield* fork(space);
    if (typeof grandchild !== "number") yield* mmput(grandchild);
  }

  /** What was moved is whole when it is back; it may be in two Vmas, then it stays. */
  *#moveAwayAndBack({ space }: Process, page: number): Sleeps<void> {
    const bytes = 2 * PAGE_SIZE;
    const there = { start: addressOf(page), bytes, newBytes: bytes, newStart: ELSEWHERE };
    if ((yield* mremap(space, there)) < 0) return;
    const back = yield* mremap(space, {
      ...there,
      start: ELSEWHERE,
      newStart: addressOf(page),
    });
    assert(back === addressOf(page), () => `what was moved comes back: ${back}`);
  }

  /** Sooner or later, or not at all: in the middle of what its CPU and its device do. */
  *#endTask(child: Process): Sleeps<void> {
    const when = this.#random.below(6);
    for (let i = 0; i < when; i++) yield* this.#evict(child, this.#random.below(PAGES));
    if (when === 5) return;
    if (this.#random.below(2) === 0) yield* child.mirror.shadow.close();
    yield* child.exit();
  }

  *#close(process: Process): Sleeps<void> {
    yield* process.exit();
    yield* process.mirror.shadow.close();
    assert(process.mirror.table.usedCount === 0, "a closed shadow has nothing");
    process.cpu.dispose();
  }

  /** Nothing was lost, whoever holds it now. */
  *#lookAtAll(): Sleeps<void> {
    for (const process of this.#processes) {
      if (process.isGone) continue;
      for (let page = 0; page < PAGES; page++) {
        const loaded = yield* process.cpu.load(addressOf(page));
        assert(typeof loaded !== "number", () => `page ${page} is lost: ${loaded}`);
        this.#expect(process, page, loaded.value, "the last look");
      }
    }
  }

  #expect(process: Process, page: number, got: number, who: string): void {
    const wanted = process.words[page]!;
    assert(
      got === wanted,
      () => `${process.name}'s ${who} reads ${got} at page ${page}, not ${wanted}`,
    );
  }

  #check(isQuiet: boolean): void {
    this.#steps++;
    checkWorld(this.#world.memory, {
      shadows: this.#processes.flatMap((each) => [each.cpu, each.mirror.shadow]),
      isQuiet,
    });
  }
}

const addressOf = (page: number): VirtAddr => virtAddr(BASE + page * PAGE_SIZE);
