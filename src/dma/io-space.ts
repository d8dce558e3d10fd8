/**
 * What an IOMMU keeps for one device: which I/O addresses are taken, and the frame behind each.
 * All numbers here are I/O pages (I/O address / PAGE_SIZE). Page 0 is never handed out, so that
 * 0 can mean "no address".
 *
 * ```
 *  31                                   2   1   0
 * +---------------------------------------+---+---+   W the device may write
 * |             frame (24 bits)           | S | W |   S mapped by itself, not linked in a block
 * +---------------------------------------+---+---+   0 nothing: there is no frame 0
 * ```
 */
import { assert, bitWords, clearBit, type Pfn, pfn, setBit, testBit } from "../base/index.ts";

export const IO_WRITE = 1 << 0;
export const IO_SINGLE = 1 << 1;
const FRAME_SHIFT = 2;

export class IoSpace {
  /** Pages that can be handed out: 1 to `count`. */
  readonly count: number;
  // bit set: taken
  readonly #taken: Uint32Array;
  // I/O page -> entry, see above
  readonly #entries: Uint32Array;
  #takenCount = 0;
  // the search begins below this page
  #next: number;

  constructor(count: number) {
    this.count = count;
    this.#next = count + 1;
    this.#taken = new Uint32Array(bitWords(count + 1));
    this.#entries = new Uint32Array(count + 1);
  }

  get takenCount(): number {
    return this.#takenCount;
  }

  /**
   * Takes `count` pages in a row: the first, or 0 when there is no such run. From the top down
   * and round, so that an address that was given back stays unused for long and a device that
   * still has it is caught.
   */
  take(count: number): number {
    if (count > this.count - this.#takenCount) return 0;
    const first = this.#findBelow(this.#next, count) || this.#findBelow(this.count + 1, count);
    if (first === 0) return 0;
    for (let page = first; page < first + count; page++) setBit(this.#taken, page);
    this.#takenCount += count;
    this.#next = first;
    return first;
  }

  giveBack(first: number, count: number): void {
    for (let page = first; page < first + count; page++) {
      assert(testBit(this.#taken, page), () => `I/O page ${page} is free already`);
      assert(this.#entries[page] === 0, () => `I/O page ${page} is given back while it is mapped`);
      clearBit(this.#taken, page);
    }
    this.#takenCount -= count;
  }

  /** What is mapped at `page`, as in the picture; 0 for nothing, also outside the space. */
  entryOf(page: number): number {
    return this.#entries[page] ?? 0;
  }

  frameOf(page: number): Pfn {
    return pfn(this.entryOf(page) >>> FRAME_SHIFT);
  }

  map(page: number, frame: Pfn, flags: number): void {
    assert(testBit(this.#taken, page), () => `I/O page ${page} is mapped and belongs to nobody`);
    assert(this.#entries[page] === 0, () => `I/O page ${page} is mapped twice`);
    this.#entries[page] = (frame << FRAME_SHIFT) | flags;
  }

  unmap(page: number): void {
    assert(this.entryOf(page) !== 0, () => `I/O page ${page} is not mapped`);
    this.#entries[page] = 0;
  }

  setWritable(page: number, isWritable: boolean): void {
    assert(this.entryOf(page) !== 0, () => `I/O page ${page} is not mapped`);
    const entry = this.entryOf(page);
    this.#entries[page] = isWritable ? entry | IO_WRITE : entry & ~IO_WRITE;
  }

  /** The first page of the highest free run of `count` pages below `end`; 0 for none. */
  #findBelow(end: number, count: number): number {
    let run = 0;
    for (let page = end - 1; page > 0; page--) {
      run = testBit(this.#taken, page) ? 0 : run + 1;
      if (run === count) return page;
    }
    return 0;
  }
}
