/**
 * The CPU backends behind one face, so that one suite asks them all the same questions. A device
 * adds to words: the test device of the engine for `soft`, WebGPU for the others.
 */
import { errnoName, PAGE_SIZE, type Vpn, virtAddr } from "../../src/base/index.ts";
import { checkWorld, type Shadow } from "../../src/check/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import { Dmirror, DmirrorDevice } from "../../src/driver/dmirror/index.ts";
import {
  buildWorld,
  type CpuPreference,
  HmmError,
  type Kernel,
  Machine,
  ptr,
  type Rights,
  u32,
  whyNotHost,
} from "../../src/machine/index.ts";
import {
  AddressSpace,
  MapMode,
  madviseDontNeed,
  mmap,
  mmput,
  mprotect,
  munmap,
  VM_READ,
  VM_WRITE,
} from "../../src/mm/index.ts";
import type { Sleeps } from "../../src/sync/index.ts";

/** A space with a CPU of one kind. Everything that fails rejects with a code: "EFAULT". */
export interface TestCpu {
  map(bytes: number, rights?: Rights, address?: number): Promise<number>;
  unmap(address: number, bytes: number): Promise<void>;
  protect(address: number, bytes: number, rights: Rights): Promise<void>;
  discard(address: number, bytes: number): Promise<void>;
  /** As a program loads and stores where it may. */
  load(address: number): Promise<number>;
  store(address: number, value: number): Promise<void>;
  /** The code with which one page refuses an access that no program survives, or "none". */
  refusal(address: number, write: boolean): Promise<string>;
  /** The device adds `addend` to `count` words from `address` on. */
  deviceAdd(address: number, count: number, addend: number): Promise<void>;
  /** Throws when anything does not add up. */
  check(): void;
  close(): Promise<void>;
}

export interface Backend {
  readonly name: "soft" | "scoped" | "host";
  /** Why it cannot be had here. */
  whyNot(): Promise<string | undefined>;
  /** `devicePages`: device memory; 0: no device. */
  open(devicePages: number): Promise<TestCpu>;
}

export const BACKENDS: readonly Backend[] = [
  { name: "soft", whyNot: async () => undefined, open: async (pages) => new SoftTestCpu(pages) },
  {
    name: "scoped",
    whyNot: async () => undefined,
    open: (pages) => openMachine("scoped", pages),
  },
  {
    name: "host",
    whyNot: async () => whyNotHost()?.reason,
    open: (pages) => openMachine("host", pages),
  },
];

async function openMachine(cpu: CpuPreference, devicePages: number): Promise<TestCpu> {
  const machine = await Machine.create(
    devicePages === 0
      ? { cpu, device: "none" }
      : { cpu, deviceMemory: Math.max(64, devicePages) * PAGE_SIZE },
  );
  return new MachineTestCpu(machine);
}

const FLAGS: Readonly<Record<Rights, number>> = { rw: VM_READ | VM_WRITE, r: VM_READ, none: 0 };

class SoftTestCpu implements TestCpu {
  readonly #world = buildWorld({ frames: 4096 });
  readonly #space = new AddressSpace(this.#world.memory);
  readonly #cpu = new SoftCpu(this.#space);
  readonly #mirror: Dmirror | undefined;

  constructor(devicePages: number) {
    if (devicePages === 0) return;
    const { memory } = this.#world;
    const device = new DmirrorDevice(memory, { name: "dmirror0", frames: devicePages });
    this.#mirror = Dmirror.open(device, this.#space) as Dmirror;
  }

  async map(bytes: number, rights: Rights = "rw", address?: number): Promise<number> {
    const where =
      address === undefined ? {} : { start: virtAddr(address), mode: MapMode.noReplace };
    return this.#done(mmap(this.#space, { bytes, flags: FLAGS[rights], ...where }));
  }

  async unmap(address: number, bytes: number): Promise<void> {
    this.#done(munmap(this.#space, virtAddr(address), bytes));
  }

  async protect(address: number, bytes: number, rights: Rights): Promise<void> {
    this.#done(mprotect(this.#space, virtAddr(address), bytes, FLAGS[rights]));
  }

  async discard(address: number, bytes: number): Promise<void> {
    this.#done(madviseDontNeed(this.#space, virtAddr(address), bytes));
  }

  async load(address: number): Promise<number> {
    const loaded = this.#run(this.#cpu.load(virtAddr(address)));
    if (typeof loaded === "number") throw new Error(errnoName(loaded));
    return loaded.value;
  }

  async store(address: number, value: number): Promise<void> {
    this.#done(this.#cpu.store(virtAddr(address), value));
  }

