/**
 * malloc and free over a piece of the address space. All bookkeeping is outside of the heap's
 * own pages: these may be on a device, and looking at them would bring them home. Synchronous.
 *
 * Blocks up to 2 KiB come from *slabs*: one or four pages cut into slots of one size class, with
 * a bit a slot. Larger ones, and slabs, are runs of pages (`page-runs.ts`). A class keeps one
 * empty slab for the next block, until pages run out or nothing is allocated any more.
 */
import {
  assert,
  EINVAL,
  ENOMEM,
  formatAddress,
  isPageRange,
  PAGE_SHIFT,
  PAGE_SIZE,
  type Result,
  type Vpn,
  vpn,
} from "../base/index.ts";
import { hmmError, invalid } from "./error.ts";
import { PageRuns } from "./page-runs.ts";

const NONE = -1;
/** Words of free bits a slab: the smallest class has 512 slots a page. */
const SLAB_WORDS = 16;
const ALIGN_DEFAULT = 8;

/** Blocks up to here come from slabs. */
const SMALL_MAX = 2048;

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

const classPages = (bytes: number): number => (bytes <= ONE_PAGE_MAX ? 1 : 4);
const classSlots = (bytes: number): number => Math.floor((classPages(bytes) * PAGE_SIZE) / bytes);

// (bytes + 7) / 8 -> class
const CLASS_OF = Uint8Array.from({ length: SMALL_MAX / 8 + 1 }, (_, eighths) =>
  CLASS_BYTES.findIndex((bytes) => bytes >= eighths * 8),
);

export interface HeapOptions {
  /** The pages of the heap: `[start, end)`, page aligned. */
  readonly start: number;
  readonly end: number;
  /** Told of pages that no block uses any more; what they hold is forgotten. */
  readonly onPagesFree?: (start: Vpn, end: Vpn) => void;
}

export interface HeapUsage {
  readonly blocks: number;
  /** Bytes of blocks, as `sizeOf` counts them. */
  readonly bytesUsed: number;
  /** Bytes of pages that blocks lie in, with the free slots between them. */
  readonly bytesHeld: number;
  /** Bytes of pages that nothing lies in. */
  readonly bytesFree: number;
  /** The longest run of such pages. */
  readonly bytesFreeRun: number;
}

export class Heap {
  readonly start: number;
  readonly end: number;
  readonly #runs: PageRuns;
  readonly #onPagesFree: ((start: Vpn, end: Vpn) => void) | undefined;
  // Page of the heap -> slab + 1; 0: the page is free or part of a larger block.
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
  #blocks = 0;
  #bytesUsed = 0;

  constructor(options: HeapOptions) {
    const { start, end } = options;
    assert(isPageRange(start, end) && start > 0, () => `heap: ${start}..${end} are not its pages`);
    this.start = start;
    this.end = end;
    this.#onPagesFree = options.onPagesFree;
    const pages = (end - start) / PAGE_SIZE;
    this.#runs = new PageRuns(pages, start / PAGE_SIZE);
    this.#slabOf = new Int32Array(pages);
  }

  /** The address of a new block. Its bytes are what the last user left there. */
  malloc(bytes: number, align = ALIGN_DEFAULT): number {
    const result = this.allocate(bytes, align);
    if (result >= 0) return result;
    if (result === -ENOMEM) throw this.#outOfMemory(bytes);
    if (!Number.isSafeInteger(bytes) || bytes <= 0) {
      throw invalid("malloc", `size must be a positive integer, got ${bytes}`);
    }
    throw invalid("malloc", `align must be a power of two, got ${align}`);
  }

  /** malloc as the engine speaks: an address, -ENOMEM, or -EINVAL. */
  allocate(bytes: number, align = ALIGN_DEFAULT): Result {
    if (!Number.isSafeInteger(bytes) || bytes <= 0) return -EINVAL;
    if (align >>> 0 !== align || align === 0 || (align & (align - 1)) !== 0) return -EINVAL;
    const isSmall = bytes <= SMALL_MAX && align <= SMALL_MAX;
    return isSmall ? this.#takeSlot(classOf(bytes, align)) : this.#takePages(bytes, align);
  }

