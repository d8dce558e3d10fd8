/** The entries of a device's page table, and the longest run of pages that lie there in order. */
import { assert, SPACE_PAGES } from "../../../base/index.ts";

/** Bits of an entry. */
const VALID = 1;
const WRITE = 2;
const FRAME = ~0xff;
const STEP = 0x100;

/** This part of all pages, or more, in one run. */
const DENSE = 7 / 8;

/** Pages that follow each other in the space and on the device. */
export interface Run {
  readonly firstPage: number;
  readonly firstFrame: number;
  readonly pages: number;
  /** The longest part of it that may be written: its first page counts from `firstPage`. */
  readonly firstWritable: number;
  readonly writablePages: number;
}

const NO_RUN: Run = {
  firstPage: 0,
  firstFrame: 0,
  pages: 0,
  firstWritable: 0,
  writablePages: 0,
};

export class RunTable {
  // Vpn -> frame index << 8 | write << 1 | valid
  readonly entries = new Uint32Array(SPACE_PAGES);
  // Pages outside of [low, high) have no entries.
  #low = SPACE_PAGES;
  #high = 0;
  #validCount = 0;
  // Until an entry changes.
  #longest: Run | undefined;

  /** False when that is what the entry was. */
  set(page: number, entry: number): boolean {
    assert(page >= 0 && page < SPACE_PAGES, () => `page ${page} is outside the space`);
    if (this.entries[page] === entry) return false;
    this.#validCount += (entry & VALID) - (this.entries[page]! & VALID);
    this.entries[page] = entry;
    this.#longest = undefined;
    this.#low = Math.min(this.#low, page);
    this.#high = Math.max(this.#high, page + 1);
    return true;
  }

  get bounds(): { readonly low: number; readonly high: number } {
    return { low: this.#low, high: this.#high };
  }

  /** Nearly all that there is lies in one run. */
  get isDense(): boolean {
    return this.#validCount > 0 && this.longestRun().pages >= DENSE * this.#validCount;
  }

  /** The longest run of pages whose frames follow each other as they do. */
  longestRun(): Run {
    this.#longest ??= this.#findLongest();
    return this.#longest;
  }

  #findLongest(): Run {
    const { entries } = this;
    let [first, pages] = [0, 0];
    for (let page = this.#low; page < this.#high; ) {
      const start = page;
      let entry = entries[page++]!;
      if ((entry & VALID) === 0) continue;
      // The next frame's entry, whatever its rights.
      while (
        page < this.#high &&
        ((entries[page]! ^ ((entry & FRAME) + STEP)) & ~WRITE) === VALID
      ) {
        entry = entries[page++]!;
      }
      if (page - start > pages) [first, pages] = [start, page - start];
    }
    if (pages === 0) return NO_RUN;
    const writable = this.#longestWritable(first, first + pages);
    return { firstPage: first, firstFrame: entries[first]! >>> 8, pages, ...writable };
  }

  #longestWritable(start: number, end: number): Pick<Run, "firstWritable" | "writablePages"> {
    let [first, pages] = [start, 0];
    for (let page = start; page < end; page++) {
      const from = page;
      while (page < end && (this.entries[page]! & WRITE) !== 0) page++;
      if (page - from > pages) [first, pages] = [from, page - from];
    }
    return { firstWritable: first - start, writablePages: pages };
  }
}
