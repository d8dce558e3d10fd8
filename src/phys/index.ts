/**
 * # phys: frames and what is known about each
 *
 * **Nouns.** *Pfn*: a frame's number, its identity. *Pages*: the columns (references, mappings,
 * pins, flags, owner, reverse map). *Zone*: a run of frames with a free set; RAM or one device's.
 * *FrameBytes*: what is in RAM frames. *MemoryGroup*: who pays.
 *
 * **Invariants.**
 * - Frame 0 does not exist: a page table entry of 0 means "nothing". Frame 1 is the zero page.
 * - A frame is free (refs 0) or used (refs > 0); only `Pages` changes that.
 * - refs >= mapcount + pins: a mapping and a pin each hold a reference.
 * - Device frames have no bytes here: the CPU cannot touch them.
 *
 * **Locks.** The page lock (`PG_LOCKED`, class "page"); all else is plain and therefore atomic.
 *
 * **Example.**
 * ```ts
 * const pages = new Pages(scheduler, 1024);
 * const ram = new Zone({ name: "ram", start: FIRST_ZONE_PFN, count: 512 });
 * pages.addZone(ram);
 * const frame = pages.alloc(ram);             // 0 when full
 * if (frame !== 0) pages.put(frame);          // the last reference frees it
 * ```
 *
 * **What it refuses.** Knowing what maps a frame (`mm`), moving it (`devmem`).
 */
export { MemoryGroup } from "./accounting.ts";
export { type BulkMemory, FrameBytes, type FrameBytesOptions, runLength } from "./frame-bytes.ts";
export {
  LARGE_FRAMES,
  PAGE_FLAG_NAMES,
  PG_ANON,
  PG_CACHED,
  PG_DIRTY,
  PG_DUPLICATED,
  PG_EXCLUSIVE,
  PG_HUGETLB,
  PG_LARGE,
  PG_LOCKED,
  PG_POISONED,
  PG_REFERENCED,
  PG_RESERVED,
} from "./page-flags.ts";
export { FIRST_ZONE_PFN, Pages, ZERO_PFN } from "./pages.ts";
export { Zone, type ZoneOptions } from "./zone.ts";