  /** Gives a block back. 0 is no block and nothing happens, as in C. */
  free(address: number): void {
    if (address === 0) return;
    const slab = this.#slabAt(address);
    if (slab === NONE) this.#givePages(this.#blockPage("free", address));
    else this.#giveSlot(slab, this.#blockSlot("free", slab, address));
    this.#blocks--;
    if (this.#blocks === 0) this.#dropSpares();
  }

  /** The bytes that the block at `address` may use: at least those asked for. */
  sizeOf(address: number): number {
    const slab = this.#slabAt(address);
    if (slab === NONE) {
      return this.#runs.lengthOf(this.#blockPage("sizeOf", address)) * PAGE_SIZE;
    }
    this.#blockSlot("sizeOf", slab, address);
    return CLASS_BYTES[this.#class[slab]!]!;
  }

  get usage(): HeapUsage {
    const bytesFree = this.#runs.pagesFree * PAGE_SIZE;
    return {
      blocks: this.#blocks,
      bytesUsed: this.#bytesUsed,
      bytesHeld: this.end - this.start - bytesFree,
      bytesFree,
      bytesFreeRun: this.#runs.longest * PAGE_SIZE,
    };
  }

  #takeSlot(index: number): Result {
    let slab = this.#partial[index]!;
    if (slab === NONE) {
      slab = this.#openSlab(index);
      if (slab === NONE) return -ENOMEM;
    }
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
    this.#blocks++;
    this.#bytesUsed += size;
    const slot = word * 32 + 31 - Math.clz32(lowest);
    return this.start + this.#page[slab]! * PAGE_SIZE + slot * size;
  }

  #giveSlot(slab: number, slot: number): void {
    const index = this.#class[slab]!;
    const size = CLASS_BYTES[index]!;
    const word = slot >>> 5;
    const at = slab * SLAB_WORDS + word;
    this.#freeBits[at] = this.#freeBits[at]! | (1 << (slot & 31));
    if (word < this.#firstWord[slab]!) this.#firstWord[slab] = word;
    this.#bytesUsed -= size;
    const slotsFree = ++this.#slotsFree[slab]!;
    if (slotsFree === 1) this.#link(slab);
    if (slotsFree < classSlots(size)) return;
    if (this.#spare[index] === NONE) this.#spare[index] = slab;
    else this.#closeSlab(slab);
  }

  #takePages(bytes: number, align: number): Result {
    const pages = Math.ceil(bytes / PAGE_SIZE);
    const first = this.#takeRun(pages, Math.max(align / PAGE_SIZE, 1));
    if (first === NONE) return -ENOMEM;
    this.#blocks++;
    this.#bytesUsed += pages * PAGE_SIZE;
    return this.start + first * PAGE_SIZE;
  }

  #givePages(first: number): void {
    this.#bytesUsed -= this.#runs.lengthOf(first) * PAGE_SIZE;
    this.#giveRun(first);
  }

