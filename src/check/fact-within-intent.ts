/**
 * Law: fact is within intent. Every entry lies in a Vma and gives no right that the Vma does not;
 * Vmas are sorted and apart.
 */
import { assert, formatRange } from "../base/index.ts";
import {
  type AddressSpace,
  hasFrame,
  PTE_VALID,
  PTE_WRITE,
  VM_READ,
  VM_WRITE,
} from "../mm/index.ts";
import type { Entry } from "./entry.ts";

export function checkVmas(space: AddressSpace): void {
  let end = 0;
  for (const vma of space.vmas.all) {
    const isInOrder = vma.start >= end && vma.end > vma.start;
    assert(isInOrder, () => `Vma ${formatRange(vma)} is out of order`);
    end = vma.end;
  }
}

/** While somebody works the fact may be late: munmap and mprotect change the intent first. */
export function checkIntent(entry: Entry, isQuiet: boolean): void {
  if (!isQuiet) return;
  const { pte, vma } = entry;
  assert(vma !== undefined, () => `${entry.where} is mapped outside every Vma`);
  if (!hasFrame(pte)) return;
  const mayRead = (pte & PTE_VALID) === 0 || vma.allows(VM_READ);
  assert(mayRead, () => `${entry.where} is readable, its Vma is not`);
  const mayWrite = (pte & PTE_WRITE) === 0 || vma.allows(VM_WRITE);
  assert(mayWrite, () => `${entry.where} is writable, its Vma is not`);
}
