/**
 * The bytes of RAM frames: frame f is the 4096 bytes at f * 4096. In a windowed machine this is
 * the user's window itself (the frame of a page is the page), in a soft one an arena.
 */
import { PAGE_SHIFT, PAGE_SIZE, type Pfn } from "../base/index.ts";
import type { Shared } from "../sync/index.ts";

/** Fill and copy; V8 fills shared bytes 20 times slower than wasm does, so it can be replaced. */
export interface BulkMemory {
  fillZero(offset: number, bytes: number): void;
  copy(to: number, from: number, bytes: number): void;
}

export class FrameBytes {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly #bulk: BulkMemory;
  readonly #shared: Shared | undefined;

  /** `shared`: what an explorer knows the bytes by, frame by frame. */
  constructor(buffer: ArrayBufferLike, bulk?: BulkMemory, shared?: Shared) {
    this.#shared = shared;
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.#bulk = bulk ?? {
      fillZero: (offset, bytes) => this.u8.fill(0, offset, offset + bytes),
      copy: (to, from, bytes) => this.u8.copyWithin(to, from, from + bytes),
    };
  }

  /** The bytes of a frame, for whoever fills or reads them in place. */
  page(frame: Pfn): Uint8Array {
    this.#shared?.write(frame);
    return this.u8.subarray(frame * PAGE_SIZE, (frame + 1) * PAGE_SIZE);
  }

  zero(frame: Pfn): void {
    this.#shared?.write(frame);
    this.#bulk.fillZero(frame * PAGE_SIZE, PAGE_SIZE);
  }

  copy(from: Pfn, to: Pfn): void {
    this.#shared?.read(from);
    this.#shared?.write(to);
    this.#bulk.copy(to * PAGE_SIZE, from * PAGE_SIZE, PAGE_SIZE);
  }

  /** Copies a whole frame out to `target` at `offset`. */
  read(frame: Pfn, target: Uint8Array, offset: number): void {
    target.set(this.page(frame), offset);
  }

  /** Overwrites a whole frame from `source` at `offset`. */
  write(frame: Pfn, source: Uint8Array, offset: number): void {
    this.page(frame).set(source.subarray(offset, offset + PAGE_SIZE));
  }

  loadWord(frame: Pfn, word: number): number {
    this.#shared?.read(frame);
    return this.u32[(frame << (PAGE_SHIFT - 2)) + word]!;
  }

  storeWord(frame: Pfn, word: number, value: number): void {
    this.#shared?.write(frame);
    this.u32[(frame << (PAGE_SHIFT - 2)) + word] = value;
  }
}
