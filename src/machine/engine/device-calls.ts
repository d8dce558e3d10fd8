/** What calls ask of the device: launches, and what is brought there or home. */
import {
  EINTR,
  PAGE_SIZE,
  type Result,
  type VirtAddr,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { prefetch } from "../../device/index.ts";
import {
  KernelCache,
  type KernelSource,
  launch,
  prepare,
  storedArguments,
  type WebGpuDevice,
} from "../../driver/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { hmmError } from "../error.ts";
import type { Answer, Ask, CallContext, Caller } from "./calls.ts";

export interface DeviceCallsParts {
  /** Without: who launches is told that there is none. */
  readonly device: WebGpuDevice | undefined;
  /** One word: launches that have begun. */
  readonly launches: Int32Array;
  /** The machine is being closed, and launches have had their time. */
  readonly isClosing: () => boolean;
}

interface Asked {
  readonly caller: Caller;
  readonly timeLimit: number;
  /** The thread that called has ended: nobody waits for the answer. */
  isOrphan: boolean;
}

export class DeviceCalls {
  readonly #parts: DeviceCallsParts;
  readonly #kernels = new KernelCache();
  // Launches that run or wait.
  readonly #asked = new Set<Asked>();
  // number of a kernel -> its text
  readonly #sources: KernelSource[] = [];
  // KernelSource -> arguments that it stores through
  readonly #stored = new WeakMap<KernelSource, ReadonlySet<string>>();

  constructor(parts: DeviceCallsParts) {
    this.#parts = parts;
  }

  *run(ask: Ask<"run">, context: CallContext): Sleeps<Answer<"run">> {
    const { launches, isClosing } = this.#parts;
    const { kernel, source } = this.#kernelOf("run", ask.kernel);
    const stored = this.#storedBy(source);
    const device = this.#device("run", source);
    Atomics.add(launches, 0, 1);
    const { caller } = context;
    const asked: Asked = { caller, timeLimit: ask.timeLimit ?? 0, isOrphan: false };
    const isAborted = (): boolean => context.isAborted() || asked.isOrphan;
    this.#asked.add(asked);
    using _asked = { [Symbol.dispose]: () => this.#asked.delete(asked) };
    const outcome = yield* launch(device, this.#kernels, {
      source,
      count: ask.count,
      grid: ask.grid,
      args: ask.args,
      views: ask.views.map(({ name, ...range }) => ({ ...range, write: stored.has(name) })),
      ...(ask.timeLimit === undefined ? {} : { timeLimit: ask.timeLimit }),
      isAborted: () => isAborted() || isClosing(),
      onProgress: (progress) => context.progress?.(progress),
    });
    const isEnded = outcome.result === -EINTR && !isAborted();
    const refusal = { reason: "the machine is being closed" };
    return { ...outcome, ...(isEnded && { refusal }), kernel };
  }

  /** Launches of threads that have ended end, too. */
  endOrphans(isAlive: (caller: Caller) => boolean): void {
    for (const asked of this.#asked) asked.isOrphan ||= !isAlive(asked.caller);
  }

  /** How long a launch may have the device to itself, as those who launched allow. Milliseconds. */
  get longestLimitMs(): number {
    let longest = 0;
    for (const { timeLimit } of this.#asked) longest = Math.max(longest, timeLimit);
    return longest;
  }

  *prepare(ask: Ask<"prepare">): Sleeps<Answer<"prepare">> {
    const { kernel, source } = this.#kernelOf("prepare", ask.kernel);
    const device = this.#device("prepare", source);
    return { ...(yield* prepare(device, this.#kernels, source)), kernel };
  }

  /** Launches take turns with it: what one of them needs is not pushed out in the middle of it. */
  *prefetch({ start, bytes, write, since }: Ask<"prefetch">): Sleeps<Answer<"prefetch">> {
    const device = this.#device("prefetch");
    const range = {
      start: vpnOf(virtAddr(start)),
      end: vpn(Math.ceil((start + bytes) / PAGE_SIZE)),
    };
    using _launch = yield* device.launchLock.acquire();
    const { frames } = device.memory;
    const before = frames.arrivals;
    const keepAfter = since ?? before;
    const failure = { address: (range.start * PAGE_SIZE) as VirtAddr };
    // Pages may live on the device only from now on, as with a launch.
    Atomics.add(this.#parts.launches, 0, 1);
    const result = yield* prefetch(device.shadow, range, { write, keepAfter }, failure);
    const pages = frames.arrivals - before;
    return { result, pages, since: keepAfter, ...(result < 0 && { address: failure.address }) };
  }

  /** Brings what lives on the device in [start, end) home, in bulk, to be read or not: how many. */
  *bringHome(start: VirtAddr, end: number, toRead: boolean): Sleeps<Result> {
    const { device } = this.#parts;
    return device === undefined ? 0 : yield* device.moveHome(start, end, toRead);
  }

  #device(call: string, source?: KernelSource): WebGpuDevice {
    const { device } = this.#parts;
    if (device !== undefined) return device;
    const detail = 'the machine was created with device "none"';
    throw hmmError({ code: "ENODEV", call, detail, ...(source && { kernel: source.name }) });
  }

  #storedBy(source: KernelSource): ReadonlySet<string> {
    const stored = this.#stored.get(source) ?? storedArguments(source.code);
    this.#stored.set(source, stored);
    return stored;
  }

  /** The same text gets the same number. */
  #kernelOf(call: string, given: number | KernelSource): { kernel: number; source: KernelSource } {
    const kernel = typeof given === "number" ? given : this.#numberOf(given);
    const source = this.#sources[kernel];
    if (source !== undefined) return { kernel, source };
    throw hmmError({ code: "EINVAL", call, detail: `no kernel ${kernel}` });
  }

  #numberOf(source: KernelSource): number {
    const known = this.#sources.findIndex(
      (each) =>
        each.name === source.name &&
        each.code === source.code &&
        each.argsStruct === source.argsStruct &&
        each.accessors === source.accessors &&
        String(each.group) === String(source.group),
    );
    return known >= 0 ? known : this.#sources.push(source) - 1;
  }
}
