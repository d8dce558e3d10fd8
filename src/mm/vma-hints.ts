/**
 * Flags of a `Vma` that say who will access it: hints, which no rule of memory depends on. They
 * are kept as all flags are: they split and merge Vmas, go with `mremap` and `fork`, and die with
 * `munmap`. CUDA: cudaMemAdvise().
 */
export const VmHint = {
  /** Who reads leaves others their copies. CUDA: cudaMemAdviseSetReadMostly. */
  readMostly: 1 << 17,
  /** It belongs on the device, or in RAM. CUDA: cudaMemAdviseSetPreferredLocation. */
  preferDevice: 1 << 18,
  preferCpu: 1 << 19,
  /** The device will access it. CUDA: cudaMemAdviseSetAccessedBy. */
  accessedByDevice: 1 << 20,
} as const;

/** All of them. */
export const VM_HINTS =
  VmHint.readMostly | VmHint.preferDevice | VmHint.preferCpu | VmHint.accessedByDevice;

const NAMES: Readonly<Record<keyof typeof VmHint, string>> = {
  readMostly: "read-mostly",
  preferDevice: "preferred-device",
  preferCpu: "preferred-cpu",
  accessedByDevice: "accessed-by-device",
};

/** Those that `flags` has, in words. */
export const hintNames = (flags: number): string =>
  (Object.keys(VmHint) as (keyof typeof VmHint)[])
    .filter((hint) => (flags & VmHint[hint]) !== 0)
    .map((hint) => NAMES[hint])
    .join(",");
