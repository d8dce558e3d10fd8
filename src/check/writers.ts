/**
 * Law: who may write a page has it alone. The zero page is never writable, a private page only for
 * the one who owns it, and a page that devices have copies of for nobody.
 */
import { assert } from "../base/index.ts";
import { PTE_WRITE, type Vma } from "../mm/index.ts";
import { PG_DUPLICATED, PG_EXCLUSIVE, ZERO_PFN } from "../phys/index.ts";
import type { Entry } from "./entry.ts";

export function checkWriter(entry: Entry, vma: Vma): void {
  if ((entry.pte & PTE_WRITE) === 0 || !entry.isHere) return;
  const { frame } = entry;
  const { pages } = entry.space.memory;
  assert(!pages.is(frame, PG_DUPLICATED), () => `${entry.where} is writable and has copies`);
  assert(frame !== ZERO_PFN, () => `${entry.where} could write the zero page`);
  const isShared = vma.isShared || pages.is(frame, PG_EXCLUSIVE);
  assert(isShared, () => `${entry.where} could write a page that others see`);
}
