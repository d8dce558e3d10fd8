/**
 * Which pages of one thread's share of a heap are free, as runs: best fit, joined with their
 * neighbours when given back. Pages are counted from the heap's first; nothing is kept in the
 * pages themselves. Pages that the thread does not own are no runs at all.
 * Invariant: two free runs never touch; a free run is marked at its first and its last page, a
 * taken one at its first; what lies between, or is not owned, is not marked.
 *
 * ```text
 *   page     0     1     2     3     4     5     6     7     8
 *   mark     TAKEN .     FREE  .     FREE  TAKEN FREE  TAKEN .  (not owned)
 *   length   2           3           3     1     1     1
 * ```
 */
import { assert } from "../../base/index.ts";

const UNMARKED = 0;
const FREE = 1;
const TAKEN = 2;
const NONE = -1;

/** Up to here a bin holds runs of one length; above, of a quarter of a power of two. */
const EXACT_BELOW = 64;
const BINS = EXACT_BELOW + (20 - 6 + 1) * 4;

export class PageRuns {
  // By page.
  readonly #mark: Uint8Array;
  readonly #length: Int32Array;
  readonly #next: Int32Array;
  readonly #prev: Int32Array;
  // Bin -> first page of the run given back last, or NONE.
  readonly #bins = new Int32Array(BINS).fill(NONE);
  readonly #count: number;
  readonly #base: number;
  #pagesFree = 0;

  /** `count` pages, none owned. Alignment counts from `base`, the page number of the first. */
  constructor(count: number, base: number) {
    assert(count > 0 && count <= 2 ** 20, () => `page runs: ${count} pages`);
    this.#count = count;
    this.#base = base;
    this.#mark = new Uint8Array(count);
    this.#length = new Int32Array(count);
    this.#next = new Int32Array(count);
    this.#prev = new Int32Array(count);
  }

  get pagesFree(): number {
    return this.#pagesFree;
  }

