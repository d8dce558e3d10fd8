/**
 * A range: one aligned chunk of a space as one device sees it, mapped and dropped as a whole.
 * Linux: struct drm_gpusvm_range.
 */
import { type AddrRange, type Handle, type VirtAddr, virtAddr, vpnOf } from "../base/index.ts";
import { HMM_PFN_WRITE } from "../hmm/index.ts";

const NO_WORDS = new Uint32Array(0);

/** The aligned block of `bytes` (a power of two) that contains `address`. */
export function blockAround(address: VirtAddr, bytes: number): AddrRange {
  const start = virtAddr(address - (address % bytes));
  return { start, end: virtAddr(start + bytes) };
}

export const isWithin = (inner: AddrRange, outer: AddrRange): boolean =>
  outer.start <= inner.start && inner.end <= outer.end;

/** Its fields are for drivers to read; `SvmRanges` and `getPages` write them. */
export class SvmRange implements AddrRange {
  readonly start: VirtAddr;
  readonly end: VirtAddr;
  /** What each page is, as HMM said it (frame << 8 | flags). Right while `pagesValid`. */
  words: Uint32Array = NO_WORDS;
  /**
   * Nothing has touched the range since `words` was read. Set under the notifier lock after the
   * check of the sequence, cleared by the callback; a flag a range, because one interval hears of
   * events that concern other ranges.
   */
  pagesValid = false;
  /** The device may have entries of it. Stays true when `pagesValid` goes, until they are gone. */
  isBound = false;
  /** Part of it was unmapped: it waits to be removed, and is mapped no more. */
  isUnmapped = false;
  /** Not all of it was unmapped: what is left must be found again, in smaller chunks. */
  isPartial = false;
  /** In the tree of its interval. */
  handle: Handle | -1 = -1;

  constructor(range: AddrRange) {
    this.start = range.start;
    this.end = range.end;
  }

  get pageCount(): number {
    return vpnOf(this.end) - vpnOf(this.start);
  }

  /** The device has the page of `address` with the right to do that: nothing is left to do. */
  serves(address: VirtAddr, write: boolean): boolean {
    if (!this.isBound || !this.pagesValid) return false;
    const word = this.words[vpnOf(address) - vpnOf(this.start)]!;
    return !write || (word & HMM_PFN_WRITE) !== 0;
  }
}
