/**
 * # mm: intent and fact
 *
 * An address space: what the program asked for (`Vma`s, the *intent*), what is really there (the
 * `PageTable`, the *fact*), and who holds copies of that (the *shadows*: CPU backends, devices).
 * Outside an invalidation, shadow is within fact is within intent. Rights grow downward by
 * faults and shrink upward by invalidation; a frame is freed when no shadow can reach it.
 *
 * **Nouns.** *AddressSpace*, *Vma*, *PageTable* (read by all), *Cursor* (its only pen), *Fault*,
 * *Memory* (what the spaces of a machine share), and two interfaces for those above: *CpuMmu*,
 * *DevPagemap*. A file an operation: `map`, `unmap`, `protect`, `fault`, `pin`, `exit`.
 *
 * **Invariants.**
 * - Every change of a present entry and every right that shrinks happens inside an invalidation
 *   that covers it. A right that grows needs none.
 * - Order in an operation: intent, devices' shadows, fact, CPU's shadows, frames.
 * - An entry of a page with `PG_DUPLICATED` is never writable.
 *
 * **Locks.** `mmapLock` for writing to change VMAs, for reading to look and to fault.
 *
 * **Example.**
 * ```ts
 * const space = new AddressSpace(memory);
 * const at = yield* mmap(space, { bytes: 0x4000, flags: VM_READ | VM_WRITE });
 * yield* cpuFault(space, virtAddr(at), FAULT_WRITE);     // a frame appears
 * yield* munmap(space, virtAddr(at), 0x4000);
 * yield* mmput(space);                                   // the last user tears it down
 * ```
 *
 * **What it refuses (so far).** Files, fork, huge pages, swap.
 */
export {
  AddressSpace,
  type AddressSpaceOptions,
  MMAP_BASE,
  MMAP_END,
  MMAP_MIN_ADDR,
} from "./address-space.ts";
export { madviseDontNeed } from "./advise.ts";
export type { CpuMmu } from "./cpu-mmu.ts";
export { type Cursor, countsAsResident } from "./cursor.ts";
export { mmput, mmputAsync } from "./exit.ts";
export {
  canReuse,
  cpuFault,
  FAULT_REMOTE,
  FAULT_SIGBUS,
  FAULT_WRITE,
  type Fault,
  handleMmFault,
  permits,
  presentFlags,
} from "./fault.ts";
export { MapMode, type MmapOptions, mmap } from "./map.ts";
export { Memory, type MemoryOptions } from "./memory.ts";
export {
  LEAF_DEVICE,
  LEAF_PAGES,
  LEAF_SHIFT,
  LEAF_USED,
  LEAF_VALID,
  LEAF_WRITABLE,
  PageTable,
} from "./page-table.ts";
export type { DevPagemap } from "./pagemap.ts";
export { isPinned, type PinnedPages, type PinOptions, pinPages, unpinPages } from "./pin.ts";
export { mprotect } from "./protect.ts";
export {
  asPte,
  isDevicePrivate,
  isMigration,
  isPresent,
  isWritable,
  makePte,
  PTE_DEVICE_PRIVATE,
  PTE_ERROR,
  PTE_EXCLUSIVE,
  PTE_FLAG_BITS,
  PTE_FLAG_MASK,
  PTE_FLAG_NAMES,
  PTE_HUGE,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_PROTNONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  withFlags,
} from "./pte.ts";
export { munmap, unmapRange } from "./unmap.ts";
export { VM_ACCESS, VM_EXEC, VM_READ, VM_SHARED, VM_WRITE, Vma, VmaSet } from "./vma.ts";
