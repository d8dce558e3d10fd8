/**
 * The bytes of RAM frames: frame f is the 4096 bytes at f * 4096. In a windowed machine this is
 * the user's window itself (the frame of a page is the page), in a soft one an arena.
 */
import { PAGE_SHIFT, PAGE_SIZE, type Pfn } from "../base/index.ts";

/** Fill and copy; V8 fills shared bytes 20 times slower than wasm does, so it can be replaced. */
export interface BulkMemory {
  fillZero(offset: number, bytes: number): void;
  copy(to: number, from: number, bytes: number): void;
}

export class FrameBytes {
  readonly u8: Uint8Array;
  readonly u32: Uint32Array;
  readonly #bulk: BulkMemory;

  constructor(buffer: ArrayBufferLike, bulk?: BulkMemory) {
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.#bulk = bulk ?? {
      fillZero: (offset, bytes) => this.u8.fill(0, offset, offset + bytes),
      copy: (to, from, bytes) => this.u8.copyWithin(to, from, from + bytes),
    };
  }

  zero(frame: Pfn): void {
    this.#bulk.fillZero(frame * PAGE_SIZE, PAGE_SIZE);
  }

  copy(from: Pfn, to: Pfn): void {
    this.#bulk.copy(to * PAGE_SIZE, from * PAGE_SIZE, PAGE_SIZE);
  }

  /** Copies a whole frame out to `target` at `offset`. */
  read(frame: Pfn, target: Uint8Array, offset: number): void {
    const at = frame * PAGE_SIZE;
    target.set(this.u8.subarray(at, at + PAGE_SIZE), offset);
  }

  /** Overwrites a whole frame from `source` at `offset`. */
  write(frame: Pfn, source: Uint8Array, offset: number): void {
    this.u8.set(source.subarray(offset, offset + PAGE_SIZE), frame * PAGE_SIZE);
  }

  loadWord(frame: Pfn, word: number): number {
    return this.u32[(frame << (PAGE_SHIFT - 2)) + word]!;
  }

  storeWord(frame: Pfn, word: number, value: number): void {
    this.u32[(frame << (PAGE_SHIFT - 2)) + word] = value;
  }
}
