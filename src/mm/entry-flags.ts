/** What an entry may say where a Vma says what the program may do. */
import type { Pfn } from "../base/index.ts";
import { PTE_DEVICE_PRIVATE, PTE_PROTNONE, PTE_VALID, PTE_WRITE } from "./pte.ts";
import { VM_READ, VM_WRITE, type Vma } from "./vma.ts";

/** The flags of an entry that maps a page of `vma` in memory that the CPU can touch. */
export function presentFlags(vma: Vma, mayWrite: boolean): number {
  if (!vma.allows(VM_READ)) return PTE_PROTNONE;
  return PTE_VALID | (mayWrite && vma.allows(VM_WRITE) ? PTE_WRITE : 0);
}

/** The same for a page that may live on a device. */
export function flagsAt(vma: Vma, frame: Pfn, write: number): number {
  if (vma.space.memory.isPrivate(frame)) return PTE_DEVICE_PRIVATE | write;
  return presentFlags(vma, write !== 0);
}
