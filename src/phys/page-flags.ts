/** What a frame is and what is being done with it: the bits of `Pages.flags`. */

/** The page is locked: its place and identity stay. */
export const PG_LOCKED = 1 << 0;
/** Anonymous memory: `mapping` names an anonymous reverse map, not a file. */
export const PG_ANON = 1 << 1;
/** Exactly one space maps it and may write without copying. Linux: PageAnonExclusive. */
export const PG_EXCLUSIVE = 1 << 2;
/** Written since it was filled from its backing. */
export const PG_DIRTY = 1 << 3;
/** Never freed: the zero page. */
export const PG_RESERVED = 1 << 4;
/**
 * A device holds a read-only copy. No page table entry of such a page is writable: whoever
 * wants to write raises an invalidation first, which drops the copies.
 */
export const PG_DUPLICATED = 1 << 5;
/**
 * Part of a large page: 512 frames, aligned, that were allocated as one and are locked as one.
 * Linux: a folio of order 9.
 */
export const PG_LARGE = 1 << 6;
/** From the pool of huge pages: never split. Linux: hugetlb. */
export const PG_HUGETLB = 1 << 7;
/** In a file's page cache, which holds one reference. */
export const PG_CACHED = 1 << 8;
/** Its memory is broken: never handed out again. Linux: PG_hwpoison. */
export const PG_POISONED = 1 << 9;
/** Looked at since the last round of reclaim. */
export const PG_REFERENCED = 1 << 10;

/** Frames of a large page. */
export const LARGE_FRAMES = 512;

/** The names of the flags, bit 0 first: for whoever draws them. */
export const PAGE_FLAG_NAMES = [
  "locked",
  "anon",
  "exclusive",
  "dirty",
  "reserved",
  "duplicated",
  "large",
  "hugetlb",
  "cached",
  "poisoned",
  "referenced",
] as const;
