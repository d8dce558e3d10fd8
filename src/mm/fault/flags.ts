/** The words that all faults share. */
import { EIO, type Pfn, type Result, type Vpn } from "../../base/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { VM_READ, VM_WRITE, type Vma } from "../vma.ts";

/** The access writes. */
export const FAULT_WRITE = 1 << 0;
/** Not by the CPU: a device or a pin asks. Linux: FAULT_FLAG_REMOTE. */
export const FAULT_REMOTE = 1 << 1;
/**
 * This access has waited for a device once already (`DevPagemap.migrateToRam`) and need not do so
 * again. Linux: FAULT_FLAG_TRIED, of a fault that dropped mmapLock to wait.
 */
export const FAULT_TRIED = 1 << 2;

/** The page exists but cannot be had: its device failed, its file ended. Linux: VM_FAULT_SIGBUS. */
export const FAULT_SIGBUS: Result = -EIO;

/** What a page map needs to know to bring a page home. */
export interface Fault {
  readonly space: AddressSpace;
  readonly vma: Vma;
  readonly page: Vpn;
  readonly flags: number;
  /** The frame that the entry named: locked, and referenced once for this fault. */
  readonly frame: Pfn;
}

/** The program has the right to do what `flags` says anywhere in `vma`. */
export function permits(vma: Vma, flags: number): boolean {
  return vma.allows(flags & FAULT_WRITE ? VM_READ | VM_WRITE : VM_READ);
}
