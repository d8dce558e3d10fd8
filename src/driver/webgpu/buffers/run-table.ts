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
}

/** The longest of all, and of those pages that may be written: inside of it, or elsewhere. */
export interface Runs {
  readonly all: Run;
  readonly writable: Run;
}

export class RunTable {
  // Vpn -> frame index << 8 | write << 1 | valid
  readonly entries = new Uint32Array(SPACE_PAGES);
  // Pages outside of [low, high) have no entries.
  #low = SPACE_PAGES;
  #high = 0;
  #validCount = 0;
  // Until an entry changes.
  #longest: Runs | undefined;

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
    return this.#validCount > 0 && this.longestRuns().all.pages >= DENSE * this.#validCount;
  }

  /** The longest runs of pages whose frames follow each other as they do. */
  longestRuns(): Runs {
    this.#longest ??= {
      all: this.#findLongest(VALID),
      writable: this.#findLongest(VALID | WRITE),
    };
    return this.#longest;
  }

  /** Of pages whose entries have all bits of `need`. */
  #findLongest(need: number): Run {
    const { entries } = this;
    const same = FRAME | need;
    let [first, pages] = [0, 0];
    for (let page = this.#low; page < this.#high; ) {
      const start = page;
      let entry = entries[page++]!;
      if ((entry & need) !== need) continue;
      // The next frame's entry, whatever else it says.
      while (page < this.#high && ((entries[page]! ^ (entry + STEP)) & same) === 0) {
        entry = entries[page++]!;
      }
      if (page - start > pages) [first, pages] = [start, page - start];
    }
    return { firstPage: first, firstFrame: pages === 0 ? 0 : entries[first]! >>> 8, pages };
  }
}
