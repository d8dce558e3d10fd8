/**
 * The words of a leaf, copied into those of a range: loops over columns, without a call a page.
 */
import type { Pfn } from "../base/index.ts";
import { PTE_DEVICE_PRIVATE, PTE_FLAG_BITS, PTE_HUGE, PTE_VALID, PTE_WRITE } from "../mm/index.ts";

/** All frame bits and what a device may know besides. */
export const OUTPUT_MASK = ~0xff | PTE_VALID | PTE_WRITE | PTE_HUGE;

/** Words of a leaf on their way. Frames of [low, high] are the caller's own private ones. */
export interface WordRun {
  readonly leaf: Uint32Array;
  readonly pfns: Uint32Array;
  /** Words [at, end) of the leaf are left; word 0 goes to `to`. */
  at: number;
  end: number;
  to: number;
  low: number;
  high: number;
  /** Flags that every word must have. */
  readonly need: number;
}

export const isKnown = ({ low, high }: WordRun, frame: Pfn): boolean =>
  frame >= low && frame <= high;

/**
 * Goes on as long as something is there that may be copied. Whether it is private is nothing that
 * a processor could predict: hence no branch, but a mask of what counts as there.
 */
export function copyFull(run: WordRun): void {
  const { leaf, pfns, end, to, low, high } = run;
  const need = run.need & PTE_WRITE;
  const isPrivate = PTE_DEVICE_PRIVATE;
  const shift = PTE_FLAG_BITS;
  const mask = OUTPUT_MASK;
  const isValid = PTE_VALID;
  let at = run.at;
  for (; at < end; at++) {
    const pte = leaf[at]! | 0;
    const frame = pte >>> shift;
    const isOut = ((frame - low) | (high - frame)) >> 31;
    if ((pte & (isValid | (isPrivate & ~isOut))) === 0) break;
    if ((pte & need) !== need) break;
    pfns[to + at] = (pte & mask) | isValid;
  }
  run.at = at;
}

/** The same where pages are missing, too. */
export function copyMixed(run: WordRun): void {
  const { leaf, pfns, end, to, low, high, need } = run;
  const isPrivate = PTE_DEVICE_PRIVATE;
  const shift = PTE_FLAG_BITS;
  const mask = OUTPUT_MASK;
  const isValid = PTE_VALID;
  let at = run.at;
  for (; at < end; at++) {
    const pte = leaf[at]! | 0;
    const frame = pte >>> shift;
    const isOut = ((frame - low) | (high - frame)) >> 31;
    const isThere = (pte & (isValid | (isPrivate & ~isOut))) !== 0;
    if (!isThere && (pte & isPrivate) !== 0) break;
    const word = isThere ? (pte & mask) | isValid : 0;
    if ((word & need) !== need) break;
    pfns[to + at] = word;
  }
  run.at = at;
}
