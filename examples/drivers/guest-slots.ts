/** Memory slots of a virtual machine: which guest page is which page of the program. */
import {
  type AddrRange,
  asPte,
  HMM_PFN_HUGE,
  HMM_PFN_WRITE,
  PAGE_SIZE,
  type Pte,
  ptePfn,
  type VirtAddr,
  virtAddr,
  vpnOf,
} from "onespace/driver";
import { entryAt, LARGE_PAGES } from "./secondary-mmu-hardware.ts";

export interface Slot {
  /** The first guest page. */
  readonly gfn: number;
  readonly pages: number;
  /** Where the program has them. */
  readonly address: VirtAddr;
  readonly isReadOnly?: boolean;
}

/** Guest pages [from, to). */
export interface GfnRange {
  readonly from: number;
  readonly to: number;
}

/** One entry of the guest table. */
export interface Mapping extends GfnRange {
  readonly entry: Pte;
}

/** What an event means to the guest: a part of each slot that shows memory of it. */
export function partsOf(slots: readonly Slot[], { start, end }: AddrRange): GfnRange[] {
  return slots
    .map(({ gfn, pages, address }) => {
      const offset = gfn - vpnOf(address);
      const from = Math.max(gfn, vpnOf(start) + offset);
      return { from, to: Math.min(gfn + pages, vpnOf(end) + offset) };
    })
    .filter(({ from, to }) => from < to);
}

/** What a word of HMM maps: the page, or a large page if it and the slot agree on one. */
export function mappingOf(slot: Slot, gfn: number, word: number): Mapping {
  const index = gfn % LARGE_PAGES;
  const from = gfn - index;
  const first = ptePfn(asPte(word)) - index;
  const entry = asPte(word & ~(HMM_PFN_HUGE | (slot.isReadOnly ? HMM_PFN_WRITE : 0)));
  const isInSlot = from >= slot.gfn && from + LARGE_PAGES <= slot.gfn + slot.pages;
  // The huge zero page is one frame 512 times, which no large entry can say.
  const isAligned = first > 0 && first % LARGE_PAGES === 0;
  const isLarge = (word & HMM_PFN_HUGE) !== 0 && isInSlot && isAligned;
  if (!isLarge) return { from: gfn, to: gfn + 1, entry };
  return { from, to: from + LARGE_PAGES, entry: entryAt(entry, -index) };
}

export const addressOf = (slot: Slot, gfn: number): VirtAddr =>
  virtAddr(slot.address + (gfn - slot.gfn) * PAGE_SIZE);

export const gfnsOf = ({ gfn, pages }: Slot): GfnRange => ({ from: gfn, to: gfn + pages });

export const meet = (one: GfnRange, other: GfnRange): boolean =>
  one.from < other.to && other.from < one.to;

export const union = (one: GfnRange, other: GfnRange): GfnRange => ({
  from: Math.min(one.from, other.from),
  to: Math.max(one.to, other.to),
});
