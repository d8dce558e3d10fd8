/**
 * What one launch keeps on the GPU: its arguments, and the ordered list of invocations that have
 * to run again. Two buffers take turns: a round reads one and writes those that did not finish
 * to the head of the other; those that were not admitted are copied behind them. The next launch
 * takes the list over (`reset`): making its buffers takes longer than a small launch runs.
 */
import { assert, PAGE_SIZE } from "../../../base/index.ts";
import { plainBytes } from "./plain-bytes.ts";
import type { RecordBuffer, RecordRoom } from "./record-buffer.ts";
import type { Runs } from "./run-table.ts";
import type { SpillBuffer } from "./spill-buffer.ts";

export interface LaunchListParts {
  readonly device: GPUDevice;
  readonly layout: GPUBindGroupLayout;
  readonly table: GPUBuffer;
  readonly memory: GPUBuffer;
  readonly seen: GPUBuffer;
  readonly control: GPUBuffer;
  readonly spill: SpillBuffer;
  readonly records: RecordBuffer;
}

/** What one launch asks of a list. */
export interface LaunchSize {
  /** Invocations that may wait at any time. */
  readonly capacity: number;
  readonly argsBytes: number;
}

/** Invocations in x, y and z, or groups of them. */
export type GridSize = readonly [x: number, y: number, z: number];

export interface RoundParams {
  /** Invocations that run for the first time: first, first + 1, … */
  readonly fresh: { readonly first: number; readonly count: number };
  /** How many of the list, from its head, run again. */
  readonly retry: number;
  readonly load: { readonly work: number; readonly passes: number };
  /** What a direct shader reaches. */
  readonly runs: Runs;
  readonly room: RecordRoom;
}

const PAGE_WORDS = PAGE_SIZE / 4;
/** The shader counts down to below 0. */
const PASSES_MAX = 2 ** 31 - 1;
const PARAM_WORDS = 20;
/** A vector of four words begins at a multiple of four. */
const SIZE_AT = 16;
/** Where the arguments are in the buffer of uniforms: as far as any device wants it. Words. */
const ARGS_AT = 64;
/** Of most kernels. Bytes. */
const ARGS_MIN = 256;

export class LaunchList {
  /** Invocations that may wait at any time. */
  readonly capacity: number;
  readonly #argsBytes: number;
  readonly #parts: LaunchListParts;
  readonly #device: GPUDevice;
  readonly #uniforms: GPUBuffer;
  // What the buffer of uniforms says, and what it is to say.
  readonly #written: Uint32Array<ArrayBuffer>;
  readonly #wanted: Uint32Array<ArrayBuffer>;
  readonly #buffers: readonly [GPUBuffer, GPUBuffer];
  #bindGroups: readonly [GPUBindGroup, GPUBindGroup];
  // The buffers of store logs and records that the bind groups name.
  #spill: GPUBuffer;
  #records: GPUBuffer;
  #turn: 0 | 1 = 0;
  #pending = 0;

  constructor(parts: LaunchListParts, { capacity, argsBytes }: LaunchSize) {
    const { device } = parts;
    this.#parts = parts;
    this.#device = device;
    this.capacity = capacity;
    this.#argsBytes = Math.max(ARGS_MIN, Math.ceil(argsBytes / 16) * 16);
    const { COPY_DST, COPY_SRC, STORAGE, UNIFORM } = GPUBufferUsage;
    const size = 4 * ARGS_AT + this.#argsBytes;
    this.#uniforms = device.createBuffer({ label: "uniforms", size, usage: UNIFORM | COPY_DST });
    this.#written = new Uint32Array(size / 4);
    this.#wanted = new Uint32Array(size / 4);
    const list = () =>
      device.createBuffer({
        label: "list",
        size: Math.max(16, capacity * 4),
        usage: STORAGE | COPY_DST | COPY_SRC,
      });
    this.#buffers = [list(), list()];
    this.#spill = parts.spill.buffer;
    this.#records = parts.records.buffer;
    this.#bindGroups = this.#newBindGroups();
  }

  #newBindGroups(): readonly [GPUBindGroup, GPUBindGroup] {
    const { device, layout, table, memory, seen, control } = this.#parts;
    const whole = (buffer: GPUBuffer): GPUBufferBinding => ({ buffer });
    const params = { buffer: this.#uniforms, size: 4 * PARAM_WORDS };
    const args = { buffer: this.#uniforms, offset: 4 * ARGS_AT, size: this.#argsBytes };
    const shared = [table, memory, seen, control].map(whole);
    const kept = [this.#spill, this.#records].map(whole);
    const group = (waiting: GPUBuffer, again: GPUBuffer) =>
      device.createBindGroup({
        layout,
        entries: [...shared, whole(waiting), whole(again), params, args, ...kept].map(
          (resource, binding) => ({ binding, resource }),
        ),
      });
    const [a, b] = this.#buffers;
    return [group(a, b), group(b, a)];
  }

  /** There is room for such a launch. */
  fits({ capacity, argsBytes }: LaunchSize): boolean {
    return capacity <= this.capacity && argsBytes <= this.#argsBytes;
  }

  /** A launch begins, with these arguments, over this grid: nobody waits. */
  reset(args: ArrayBuffer, size: GridSize): void {
    assert(args.byteLength <= this.#argsBytes, "the arguments of a launch have no room");
    this.#pending = 0;
    this.#turn = 0;
    this.#wanted.set(size, SIZE_AT);
    const bytes = new Uint8Array(this.#wanted.buffer, 4 * ARGS_AT);
    bytes.fill(0);
    bytes.set(new Uint8Array(args));
  }

  /** Enqueues what the shader is told of a round, as far as it is not what it was told last. */
  begin({ fresh, retry, load, runs, room }: RoundParams): void {
    const words = this.#wanted;
    words[0] = fresh.first;
    words[1] = fresh.count;
    words[2] = retry;
    words[3] = load.work;
    words[4] = Math.min(load.passes, PASSES_MAX);
    const { all, writable } = runs;
    words[5] = all.firstPage * PAGE_SIZE;
    words[6] = all.firstFrame * PAGE_WORDS;
    words[7] = all.pages * PAGE_WORDS;
    words[8] = writable.firstPage * PAGE_SIZE;
    words[9] = writable.firstFrame * PAGE_WORDS;
    words[10] = writable.pages * PAGE_WORDS;
    words[11] = room.used;
    words[12] = room.limit;
    const written = this.#written;
    let first = 0;
    while (first < words.length && words[first] === written[first]) first++;
    if (first === words.length) return;
    let end = words.length;
    while (words[end - 1] === written[end - 1]) end--;
    written.set(words);
    const changed = plainBytes(words.subarray(first, end));
    this.#device.queue.writeBuffer(this.#uniforms, 4 * first, changed);
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
    const { spill, records } = this.#parts;
    if (spill.buffer !== this.#spill || records.buffer !== this.#records) {
      this.#spill = spill.buffer;
      this.#records = records.buffer;
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
    for (const buffer of [...this.#buffers, this.#uniforms]) buffer.destroy();
  }
}
