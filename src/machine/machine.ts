/**
 * A machine: one address space, the CPU's window on it, and a device. It owns everything; many
 * can live in one process. The engine lives on this thread, or on a kernel thread of its own
 * where the CPU has page faults.
 */
import { formatAddress, PAGE_SIZE, SPACE_BYTES } from "../base/index.ts";
import { KERNEL_FAULTS_CURE, type KernelFaults, ScopedCpu, type Window } from "../cpu/index.ts";
import type { DeviceInfo } from "../driver/index.ts";
import { MMAP_MIN_ADDR } from "../mm/index.ts";
import type { ArgsSchema } from "./args.ts";
import {
  Engine,
  type EnginePort,
  EventLoopHost,
  LocalPort,
  openGpu,
  PagesHere,
} from "./engine/index.ts";
import { HmmError, hmmError, invalid } from "./error.ts";
import { FreedPages } from "./freed-pages.ts";
import { checkOptions, show } from "./given.ts";
import { Heap, newHeapRange } from "./heap/index.ts";
import {
  atExit,
  attachHost,
  type HostHandle,
  type HostMachine,
  openHost,
  warn,
  whyNotHere,
} from "./host/index.ts";
import { INSPECT } from "./inspect.ts";
import {
  FunctionKernel,
  type FunctionKernelOptions,
  Kernel,
  type KernelOptions,
  type KernelUses,
  type NoUses,
} from "./kernel/index.ts";
import type { KernelFunction } from "./lang/index.ts";
import { newWindow } from "./new-window.ts";
import { Space, type TouchRights } from "./space.ts";

/** Where the heap of `malloc` lies, and mappings that find no room below it. */
const HEAP = { start: 0x3800_0000, end: 0xffff_0000 } as const;

/** Device memory unless told otherwise: 256 MiB. */
const DEVICE_MEMORY = 256 * 2 ** 20;
const DEVICE_MEMORY_MIN = 64 * PAGE_SIZE;

export type DevicePreference = "auto" | "hardware" | "software" | "none";
export type CpuPreference = "auto" | "host" | "scoped";

export interface MachineOptions {
  /**
   * How the CPU gets at pages that are away. "host": by page faults of its own, on a kernel
   * thread; "scoped": portable, by access brackets. Default "auto": host where it can be had.
   */
  readonly cpu?: CpuPreference;
  /** Which adapter: the best ("auto", default), only a real GPU, only software, or none. */
  readonly device?: DevicePreference;
  /** Bytes of device memory that pages may take. Default 256 MiB; data may be larger. */
  readonly deviceMemory?: number;
  /**
   * With `host`: system calls wait for pages that are away, too, instead of failing with EFAULT.
   * That needs privilege (root, or what `onespace doctor` says). Default "auto": where the system
   * allows it. true: EOPNOTSUPP where it does not.
   */
  readonly kernelFaults?: KernelFaults;
}

/** What a machine is made of and has done. */
export interface MachineReport {
  readonly cpu: {
    readonly backend: "host" | "scoped";
    readonly why: string;
    /** What system calls do about pages that are away, and what would make them wait. */
    readonly systemCalls: string;
    /** They wait for such pages, as all other code does. */
    readonly kernelFaults: boolean;
  };
  readonly device: DeviceInfo | undefined;
  readonly residentPages: number;
  readonly mappedPages: number;
  readonly bytesToDevice: number;
  readonly bytesHome: number;
  readonly cpuFaults: number;
  readonly invalidations: number;
}

/** What another thread needs to use the same machine: give it to a worker by `workerData`. */
export interface MachineHandle extends HostHandle {
  readonly heap: SharedArrayBuffer;
}

interface MachineParts {
  readonly port: EnginePort;
  readonly window: Window;
  readonly rights: TouchRights;
  readonly heap: Heap;
  readonly cpu: MachineReport["cpu"];
  /** Where the engine has a thread of its own. */
  readonly host?: HostMachine;
}

/** The CPU waits for pages by itself; only what no program ever has is refused beforehand. */
class HardwareRights implements TouchRights {
  /** One word, not 0 once the machine is closed: looked at before each access. */
  readonly #closed: Int32Array;
  #lowest: number = MMAP_MIN_ADDR;

  constructor(closed: Int32Array) {
    this.#closed = closed;
  }

  mayTouch(address: number, bytes: number): boolean {
    return address >= this.#lowest && address + bytes <= SPACE_BYTES && this.#closed[0] === 0;
  }

  allowLow(): void {
    this.#lowest = 0;
  }

  /** This thread has left: nothing may be touched any more. */
  allowNothing(): void {
    this.#lowest = SPACE_BYTES;
  }
}

export class Machine {
  readonly space: Space;
  readonly #port: EnginePort;
  readonly #heap: Heap;
  readonly #cpu: MachineReport["cpu"];
  readonly #host: HostMachine | undefined;
  readonly #rights: TouchRights;
  readonly #isGuest: boolean;
  readonly #forgetExit: () => void;
  #closing: Promise<void> | undefined;
  #lastReport: MachineReport | undefined;

