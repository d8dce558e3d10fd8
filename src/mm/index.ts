/**
 * # mm: intent and fact
 * An address space: what the program asked for (`Vma`s, the *intent*), what is really there (the
 * `PageTable`, the *fact*), and who holds copies of that (the *shadows*: CPU backends, devices).
 * Outside an invalidation, shadow is within fact is within intent. Frames that a shadow has stay.
 *
 * **Nouns.** *AddressSpace*, *Vma*, *PageTable*, *PageTableCursor* (its only pen), *ReverseMap*
 * (from a page to its Vmas), *Memory* (what spaces share).
 *
 * **Invariants.** A present entry changes, and a right shrinks, inside an invalidation that covers
 * it. Order: intent, devices' shadows, fact, CPU's shadows, frames. Who may write a private page
 * has it alone (`PG_EXCLUSIVE`); a page with `PG_DUPLICATED` is never writable.
 *
 * **Locks.** `mmapLock` for writing to change Vmas, for reading to look and to fault.
 *
 * **Example.**
 * ```ts
 * const at = yield* mmap(space, { bytes, flags: VM_READ });
 * const child = yield* fork(space);                      // copy on write
 * yield* cpuFault(space, virtAddr(at), FAULT_WRITE);     // a frame appears
 * yield* mmput(space);                                   // the last user tears it down
 * ```
 *
 * **What it refuses.** Where pages should live: policy is the drivers'.
 */
export { AddressSpace, MMAP_BASE, MMAP_END, MMAP_MIN_ADDR } from "./address-space.ts";
export {
  Advice,
  adviseAccess,
  fork,
  MapMode,
  type MmapOptions,
  madvise,
  madviseDontNeed,
  mapSpecial,
  mmap,
  mmput,
  mmputAsync,
  mprotect,
  mremap,
  munmap,
  poisonPage,
  releaseSpecial,
  SpecialKind,
} from "./call/index.ts";
export type { CpuMmu } from "./cpu-mmu.ts";
export type { PageTableCursor } from "./cursor.ts";
export { dumpSpace } from "./dump.ts";
export { flagsAt, presentFlags } from "./entry-flags.ts";
export { makeDeviceExclusive, putExclusive } from "./exclusive.ts";
export {
  changeProtNuma,
  cpuFault,
  FAULT_REMOTE,
  FAULT_SIGBUS,
  FAULT_TRIED,
  FAULT_WRITE,
  type Fault,
  handleMmFault,
  tryFault,
} from "./fault/index.ts";
export { CachedFile, type CachedFileOptions, type FileBacking } from "./file/index.ts";
export { splitHuge, splitLargePage } from "./large/index.ts";
export { type HugePagePolicy, Memory, type MemoryOptions } from "./memory.ts";
export {
  freezeMappings,
  freezeOpen,
  holdStill,
  mappersOf,
  thawMappings,
  thawOpen,
} from "./migration-entries.ts";
export {
  LEAF_COUNTERS,
  LEAF_PAGES,
  LEAF_SHIFT,
  LEAF_USED,
  LEAF_VALID,
  LEAF_WRITABLE,
  leafEnd,
  leafStart,
  PageTable,
} from "./page-table.ts";
export type { DevPagemap } from "./pagemap.ts";
export { isPinned, type PinnedPages, pinPages, unpinPages } from "./pin.ts";
export {
  asPte,
  hasFrame,
  isDevicePrivate,
  isExclusive,
  isMigration,
  isPresent,
  isWritable,
  makePte,
  makeSpecial,
  PTE_DEVICE_PRIVATE,
  PTE_ERROR,
  PTE_EXCLUSIVE,
  PTE_FLAG_BITS,
  PTE_HUGE,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PROTNONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  SPECIAL_GUARD,
  SPECIAL_POISON,
  SPECIAL_SWAP,
  specialOf,
  swapSlotOf,
  withFlags,
} from "./pte.ts";
export type { ReverseMap } from "./reverse-map.ts";
export {
  MM_ANONPAGES,
  MM_FILEPAGES,
  MM_SHMEMPAGES,
  MM_SWAPENTS,
  NR_MM_COUNTERS,
  rssKindOf,
} from "./rss.ts";
export { evictRange, reclaimPages } from "./swap/index.ts";
export { MemorySwapStore, SwapArea, type SwapStore } from "./swap-area.ts";
export {
  VM_ACCESS,
  VM_ACCOUNT,
  VM_DONTCOPY,
  VM_DONTEXPAND,
  VM_EXEC,
  VM_HUGEPAGE,
  VM_HUGETLB,
  VM_IO,
  VM_MAYREAD,
  VM_MAYWRITE,
  VM_MIXEDMAP,
  VM_NOHUGEPAGE,
  VM_PFNMAP,
  VM_READ,
  VM_SHARED,
  VM_SPECIAL,
  VM_WRITE,
  Vma,
} from "./vma.ts";
export { VM_HINTS, VmHint } from "./vma-hints.ts";
