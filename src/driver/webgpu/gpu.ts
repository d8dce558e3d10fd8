/**
 * The GPU itself: buffers, pipelines, copies, rounds. It knows frames and table entries as
 * numbers and nothing of address spaces. Everything is in queue order: what is called later
 * happens later. No view on shared memory ever reaches Dawn (it crashes on them).
 */
import { AssertionError, assert, PAGE_SIZE, SPACE_PAGES } from "../../base/index.ts";
import {
  type AdapterPreference,
  type DeviceInfo,
  openAdapter,
  pin,
  requestDevice,
} from "./adapter.ts";
import {
  DeviceTable,
  forEachRun,
  type GridSize,
  LaunchList,
  type LaunchListParts,
  type LaunchSize,
  plainBytes,
  ReadbackPool,
  RecordBuffer,
  SpillBuffer,
} from "./buffers/index.ts";
import { type Compiled, newLayout, Pipelines } from "./compile.ts";
import { DeviceLostError, GpuError, type Round, type RoundResult } from "./round.ts";
import { CONTROL_BYTES, Rounds } from "./rounds.ts";
import { CHUNK_RECORDS, CHUNK_WORDS, KernelCompileError, type KernelSource } from "./wgsl/index.ts";

export type { DeviceInfo } from "./adapter.ts";
export { type GridSize, LaunchList } from "./buffers/index.ts";
export type { Compiled } from "./compile.ts";
export { GpuError, type RoundResult } from "./round.ts";

/**
 * Bytes that one writeBuffer takes: above it Dawn becomes slow. In such pieces it beats mapped
 * staging buffers of our own up to 4 MiB (0.3 ms against 0.9 on SwiftShader) and needs no waiting
 * for them. For 64 MiB those are faster (9 ms against 15 to 28), but a fault service rarely
 * uploads so much at once.
 */
const UPLOAD_BYTES = 2 ** 20;
/** As long as nobody asks for another. */
const LINE: GridSize = [2 ** 32 - 1, 1, 1];
/** Exactly 1 GiB fails, asynchronously, after the call has succeeded. */
const BYTES_MAX = 1000 * 2 ** 20;

export interface GpuOptions {
  readonly prefer: AdapterPreference;
  /** Frames of device memory. */
  readonly frames: number;
}

export class Gpu {
  readonly info: DeviceInfo;
  readonly frames: number;
  /** Resolves, with the reason, when the device is lost. */
  readonly lost: Promise<string>;
  readonly #device: GPUDevice;
  readonly #memory: GPUBuffer;
  readonly #table: DeviceTable;
  readonly #seen: GPUBuffer;
  readonly #control: GPUBuffer;
  readonly #layout: GPUBindGroupLayout;
  readonly #spill: SpillBuffer;
  readonly #records: RecordBuffer;
  readonly #rounds: Rounds;
  readonly #readback: ReadbackPool;
  readonly #scratch = new Uint8Array(UPLOAD_BYTES);
  readonly #pipelines: Pipelines;
  // The first error that Dawn reported to nobody in particular.
  #failure: string | undefined;
  #lost: string | undefined;
  #isDestroyed = false;
  #isInRound = false;
  // What the next launch takes over, if it is large enough.
  #keptList: LaunchList | undefined;

