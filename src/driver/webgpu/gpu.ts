/**
 * The GPU itself: buffers, pipelines, copies, rounds. It knows frames and table entries as
 * numbers and nothing of address spaces. Everything is in queue order: what is called later
 * happens later. No view on shared memory ever reaches Dawn (it crashes on them).
 */
import { assert, PAGE_SIZE, SPACE_PAGES } from "../../base/index.ts";
import { type AdapterPreference, type DeviceInfo, openAdapter, pin } from "./adapter.ts";
import { LaunchList } from "./launch-list.ts";
import { ReadbackPool } from "./readback.ts";
import { DeviceTable } from "./device-table.ts";
import {
  CONTROL_WORDS,
  FAULT_RECORDS,
  KernelCompileError,
  type KernelSource,
  WORKGROUP_SIZE,
  wrapKernel,
} from "./wgsl.ts";

export type { DeviceInfo } from "./adapter.ts";
export { LaunchList } from "./launch-list.ts";

/** Records that come back with the round itself; more need a second readback. */
const HEAD_RECORDS = 2048;
/** Bytes that one writeBuffer takes; above it Dawn becomes slow. */
const UPLOAD_BYTES = 2 ** 20;
const GROUPS_MAX = 65_535;
/** Exactly 1 GiB fails, asynchronously, after the call has succeeded. */
const FRAMES_MAX = (1000 * 2 ** 20) / PAGE_SIZE;

export interface GpuOptions {
  readonly prefer: AdapterPreference;
  /** Frames of device memory. */
  readonly frames: number;
}

/** A pipeline, made from one kernel for one size of its store log. */
export interface Compiled {
  readonly pipeline: GPUComputePipeline;
}

export interface Round {
  readonly compiled: Compiled;
  readonly list: LaunchList;
  /** Invocations that run for the first time: first, first + 1, … */
  readonly fresh: { readonly first: number; readonly count: number };
  /** How many of the list, from its head, run again. */
  readonly retry: number;
}

export interface RoundResult {
  /** Pairs (address, flags), one for each page and kind of access (`FAULT_RECORD_…`). */
  readonly faults: Uint32Array;
  /** Of those that ran: how many did not finish. They are now the head of the list. */
  readonly unfinished: number;
  /** Some invocation stores more than the log holds. */
  readonly logOverflow: boolean;
}

/** The GPU is gone, or said no. */
export class GpuError extends Error {
  override readonly name = "GpuError";
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
  readonly #readback: ReadbackPool;
  readonly #scratch = new Uint8Array(UPLOAD_BYTES);
  // wgsl -> Compiled
  readonly #compiled = new Map<string, Promise<Compiled>>();
  #failure: string | undefined;
  #isDestroyed = false;

  private constructor(device: GPUDevice, info: DeviceInfo, frames: number) {
    this.#device = device;
    this.info = info;
    this.frames = frames;
    const { COPY_DST, COPY_SRC, STORAGE } = GPUBufferUsage;
    const usage = STORAGE | COPY_DST | COPY_SRC;
    this.#memory = device.createBuffer({ label: "frames", size: frames * PAGE_SIZE, usage });
    this.#seen = device.createBuffer({ label: "seen", size: SPACE_PAGES / 2, usage });
    const controlBytes = 4 * CONTROL_WORDS + 8 * FAULT_RECORDS;
    this.#control = device.createBuffer({ label: "control", size: controlBytes, usage });
    this.#table = new DeviceTable(device);
    this.#readback = new ReadbackPool(device);
    this.#layout = newLayout(device);
    device.addEventListener("uncapturederror", (event) => {
      this.#failure ??= event.error.message;
    });
    this.lost = device.lost.then(({ message, reason }) => {
      this.#failure ??= message || reason || "for no given reason";
      return this.#failure;
    });
  }

  /** Opens a device. Throws `AdapterError`, or `GpuError` when the memory cannot be had. */
  static async open(options: GpuOptions): Promise<Gpu> {
    const { adapter, info } = await openAdapter(options.prefer);
    const limit = adapter.limits.maxStorageBufferBindingSize;
    const most = Math.min(FRAMES_MAX, Math.floor(limit / PAGE_SIZE));
    if (options.frames > most) {
      const wanted = options.frames * PAGE_SIZE;
      throw new GpuError(`${wanted} bytes of device memory; this adapter has ${most * PAGE_SIZE}`);
    }
    const bytes = Math.max(options.frames * PAGE_SIZE, 128 * 2 ** 20);
    const device = pin(
      await adapter.requestDevice({
        requiredLimits: {
          maxStorageBufferBindingSize: Math.min(limit, bytes),
          maxBufferSize: Math.min(adapter.limits.maxBufferSize, Math.max(bytes, 256 * 2 ** 20)),
        },
      }),
    );
    device.pushErrorScope("out-of-memory");
    const gpu = new Gpu(device, info, options.frames);
    const error = await device.popErrorScope();
    if (error === null) return gpu;
    gpu.destroy();
    throw new GpuError(`${options.frames * PAGE_SIZE} bytes of device memory: ${error.message}`);
  }

