/**
 * What one launch keeps on the GPU: its arguments, and the ordered list of invocations that have
 * to run again. Two buffers take turns: a round reads one and writes those that did not finish
 * to the head of the other; those that were not admitted are copied behind them.
 */
import { assert, PAGE_SIZE } from "../../../base/index.ts";
import { plainBytes } from "./plain-bytes.ts";
import type { Run } from "./run-table.ts";
import type { SpillBuffer } from "./spill-buffer.ts";

export interface LaunchListParts {
  readonly device: GPUDevice;
  readonly layout: GPUBindGroupLayout;
  readonly table: GPUBuffer;
  readonly memory: GPUBuffer;
  readonly seen: GPUBuffer;
  readonly control: GPUBuffer;
  readonly spill: SpillBuffer;
  readonly args: ArrayBuffer;
  /** Invocations that may wait at any time. */
  readonly capacity: number;
}

export interface RoundParams {
  /** Invocations that run for the first time: first, first + 1, … */
  readonly fresh: { readonly first: number; readonly count: number };
  /** How many of the list, from its head, run again. */
  readonly retry: number;
  readonly load: { readonly work: number; readonly passes: number };
  /** What a direct shader reaches. */
  readonly run: Run;
}

const PAGE_WORDS = PAGE_SIZE / 4;
/** The shader counts down to below 0. */
const PASSES_MAX = 2 ** 31 - 1;

export class LaunchList {
  /** Invocations that may wait at any time. */
  readonly capacity: number;
  readonly #params: GPUBuffer;
  readonly #parts: LaunchListParts;
  readonly #device: GPUDevice;
  readonly #args: GPUBuffer;
  readonly #buffers: readonly [GPUBuffer, GPUBuffer];
  #bindGroups: readonly [GPUBindGroup, GPUBindGroup];
  // The buffer of the store logs that the bind groups name.
  #spill: GPUBuffer;
  #turn: 0 | 1 = 0;
  #pending = 0;

  constructor(parts: LaunchListParts) {
    const { device } = parts;
    this.#parts = parts;
    this.#device = device;
    this.capacity = parts.capacity;
    const { COPY_DST, COPY_SRC, STORAGE, UNIFORM } = GPUBufferUsage;
    const uniform = UNIFORM | COPY_DST;
    this.#params = device.createBuffer({ label: "params", size: 48, usage: uniform });
    this.#args = device.createBuffer({
      label: "args",
      size: Math.max(16, Math.ceil(parts.args.byteLength / 16) * 16),
      usage: uniform,
    });
    device.queue.writeBuffer(this.#args, 0, plainBytes(padded(parts.args)));
    const list = () =>
      device.createBuffer({
        label: "list",
        size: Math.max(16, parts.capacity * 4),
        usage: STORAGE | COPY_DST | COPY_SRC,
      });
    this.#buffers = [list(), list()];
    this.#spill = parts.spill.buffer;
    this.#bindGroups = this.#newBindGroups();
  }

  #newBindGroups(): readonly [GPUBindGroup, GPUBindGroup] {
    const { device, layout, table, memory, seen, control } = this.#parts;
    const group = (waiting: GPUBuffer, again: GPUBuffer) =>
      device.createBindGroup({
        layout,
        entries: [
          table,
          memory,
          seen,
          control,
          waiting,
          again,
          this.#params,
          this.#args,
          this.#spill,
        ].map((buffer, binding) => ({ binding, resource: { buffer } })),
      });
    const [a, b] = this.#buffers;
    return [group(a, b), group(b, a)];
  }

  /** Enqueues what the shader is told of a round. */
  begin({ fresh, retry, load, run }: RoundParams): void {
    const words = Uint32Array.of(
      fresh.first,
      fresh.count,
      retry,
      load.work,
      Math.min(load.passes, PASSES_MAX),
      run.firstPage * PAGE_SIZE,
      run.firstFrame * PAGE_WORDS,
      run.pages * PAGE_WORDS,
      run.firstWritable * PAGE_WORDS,
      run.writablePages * PAGE_WORDS,
    );
    this.#device.queue.writeBuffer(this.#params, 0, plainBytes(words));
  }

  /** Invocations that have to run again. */
  get pending(): number {
    return this.#pending;
  }

  /** The list as it is now. */
  get waiting(): GPUBuffer {
    return this.#buffers[this.#turn];
  }

  get bindGroup(): GPUBindGroup {
    const { buffer } = this.#parts.spill;
    if (buffer !== this.#spill) {
      this.#spill = buffer;
      this.#bindGroups = this.#newBindGroups();
    }
    return this.#bindGroups[this.#turn];
  }

  /** A round ran the first `retry` (and fresh ones); `unfinished` of all these are left. */
  finishRound(retry: number, unfinished: number): void {
    const rest = this.#pending - retry;
    assert(unfinished + rest <= this.capacity, "more invocations wait than there is room for");
    const from = this.waiting;
    this.#turn = this.#turn === 0 ? 1 : 0;
    if (rest > 0) {
      const encoder = this.#device.createCommandEncoder();
      encoder.copyBufferToBuffer(from, retry * 4, this.waiting, unfinished * 4, rest * 4);
      this.#device.queue.submit([encoder.finish()]);
    }
    this.#pending = unfinished + rest;
  }

  destroy(): void {
    for (const buffer of [...this.#buffers, this.#params, this.#args]) buffer.destroy();
  }
}

/** WebGPU writes whole words only. */
function padded(bytes: ArrayBuffer): Uint8Array {
  if (bytes.byteLength % 4 === 0) return new Uint8Array(bytes);
  const whole = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  whole.set(new Uint8Array(bytes));
  return whole;
}
