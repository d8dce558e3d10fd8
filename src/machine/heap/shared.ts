/**
 * The words that the threads of one heap share, and the numbers by which they know each other.
 * Every change is one atomic operation on one word, and no word has to agree with another: a
 * thread may end between any two of them.
 *
 * ```text
 *   header   what the heap is, and how often spans were given back
 *   threads  by number: what it stands for
 *   owners   by span: the number of the thread that owns it, 0, LOST or MAPPED
 *   puts     by number: addresses put into its bag since its owner looked last
 *   cells    by number, BAG_CELLS each: the bag, addresses or 0
 * ```
 */
import { assert } from "../../base/index.ts";
import { hmmError } from "../error.ts";

/**
 * 4 MiB a span. Large enough that a thread rarely needs another and that 3.1 GiB are 800 words,
 * which are looked through in less than a microsecond; small enough that a hundred threads with
 * little in them take an eighth of the heap's addresses. Memory is only used where blocks are
 * touched. And two whole leaves of the page table: threads do not share what is huge.
 */
export const SPAN_PAGES = 1024;
/**
 * As many threads at a time; the bags are most of what is shared, and of those what is used.
 * @forTests
 */
export const THREADS_MAX = 255;
export const BAG_CELLS = 1024;

/** Whom a span belongs to, if to no thread: anybody may take it. */
export const NOBODY = 0;
/** A thread that ended without a word: nobody knows what is in it. */
export const LOST = -1;
/** Mappings have it (`lent-spans.ts`). */
export const MAPPED = -2;

/**
 * What a number stands for: nothing, a thread, one that left blocks, or one whose things another
 * thread clears. Its word also has the number of that other, and how many had the number before.
 */
const UNUSED = 0;
const LIVE = 1;
const ORPHANED = 2;
const CLEARING = 3;
const KIND_MASK = 3;
const CLEARER_SHIFT = 2;
const GENERATION_SHIFT = 10;

/** A thread's id is its number and which of those with that number it is: no two are equal. */
const ID_SHIFT = 8;
const ID_END = 2 ** (32 - GENERATION_SHIFT + ID_SHIFT);
export const numberOf = (id: number): number => id & THREADS_MAX;
assert(THREADS_MAX === (1 << ID_SHIFT) - 1, "a number fills its bits of an id and of a word");

const wordOf = (id: number, kind: number, clearer = 0): number =>
  ((id >>> ID_SHIFT) << GENERATION_SHIFT) | (clearer << CLEARER_SHIFT) | kind;

const MAGIC = 0x48454150;
const HEADER_WORDS = 4;
const HEADER = { magic: 0, firstPage: 1, pages: 2, givings: 3 } as const;

export class HeapShared {
  readonly buffer: SharedArrayBuffer;
  readonly pages: number;
  readonly owners: Int32Array;
  readonly puts: Int32Array;
  readonly cells: Int32Array;
  readonly #header: Int32Array;
  readonly #threads: Int32Array;

  /** `pages` pages from page number `firstPage`; what `buffer` shares, or words of its own. */
  constructor(firstPage: number, pages: number, buffer?: SharedArrayBuffer) {
    const spans = Math.ceil(pages / SPAN_PAGES);
    const numbers = THREADS_MAX + 1;
    const words = HEADER_WORDS + 2 * numbers + spans + numbers * BAG_CELLS;
    this.buffer = buffer ?? new SharedArrayBuffer(words * 4);
    this.pages = pages;
    let offset = 0;
    const column = (length: number): Int32Array => {
      const at = offset;
      offset += length;
      return new Int32Array(this.buffer, at * 4, length);
    };
    assert(this.buffer.byteLength === words * 4, "heap: what is shared is of another heap");
    this.#header = column(HEADER_WORDS);
    this.#threads = column(numbers);
    this.owners = column(spans);
    this.puts = column(numbers);
    this.cells = column(numbers * BAG_CELLS);
    if (buffer === undefined) this.#header.set([MAGIC, firstPage, pages, 0]);
    const isSame =
      this.#header[HEADER.magic] === MAGIC &&
      this.#header[HEADER.firstPage] === firstPage &&
      this.#header[HEADER.pages] === pages;
    assert(isSame, "heap: what is shared is of another heap");
  }

  /** The id of one more thread, maybe not the caller. Throws EAGAIN: all numbers are in use. */
  attach(): number {
    for (let number = 1; number <= THREADS_MAX; number++) {
      const word = Atomics.load(this.#threads, number);
      if ((word & KIND_MASK) !== UNUSED) continue;
      const id = ((((word >>> GENERATION_SHIFT) + 1) << ID_SHIFT) | number) % ID_END;
      if (this.#change(id, word, wordOf(id, LIVE))) return id;
    }
    const detail = `${THREADS_MAX} threads use this heap, and no more can`;
    throw hmmError({ code: "EAGAIN", call: "attach", detail });
  }

  isLive(id: number): boolean {
    return Atomics.load(this.#threads, numberOf(id)) === wordOf(id, LIVE);
  }

  /** The thread is gone; its blocks and its bag wait for somebody who adopts them. */
  orphan(id: number): void {
    const isDone = this.#change(id, wordOf(id, LIVE), wordOf(id, ORPHANED));
    assert(isDone, () => `heap: thread ${numberOf(id)} is not attached`);
  }

  /** From here to `release` thread `me` alone decides what becomes of what `id` left, if it did. */
  clearOrphan(id: number, me: number): boolean {
    return this.#change(id, wordOf(id, ORPHANED), wordOf(id, CLEARING, me));
  }

  /** The same for a thread that ended without a word. */
  clearLive(id: number, me: number): boolean {
    return this.#change(id, wordOf(id, LIVE), wordOf(id, CLEARING, me));
  }

  /** One of those that thread `from` was clearing is for `me` to clear: its id, or 0. */
  clearInstead(from: number, me: number): number {
    for (let number = 1; number <= THREADS_MAX; number++) {
      const word = Atomics.load(this.#threads, number);
      const id = ((word >>> GENERATION_SHIFT) << ID_SHIFT) | number;
      if (word !== wordOf(id, CLEARING, from)) continue;
      if (this.#change(id, word, wordOf(id, CLEARING, me))) return id;
    }
    return 0;
  }

  /** The thread owns nothing and is gone: its number may stand for another. */
  leave(id: number): void {
    const isDone = this.#change(id, wordOf(id, LIVE), wordOf(id, UNUSED));
    assert(isDone, () => `heap: thread ${numberOf(id)} is not attached`);
  }

  /** `me` has cleared what `id` left: its number may stand for another thread. */
  release(id: number, me: number): void {
    const isDone = this.#change(id, wordOf(id, CLEARING, me), wordOf(id, UNUSED));
    assert(isDone, () => `heap: thread ${numberOf(id)} is cleared by another`);
  }

  /** Threads attached now. */
  get threads(): number {
    let count = 0;
    for (let number = 1; number <= THREADS_MAX; number++) {
      if ((Atomics.load(this.#threads, number) & KIND_MASK) === LIVE) count++;
    }
    return count;
  }

  /** How often spans were given back: who finds no room asks whether some came meanwhile. */
  get givings(): number {
    return Atomics.load(this.#header, HEADER.givings);
  }

  countGiving(): void {
    Atomics.add(this.#header, HEADER.givings, 1);
  }

  #change(id: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.#threads, numberOf(id), from, to) === from;
  }
}
