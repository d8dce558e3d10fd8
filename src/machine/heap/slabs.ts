/**
 * Slots of one size class in one or four pages, with a bit a slot. A class keeps one empty slab
 * for the next block, until pages run out or nothing is allocated any more.
 */
import { assert, PAGE_SIZE } from "../../base/index.ts";
import type { OwnPages } from "./own-pages.ts";

const NONE = -1;
/** Words of free bits a slab: the smallest class has 512 slots a page. */
const SLAB_WORDS = 16;

/** Blocks up to here come from slabs. */
export const SMALL_MAX = 2048;

/**
 * Slot sizes: eights up to 64, then four steps a power of two, so that less than a fifth of a
 * slot is not asked for.
 * Slots lie at multiples of their size from a page boundary, so they are aligned to every power
 * of two that divides it.
 */
const CLASS_BYTES: readonly number[] = [
  8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768,
  896, 1024, 1280, 1536, 1792, 2048,
];
assert(CLASS_BYTES.at(-1) === SMALL_MAX, "the last class is the greatest small block");

/** Blocks above this share four pages, so that little is left over at the end. */
const ONE_PAGE_MAX = 256;

/** The pages of a slab of class `index`. */
export const classPages = (index: number): number => (CLASS_BYTES[index]! <= ONE_PAGE_MAX ? 1 : 4);
const CLASS_SLOTS: readonly number[] = CLASS_BYTES.map((bytes, index) =>
  Math.floor((classPages(index) * PAGE_SIZE) / bytes),
);
/** The words of its free bits. */
export const classWords = (index: number): number => Math.ceil(CLASS_SLOTS[index]! / 32);

// (bytes + 7) / 8 -> class
const CLASS_OF = Uint8Array.from({ length: SMALL_MAX / 8 + 1 }, (_, eighths) =>
  CLASS_BYTES.findIndex((bytes) => bytes >= eighths * 8),
);

/** The smallest class that holds `bytes` (at most SMALL_MAX) at multiples of `align`. */
export function classOf(bytes: number, align: number): number {
  let index = CLASS_OF[(bytes + 7) >>> 3]!;
  // Ends: 2048 is a multiple of every alignment that is asked for here.
  while ((CLASS_BYTES[index]! & (align - 1)) !== 0) index++;
  return index;
}

export class Slabs {
  readonly #start: number;
  readonly #end: number;
  readonly #pages: OwnPages;
  // Page of the heap -> slab + 1; 0: free, part of a larger block, or another thread's.
  readonly #slabOf: Int32Array;
  // By class: slabs with a free slot; the empty one that is kept.
  readonly #partial = new Int32Array(CLASS_BYTES.length).fill(NONE);
  readonly #spare = new Int32Array(CLASS_BYTES.length).fill(NONE);
  // By slab. A slab that is not in use keeps the next such one in #next.
  #page = new Int32Array(64);
  #class = new Uint8Array(64);
  #slotsFree = new Int32Array(64);
  #firstWord = new Uint8Array(64); // no word before this has a free bit
  #next = new Int32Array(64);
  #prev = new Int32Array(64);
  #freeBits = new Int32Array(64 * SLAB_WORDS);
  #slabsUsed = 0;
  #slabFree = NONE;
  #bytesUsed = 0;

  /** Slabs in the heap [start, end); pages that they give up go to `pages`. */
  constructor(start: number, end: number, pages: OwnPages) {
    this.#start = start;
    this.#end = end;
    this.#pages = pages;
    this.#slabOf = new Int32Array((end - start) / PAGE_SIZE);
  }

  /** Bytes of slots in use. */
  get bytesUsed(): number {
    return this.#bytesUsed;
  }