  async refusal(address: number, write: boolean): Promise<string> {
    const probe = write ? this.store(address, 0) : this.load(address);
    return probe.then(
      () => "none",
      (error: Error) => error.message,
    );
  }

  async deviceAdd(address: number, count: number, addend: number): Promise<void> {
    const first = Math.floor(address / PAGE_SIZE);
    const last = Math.floor((address + 4 * count - 1) / PAGE_SIZE);
    for (let page = first; page <= last; page++) {
      const from = Math.max(address, page * PAGE_SIZE);
      const to = Math.min(address + 4 * count, (page + 1) * PAGE_SIZE);
      await this.#addInPage(page * PAGE_SIZE, from % PAGE_SIZE, (to - from) / 4, addend);
    }
  }

  /** The page moves to the device when there is room, and the device reads and writes it. */
  async #addInPage(page: number, offset: number, count: number, addend: number): Promise<void> {
    const mirror = this.#mirror!;
    const start = virtAddr(page);
    const bytes = new Uint8Array(PAGE_SIZE);
    const moved = this.#run(mirror.migrateToDevice(start, 1, () => {}));
    if (moved.result < 0 && moved.result !== -2) throw new Error(errnoName(moved.result));
    const read = this.#run(mirror.read(start, 1, (_: Vpn, from) => bytes.set(from)));
    if (read.result < 0) throw new Error(errnoName(read.result));
    const words = new Uint32Array(bytes.buffer, offset, count);
    for (let i = 0; i < count; i++) words[i] = words[i]! + addend;
    const wrote = this.#run(mirror.write(start, 1, (_: Vpn, into) => into.set(bytes)));
    if (wrote.result < 0) throw new Error(errnoName(wrote.result));
  }

  check(): void {
    const mirror = this.#mirror;
    const shadows: Shadow[] = mirror === undefined ? [this.#cpu] : [this.#cpu, mirror];
    checkWorld(this.#world.memory, { shadows });
  }

  async close(): Promise<void> {
    if (this.#mirror !== undefined) this.#run(this.#mirror.close());
    this.#run(mmput(this.#space));
    checkWorld(this.#world.memory, { shadows: [], isOver: true });
  }

  #run<T>(body: Sleeps<T>): T {
    return this.#world.scheduler.runTask("test", body);
  }

  #done(body: Sleeps<number>): number {
    const result = this.#run(body);
    if (result < 0) throw new Error(errnoName(result));
    return result;
  }
}

const ADD = {
  args: { at: ptr(u32), addend: u32 },
  code: `fn main(i: u32) {
    let at = args.at + 4u * i;
    store_u32(at, load_u32(at) + args.addend);
  }`,
} as const;

/** A machine as programs use it: the words of the window itself. */
class MachineTestCpu implements TestCpu {
  readonly #machine: Machine;
  readonly #add: Kernel<typeof ADD.args>;

  constructor(machine: Machine) {
    this.#machine = machine;
    this.#add = machine.kernel(ADD);
  }

  async map(bytes: number, rights: Rights = "rw", address?: number): Promise<number> {
    const where = address === undefined ? {} : { address };
    return coded(this.#machine.space.mmap({ bytes, rights, ...where }));
  }

  async unmap(address: number, bytes: number): Promise<void> {
    await coded(this.#machine.space.munmap(address, bytes));
  }

  async protect(address: number, bytes: number, rights: Rights): Promise<void> {
    await coded(this.#machine.space.mprotect(address, bytes, rights));
  }

  async discard(address: number, bytes: number): Promise<void> {
    await coded(this.#machine.space.discard(address, bytes));
  }

  async load(address: number): Promise<number> {
    const { space, hasPageFaults } = this.#machine;
    if (!hasPageFaults) await coded(space.populate({ start: address, bytes: 4 }, "read"));
    return space.u32[address >>> 2]!;
  }

  async store(address: number, value: number): Promise<void> {
    const { space, hasPageFaults } = this.#machine;
    if (!hasPageFaults) await coded(space.populate({ start: address, bytes: 4 }, "write"));
    space.u32[address >>> 2] = value;
  }

  async refusal(address: number, write: boolean): Promise<string> {
    const range = { start: address, bytes: 4 };
    return coded(this.#machine.space.populate(range, write ? "write" : "read")).then(
      () => "none",
      (error: Error) => error.message,
    );
  }

  async deviceAdd(address: number, count: number, addend: number): Promise<void> {
    await coded(this.#add.run(count, { at: address, addend }));
  }

  check(): void {
    this.#machine.check();
  }

  async close(): Promise<void> {
    await this.#machine.close();
  }
}

/** Errors of the public face by their codes alone. */
async function coded<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof HmmError) throw new Error(error.code, { cause: error });
    throw error;
  }
}
