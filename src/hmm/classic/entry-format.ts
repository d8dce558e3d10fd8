/**
 * How a device's hardware wants its page table entries: which bit means what, where the frame
 * number goes, and what stands for nothing. A range in the format of the engine itself costs
 * nothing; in another one every word is translated. Linux 5.2: hmm_range.flags, .values and
 * .pfn_shift; 5.8 fixed the format and left translation to each driver.
 *
 * ```
 *  63                       S+24        S               0
 * +---+---+---+---+----------+-----------+---------------+
 * | V | W | P | ..           |  frame    |     ..        |   valid = 1n << 63n, write = 1n << 62n,
 * +---+---+---+---+----------+-----------+---------------+   devicePrivate = 1n << 61n, pfnShift S
 * ```
 */
import { PAGE_SHIFT, type Pfn, pfn } from "../../base/index.ts";
import { PTE_FLAG_BITS } from "../../mm/index.ts";
import {
  HMM_PFN_ERROR,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
} from "../hmm-range.ts";

/** Entries of 32 or of 64 bits. */
export type DeviceEntries = Uint32Array | BigUint64Array;

export interface EntryFormatOptions {
  /** Bits that say: may be read; may be written, too; is in device memory. */
  readonly flags: {
    readonly valid: bigint;
    readonly write: bigint;
    readonly devicePrivate?: bigint;
  };
  /**
   * Whole entries, without the valid bit: nothing is there (no flag at all: as a request it asks
   * for nothing); a request would fail; memory that no device may map. The last two may be the
   * same, the first must differ from both.
   */
  readonly values: { readonly none: bigint; readonly error: bigint; readonly special: bigint };
  /** Where the frame number begins: 0 to PAGE_SHIFT, so that it may also be an address. */
  readonly pfnShift: number;
}

/** What the translation asks about words that the two bits do not tell. */
export interface EntryContext {
  /** The frame is memory that the CPU cannot touch. */
  isPrivate(frame: Pfn): boolean;
  /** The page at this index cannot be mirrored at all, which is why its word is an error. */
  isSpecial(index: number): boolean;
}

const PFN_BITS = 32 - PTE_FLAG_BITS;
const PFN_MAX = 2 ** PFN_BITS - 1;
/** Where the low half of a 64-bit entry is among its two words. */
const LOW = new Uint32Array(new BigUint64Array([1n]).buffer)[0] === 1 ? 0 : 1;
const MASK_32 = 0xffff_ffffn;

export class EntryFormat<E extends DeviceEntries = DeviceEntries> {
  readonly bits: 32 | 64;
  readonly options: EntryFormatOptions;
  // per combination of valid (1), write (2), private (4): the flag bits, low and high half
  readonly #low = new Uint32Array(8);
  readonly #high = new Uint32Array(8);

  private constructor(bits: 32 | 64, options: EntryFormatOptions) {
    this.bits = bits;
    this.options = options;
    checkFormat(bits, options);
    const { valid, write, devicePrivate = 0n } = options.flags;
    for (let kind = 0; kind < 8; kind++) {
      const flags =
        (kind & 1 ? valid : 0n) | (kind & 2 ? write : 0n) | (kind & 4 ? devicePrivate : 0n);
      this.#low[kind] = Number(flags & MASK_32);
      this.#high[kind] = Number(flags >> 32n);
    }
  }

  /** Entries of 32 bits. RangeError, naming the option, when they contradict each other. */
  static of32(options: EntryFormatOptions): EntryFormat<Uint32Array> {
    return new EntryFormat<Uint32Array>(32, options);
  }

  /** Entries of 64 bits. */
  static of64(options: EntryFormatOptions): EntryFormat<BigUint64Array> {
    return new EntryFormat<BigUint64Array>(64, options);
  }

  /** Entries that say "nothing" (and, as requests, "as the default flags say"). */
  newEntries(count: number): E {
    const entries = this.bits === 32 ? new Uint32Array(count) : new BigUint64Array(count);
    this.clear(entries as E, 0, count);
    return entries as E;
  }

  /** [start, end) becomes `values.none`. */
  clear(entries: E, start: number, end: number): void {
    const { none } = this.options.values;
    if (entries instanceof BigUint64Array) entries.fill(none, start, end);
    else entries.fill(Number(none), start, end);
  }

  /** Writes what `words` say, in the engine's own format, into the first `count` entries. */
  encode(words: Uint32Array, entries: E, count: number, context: EntryContext): void {
    const { values } = this.options;
    for (let i = 0; i < count; i++) {
      const word = words[i]!;
      if (word & HMM_PFN_VALID) this.#set(entries, i, word, context);
      else if (word & HMM_PFN_ERROR) {
        setValue(entries, i, context.isSpecial(i) ? values.special : values.error);
      } else setValue(entries, i, values.none);
    }
  }