  /** The length of the longest free run. */
  get longest(): number {
    for (let bin = BINS - 1; bin > 0; bin--) {
      let longest = 0;
      for (let run = this.#bins[bin]!; run !== NONE; run = this.#next[run]!) {
        longest = Math.max(longest, this.#length[run]!);
      }
      if (longest > 0) return longest;
    }
    return 0;
  }

  /** Pages that nobody here owned become free ones. */
  addFree(first: number, pages: number): void {
    assert(pages > 0 && first + pages <= this.#count, () => `page runs: ${first} + ${pages}`);
    this.#pagesFree += pages;
    this.#join(first, pages);
  }

  /** Pages that nobody here owned become a taken run. */
  addTaken(first: number, pages: number): void {
    assert(pages > 0 && first + pages <= this.#count, () => `page runs: ${first} + ${pages}`);
    assert(this.#mark[first] === UNMARKED, () => `page runs: page ${first} is owned`);
    this.#mark[first] = TAKEN;
    this.#length[first] = pages;
  }

  /** Free pages, a part of the free run that begins at `run`, are owned no more. */
  removeFree(run: number, first: number, pages: number): void {
    const end = run + this.freeFrom(run);
    const isPart = pages > 0 && run <= first && first + pages <= end;
    assert(isPart, () => `page runs: ${first} + ${pages} is not within the free run at ${run}`);
    this.#unlink(run);
    if (first > run) this.#link(run, first - run);
    if (first + pages < end) this.#link(first + pages, end - first - pages);
    this.#pagesFree -= pages;
  }

  /** Takes `pages` pages whose page number is a multiple of `align`; the first, or -1. */
  take(pages: number, align = 1): number {
    assert(pages > 0 && align > 0, "page runs: a run has pages and an alignment");
    const run = pages > this.#pagesFree ? NONE : this.#bestFit(pages, align);
    if (run === NONE) return NONE;
    const first = this.#alignedFirst(run, align);
    const end = run + this.#length[run]!;
    this.#unlink(run);
    if (first > run) this.#link(run, first - run);
    if (first + pages < end) this.#link(first + pages, end - first - pages);
    this.#mark[first] = TAKEN;
    this.#length[first] = pages;
    this.#pagesFree -= pages;
    return first;
  }

  /** Whether a taken run begins here. */
  isTaken(first: number): boolean {
    return this.#mark[first] === TAKEN;
  }

  /** The pages of the taken run that begins here. */
  lengthOf(first: number): number {
    assert(this.isTaken(first), () => `page runs: no run is taken at ${first}`);
    return this.#length[first]!;
  }

  /** The first page of the taken run that covers `page`, or -1. A walk: for messages only. */
  coveredBy(page: number): number {
    for (let first = page; first >= 0; first--) {
      if (this.#mark[first] === UNMARKED) continue;
      const isCovered = this.isTaken(first) && first + this.#length[first]! > page;
      return isCovered ? first : NONE;
    }
    return NONE;
  }

  /** The pages of the run, free or taken, that begins here. */
  anyLengthOf(first: number): number {
    assert(this.#mark[first] !== UNMARKED, () => `page runs: no run begins at ${first}`);
    return this.#length[first]!;
  }

  /** The pages of the free run that begins here, or 0. The page before is not free. */
  freeFrom(page: number): number {
    return this.#mark[page] === FREE ? this.#length[page]! : 0;
  }

  /** The pages of the free run that ends before `page`, or 0. `page` is not free. */
  freeUpTo(page: number): number {
    return page > 0 && this.#mark[page - 1] === FREE ? this.#length[page - 1]! : 0;
  }

  /** Gives a taken run back; the first page of the free run that it is part of now. */
  give(first: number): number {
    const pages = this.lengthOf(first);
    this.#pagesFree += pages;
    this.#mark[first] = UNMARKED;
    return this.#join(first, pages);
  }

  /** Links unmarked pages as free, in one run with free neighbours; its first page. */
  #join(first: number, pages: number): number {
    let start = first;
    let end = first + pages;
    if (start > 0 && this.#mark[start - 1] === FREE) {
      start -= this.#length[start - 1]!;
      this.#unlink(start);
    }
    if (end < this.#count && this.#mark[end] === FREE) {
      const right = end;
      end += this.#length[right]!;
      this.#unlink(right);
    }
    this.#link(start, end - start);
    return start;
  }

  /** The shortest run that is long enough, of those in the first bin that has one. */
  #bestFit(pages: number, align: number): number {
    for (let bin = binOf(pages); bin < BINS; bin++) {
      let best = NONE;
      let bestLength = Number.POSITIVE_INFINITY;
      for (let run = this.#bins[bin]!; run !== NONE; run = this.#next[run]!) {
        const length = this.#length[run]!;
        if (length >= bestLength) continue;
        if (this.#alignedFirst(run, align) + pages > run + length) continue;
        best = run;
        bestLength = length;
        // Nothing can fit better, and a bin of one length is not searched any further.
        if (length === pages || bin < EXACT_BELOW) break;
      }
      if (best !== NONE) return best;
    }
    return NONE;
  }

  #alignedFirst(run: number, align: number): number {
    return align === 1 ? run : Math.ceil((run + this.#base) / align) * align - this.#base;
  }

  #link(first: number, length: number): void {
    const last = first + length - 1;
    this.#mark[first] = FREE;
    this.#mark[last] = FREE;
    this.#length[first] = length;
    this.#length[last] = length;
    const bin = binOf(length);
    const next = this.#bins[bin]!;
    this.#next[first] = next;
    this.#prev[first] = NONE;
    if (next !== NONE) this.#prev[next] = first;
    this.#bins[bin] = first;
  }

  #unlink(first: number): void {
    const length = this.#length[first]!;
    const next = this.#next[first]!;
    const prev = this.#prev[first]!;
    this.#mark[first] = UNMARKED;
    this.#mark[first + length - 1] = UNMARKED;
    if (next !== NONE) this.#prev[next] = prev;
    if (prev === NONE) this.#bins[binOf(length)] = next;
    else this.#next[prev] = next;
  }
}

function binOf(pages: number): number {
  if (pages < EXACT_BELOW) return pages;
  const power = 31 - Math.clz32(pages);
  return EXACT_BELOW + (power - 6) * 4 + ((pages >>> (power - 2)) & 3);
}
