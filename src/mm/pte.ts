/**
 * A page table entry: one word, in the format that `hmm` hands out, so that a snapshot is a
 * copy.
 *
 * ```
 *  31                            8   7   6   5   4   3   2   1   0
 * +-------------------------------+---+---+---+---+---+---+---+---+
 * |        frame (24 bits)        | H | N | X | M | D | E | W | V |
 * +-------------------------------+---+---+---+---+---+---+---+---+
 *  V valid: the CPU may read           D device-private: lives on a device, not present
 *  W writable (with D or M: was)       M migration: on its way, not present; wait
 *  E no frame at all (see below)       X device-exclusive: not present
 *  N no access: present, locked out    H huge: part of a 2 MiB mapping
 * ```
 * E in a page table: the page was swapped out, is broken, or is a guard; the upper bits say which
 * and, for a swapped page, its slot. E in what `hmm` hands out: a request here would fail.
 * 0 means that nothing is there; no entry is 0 by accident because frame 0 does not exist.
 * "Present" is V or N. D, M and X exclude V. Device tables use the same V, W and frame.
 */
import { assert, type Brand, type Pfn } from "../base/index.ts";

export type Pte = Brand<"Pte">;

export const PTE_VALID = 1 << 0;
export const PTE_WRITE = 1 << 1;
export const PTE_ERROR = 1 << 2;
export const PTE_DEVICE_PRIVATE = 1 << 3;
export const PTE_MIGRATION = 1 << 4;
export const PTE_EXCLUSIVE = 1 << 5;
export const PTE_PROTNONE = 1 << 6;
export const PTE_HUGE = 1 << 7;

export const PTE_FLAG_BITS = 8;
const PTE_FLAG_MASK = 0xff;
const PTE_PFN_MAX = 2 ** 24 - 1;

export const PTE_NONE = 0 as Pte;

export function makePte(frame: Pfn, flags: number): Pte {
  assert(frame > 0 && frame <= PTE_PFN_MAX, () => `frame ${frame} fits no entry`);
  assert((flags & ~PTE_FLAG_MASK) === 0, "entry flags are 8 bits");
  return (((frame << PTE_FLAG_BITS) | flags) >>> 0) as Pte;
}

/** What an entry with E stands for: bits 29 up. The slot is the 21 bits below. */
export const SPECIAL_SWAP = 1;
export const SPECIAL_POISON = 2;
export const SPECIAL_GUARD = 3;
const SPECIAL_SHIFT = 29;
const SLOT_MASK = 2 ** 21 - 1;
/** Pages that a swap area may hold at most. */
export const SWAP_SLOTS_MAX = SLOT_MASK + 1;

/** An entry without a frame. `flags`: PTE_WRITE on a swapped page means "nobody shares it". */
export function makeSpecial(kind: number, slot = 0, flags = 0): Pte {
  assert(slot >= 0 && slot <= SLOT_MASK, () => `slot ${slot} fits no entry`);
  return (((kind << SPECIAL_SHIFT) | (slot << PTE_FLAG_BITS) | PTE_ERROR | flags) >>> 0) as Pte;
}

/** `SPECIAL_…`, or 0 for an entry with a frame or with nothing. */
export const specialOf = (pte: Pte): number =>
  (pte & PTE_ERROR) !== 0 ? pte >>> SPECIAL_SHIFT : 0;

/** The slot of a swapped page. */
export const swapSlotOf = (pte: Pte): number => (pte >>> PTE_FLAG_BITS) & SLOT_MASK;

/** There is a frame behind the entry, wherever it lives. */
export const hasFrame = (pte: Pte): boolean => pte !== 0 && (pte & PTE_ERROR) === 0;

export const isExclusive = (pte: Pte): boolean => (pte & PTE_EXCLUSIVE) !== 0;

/** A word that came from a page table. */
export const asPte = (word: number): Pte => word as Pte;

export const ptePfn = (pte: Pte): Pfn => (pte >>> PTE_FLAG_BITS) as Pfn;

/** A frame that the CPU could reach is behind it, locked out or not. */
export const isPresent = (pte: Pte): boolean => (pte & (PTE_VALID | PTE_PROTNONE)) !== 0;

export const isDevicePrivate = (pte: Pte): boolean => (pte & PTE_DEVICE_PRIVATE) !== 0;

export const isMigration = (pte: Pte): boolean => (pte & PTE_MIGRATION) !== 0;

export const isWritable = (pte: Pte): boolean => (pte & PTE_WRITE) !== 0;

export const withFlags = (pte: Pte, set: number, clear: number): Pte =>
  (((pte | set) & ~clear) >>> 0) as Pte;