  /** The device's page table as it will be at the next submission. Vpn -> entry. */
  get table(): Uint32Array {
    return this.#table.entries;
  }

  setEntry(page: number, entry: number): void {
    this.#table.set(page, entry);
  }

  /** Enqueues copies into `count` frames; `fill` writes 4096 bytes of page `index` each. */
  upload(
    frames: Int32Array,
    count: number,
    fill: (target: Uint8Array, offset: number, index: number) => void,
  ): void {
    this.#check();
    const batch = UPLOAD_BYTES / PAGE_SIZE;
    for (let from = 0; from < count; from += batch) {
      const to = Math.min(count, from + batch);
      for (let i = from; i < to; i++) fill(this.#scratch, (i - from) * PAGE_SIZE, i);
      forEachRun(frames, from, to, (start, end) => {
        const target = frames[start]! * PAGE_SIZE;
        const bytes = (end - start) * PAGE_SIZE;
        const offset = (start - from) * PAGE_SIZE;
        this.#device.queue.writeBuffer(this.#memory, target, this.#scratch, offset, bytes);
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

  /** The bytes of `count` frames, back to back. Rejects with `GpuError`. */
  async readback(frames: Int32Array, count: number): Promise<Uint8Array> {
    this.#check();
    const bytes = new Uint8Array(count * PAGE_SIZE);
    const encode = (encoder: GPUCommandEncoder, target: GPUBuffer): void =>
      forEachRun(frames, 0, count, (start, end) => {
        const length = (end - start) * PAGE_SIZE;
        const from = frames[start]! * PAGE_SIZE;
        encoder.copyBufferToBuffer(this.#memory, from, target, start * PAGE_SIZE, length);
      });
    await this.#guard(this.#readback.read(bytes.length, encode, (mapped) => bytes.set(mapped)));
    return bytes;
  }

  /** Makes a pipeline. Rejects with `KernelCompileError`, in the lines of the kernel's code. */
  compile(source: KernelSource, logSize: number): Promise<Compiled> {
    this.#check();
    const shader = wrapKernel(source, logSize);
    let compiled = this.#compiled.get(shader.wgsl);
    if (compiled === undefined) {
      compiled = this.#compileShader(source, shader);
      this.#compiled.set(shader.wgsl, compiled);
    }
    return compiled;
  }

  async #compileShader(
    source: KernelSource,
    shader: ReturnType<typeof wrapKernel>,
  ): Promise<Compiled> {
    const device = this.#device;
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ label: source.name, code: shader.wgsl });
    const info = await module.getCompilationInfo();
    const scope = await device.popErrorScope();
    const errors = info.messages
      .filter(({ type }) => type === "error")
      .map(({ lineNum, linePos, message }) => ({
        ...shader.userPlace(lineNum, linePos),
        message,
      }));
    if (errors.length > 0) throw new KernelCompileError(source.name, errors);
    if (scope !== null) {
      const message = scope.message;
      throw new KernelCompileError(source.name, [{ line: 1, column: 1, message }]);
    }
    try {
      const pipeline = await device.createComputePipelineAsync({
        label: source.name,
        layout: device.createPipelineLayout({ bindGroupLayouts: [this.#layout] }),
        compute: { module, entryPoint: "os_entry" },
      });
      return { pipeline };
    } catch (error) {
      const { message } = error as Error;
      throw new KernelCompileError(source.name, [{ line: 1, column: 1, message }]);
    }
  }

  /** The state of a launch of at most `capacity` waiting invocations. `destroy` it in the end. */
  newList(args: ArrayBuffer, capacity: number): LaunchList {
    this.#check();
    return new LaunchList({
      device: this.#device,
      layout: this.#layout,
      table: this.#table.buffer,
      memory: this.#memory,
      seen: this.#seen,
      control: this.#control,
      args,
      capacity,
    });
  }

  /** Submits a round at once and resolves when it is over. Rejects with `GpuError`. */
  runRound(round: Round): Promise<RoundResult> {
    this.#check();
    return this.#guard(this.#runRound(round));
  }

  async #runRound({ compiled, list, fresh, retry }: Round): Promise<RoundResult> {
    assert(retry <= list.pending && retry + fresh.count > 0, "a round runs something");
    this.#table.flush();
    this.#device.queue.writeBuffer(
      list.params,
      0,
      Uint32Array.of(fresh.first, fresh.count, retry, 0),
    );
    let faultCount = 0;
    let unfinished = 0;
    let logOverflow = false;
    let head = new Uint32Array(0);
    await this.#readback.read(
      4 * CONTROL_WORDS + 8 * HEAD_RECORDS,
      (encoder, target, bytes) => {
        encoder.clearBuffer(this.#seen);
        encoder.clearBuffer(this.#control, 0, 4 * CONTROL_WORDS);
        const pass = encoder.beginComputePass();
        pass.setPipeline(compiled.pipeline);
        pass.setBindGroup(0, list.bindGroup);
        const groups = Math.ceil((retry + fresh.count) / WORKGROUP_SIZE);
        const width = Math.min(groups, GROUPS_MAX);
        pass.dispatchWorkgroups(width, Math.ceil(groups / width));
        pass.end();
        encoder.copyBufferToBuffer(this.#control, 0, target, 0, bytes);
      },
      (mapped) => {
        const words = new Uint32Array(mapped.buffer, mapped.byteOffset, mapped.length / 4);
        faultCount = Math.min(words[0]!, FAULT_RECORDS);
        unfinished = words[1]!;
        logOverflow = words[2] !== 0;
        const inHead = Math.min(faultCount, HEAD_RECORDS);
        head = words.slice(CONTROL_WORDS, CONTROL_WORDS + 2 * inHead);
      },
    );
    list.finishRound(retry, unfinished);
    const faults = faultCount <= HEAD_RECORDS ? head : await this.#allRecords(faultCount);
    return { faults, unfinished, logOverflow };
  }

  async #allRecords(count: number): Promise<Uint32Array> {
    const records = new Uint32Array(2 * count);
    await this.#readback.read(
      8 * count,
      (encoder, target, bytes) =>
        encoder.copyBufferToBuffer(this.#control, 4 * CONTROL_WORDS, target, 0, bytes),
      (mapped) => records.set(new Uint32Array(mapped.buffer, mapped.byteOffset, 2 * count)),
    );
    return records;
  }

  /** The first of those who wait: who is it that cannot be served? */
  async firstPending(list: LaunchList): Promise<number> {
    assert(list.pending > 0, "nobody waits");
    let id = 0;
    await this.#readback.read(
      4,
      (encoder, target) => encoder.copyBufferToBuffer(list.waiting, 0, target, 0, 4),
      (mapped) => {
        id = new Uint32Array(mapped.buffer, mapped.byteOffset, 1)[0]!;
      },
    );
    return id;
  }

  /** Gives everything back; later calls throw `GpuError`. */
  destroy(): void {
    if (this.#isDestroyed) return;
    this.#isDestroyed = true;
    this.#device.destroy();
  }

  #check(): void {
    if (this.#isDestroyed) throw new GpuError("the device was destroyed");
    if (this.#failure !== undefined) throw new GpuError(this.#failure);
  }

  /** A rejection of Dawn becomes a `GpuError`; an error that it reported aside does so too. */
  async #guard<T>(promise: Promise<T>): Promise<T> {
    try {
      const value = await promise;
      this.#check();
      return value;
    } catch (error) {
      if (error instanceof GpuError) throw error;
      throw new GpuError(this.#failure ?? (error as Error).message, { cause: error });
    }
  }
}

function newLayout(device: GPUDevice): GPUBindGroupLayout {
  const kinds: GPUBufferBindingType[] = [
    "read-only-storage",
    "storage",
    "storage",
    "storage",
    "storage",
    "storage",
    "uniform",
    "uniform",
  ];
  return device.createBindGroupLayout({
    entries: kinds.map((type, binding) => ({
      binding,
      visibility: GPUShaderStage.COMPUTE,
      buffer: { type },
    })),
  });
}

/** Calls `visit` for each run of neighbouring frames in [from, to). */
function forEachRun(
  frames: Int32Array,
  from: number,
  to: number,
  visit: (start: number, end: number) => void,
): void {
  for (let start = from; start < to; ) {
    let end = start + 1;
    while (end < to && frames[end] === frames[end - 1]! + 1) end++;
    visit(start, end);
    start = end;
  }
}