  /** The slab in whose pages `address` lies, or NONE. */
  #slabAt(address: number): number {
    if (!(address >= this.start && address < this.end)) return NONE;
    return this.#slabOf[Math.floor((address - this.start) / PAGE_SIZE)]! - 1;
  }

  /** The slot of the block at `address`, which must be one. */
  #blockSlot(call: string, slab: number, address: number): number {
    const size = CLASS_BYTES[this.#class[slab]!]!;
    const slabStart = this.start + this.#page[slab]! * PAGE_SIZE;
    const slot = Math.floor((address - slabStart) / size);
    const begin = slabStart + slot * size;
    const word = this.#freeBits[slab * SLAB_WORDS + (slot >>> 5)]!;
    const isUsed = slot < classSlots(size) && (word & (1 << (slot & 31))) === 0;
    if (isUsed && begin === address) return slot;
    throw noBlock(call, address, isUsed ? begin : undefined);
  }

  /** The first page of the large block at `address`, which must be one. */
  #blockPage(call: string, address: number): number {
    if (!(address >= this.start && address < this.end)) {
      const range = `${formatAddress(this.start)}..${formatAddress(this.end)}`;
      const got = typeof address === "number" ? formatAddress(address) : String(address);
      throw invalid(call, `address must be a block of this heap (${range}), got ${got}`);
    }
    const page = Math.floor((address - this.start) / PAGE_SIZE);
    if (this.#runs.isTaken(page) && address % PAGE_SIZE === 0) return page;
    const first = this.#runs.coveredBy(page);
    throw noBlock(call, address, first === NONE ? undefined : this.start + first * PAGE_SIZE);
  }

  #openSlab(index: number): number {
    const size = CLASS_BYTES[index]!;
    const pages = classPages(size);
    const page = this.#takeRun(pages, 1);
    if (page === NONE) return NONE;
    const slab = this.#takeSlabNumber();
    const slots = classSlots(size);
    this.#page[slab] = page;
    this.#class[slab] = index;
    this.#slotsFree[slab] = slots;
    this.#firstWord[slab] = 0;
    const begin = slab * SLAB_WORDS;
    this.#freeBits.fill(0, begin, begin + SLAB_WORDS);
    this.#freeBits.fill(-1, begin, begin + (slots >>> 5));
    if ((slots & 31) !== 0) this.#freeBits[begin + (slots >>> 5)] = (1 << (slots & 31)) - 1;
    this.#slabOf.fill(slab + 1, page, page + pages);
    this.#link(slab);
    return slab;
  }

  #closeSlab(slab: number): void {
    const page = this.#page[slab]!;
    assert(this.#slotsFree[slab] === classSlots(CLASS_BYTES[this.#class[slab]!]!), "slab in use");
    this.#unlink(slab);
    this.#slabOf.fill(0, page, page + this.#runs.lengthOf(page));
    this.#next[slab] = this.#slabFree;
    this.#slabFree = slab;
    this.#giveRun(page);
  }

  /** Takes pages; when there are none, after giving back those that only wait to be used. */
  #takeRun(pages: number, align: number): number {
    const first = this.#runs.take(pages, align);
    if (first !== NONE || !this.#dropSpares()) return first;
    return this.#runs.take(pages, align);
  }

  #giveRun(first: number): void {
    const pages = this.#runs.lengthOf(first);
    this.#runs.give(first);
    const start = (this.start >>> PAGE_SHIFT) + first;
    this.#onPagesFree?.(vpn(start), vpn(start + pages));
  }

  /** Closes the empty slabs that are kept; whether there were any. */
  #dropSpares(): boolean {
    let isAny = false;
    for (let index = 0; index < this.#spare.length; index++) {
      const slab = this.#spare[index]!;
      if (slab === NONE) continue;
      this.#spare[index] = NONE;
      this.#closeSlab(slab);
      isAny = true;
    }
    return isAny;
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

  #outOfMemory(bytes: number) {
    const { bytesFree, bytesFreeRun } = this.usage;
    const room = `${bytesFree} bytes are free, the largest free run is ${bytesFreeRun} bytes`;
    return hmmError({
      code: "ENOMEM",
      call: "malloc",
      detail: `no room for ${bytes} bytes: ${room}`,
    });
  }
}

/** The smallest class that holds `bytes` (at most SMALL_MAX) at multiples of `align`. */
function classOf(bytes: number, align: number): number {
  let index = CLASS_OF[(bytes + 7) >>> 3]!;
  // Ends: 2048 is a multiple of every alignment that is asked for here.
  while ((CLASS_BYTES[index]! & (align - 1)) !== 0) index++;
  return index;
}

function noBlock(call: string, address: number, begin: number | undefined) {
  const what =
    begin === undefined
      ? "is free already or was never allocated"
      : `lies inside a block, which begins at ${formatAddress(begin)}`;
  return invalid(call, `address ${formatAddress(address)} ${what}`);
}

function grown<Column extends Uint8Array | Int32Array>(from: Column, into: Column): Column {
  into.set(from);
  return into;
}
