/**
 * The engine of a machine: one address space, the CPU's shadow of it, a device. It answers calls
 * and knows nothing of who makes them, or on which thread they are.
 */
import {
  EBUSY,
  PAGE_SIZE,
  type Result,
  SPACE_PAGES,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import {
  type Gpu,
  KernelCache,
  type KernelSource,
  type LaunchOutcome,
  type LaunchProgress,
  launch,
  WebGpuDevice,
} from "../../driver/index.ts";
import {
  AddressSpace,
  type CpuMmu,
  FAULT_WRITE,
  MapMode,
  madviseDontNeed,
  mmap,
  mmput,
  mprotect,
  munmap,
  type PinnedPages,
  VM_READ,
  VM_WRITE,
} from "../../mm/index.ts";
import type { BulkMemory } from "../../phys/index.ts";
import type { Host, Scheduler, Sleeps } from "../../sync/index.ts";
import { hmmError } from "../error.ts";
import { buildWorld, type World } from "../world.ts";
import type { Answer, Ask, ByteRange, CallName, EngineReport, Outcome } from "./calls.ts";
import { checkMachine } from "./check-machine.ts";
import { faultPages } from "./fault-pages.ts";

/** What a machine asks of its CPU's shadow: `ScopedCpu` and `HostCpu` are such. */
export interface WindowCpu extends CpuMmu {
  mayTouch(address: VirtAddr, bytes: number, write: boolean): boolean;
  install(start: Vpn, end: Vpn): void;
  access(
    range: { readonly start: VirtAddr; readonly end: VirtAddr },
    write: boolean,
    failure: { address: VirtAddr },
  ): Sleeps<PinnedPages | Result>;
  close(pinned: PinnedPages): void;
  readonly openBrackets: number;
  bracketIn(start: Vpn, end: Vpn): PinnedPages | undefined;
  rightsOf(page: Vpn): number;
}

export interface EngineOptions<Cpu extends WindowCpu> {
  readonly host: Host;
  /** The bytes of RAM as this thread may touch them. */
  readonly window: { readonly buffer: ArrayBufferLike; readonly bulk?: BulkMemory };
  readonly cpu: (space: AddressSpace) => Cpu;
  readonly gpu: Gpu | undefined;
  /** Where the heap of `malloc` lies: mapped before the first call. */
  readonly heap: { readonly start: number; readonly end: number };
}

/** What a call may say while it lasts, and hear. */
export interface CallContext {
  isAborted(): boolean;
  progress?(progress: LaunchProgress): void;
}

/** How often one page is faulted for one access before that is a bug. */
const FAULTS_MAX = 64;

type Handlers = {
  readonly [Name in CallName]: (ask: Ask<Name>, context: CallContext) => Sleeps<Answer<Name>>;
};

export class Engine<Cpu extends WindowCpu = WindowCpu> {
  readonly cpu: Cpu;
  readonly space: AddressSpace;
  readonly #world: World;
  readonly #device: WebGpuDevice | undefined;
  readonly #kernels = new KernelCache();
  // number of a kernel -> its text
  readonly #sources: KernelSource[] = [];
  readonly #brackets = new Map<number, PinnedPages>();
  #nextBracket = 1;

  constructor(options: EngineOptions<Cpu>) {
    const { host, window, gpu, heap } = options;
    this.#world = buildWorld({ host, window });
    this.space = new AddressSpace(this.#world.memory, { isIdentity: true });
    this.cpu = options.cpu(this.space);
    const device = gpu === undefined ? undefined : WebGpuDevice.attach(gpu, this.space);
    if (typeof device === "number") throw new Error(`a fresh space refused: ${device}`);
    this.#device = device;
    const reserved = this.scheduler.runTask("reserve the heap", reserve(this.space, heap));
    if (reserved < 0) throw new Error(`the heap cannot be reserved: ${reserved}`);
  }

  get scheduler(): Scheduler {
    return this.#world.scheduler;
  }

  canServe(name: string): name is CallName {
    return Object.hasOwn(this.#handlers, name);
  }

  /** Answers a call, as a task. */
  serve<Name extends CallName>(
    name: Name,
    ask: Ask<Name>,
    context: CallContext,
  ): Sleeps<Answer<Name>> {
    return this.#handlers[name](ask, context);
  }

  /** After `close`: the GPU is given back. */
  destroy(): void {
    this.#device?.gpu.destroy();
  }

  /** Pages whose only copy is on the device: what is lost with it. */
  *pagesAway(): Iterable<number> {
    const { pageTable } = this.space;
    const device = this.#device;
    if (device === undefined) return;
    const end = vpn(SPACE_PAGES);
    for (let page = pageTable.nextUsed(vpn(0), end); page < end; ) {
      if (device.isPrivate(page)) yield page;
      page = pageTable.nextUsed(vpn(page + 1), end);
    }
  }

  readonly #handlers: Handlers = {
    mmap: (ask) => this.#mmap(ask),
    munmap: (ask) => this.#change(ask, (start) => munmap(this.space, start, ask.bytes)),
    mprotect: (ask) =>
      this.#change(ask, (start) => mprotect(this.space, start, ask.bytes, ask.flags)),
    discard: (ask) => this.#change(ask, (start) => madviseDontNeed(this.space, start, ask.bytes)),
    access: (ask) => this.#access(ask),
    release: (ask) => this.#release(ask.bracket),
    fault: (ask) => this.#fault(ask),
    populate: (ask) => this.#populate(ask),
    kernel: (ask) => this.#kernel(ask.source),
    launch: (ask, context) => this.#launch(ask, context),
    report: () => this.#report(),
    check: () => this.#check(),
    close: () => this.#close(),
  };

  *#mmap(ask: Ask<"mmap">): Sleeps<Result> {
    const { address, isLow = false } = ask;
    return yield* mmap(this.space, {
      bytes: Math.ceil(ask.bytes / PAGE_SIZE) * PAGE_SIZE,
      flags: ask.flags,
      isLow,
      mode: address === undefined ? MapMode.anywhere : MapMode.noReplace,
      ...(address === undefined ? {} : { start: virtAddr(address) }),
    });
  }

  /** What changes a mapping finds no bracket there. */
  *#change(range: ByteRange, change: (start: VirtAddr) => Sleeps<Result>): Sleeps<Outcome> {
    const end = Math.ceil((range.start + range.bytes) / PAGE_SIZE);
    const bracket = this.cpu.bracketIn(vpnOf(virtAddr(range.start)), vpn(end));
    if (bracket !== undefined) return { result: -EBUSY, address: bracket.start * PAGE_SIZE };
    return { result: yield* change(virtAddr(range.start)) };
  }

  *#access(ask: Ask<"access">): Sleeps<Answer<"access">> {
    const { start, end } = pagesAround(ask);
    const failure = { address: start };
    const home = yield* this.#bringHome(start, end);
    const pinned = home < 0 ? home : yield* this.cpu.access({ start, end }, ask.write, failure);
    if (typeof pinned === "number") {
      return { result: pinned, address: failure.address, bracket: 0 };
    }
    const bracket = this.#nextBracket++;
    this.#brackets.set(bracket, pinned);
    return { result: 0, bracket };
  }

  *#release(bracket: number): Sleeps<void> {
    const pinned = this.#brackets.get(bracket);
    if (pinned === undefined) {
      const detail = `no bracket ${bracket} is open`;
      throw hmmError({ code: "EINVAL", call: "close", detail });
    }
    this.#brackets.delete(bracket);
    this.cpu.close(pinned);
  }

  *#fault({ start, bytes, write }: Ask<"fault">): Sleeps<Outcome> {
    const first = vpnOf(virtAddr(start));
    const end = vpn(Math.ceil((start + bytes) / PAGE_SIZE));
    for (let tries = 0; tries < FAULTS_MAX; tries++) {
      this.cpu.install(first, end);
      if (this.cpu.mayTouch(virtAddr(start), bytes, write)) return { result: 0 };
      const flags = write ? FAULT_WRITE : 0;
      const failure = { address: virtAddr(start) };
      const result = yield* faultPages(this.space, { start: first, end }, flags, failure);
      if (result < 0) return { result, address: failure.address };
    }
    return { result: -EBUSY, address: start };
  }

  *#populate(ask: Ask<"populate">): Sleeps<Outcome> {
    const { start, end } = pagesAround(ask);
    const home = yield* this.#bringHome(start, end);
    if (home < 0) return { result: home, address: start };
    return yield* this.#fault(ask);
  }

  /** Brings what lives on the device in [start, end) home, in bulk. */
  *#bringHome(start: VirtAddr, end: VirtAddr): Sleeps<Result> {
    return this.#device === undefined ? 0 : yield* this.#device.moveHome(start, end);
  }

  *#kernel(source: KernelSource): Sleeps<number> {
    const known = this.#sources.findIndex(
      (each) =>
        each.name === source.name &&
        each.code === source.code &&
        each.argsStruct === source.argsStruct &&
        each.accessors === source.accessors,
    );
    return known >= 0 ? known : this.#sources.push(source) - 1;
  }

  *#launch(ask: Ask<"launch">, context: CallContext): Sleeps<LaunchOutcome> {
    const source = this.#sources[ask.kernel];
    if (source === undefined) {
      throw hmmError({ code: "EINVAL", call: "run", detail: `no kernel ${ask.kernel}` });
    }
    if (this.#device === undefined) {
      const detail = 'the machine was created with device "none"';
      throw hmmError({ code: "ENODEV", call: "run", detail, kernel: source.name });
    }
    return yield* launch(this.#device, this.#kernels, {
      source,
      count: ask.count,
      args: ask.args,
      isAborted: () => context.isAborted(),
      onProgress: (progress) => context.progress?.(progress),
    });
  }

  *#report(): Sleeps<EngineReport> {
    const counters = this.#device?.counters;
    const { tracer } = this.#world;
    return {
      device: this.#device?.gpu.info,
      residentPages: this.#device?.residentPages ?? 0,
      mappedPages: this.space.rssPages,
      pagesToDevice: counters?.pagesToDevice ?? 0,
      pagesToHost: counters?.pagesToHost ?? 0,
      cpuFaults: tracer.count("mm:fault"),
      invalidations: tracer.count("notifier:start"),
    };
  }

  *#check(): Sleeps<void> {
    const { memory } = this.#world;
    checkMachine({ memory, space: this.space, cpu: this.cpu, device: this.#device });
  }

  *#close(): Sleeps<number> {
    if (this.cpu.openBrackets > 0) return this.cpu.openBrackets;
    const device = this.#device;
    if (device !== undefined) yield* device.waitForLaunches();
    yield* mmput(this.space);
    if (device !== undefined) yield* device.close();
    return 0;
  }
}

function reserve(
  space: AddressSpace,
  heap: { readonly start: number; readonly end: number },
): Sleeps<Result> {
  return mmap(space, {
    start: virtAddr(heap.start),
    bytes: heap.end - heap.start,
    flags: VM_READ | VM_WRITE,
    mode: MapMode.noReplace,
  });
}

/** The whole pages that some bytes lie in. */
function pagesAround({ start, bytes }: ByteRange): { start: VirtAddr; end: VirtAddr } {
  return {
    start: virtAddr(start - (start % PAGE_SIZE)),
    end: virtAddr(Math.ceil((start + bytes) / PAGE_SIZE) * PAGE_SIZE),
  };
}