  private constructor(device: GPUDevice, info: DeviceInfo, frames: number) {
    this.#device = device;
    this.info = info;
    this.frames = frames;
    const { COPY_DST, COPY_SRC, STORAGE } = GPUBufferUsage;
    const usage = STORAGE | COPY_DST | COPY_SRC;
    this.#memory = device.createBuffer({ label: "frames", size: frames * PAGE_SIZE, usage });
    this.#seen = device.createBuffer({ label: "seen", size: SPACE_PAGES / 2, usage });
    this.#control = device.createBuffer({ label: "control", size: CONTROL_BYTES, usage });
    this.#table = new DeviceTable(device);
    this.#spill = new SpillBuffer(device);
    this.#records = new RecordBuffer(device, { bytes: 4 * CHUNK_WORDS, records: CHUNK_RECORDS });
    this.#readback = new ReadbackPool(device);
    this.#rounds = new Rounds({
      kind: info.kind,
      table: this.#table,
      seen: this.#seen,
      control: this.#control,
      spill: this.#spill,
      records: this.#records,
      readback: this.#readback,
    });
    this.#layout = newLayout(device);
    this.#pipelines = new Pipelines(device, this.#layout);
    device.addEventListener("uncapturederror", (event) => {
      // It is thrown by the next call: no need to print it.
      event.preventDefault();
      this.#failure ??= event.error.message;
    });
    this.lost = device.lost.then(({ message, reason }) => {
      this.#lost = message || reason || "for no given reason";
      return this.#lost;
    });
  }

  /** Opens a device. Throws `AdapterError`, or `GpuError` when the memory cannot be had. */
  static async open(options: GpuOptions): Promise<Gpu> {
    const { frames } = options;
    assert(Number.isInteger(frames) && frames > 0, () => `${frames} frames of device memory`);
    const { adapter, info } = await openAdapter(options.prefer);
    const bytes = frames * PAGE_SIZE;
    const { maxStorageBufferBindingSize, maxBufferSize } = adapter.limits;
    const most = Math.min(BYTES_MAX, maxStorageBufferBindingSize, maxBufferSize);
    if (bytes > most) {
      throw new GpuError(`${bytes} bytes of device memory: this adapter gives ${most} at most`);
    }
    const requested = requestDevice(adapter, bytes).catch((error: Error) => {
      throw new GpuError(error.message, { cause: error });
    });
    const device = pin(await requested);
    device.pushErrorScope("out-of-memory");
    const gpu = new Gpu(device, info, frames);
    const error = await device.popErrorScope();
    if (error === null) return gpu;
    gpu.destroy();
    throw new GpuError(`${bytes} bytes of device memory: ${error.message}`);
  }

  get isCompiling(): boolean {
    return this.#pipelines.isCompiling;
  }

  /** Why it is lost, once it is; the one who knows first. */
  get lossReason(): string | undefined {
    return this.#lost;
  }

  /** The device's page table as it will be at the next submission. Vpn -> entry. */
  get table(): Uint32Array {
    return this.#table.entries;
  }

  /** Pages outside of [low, high) have no entry. */
  get tableBounds(): { readonly low: number; readonly high: number } {
    return this.#table.runs.bounds;
  }

  /** Nearly all pages that are here lie in one run: a direct shader reaches them. */
  get isDense(): boolean {
    return this.#table.runs.isDense;
  }

  /** Of the longest run. */
  get runPages(): number {
    return this.#table.runs.longestRuns().all.pages;
  }

  setEntry(page: number, entry: number): void {
    this.#table.set(page, entry);
  }

  /** Enqueues copies into `count` frames; `fill` writes the bytes of the pages [from, to). */
  upload(
    frames: Int32Array,
    count: number,
    fill: (target: Uint8Array, from: number, to: number) => void,
  ): void {
    this.#check();
    const batch = UPLOAD_BYTES / PAGE_SIZE;
    for (let from = 0; from < count; from += batch) {
      const to = Math.min(count, from + batch);
      fill(this.#scratch, from, to);
      forEachRun(frames, from, to, (start, end) => {
        const target = frames[start]! * PAGE_SIZE;
        const bytes = (end - start) * PAGE_SIZE;
        const offset = (start - from) * PAGE_SIZE;
        const source = plainBytes(this.#scratch.subarray(offset, offset + bytes));
        this.#device.queue.writeBuffer(this.#memory, target, source);
      });
    }
  }

  /** Enqueues the clearing of `count` frames. */
  zero(frames: Int32Array, count: number): void {
    this.#check();
    const encoder = this.#device.createCommandEncoder();
    forEachRun(frames, 0, count, (start, end) => {
      encoder.clearBuffer(this.#memory, frames[start]! * PAGE_SIZE, (end - start) * PAGE_SIZE);
    });
    this.#device.queue.submit([encoder.finish()]);
  }

  /** Shows the bytes of `count` frames, back to back, to `take`. Rejects with `GpuError`. */
  async readback(
    frames: Int32Array,
    count: number,
    take: (mapped: Uint8Array) => void,
  ): Promise<void> {
    this.#check();
    const encode = (encoder: GPUCommandEncoder, target: GPUBuffer): void =>
      forEachRun(frames, 0, count, (start, end) => {
        const length = (end - start) * PAGE_SIZE;
        const from = frames[start]! * PAGE_SIZE;
        encoder.copyBufferToBuffer(this.#memory, from, target, start * PAGE_SIZE, length);
      });
    const bytes = count * PAGE_SIZE;
    await this.#guard(this.#readback.read(bytes, encode, (shown) => take(shown(0, bytes))));
  }

  /**
   * Makes a pipeline; a direct one finds words by a subtraction (wgsl/translation.ts). Rejects
   * with `KernelCompileError`, in the lines of the kernel's code.
   */
  async compile(source: KernelSource, logSize: number, isDirect = false): Promise<Compiled> {
    this.#check();
    const compiling = this.#pipelines.of(source, logSize, isDirect).catch((error) => {
      // A lost device compiles nothing: that is not the code's fault.
      throw this.#lost === undefined ? error : new DeviceLostError(this.#lost);
    });
    return this.#guard(compiling);
  }

  /** The same, if that has been done. */
  compiled(...way: Parameters<Pipelines["ready"]>): Compiled | undefined {
    this.#check();
    return this.#pipelines.ready(...way);
  }

  /** Whether that has been compiled, or begun to be. */
  isKnown(...way: Parameters<Pipelines["isKnown"]>): boolean {
    return this.#pipelines.isKnown(...way);
  }

  /** For a launch of at most `capacity` that wait at once. In the end it is for `keepList`. */
  takeList(args: ArrayBuffer, capacity: number, grid: GridSize = LINE): LaunchList {
    this.#check();
    const size = { capacity, argsBytes: args.byteLength };
    const kept = this.#keptList;
    this.#keptList = undefined;
    const fits = kept?.fits(size) === true;
    if (!fits) kept?.destroy();
    const list = fits ? kept : this.#newList(size);
    list.reset(args, grid);
    return list;
  }

  #newList(size: LaunchSize): LaunchList {
    const parts: LaunchListParts = {
      device: this.#device,
      layout: this.#layout,
      table: this.#table.buffer,
      memory: this.#memory,
      seen: this.#seen,
      control: this.#control,
      spill: this.#spill,
      records: this.#records,
    };
    return new LaunchList(parts, size);
  }

  /** A launch is over. */
  keepList(list: LaunchList): void {
    // Whoever was killed in a round leaves it to the GPU, which still writes there.
    if (this.#isInRound || this.#keptList !== undefined) list.destroy();
    else this.#keptList = list;
  }

  /**
   * Submits a round at once and resolves when it is over. One at a time: all rounds share the
   * list of faults. Rejects with `GpuError`.
   */
  runRound(round: Round): Promise<RoundResult> {
    this.#check();
    assert(!this.#isInRound, "one round at a time");
    this.#isInRound = true;
    const over = (): void => {
      this.#isInRound = false;
    };
    const running = this.#guard(this.#rounds.run(round));
    running.then(over, over);
    return running;
  }

  /** Of atomics that have happened, while those who made them wait to run again. */
  get records(): RecordBuffer {
    return this.#records;
  }

  /** Makes room for larger store logs. False when there is no more. Between rounds only. */
  growSpill(): Promise<boolean> {
    this.#check();
    assert(!this.#isInRound, "the logs of a round that runs are in use");
    return this.#guard(this.#spill.grow());
  }

  /** The first of those who wait: who is it that cannot be served? Rejects with `GpuError`. */
  async firstPending(list: LaunchList): Promise<number> {
    this.#check();
    return this.#guard(this.#rounds.firstPending(list));
  }

  /** Gives everything back; later calls throw `GpuError`. */
  destroy(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    this.#device.destroy();
  }

  #check(): void {
    if (this.#isDestroyed) throw new DeviceLostError("the device was destroyed");
    if (this.#lost !== undefined) throw new DeviceLostError(this.#lost);
    if (this.#failure !== undefined) throw new GpuError(this.#failure);
  }

  /** A rejection of Dawn becomes a `GpuError`; an error that it reported aside does so too. */
  async #guard<T>(promise: Promise<T>): Promise<T> {
    try {
      const value = await promise;
      this.#check();
      return value;
    } catch (error) {
      const isOurs =
        error instanceof GpuError ||
        error instanceof KernelCompileError ||
        error instanceof AssertionError;
      if (isOurs) throw error;
      // Dawn tells of the loss by a promise of its own, which may settle a little later.
      await new Promise((resolve) => setImmediate(resolve));
      this.#check();
      throw new GpuError((error as Error).message, { cause: error });
    }
  }
}
