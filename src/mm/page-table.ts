/**
 * The fact: two levels of ready-made arrays, 512 entries a leaf (2 MiB), with counters a leaf so
 * that a walk can skip or copy it whole. Readers read the arrays; `PageTableCursor` is the only
 * writer.
 *
 * A leaf is nothing yet, a table of entries, or one huge entry (all 512 words have `PTE_HUGE` and
 * frames that follow each other). A table stays one when it is empty; only where it was never
 * made, or has been freed with the last Vma, can a huge entry appear.
 */
import { assert, SPACE_PAGES, type Vpn } from "../base/index.ts";
import { type Column, type Footprint, unwatched } from "../sync/index.ts";
import {
  asPte,
  isWritable,
  PTE_FLAG_BITS,
  PTE_HUGE,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
} from "./pte.ts";

export const LEAF_SHIFT = 9;
export const LEAF_PAGES = 1 << LEAF_SHIFT;
const LEAF_MASK = LEAF_PAGES - 1;
const DIRECTORY = SPACE_PAGES / LEAF_PAGES;

/** What a leaf's counters count. */
export const LEAF_USED = 0;
export const LEAF_VALID = 1;
export const LEAF_WRITABLE = 2;
export const LEAF_COUNTERS = 3;

/** What a leaf is. */
export const LEAF_KIND_NONE = 0;
export const LEAF_KIND_TABLE = 1;
const LEAF_KIND_HUGE = 2;

/** The first page of the leaf of `page`. */
export const leafStart = (page: Vpn): Vpn => (page - (page & LEAF_MASK)) as Vpn;
/** The first page behind the leaf of `page`. */
export const leafEnd = (page: Vpn): Vpn => (leafStart(page) + LEAF_PAGES) as Vpn;

export class PageTable {
  // page >>> LEAF_SHIFT -> index into leaves, or -1
  readonly directory: Int16Array;
  // page >>> LEAF_SHIFT -> LEAF_KIND_
  readonly #kinds: Uint8Array;
  readonly leaves: Uint32Array[] = [];
  // leaf index * LEAF_COUNTERS + LEAF_ -> entries of that kind
  counters: Int32Array;
  readonly #footprint: Footprint | undefined;

  /** `footprint`: who wants to know which entries are looked at and changed. */
  constructor(footprint?: Footprint) {
    this.#footprint = footprint;
    this.directory = this.#watched(new Int16Array(DIRECTORY).fill(-1));
    this.#kinds = this.#watched(new Uint8Array(DIRECTORY));
    this.counters = this.#watched(new Int32Array(LEAF_COUNTERS * 8));
  }

  get(page: Vpn): Pte {
    const leaf = this.directory[page >>> LEAF_SHIFT]!;
    return leaf < 0 ? PTE_NONE : asPte(this.leaves[leaf]![page & LEAF_MASK]!);
  }

  /** The leaf that holds `page`, or undefined when none of its 512 pages was ever mapped. */
  leafOf(page: Vpn): Uint32Array | undefined {
    const leaf = this.directory[page >>> LEAF_SHIFT]!;
    return leaf < 0 ? undefined : this.leaves[leaf];
  }

  /** What the leaf of `page` is: `LEAF_KIND_…`. */
  kindOf(page: Vpn): number {
    return this.#kinds[page >>> LEAF_SHIFT]!;
  }

  isHuge(page: Vpn): boolean {
    return this.kindOf(page) === LEAF_KIND_HUGE;
  }

  /** A counter (`LEAF_…`) of the leaf that holds `page`; 0 when there is no leaf. */
  countOf(page: Vpn, counter: number): number {
    const leaf = this.directory[page >>> LEAF_SHIFT]!;
    return leaf < 0 ? 0 : this.counters[leaf * LEAF_COUNTERS + counter]!;
  }

  /**
   * The words of the leaf of `page` can be handed out as they are: what is there is valid, and
   * all of it is there and writable if `need` (PTE_VALID, PTE_WRITE) says so.
   */
  isPlain(page: Vpn, need: number): boolean {
    const valid = this.countOf(page, LEAF_VALID);
    if (valid !== this.countOf(page, LEAF_USED)) return false;
    if (need & PTE_VALID && valid !== LEAF_PAGES) return false;
    return (need & PTE_WRITE) === 0 || this.countOf(page, LEAF_WRITABLE) === LEAF_PAGES;
  }

  /** The first page at or after `page`, below `end`, with an entry; `end` when there is none. */
  nextUsed(page: Vpn, end: Vpn): Vpn {
    const directory = this.#footprint === undefined ? this.directory : unwatched(this.directory);
    let at = page as number;
    while (at < end) {
      const leaf = directory[at >>> LEAF_SHIFT]!;
      const stop = Math.min(end, leafEnd(at as Vpn));
      if (leaf >= 0 && this.counters[leaf * LEAF_COUNTERS + LEAF_USED]! > 0) {
        const entries = this.leaves[leaf]!;
        for (; at < stop; at++) if (entries[at & LEAF_MASK] !== 0) return at as Vpn;
      }
      at = stop;
    }
    return end;
  }

  /** The first page of the first table at or after `page`, below `end`; `end` for none. */
  nextTable(page: Vpn, end: Vpn): Vpn {
    const kinds = this.#footprint === undefined ? this.#kinds : unwatched(this.#kinds);
    for (let at = page >>> LEAF_SHIFT; at << LEAF_SHIFT < end; at++) {
      if (kinds[at] === LEAF_KIND_TABLE) return Math.max(page, at << LEAF_SHIFT) as Vpn;
    }
    return end;
  }