  private constructor(parts: MachineParts, isGuest: boolean) {
    this.#port = parts.port;
    this.#heap = parts.heap;
    this.#cpu = parts.cpu;
    this.#host = parts.host;
    this.#rights = parts.rights;
    this.#isGuest = isGuest;
    const { host, heap } = parts;
    host?.port.join(heap);
    this.#forgetExit =
      isGuest && host !== undefined ? atExit(() => host.port.leave(heap)) : () => undefined;
    this.space = new Space(parts);
  }

  /**
   * Builds a machine; with page faults only on the main thread (others attach to its handle).
   * Throws ENODEV when the wanted kind of device is not there, EOPNOTSUPP when
   * `cpu: "host"` cannot be had (both with what was tried and the cure), EINVAL for bad options.
   * "none" needs no GPU library.
   */
  static async create(options: MachineOptions = {}): Promise<Machine> {
    const checked = completed(options);
    if (checked.cpu === "scoped") return new Machine(await openScoped(checked, "asked for"), false);
    const obstacle = whyNotHere();
    try {
      if (obstacle !== undefined) {
        const detail = `no page faults here: ${obstacle.reason}; ${obstacle.cure}`;
        throw hmmError({ code: "EOPNOTSUPP", call: "create", detail });
      }
      const heap = newHeapRange(HEAP);
      const host = await openHost({ ...checked, heap, limitMs: FAULT_LIMIT_MS });
      return Machine.#ofHost(host, heap.shared, false);
    } catch (error) {
      const isRefused = error instanceof HmmError && error.code === "EOPNOTSUPP";
      const insists = checked.cpu === "host" || checked.kernelFaults === true;
      if (!isRefused || insists) throw error;
      const why = `access brackets, because ${obstacle?.reason ?? error.detail}`;
      return new Machine(await openScoped(checked, why), false);
    }
  }

  /**
   * The machine behind a handle, for this thread: the same space, heap and device. Throws EINVAL
   * for what is no handle, ENODEV when the machine is closed.
   */
  static attach(handle: MachineHandle): Machine {
    if (!(handle?.heap instanceof SharedArrayBuffer)) {
      throw invalid("attach", `handle must be the handle of a machine, got ${show(handle)}`);
    }
    return Machine.#ofHost(attachHost(handle), handle.heap, true);
  }