  /** What the flag bits of a request mean to `hmmRangeFault`: HMM_PFN_REQ_… */
  requestOf(entry: number | bigint): number {
    const { valid, write } = this.options.flags;
    const bits = BigInt(entry);
    return (bits & valid ? HMM_PFN_REQ_FAULT : 0) | (bits & write ? HMM_PFN_REQ_WRITE : 0);
  }

  /** The frame that an entry names, or 0 for entries that name none. */
  frameOf(entry: number | bigint): Pfn | 0 {
    const { flags, values, pfnShift } = this.options;
    const bits = BigInt(entry);
    if (bits === values.none || bits === values.error || bits === values.special) return 0;
    if ((bits & flags.valid) === 0n) return 0;
    return pfn(Number((bits >> BigInt(pfnShift)) & BigInt(PFN_MAX)));
  }

  /** A readable entry of `frame`. */
  entryOf(frame: Pfn): bigint {
    return (BigInt(frame) << BigInt(this.options.pfnShift)) | this.options.flags.valid;
  }

  #set(entries: E, index: number, word: number, context: EntryContext): void {
    const frame = word >>> PTE_FLAG_BITS;
    const write = word & HMM_PFN_WRITE ? 2 : 0;
    const kind = 1 | write | (context.isPrivate(pfn(frame)) ? 4 : 0);
    const { pfnShift } = this.options;
    if (entries instanceof Uint32Array) {
      entries[index] = (frame << pfnShift) | this.#low[kind]!;
      return;
    }
    const halves = halvesOf(entries);
    halves[2 * index + LOW] = (frame << pfnShift) | this.#low[kind]!;
    const above = pfnShift > PTE_FLAG_BITS ? frame >>> (32 - pfnShift) : 0;
    halves[2 * index + 1 - LOW] = above | this.#high[kind]!;
  }
}

function setValue(entries: DeviceEntries, index: number, value: bigint): void {
  if (entries instanceof BigUint64Array) entries[index] = value;
  else entries[index] = Number(value);
}

const HALVES = new WeakMap<BigUint64Array, Uint32Array>();

/** The same memory as words: bigints cost an allocation an entry. */
function halvesOf(entries: BigUint64Array): Uint32Array {
  let halves = HALVES.get(entries);
  // A resizable buffer may have grown.
  if (halves === undefined || halves.length !== entries.length * 2) {
    halves = new Uint32Array(entries.buffer, entries.byteOffset, entries.length * 2);
    HALVES.set(entries, halves);
  }
  return halves;
}

function checkFormat(bits: 32 | 64, { flags, values, pfnShift }: EntryFormatOptions): void {
  if (!Number.isInteger(pfnShift) || pfnShift < 0 || pfnShift > PAGE_SHIFT) {
    throw new RangeError(`pfnShift is ${pfnShift}: it must be an integer from 0 to ${PAGE_SHIFT}`);
  }
  const frames = BigInt(PFN_MAX) << BigInt(pfnShift);
  if (bits === 32 && pfnShift + PFN_BITS > 32) {
    throw new RangeError(`pfnShift is ${pfnShift}: ${PFN_BITS} bits of frame do not fit above it`);
  }
  const limit = 1n << BigInt(bits);
  let taken = frames;
  for (const [name, bit] of Object.entries(flags)) {
    checkNumber(`flags.${name}`, bit, limit);
    if (bit === 0n) throw new RangeError(`flags.${name} is 0: it must have a bit`);
    if (bit & taken) {
      throw new RangeError(`flags.${name} is ${hex(bit)}: it shares bits with ${hex(taken)}`);
    }
    taken |= bit;
  }
  for (const [name, value] of Object.entries(values)) {
    checkNumber(`values.${name}`, value, limit);
    if (value & flags.valid) {
      throw new RangeError(`values.${name} is ${hex(value)}: it may not have flags.valid`);
    }
  }
  if (values.none & (taken & ~frames)) {
    throw new RangeError(`values.none is ${hex(values.none)}: it may have no flag at all`);
  }
  if (values.none === values.error || values.none === values.special) {
    throw new RangeError(`values.none is ${hex(values.none)}: it must differ from the others`);
  }
}

function checkNumber(name: string, value: unknown, limit: bigint): void {
  if (typeof value !== "bigint" || value < 0n || value >= limit) {
    throw new RangeError(`${name} is ${String(value)}: it must be a bigint below ${hex(limit)}`);
  }
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;