  /** Entries in use in the whole table. */
  get usedCount(): number {
    let used = 0;
    for (let leaf = 0; leaf < this.leaves.length; leaf++) {
      used += this.counters[leaf * LEAF_COUNTERS + LEAF_USED]!;
    }
    return used;
  }

  /** Writes an entry and keeps the counters. Only `PageTableCursor` calls this. */
  set(page: Vpn, pte: Pte): void {
    const at = page >>> LEAF_SHIFT;
    let leaf = this.directory[at]!;
    if (leaf < 0) leaf = this.#addLeaf(page);
    if (this.#kinds[at] === LEAF_KIND_NONE) this.#kinds[at] = LEAF_KIND_TABLE;
    assert(this.#kinds[at] === LEAF_KIND_TABLE, "an entry is written into a huge one");
    assert(page < SPACE_PAGES, "an entry is written behind the last page");
    const entries = this.leaves[leaf]!;
    const index = page & LEAF_MASK;
    const old = entries[index]!;
    entries[index] = pte;
    if (old !== 0) this.#count(leaf, asPte(old), -1);
    if (pte !== 0) this.#count(leaf, pte, 1);
  }

  /**
   * `more` entries of the leaf of `page` than before are what `counter` counts. Only who writes
   * words of a leaf in place, through `PageTableCursor.wordsOf`, calls this.
   */
  recount(page: Vpn, counter: number, more: number): void {
    const at = this.directory[page >>> LEAF_SHIFT]! * LEAF_COUNTERS + counter;
    const count = this.counters[at]! + more;
    assert(count >= 0 && count <= LEAF_PAGES, "a leaf has more entries of a kind than there are");
    this.counters[at] = count;
  }

  /** Makes an empty table where nothing is: no huge entry can appear here any more. */
  makeTable(page: Vpn): void {
    if (this.kindOf(page) === LEAF_KIND_NONE) this.set(page, PTE_NONE);
  }

  /**
   * The whole leaf of `page` becomes one huge entry (`head` is the entry of its first page), or
   * nothing at all when `head` is none. Only `PageTableCursor` calls this.
   */
  setHuge(page: Vpn, head: Pte): void {
    const at = page >>> LEAF_SHIFT;
    let leaf = this.directory[at]!;
    if (leaf < 0) leaf = this.#addLeaf(page);
    assert(this.#kinds[at] !== LEAF_KIND_TABLE, () => `a table is in the way at page ${page}`);
    assert(page === leafStart(page), () => `page ${page} does not begin a huge entry`);
    const entries = this.leaves[leaf]!;
    if (entries[0] !== 0) this.#count(leaf, asPte(entries[0]!), -LEAF_PAGES);
    this.#kinds[at] = head === PTE_NONE ? LEAF_KIND_NONE : LEAF_KIND_HUGE;
    if (head === PTE_NONE) {
      entries.fill(0);
      return;
    }
    // The huge zero page is one frame 512 times.
    const step = isOneFrame(head) ? 0 : 1 << PTE_FLAG_BITS;
    for (let i = 0; i < LEAF_PAGES; i++) entries[i] = head + i * step;
    this.#count(leaf, head, LEAF_PAGES);
  }

  /** The huge entry of `page` becomes a table of 512 entries that say the same. */
  splitHuge(page: Vpn): void {
    assert(this.isHuge(page), () => `page ${page} is not part of a huge entry`);
    const entries = this.leafOf(page)!;
    assert(this.countOf(page, LEAF_USED) === LEAF_PAGES, "part of a huge entry is missing");
    for (let i = 0; i < LEAF_PAGES; i++) entries[i] = entries[i]! & ~PTE_HUGE;
    this.#kinds[page >>> LEAF_SHIFT] = LEAF_KIND_TABLE;
  }

  /** The table of `page`, which is empty, is gone. Linux: free_pgtables(). */
  freeTable(page: Vpn): void {
    assert(this.countOf(page, LEAF_USED) === 0, () => `the table of page ${page} is in use`);
    assert(!this.isHuge(page), () => `page ${page} has a huge entry and no table`);
    this.#kinds[page >>> LEAF_SHIFT] = LEAF_KIND_NONE;
  }

  #watched<Kind extends Column>(column: Kind): Kind {
    return this.#footprint?.watch(column) ?? column;
  }

  #count(leaf: number, pte: Pte, change: number): void {
    const counters = this.counters;
    const at = leaf * LEAF_COUNTERS;
    counters[at + LEAF_USED] = counters[at + LEAF_USED]! + change;
    if (pte & PTE_VALID) counters[at + LEAF_VALID] = counters[at + LEAF_VALID]! + change;
    if (isWritable(pte)) counters[at + LEAF_WRITABLE] = counters[at + LEAF_WRITABLE]! + change;
  }

  #addLeaf(page: Vpn): number {
    assert(page >= 0 && page < SPACE_PAGES, () => `page ${page} is outside the space`);
    const leaf = this.leaves.length;
    this.leaves.push(this.#watched(new Uint32Array(LEAF_PAGES)));
    if ((leaf + 1) * LEAF_COUNTERS > this.counters.length) {
      const grown = new Int32Array(this.counters.length * 2);
      grown.set(this.counters);
      this.counters = this.#watched(grown);
    }
    this.directory[page >>> LEAF_SHIFT] = leaf;
    return leaf;
  }
}

/** Frame 1, the zero page, behind a huge entry: all 512 words name it. */
const isOneFrame = (head: Pte): boolean => head >>> PTE_FLAG_BITS === 1;
