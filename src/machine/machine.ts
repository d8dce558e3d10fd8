/**
 * A machine: one address space, the CPU's window on it, and a device. It owns everything; many
 * can live in one process.
 */
import { PAGE_SIZE, type Result, SPACE_PAGES, virtAddr } from "../base/index.ts";
import { createWindow, ScopedCpu } from "../cpu/index.ts";
import {
  AdapterError,
  type DeviceInfo,
  Gpu,
  GpuError,
  KernelCache,
  launch,
  WebGpuDevice,
} from "../driver/index.ts";
import { AddressSpace, MapMode, mmap, mmput, VM_READ, VM_WRITE } from "../mm/index.ts";
import { FIRST_ZONE_PFN } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import type { ArgsSchema } from "./args.ts";
import { checkMachine } from "./check-machine.ts";
import { HmmError, hmmError, invalid } from "./error.ts";
import { Kernel, type KernelHost, type KernelOptions } from "./kernel.ts";
import { Space } from "./space.ts";
import { EventLoopHost, Tasks } from "./tasks.ts";
import { buildWorld, type World } from "./world.ts";

/** Where the heap of `malloc` lies: 3 GiB less the last 64 KiB. */
const HEAP_START = 0x4000_0000;
const HEAP_END = 0xffff_0000;

/** Device memory unless told otherwise: 256 MiB. */
const DEVICE_MEMORY = 256 * 2 ** 20;
const DEVICE_MEMORY_MIN = 64 * PAGE_SIZE;

export type DevicePreference = "auto" | "hardware" | "software" | "none";

export interface MachineOptions {
  /** Which adapter: the best ("auto", default), only a real GPU, only software, or none. */
  readonly device?: DevicePreference;
  /** Bytes of device memory that pages may take. Default 256 MiB; data may be larger. */
  readonly deviceMemory?: number;
}

/** What a machine is made of and has done. */
export interface MachineReport {
  readonly cpu: { readonly backend: "scoped"; readonly why: string };
  readonly device: DeviceInfo | undefined;
  readonly residentPages: number;
  readonly mappedPages: number;
  readonly bytesToDevice: number;
  readonly bytesToHost: number;
  readonly cpuFaults: number;
  readonly invalidations: number;
}

export class Machine {
  readonly space: Space;
  readonly #world: World;
  readonly #addressSpace: AddressSpace;
  readonly #cpu: ScopedCpu;
  readonly #host: EventLoopHost;
  readonly #tasks: Tasks;
  readonly #device: WebGpuDevice | undefined;
  readonly #kernels = new KernelCache();
  #closing: Promise<void> | undefined;

  private constructor(parts: {
    readonly world: World;
    readonly host: EventLoopHost;
    readonly tasks: Tasks;
    readonly addressSpace: AddressSpace;
    readonly cpu: ScopedCpu;
    readonly space: Space;
    readonly device: WebGpuDevice | undefined;
  }) {
    this.#world = parts.world;
    this.#host = parts.host;
    this.#tasks = parts.tasks;
    this.#addressSpace = parts.addressSpace;
    this.#cpu = parts.cpu;
    this.#device = parts.device;
    this.space = parts.space;
  }

  /**
   * Builds a machine. Throws ENODEV when the wanted kind of device is not there (with what was
   * tried and the cure), EINVAL for bad options. "none" needs no GPU library.
   */
  static async create(options: MachineOptions = {}): Promise<Machine> {
    const { device, deviceMemory } = checkOptions(options);
    const gpu = device === "none" ? undefined : await openGpu(device, deviceMemory);
    const window = createWindow();
    const host = new EventLoopHost();
    const world = buildWorld({ frames: SPACE_PAGES - FIRST_ZONE_PFN, host, window });
    const addressSpace = new AddressSpace(world.memory, { isIdentity: true });
    const cpu = new ScopedCpu(addressSpace);
    const tasks = new Tasks(world.scheduler);
    const attached = gpu === undefined ? undefined : WebGpuDevice.attach(gpu, addressSpace);
    if (typeof attached === "number") throw new Error(`a fresh space refused: ${attached}`);
    await tasks.run("reserve the heap", reserveHeap(addressSpace));
    const space = new Space({
      space: addressSpace,
      cpu,
      window,
      tasks,
      heap: { start: HEAP_START, end: HEAP_END },
      *bringHome(start, end): Sleeps<Result> {
        return attached === undefined ? 0 : yield* attached.moveHome(start, end);
      },
    });
    return new Machine({ world, host, tasks, addressSpace, cpu, space, device: attached });
  }

