/**
 * The bytes of RAM frames, 4096 each, in the order of their numbers. In a windowed machine this
 * is the user's window itself, in a soft one an arena. A window's first bytes are page 0, and no
 * frame may have the number 0, so there its frames have a fixed distance from the pages' numbers.
 */
import { PAGE_SHIFT, PAGE_SIZE, type Pfn, pfn } from "../base/index.ts";
import type { Shared } from "../sync/index.ts";

/** Fill and copy; V8 fills shared bytes 20 times slower than wasm does, so it can be replaced. */
export interface BulkMemory {
  fillZero(offset: number, bytes: number): void;
  copy(to: number, from: number, bytes: number): void;
}

export interface FrameBytesOptions {
  /** Default: typed arrays. */
  readonly bulk?: BulkMemory;
  /** What an explorer knows the bytes by, frame by frame. */
  readonly shared?: Shared;
  /** The number of the frame whose bytes come first. Default 0. */
  readonly firstFrame?: number;
}

export class FrameBytes {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly firstFrame: number;
  readonly #bulk: BulkMemory;
  readonly #shared: Shared | undefined;

  constructor(buffer: ArrayBufferLike, options: FrameBytesOptions = {}) {
    this.#shared = options.shared;
    this.firstFrame = options.firstFrame ?? 0;
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.#bulk = options.bulk ?? {
      fillZero: (offset, bytes) => this.u8.fill(0, offset, offset + bytes),
      copy: (to, from, bytes) => this.u8.copyWithin(to, from, from + bytes),
    };
  }

  /** The frame whose bytes are the `index`-th 4096 of the buffer: page `index` of a window. */
  frameAt(index: number): Pfn {
    return pfn(index + this.firstFrame);
  }

  /** The bytes of `count` frames in a row, for whoever fills or reads them in place. */
  page(frame: Pfn, count = 1): Uint8Array {
    for (let i = 0; i < count; i++) this.#shared?.write(frame + i);
    const offset = this.#offsetOf(frame);
    return this.u8.subarray(offset, offset + count * PAGE_SIZE);
  }

  zero(frame: Pfn): void {
    this.#shared?.write(frame);
    this.#bulk.fillZero(this.#offsetOf(frame), PAGE_SIZE);
  }

  copy(from: Pfn, to: Pfn): void {
    this.#shared?.read(from);
    this.#shared?.write(to);
    this.#bulk.copy(this.#offsetOf(to), this.#offsetOf(from), PAGE_SIZE);
  }

  /** Copies `count` frames in a row out to `target` at `offset`. */
  read(frame: Pfn, target: Uint8Array, offset: number, count = 1): void {
    target.set(this.page(frame, count), offset);
  }

  /** Overwrites `count` frames in a row from `source` at `offset`. */
  write(frame: Pfn, source: Uint8Array, offset: number, count = 1): void {
    this.page(frame, count).set(source.subarray(offset, offset + count * PAGE_SIZE));
  }

  loadWord(frame: Pfn, word: number): number {
    this.#shared?.read(frame);
    return this.u32[((frame - this.firstFrame) << (PAGE_SHIFT - 2)) + word]!;
  }

  storeWord(frame: Pfn, word: number, value: number): void {
    this.#shared?.write(frame);
    this.u32[((frame - this.firstFrame) << (PAGE_SHIFT - 2)) + word] = value;
  }

  #offsetOf(frame: Pfn): number {
    return (frame - this.firstFrame) * PAGE_SIZE;
  }
}

/**
 * How many frames from index `at` on follow each other in both lists, so that one copy moves the
 * bytes of all of them.
 */
export function runLength(from: readonly Pfn[], to: readonly Pfn[], at: number): number {
  let end = at + 1;
  while (end < to.length && from[end] === from[end - 1]! + 1 && to[end] === to[end - 1]! + 1) end++;
  return end - at;
}