  /** `shared`: of the heap's threads. */
  static #ofHost(host: HostMachine, shared: SharedArrayBuffer, isGuest: boolean): Machine {
    const { port, window, handle } = host;
    const { kernelFaults } = handle;
    const freed = new FreedPages(port, HEAP.end);
    const heap = new Heap({
      ...HEAP,
      onPagesFree: (start, end, run) => freed.forget(start, end, run),
      onBadFree: (address) =>
        warn(`a thread freed ${formatAddress(address)}, which is no block; nothing was done`),
      shared,
    });
    const why = "page faults (userfaultfd) served by a kernel thread";
    const systemCalls = kernelFaults ? CALLS_WAIT : CALLS_FAIL;
    const cpu = { backend: "host", why, systemCalls, kernelFaults } as const;
    return new Machine(
      { port, window, heap, cpu, host, rights: new HardwareRights(port.closedWord) },
      isGuest,
    );
  }

  /** The CPU has page faults of its own: whatever is mapped can be touched at any time. */
  get hasPageFaults(): boolean {
    return this.#cpu.backend === "host";
  }

  /**
   * For other threads: `new Worker(file, { workerData: machine.handle })`, and there
   * `Machine.attach(workerData)`. Throws EOPNOTSUPP on the portable backend.
   */
  get handle(): MachineHandle {
    this.#port.check("handle");
    if (this.#host !== undefined) return { ...this.#host.handle, heap: this.#heap.shared };
    const detail = `the CPU backend is "${this.#cpu.backend}" (${this.#cpu.why})`;
    throw hmmError({ code: "EOPNOTSUPP", call: "handle", detail });
  }

  /** A kernel of this machine. Its WGSL is compiled at the first run. */
  kernel<const Args extends ArgsSchema>(options: KernelOptions<Args>): Kernel<Args>;
  /**
   * A kernel that is a function of TypeScript or JavaScript: its own text is compiled, for the
   * device and for this thread (docs/kernels.md has what it may be made of). Throws EINVAL with
   * file, line and column for anything else.
   */
  kernel<const Args extends ArgsSchema, Uses extends KernelUses = NoUses>(
    args: Args,
    code: KernelFunction<Args, Uses>,
    options?: FunctionKernelOptions<Uses>,
  ): FunctionKernel<Args>;
  kernel<const Args extends ArgsSchema>(
    given: KernelOptions<Args> | Args,
    ...rest: readonly [code?: KernelFunction<Args>, options?: FunctionKernelOptions]
  ): Kernel<Args> {
    this.#port.check("kernel");
    if (rest.length === 0) return new Kernel(this.#port, given as KernelOptions<Args>);
    const [code, options] = rest;
    const parts = { port: this.#port, memory: this.space };
    return new FunctionKernel(parts, given as Args, code, options);
  }

  /** What it has done; once it is closed, what it had done before. ENODEV after a thread left. */
  get report(): MachineReport {
    if (this.#lastReport !== undefined) return this.#lastReport;
    const { device, residentPages, mappedPages, pagesToDevice, pagesHome, ...counts } =
      this.#port.callNow("report", undefined)!;
    return {
      cpu: this.#cpu,
      device,
      residentPages,
      mappedPages,
      bytesToDevice: pagesToDevice * PAGE_SIZE,
      bytesHome: pagesHome * PAGE_SIZE,
      ...counts,
    };
  }

  /**
   * Walks everything and counts afresh; throws an `AssertionError` when something does not add
   * up. For tests; call it while no launch runs.
   */
  check(): void {
    this.#port.callNow("check", undefined);
  }

  /**
   * What is mapped and where its pages are (here, on the device, on their way), as a table for
   * people: a line for each mapping, one of which is the heap.
   */
  dump(): string {
    return this.#port.callNow("dump", undefined)!;
  }

  /**
   * Ends the machine: running launches may finish first, if they do so soon (half a second and
   * the round that runs), or end with EINTR; then everything is given back. A second
   * call gives the same promise. Rejects with EBUSY, ending nothing, while a bracket is open.
   * On a thread that has attached to the machine it only leaves it.
   */
  close(): Promise<void> {
    this.#closing ??= this.#isGuest ? this.#leave() : this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  [INSPECT](): string {
    const state = this.#closing === undefined ? "" : ", closed";
    return `Machine (cpu ${this.#cpu.backend}: ${this.#cpu.why}${state})`;
  }

  async #leave(): Promise<void> {
    this.#forgetExit();
    this.#rights.allowNothing?.();
    this.#host?.port.leave(this.#heap);
    await this.#port.end();
  }

  async #close(): Promise<void> {
    const report = this.report;
    const open = await this.#port.call("close", undefined);
    if (open > 0) {
      this.#closing = undefined;
      const detail = `${open} access brackets are open`;
      throw hmmError({ code: "EBUSY", call: "close", detail });
    }
    this.#lastReport = report;
    await this.#port.end();
  }
}

async function openScoped(options: Required<MachineOptions>, why: string): Promise<MachineParts> {
  const gpu = await openGpu(options);
  const window = newWindow();
  const range = newHeapRange(HEAP);
  const host = new EventLoopHost();
  const engine = new Engine({
    host,
    window,
    cpu: (space) => new ScopedCpu(space),
    gpu,
    heap: range,
  });
  const port = new LocalPort(engine, host);
  const freed = new FreedPages(port, HEAP.end);
  const heap = new Heap({
    ...range,
    onPagesFree: (start, end, run) => freed.forget(start, end, run),
    presence: new PagesHere(engine, port),
  });
  const systemCalls = "system calls take the bytes of an open access bracket";
  const cpu = { backend: "scoped", why, systemCalls, kernelFaults: false } as const;
  return { port, window, heap, rights: engine.cpu, cpu };
}

const CALLS_WAIT = "system calls wait for pages that are away";
const CALLS_FAIL =
  "system calls answer EFAULT on pages that a device has had and that are away; " +
  `to have them wait, ${KERNEL_FAULTS_CURE}`;

/** A page fault that nobody serves for so long ends the process. */
const FAULT_LIMIT_MS = 60_000;

function completed(options: MachineOptions): Required<MachineOptions> {
  checkOptions("create", options, ["cpu", "device", "deviceMemory", "kernelFaults"]);
  const cpu = options.cpu ?? "auto";
  const device = options.device ?? "auto";
  const deviceMemory = options.deviceMemory ?? DEVICE_MEMORY;
  if (!["auto", "host", "scoped"].includes(cpu)) {
    throw invalid("create", `cpu must be "auto", "host" or "scoped", got ${show(cpu)}`);
  }
  if (!["auto", "hardware", "software", "none"].includes(device)) {
    const rule = '"auto", "hardware", "software" or "none"';
    throw invalid("create", `device must be ${rule}, got ${show(device)}`);
  }
  if (!Number.isInteger(deviceMemory) || deviceMemory < DEVICE_MEMORY_MIN) {
    const rule = `an integer of at least ${DEVICE_MEMORY_MIN} bytes`;
    throw invalid("create", `deviceMemory must be ${rule}, got ${show(deviceMemory)}`);
  }
  const kernelFaults = options.kernelFaults ?? "auto";
  if (!["auto", true, false].includes(kernelFaults)) {
    const rule = 'true, false or "auto"';
    throw invalid("create", `kernelFaults must be ${rule}, got ${show(kernelFaults)}`);
  }
  return { cpu, device, deviceMemory, kernelFaults };
}
