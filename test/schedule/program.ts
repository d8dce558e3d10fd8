/**
 * A small concurrent program over a few pages: two CPUs, one device, one that unmaps and
 * protects; and an oracle that knows what every page must hold. Every store is noted in the same
 * step in which it happens, so at any time a load must find the last one.
 */
import { assert, PAGE_SIZE, virtAddr } from "../../src/base/index.ts";
import { checkWorld } from "../../src/check/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import { Dmirror, DmirrorDevice } from "../../src/driver/dmirror/index.ts";
import { buildWorld, type World } from "../../src/machine/index.ts";
import {
  AddressSpace,
  MapMode,
  mmap,
  mmput,
  mprotect,
  munmap,
  VM_READ,
  VM_WRITE,
} from "../../src/mm/index.ts";
import { Random, RandomStrategy, type Sleeps, TaskState } from "../../src/sync/index.ts";

const PAGES = 8;
const BASE = 0x1000_0000;

export interface ProgramOptions {
  readonly seed: number;
  /** Operations of each task. */
  readonly operations?: number;
}

export interface ProgramResult {
  readonly world: World;
  readonly steps: number;
}

/** Runs one program under one random schedule. Throws when anything is wrong. */
export function runProgram(options: ProgramOptions): ProgramResult {
  return new Program(options).run();
}

class Program {
  readonly #world: World;
  readonly #space: AddressSpace;
  readonly #cpus: SoftCpu[];
  readonly #mirror: Dmirror;
  readonly #random: Random;
  readonly #operations: number;
  // page -> the word that it must hold
  readonly #oracle = new Uint32Array(PAGES);
  #nextValue = 1;
  #steps = 0;

  constructor(options: ProgramOptions) {
    this.#random = new Random(options.seed ^ 0x5bd1e995);
    this.#operations = options.operations ?? 6;
    this.#world = buildWorld({ frames: 32, strategy: new RandomStrategy(options.seed) });
    const { memory } = this.#world;
    this.#space = new AddressSpace(memory);
    this.#cpus = [new SoftCpu(this.#space), new SoftCpu(this.#space)];
    const device = new DmirrorDevice(memory, { name: "dmirror0", frames: 6 });
    this.#mirror = Dmirror.open(device, this.#space) as Dmirror;
  }

  run(): ProgramResult {
    const { scheduler, memory } = this.#world;
    scheduler.runTask("set up", this.#map(0, PAGES));
    scheduler.afterStep = () => this.#checkStep();
    const tasks = [
      scheduler.spawn("cpu 0", this.#cpuTask(this.#cpus[0]!)),
      scheduler.spawn("cpu 1", this.#cpuTask(this.#cpus[1]!)),
      scheduler.spawn("device", this.#deviceTask()),
      scheduler.spawn("unmapper", this.#unmapTask()),
    ];
    scheduler.run();
    for (const task of tasks) {
      assert(task.state === TaskState.done, () => `never ends: ${scheduler.describeWaits()}`);
    }
    scheduler.afterStep = undefined;
    checkWorld(memory, { shadows: [...this.#cpus, this.#mirror] });
    scheduler.runTask("exit", this.#exit());
    checkWorld(memory, { shadows: [], isOver: true });
    return { world: this.#world, steps: this.#steps };
  }

  *#map(page: number, count: number): Sleeps<void> {
    const result = yield* mmap(this.#space, {
      start: addressOf(page),
      bytes: count * PAGE_SIZE,
      flags: VM_READ | VM_WRITE,
      mode: MapMode.noReplace,
    });
    assert(result >= 0, () => `mmap of what was unmapped: ${result}`);
  }

  *#cpuTask(cpu: SoftCpu): Sleeps<void> {
    for (let i = 0; i < this.#operations; i++) {
      const page = this.#random.below(PAGES);
      if (this.#random.below(2) === 0) {
        const value = this.#nextValue++;
        const result = yield* cpu.store(addressOf(page), value);
        if (result === 0) this.#oracle[page] = value;
        continue;
      }
      const loaded = yield* cpu.load(addressOf(page));
      if (typeof loaded !== "number") this.#expect(page, loaded.value, "cpu");
    }
  }

  *#deviceTask(): Sleeps<void> {
    for (let i = 0; i < this.#operations; i++) {
      const page = this.#random.below(PAGES - 1);
      const count = 1 + this.#random.below(2);
      const address = addressOf(page);
      const take = (at: number, bytes: Uint8Array): void =>
        this.#expect(at - BASE / PAGE_SIZE, wordOf(bytes), "device");
      switch (this.#random.below(5)) {
        case 0:
          yield* this.#mirror.read(address, count, take);
          break;
        case 1:
          yield* this.#mirror.write(address, count, (at, bytes) => {
            const value = this.#nextValue++;
            new DataView(bytes.buffer, bytes.byteOffset).setUint32(0, value, true);
            this.#oracle[at - BASE / PAGE_SIZE] = value;
          });
          break;
        case 2:
          yield* this.#mirror.migrateToDevice(address, count, take);
          break;
        case 3:
          yield* this.#mirror.migrateToRam(address, count);
          break;
        default:
          yield* this.#mirror.snapshot(address, count, new Uint8Array(count));
      }
    }
  }

  *#unmapTask(): Sleeps<void> {
    for (let i = 0; i < this.#operations / 2; i++) {
      const page = this.#random.below(PAGES - 2);
      const count = 1 + this.#random.below(2);
      const bytes = count * PAGE_SIZE;
      if (this.#random.below(2) === 0) {
        assert((yield* munmap(this.#space, addressOf(page), bytes)) === 0, "munmap");
        // Between the end of munmap and this line nobody ran.
        this.#oracle.fill(0, page, page + count);
        yield* this.#map(page, count);
        continue;
      }
      const rights = this.#random.below(2) === 0 ? VM_READ : 0;
      assert((yield* mprotect(this.#space, addressOf(page), bytes, rights)) === 0, "mprotect");
      const both = VM_READ | VM_WRITE;
      assert((yield* mprotect(this.#space, addressOf(page), bytes, both)) === 0, "mprotect");
    }
  }

  *#exit(): Sleeps<void> {
    yield* this.#mirror.close();
    yield* mmput(this.#space);
    for (const cpu of this.#cpus) cpu.dispose();
  }

  #expect(page: number, got: number, who: string): void {
    const wanted = this.#oracle[page]!;
    assert(got === wanted, () => `${who} reads ${got} at page ${page}, last store was ${wanted}`);
  }

  /** Shadow within fact within intent, after every step. */
  #checkStep(): void {
    this.#steps++;
    const shadows = [...this.#cpus, this.#mirror];
    checkWorld(this.#world.memory, { shadows, isQuiet: false });
  }
}

const addressOf = (page: number) => virtAddr(BASE + page * PAGE_SIZE);

const wordOf = (bytes: Uint8Array): number =>
  new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
