/**
 * The fact: two levels of ready-made arrays, 512 entries a leaf (2 MiB), with counters a leaf so
 * that a walk can skip or copy it whole. Readers read the arrays; `Cursor` is the only writer.
 */
import { assert, SPACE_PAGES, type Vpn } from "../base/index.ts";
import { asPte, isDevicePrivate, isWritable, PTE_NONE, PTE_VALID, type Pte } from "./pte.ts";

export const LEAF_SHIFT = 9;
export const LEAF_PAGES = 1 << LEAF_SHIFT;
const LEAF_MASK = LEAF_PAGES - 1;
const DIRECTORY = SPACE_PAGES / LEAF_PAGES;

/** What a leaf's counters count. */
export const LEAF_USED = 0;
export const LEAF_VALID = 1;
export const LEAF_WRITABLE = 2;
export const LEAF_DEVICE = 3;
const COUNTERS = 4;

export class PageTable {
  // page >>> LEAF_SHIFT -> index into leaves, or -1
  readonly directory = new Int16Array(DIRECTORY).fill(-1);
  readonly leaves: Uint32Array[] = [];
  // leaf index * COUNTERS + LEAF_ -> entries of that kind
  counters = new Int32Array(COUNTERS * 8);

  get(page: Vpn): Pte {
    const leaf = this.directory[page >>> LEAF_SHIFT]!;
    return leaf < 0 ? PTE_NONE : asPte(this.leaves[leaf]![page & LEAF_MASK]!);
  }

  /** The leaf that holds `page`, or undefined when none of its 512 pages was ever mapped. */
  leafOf(page: Vpn): Uint32Array | undefined {
    const leaf = this.directory[page >>> LEAF_SHIFT]!;
    return leaf < 0 ? undefined : this.leaves[leaf];
  }

  /** A counter (`LEAF_…`) of the leaf that holds `page`; 0 when there is no leaf. */
  countOf(page: Vpn, counter: number): number {
    const leaf = this.directory[page >>> LEAF_SHIFT]!;
    return leaf < 0 ? 0 : this.counters[leaf * COUNTERS + counter]!;
  }

  /** The first page at or after `page`, below `end`, with an entry; `end` when there is none. */
  nextUsed(page: Vpn, end: Vpn): Vpn {
    let at = page as number;
    while (at < end) {
      const leaf = this.directory[at >>> LEAF_SHIFT]!;
      const leafEnd = Math.min(end, ((at >>> LEAF_SHIFT) + 1) << LEAF_SHIFT);
      if (leaf >= 0 && this.counters[leaf * COUNTERS + LEAF_USED]! > 0) {
        const entries = this.leaves[leaf]!;
        for (; at < leafEnd; at++) if (entries[at & LEAF_MASK] !== 0) return at as Vpn;
      }
      at = leafEnd;
    }
    return end;
  }

  /** Entries in use in the whole table. */
  get usedCount(): number {
    let used = 0;
    for (let leaf = 0; leaf < this.leaves.length; leaf++) {
      used += this.counters[leaf * COUNTERS + LEAF_USED]!;
    }
    return used;
  }

  /** Writes an entry and keeps the counters. Only `Cursor` calls this. */
  set(page: Vpn, pte: Pte): void {
    let leaf = this.directory[page >>> LEAF_SHIFT]!;
    if (leaf < 0) leaf = this.#addLeaf(page);
    const entries = this.leaves[leaf]!;
    const index = page & LEAF_MASK;
    this.#count(leaf, asPte(entries[index]!), -1);
    entries[index] = pte;
    this.#count(leaf, pte, 1);
  }

  #count(leaf: number, pte: Pte, change: 1 | -1): void {
    if (pte === PTE_NONE) return;
    const counters = this.counters;
    const at = leaf * COUNTERS;
    counters[at + LEAF_USED] = counters[at + LEAF_USED]! + change;
    if (pte & PTE_VALID) counters[at + LEAF_VALID] = counters[at + LEAF_VALID]! + change;
    if (isWritable(pte)) counters[at + LEAF_WRITABLE] = counters[at + LEAF_WRITABLE]! + change;
    if (isDevicePrivate(pte)) counters[at + LEAF_DEVICE] = counters[at + LEAF_DEVICE]! + change;
  }

  #addLeaf(page: Vpn): number {
    assert(page >= 0 && page < SPACE_PAGES, () => `page ${page} is outside the space`);
    const leaf = this.leaves.length;
    this.leaves.push(new Uint32Array(LEAF_PAGES));
    if ((leaf + 1) * COUNTERS > this.counters.length) {
      const grown = new Int32Array(this.counters.length * 2);
      grown.set(this.counters);
      this.counters = grown;
    }
    this.directory[page >>> LEAF_SHIFT] = leaf;
    return leaf;
  }
}