  /**
   * The address of a slot of class `index`, or -1 when no slab has one that can be touched at once
   * (`anywhere`: when no slab has one): open one.
   */
  take(index: number, anywhere = this.#pages.presence === undefined): number {
    const slab = this.#partial[index]!;
    if (slab === NONE || (!anywhere && !this.#isHere(slab))) return NONE;
    if (this.#spare[index] === slab) this.#spare[index] = NONE;
    let word = this.#firstWord[slab]!;
    const begin = slab * SLAB_WORDS;
    while (this.#freeBits[begin + word] === 0) word++;
    const bits = this.#freeBits[begin + word]!;
    const lowest = bits & -bits;
    this.#freeBits[begin + word] = bits & ~lowest;
    this.#firstWord[slab] = word;
    if (--this.#slotsFree[slab]! === 0) this.#unlink(slab);
    const size = CLASS_BYTES[index]!;
    this.#bytesUsed += size;
    const slot = word * 32 + 31 - Math.clz32(lowest);
    return this.#start + this.#page[slab]! * PAGE_SIZE + slot * size;
  }

  /** Some slab has a slot of class `index`. */
  hasSlot(index: number): boolean {
    return this.#partial[index] !== NONE;
  }

  /** Of the slab that `take` would take from: those behind it are not worth the search. */
  #isHere(slab: number): boolean {
    return this.#pages.isHere(this.#page[slab]!, classPages(this.#class[slab]!));
  }

  /** Gives back the slot of `slab` that begins at `address`; false: none in use does. */
  give(slab: number, address: number): boolean {
    const index = this.#class[slab]!;
    const size = CLASS_BYTES[index]!;
    const offset = address - this.#start - this.#page[slab]! * PAGE_SIZE;
    const slot = (offset / size) | 0;
    const slots = CLASS_SLOTS[index]!;
    if (slot * size !== offset || slot >= slots) return false;
    const word = slot >>> 5;
    const at = slab * SLAB_WORDS + word;
    const bits = this.#freeBits[at]!;
    const bit = 1 << (slot & 31);
    if ((bits & bit) !== 0) return false;
    this.#freeBits[at] = bits | bit;
    if (word < this.#firstWord[slab]!) this.#firstWord[slab] = word;
    this.#bytesUsed -= size;
    const slotsFree = ++this.#slotsFree[slab]!;
    if (slotsFree === 1) this.#link(slab);
    if (slotsFree === slots) this.#emptied(slab, index);
    return true;
  }

  /** The slab of this thread in whose pages `address` lies, or -1. */
  slabAt(address: number): number {
    if (!(address >= this.#start && address < this.#end)) return NONE;
    return this.#slabOf[Math.floor((address - this.#start) / PAGE_SIZE)]! - 1;
  }

  /** The address of the block that `address` lies in, or -1: it lies in none. */
  blockOver(slab: number, address: number): number {
    const index = this.#class[slab]!;
    const slabStart = this.#start + this.#page[slab]! * PAGE_SIZE;
    const slot = Math.floor((address - slabStart) / CLASS_BYTES[index]!);
    if (slot >= CLASS_SLOTS[index]!) return NONE;
    const word = this.#freeBits[slab * SLAB_WORDS + (slot >>> 5)]!;
    const isFree = (word & (1 << (slot & 31))) !== 0;
    return isFree ? NONE : slabStart + slot * CLASS_BYTES[index]!;
  }

  slotBytes(slab: number): number {
    return CLASS_BYTES[this.#class[slab]!]!;
  }

  /** Makes a run of `classPages` pages an empty slab. */
  open(index: number, page: number): void {
    const slots = CLASS_SLOTS[index]!;
    const slab = this.#newSlab(index, page);
    const begin = slab * SLAB_WORDS;
    this.#slotsFree[slab] = slots;
    this.#freeBits.fill(-1, begin, begin + (slots >>> 5));
    if ((slots & 31) !== 0) this.#freeBits[begin + (slots >>> 5)] = (1 << (slots & 31)) - 1;
    this.#link(slab);
  }

  /** Closes the empty slabs that are kept; whether there were any. */
  dropSpares(): boolean {
    let isAny = false;
    for (let index = 0; index < this.#spare.length; index++) {
      if (this.dropSpare(index)) isAny = true;
    }
    return isAny;
  }

  dropSpare(index: number): boolean {
    const slab = this.#spare[index]!;
    if (slab === NONE) return false;
    this.#spare[index] = NONE;
    this.#close(slab);
    return true;
  }

  /** The class of the slab that begins at `page`, or -1: none does. */
  classAt(page: number): number {
    const slab = this.#slabOf[page]! - 1;
    return slab === NONE ? NONE : this.#class[slab]!;
  }

  /** By slot of the slab that begins at `page`: a bit that says whether it is free. */
  freeBitsAt(page: number): Int32Array {
    const begin = (this.#slabOf[page]! - 1) * SLAB_WORDS;
    return this.#freeBits.subarray(begin, begin + classWords(this.classAt(page)));
  }

  /** Makes a run a slab with slots in use; how many. */
  reopen(index: number, page: number, freeBits: Int32Array): number {
    const slab = this.#newSlab(index, page);
    this.#freeBits.set(freeBits, slab * SLAB_WORDS);
    const slotsFree = freeBits.reduce((sum, word) => sum + bitCount(word), 0);
    this.#slotsFree[slab] = slotsFree;
    if (slotsFree > 0) this.#link(slab);
    const slots = CLASS_SLOTS[index]! - slotsFree;
    assert(slots > 0, () => `slab at page ${page}: nothing is in it`);
    this.#bytesUsed += slots * CLASS_BYTES[index]!;
    return slots;
  }

  #emptied(slab: number, index: number): void {
    if (this.#spare[index] === NONE) this.#spare[index] = slab;
    else this.#close(slab);
  }

  #close(slab: number): void {
    const page = this.#page[slab]!;
    assert(this.#slotsFree[slab] === CLASS_SLOTS[this.#class[slab]!], "slab in use");
    this.#unlink(slab);
    this.#slabOf.fill(0, page, page + this.#pages.lengthOf(page));
    this.#next[slab] = this.#slabFree;
    this.#slabFree = slab;
    this.#pages.give(page);
  }

  #link(slab: number): void {
    const index = this.#class[slab]!;
    const next = this.#partial[index]!;
    this.#next[slab] = next;
    this.#prev[slab] = NONE;
    if (next !== NONE) this.#prev[next] = slab;
    this.#partial[index] = slab;
  }

  #unlink(slab: number): void {
    const next = this.#next[slab]!;
    const prev = this.#prev[slab]!;
    if (next !== NONE) this.#prev[next] = prev;
    if (prev === NONE) this.#partial[this.#class[slab]!] = next;
    else this.#next[prev] = next;
  }

  /** A slab without a free slot. */
  #newSlab(index: number, page: number): number {
    const slab = this.#takeSlabNumber();
    const begin = slab * SLAB_WORDS;
    this.#page[slab] = page;
    this.#class[slab] = index;
    this.#firstWord[slab] = 0;
    this.#freeBits.fill(0, begin, begin + SLAB_WORDS);
    this.#slabOf.fill(slab + 1, page, page + classPages(index));
    return slab;
  }

  #takeSlabNumber(): number {
    const free = this.#slabFree;
    if (free !== NONE) {
      this.#slabFree = this.#next[free]!;
      return free;
    }
    const slab = this.#slabsUsed++;
    if (slab === this.#page.length) this.#growSlabs(slab * 2);
    return slab;
  }

  #growSlabs(length: number): void {
    this.#page = grown(this.#page, new Int32Array(length));
    this.#class = grown(this.#class, new Uint8Array(length));
    this.#slotsFree = grown(this.#slotsFree, new Int32Array(length));
    this.#firstWord = grown(this.#firstWord, new Uint8Array(length));
    this.#next = grown(this.#next, new Int32Array(length));
    this.#prev = grown(this.#prev, new Int32Array(length));
    this.#freeBits = grown(this.#freeBits, new Int32Array(length * SLAB_WORDS));
  }
}

function bitCount(word: number): number {
  let count = 0;
  for (let bits = word; bits !== 0; bits &= bits - 1) count++;
  return count;
}

function grown<Column extends Uint8Array | Int32Array>(from: Column, into: Column): Column {
  into.set(from);
  return into;
}
