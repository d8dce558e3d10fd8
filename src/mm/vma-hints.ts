/**
 * Flags of a `Vma` that say who will access it: hints, which no rule of memory depends on. They
 * are kept as all flags are: they split and merge Vmas, go with `mremap` and `fork`, and die with
 * `munmap`. CUDA: cudaMemAdvise().
 */

/** Mostly read: who reads leaves others their copies. CUDA: cudaMemAdviseSetReadMostly. */
export const VM_READ_MOSTLY = 1 << 17;
/** Belongs on the device, or in RAM. CUDA: cudaMemAdviseSetPreferredLocation. */
export const VM_PREFER_DEVICE = 1 << 18;
export const VM_PREFER_CPU = 1 << 19;
/** The device will access it. CUDA: cudaMemAdviseSetAccessedBy. */
export const VM_ACCESSED_BY_DEVICE = 1 << 20;

export const VM_HINTS = VM_READ_MOSTLY | VM_PREFER_DEVICE | VM_PREFER_CPU | VM_ACCESSED_BY_DEVICE;

const NAMES: readonly (readonly [flag: number, name: string])[] = [
  [VM_READ_MOSTLY, "read-mostly"],
  [VM_PREFER_DEVICE, "preferred-device"],
  [VM_PREFER_CPU, "preferred-cpu"],
  [VM_ACCESSED_BY_DEVICE, "accessed-by-device"],
];

/** Those that `flags` has, in words. */
export const hintNames = (flags: number): string =>
  NAMES.filter(([flag]) => (flags & flag) !== 0)
    .map(([, name]) => name)
    .join(",");