  /** A kernel of this machine. Its WGSL is compiled at the first run. */
  kernel<const Args extends ArgsSchema>(options: KernelOptions<Args>): Kernel<Args> {
    const device = this.#device;
    const host: KernelHost = {
      tasks: this.#tasks,
      launch: (request) => {
        if (device === undefined) {
          const detail = 'the machine was created with device "none"';
          throw hmmError({ code: "ENODEV", call: "run", detail, kernel: request.source.name });
        }
        return launch(device, this.#kernels, request);
      },
    };
    return new Kernel(host, options);
  }

  get report(): MachineReport {
    const counters = this.#device?.counters;
    const { tracer } = this.#world;
    return {
      cpu: {
        backend: "scoped",
        why: "portable: a shared window with access brackets, no privileges needed",
      },
      device: this.#device?.gpu.info,
      residentPages: this.#device?.residentPages ?? 0,
      mappedPages: this.#addressSpace.rssPages,
      bytesToDevice: (counters?.pagesToDevice ?? 0) * PAGE_SIZE,
      bytesToHost: (counters?.pagesToHost ?? 0) * PAGE_SIZE,
      cpuFaults: tracer.count("mm:fault"),
      invalidations: tracer.count("notifier:start"),
    };
  }

  /**
   * Walks everything and counts afresh; throws an `AssertionError` when something does not add
   * up. For tests; call it while no launch runs.
   */
  check(): void {
    checkMachine({
      memory: this.#world.memory,
      space: this.#addressSpace,
      cpu: this.#cpu,
      device: this.#device,
    });
  }

  /**
   * Ends the machine: running launches finish first, then everything is given back. A second
   * call gives the same promise. Rejects with EBUSY, ending nothing, while a bracket is open.
   */
  async close(): Promise<void> {
    const { openBrackets } = this.#cpu;
    if (this.#closing === undefined && openBrackets > 0) {
      const detail = `${openBrackets} access brackets are open`;
      throw hmmError({ code: "EBUSY", call: "close", detail });
    }
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    const device = this.#device;
    const space = this.#addressSpace;
    await this.#tasks.run(
      "close",
      (function* (): Sleeps<void> {
        if (device !== undefined) yield* device.waitForLaunches();
        yield* mmput(space);
        if (device !== undefined) yield* device.close();
      })(),
    );
    this.#tasks.close();
    this.#host.stop();
    device?.gpu.destroy();
  }
}

function* reserveHeap(space: AddressSpace): Sleeps<void> {
  const result = yield* mmap(space, {
    start: virtAddr(HEAP_START),
    bytes: HEAP_END - HEAP_START,
    flags: VM_READ | VM_WRITE,
    mode: MapMode.noReplace,
  });
  if (result < 0) throw new Error(`the heap cannot be reserved: ${result}`);
}

async function openGpu(
  prefer: Exclude<DevicePreference, "none">,
  deviceMemory: number,
): Promise<Gpu> {
  try {
    return await Gpu.open({ prefer, frames: Math.floor(deviceMemory / PAGE_SIZE) });
  } catch (error) {
    const detail = (error as Error).message;
    if (error instanceof AdapterError) {
      throw new HmmError({ code: "ENODEV", call: "create", detail, cause: error });
    }
    if (error instanceof GpuError) {
      throw new HmmError({ code: "ENOMEM", call: "create", detail, cause: error });
    }
    throw error;
  }
}

function checkOptions(options: MachineOptions): Required<MachineOptions> {
  const device = options.device ?? "auto";
  const deviceMemory = options.deviceMemory ?? DEVICE_MEMORY;
  if (!["auto", "hardware", "software", "none"].includes(device)) {
    const rule = '"auto", "hardware", "software" or "none"';
    throw invalid("create", `device must be ${rule}, got ${String(device)}`);
  }
  if (!Number.isInteger(deviceMemory) || deviceMemory < DEVICE_MEMORY_MIN) {
    const rule = `an integer of at least ${DEVICE_MEMORY_MIN} bytes`;
    throw invalid("create", `deviceMemory must be ${rule}, got ${String(deviceMemory)}`);
  }
  for (const name of Object.keys(options)) {
    if (name !== "device" && name !== "deviceMemory") {
      throw invalid("create", `unknown option ${name} (known: device, deviceMemory)`);
    }
  }
  return { device, deviceMemory };
}
