/**
 * What one launch keeps on the GPU: its arguments, and the ordered list of invocations that have
 * to run again. Two buffers take turns: a round reads one and writes those that did not finish
 * to the head of the other; those that were not admitted are copied behind them.
 */
import { assert } from "../../base/index.ts";
import { plainBytes } from "./plain-bytes.ts";

export interface LaunchListParts {
  readonly device: GPUDevice;
  readonly layout: GPUBindGroupLayout;
  readonly table: GPUBuffer;
  readonly memory: GPUBuffer;
  readonly seen: GPUBuffer;
  readonly control: GPUBuffer;
  readonly args: ArrayBuffer;
  /** Invocations that may wait at any time. */
  readonly capacity: number;
}

export class LaunchList {
  /** Invocations that may wait at any time. */
  readonly capacity: number;
  readonly params: GPUBuffer;
  readonly #device: GPUDevice;
  readonly #args: GPUBuffer;
  readonly #buffers: readonly [GPUBuffer, GPUBuffer];
  readonly #bindGroups: readonly [GPUBindGroup, GPUBindGroup];
  #turn: 0 | 1 = 0;
  #pending = 0;

  constructor(parts: LaunchListParts) {
    const { device } = parts;
    this.#device = device;
    this.capacity = parts.capacity;
    const { COPY_DST, COPY_SRC, STORAGE, UNIFORM } = GPUBufferUsage;
    const uniform = UNIFORM | COPY_DST;
    this.params = device.createBuffer({ label: "params", size: 16, usage: uniform });
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
    const buffers = [list(), list()] as const;
    const group = (waiting: GPUBuffer, again: GPUBuffer) =>
      device.createBindGroup({
        layout: parts.layout,
        entries: [
          parts.table,
          parts.memory,
          parts.seen,
          parts.control,
          waiting,
          again,
          this.params,
          this.#args,
        ].map((buffer, binding) => ({ binding, resource: { buffer } })),
      });
    this.#buffers = buffers;
    this.#bindGroups = [group(buffers[0], buffers[1]), group(buffers[1], buffers[0])];
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
    for (const buffer of [...this.#buffers, this.params, this.#args]) buffer.destroy();
  }
}

/** WebGPU writes whole words only. */
function padded(bytes: ArrayBuffer): Uint8Array {
  if (bytes.byteLength % 4 === 0) return new Uint8Array(bytes);
  const whole = new Uint8Array(Math.ceil(bytes.byteLength / 4) * 4);
  whole.set(new Uint8Array(bytes));
  return whole;
}
