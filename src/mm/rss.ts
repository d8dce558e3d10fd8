/**
 * What counts as resident: mapped pages by kind, wherever they live. A device-private, migrating
 * or exclusive page counts as the page that it stands for; the zero page and a driver's own pages
 * count as nothing. Linux: mm_counter(), include/linux/mm.h.
 */
import { PG_ANON, PG_RESERVED } from "../phys/index.ts";
import type { Memory } from "./memory.ts";
import { hasFrame, type Pte, ptePfn, SPECIAL_SWAP, specialOf } from "./pte.ts";

export const MM_FILEPAGES = 0;
export const MM_ANONPAGES = 1;
export const MM_SWAPENTS = 2;
export const MM_SHMEMPAGES = 3;
export const NR_MM_COUNTERS = 4;

/** Which counter `pte` counts in (`MM_…`), or -1 for none. */
export function rssKindOf(memory: Memory, pte: Pte): number {
  if (!hasFrame(pte)) return specialOf(pte) === SPECIAL_SWAP ? MM_SWAPENTS : -1;
  const frame = ptePfn(pte);
  const flags = memory.pages.flags[frame]!;
  if (flags & PG_ANON) return MM_ANONPAGES;
  if (flags & PG_RESERVED) return -1;
  return memory.reverseMap(memory.pages.mapping[frame]!)?.file?.isShmem === false
    ? MM_FILEPAGES
    : MM_SHMEMPAGES;
}
