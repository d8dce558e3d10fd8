/**
 * Law: all 512 words of a huge entry say the same, with frames in a row; nothing else says "huge".
 */
import { assert } from "../base/index.ts";
import { leafStart, PTE_FLAG_BITS, PTE_HUGE, ptePfn } from "../mm/index.ts";
import { ZERO_PFN } from "../phys/index.ts";
import type { Entry } from "./entry.ts";

export function checkHuge(entry: Entry): void {
  const { page, pte } = entry;
  const { pageTable } = entry.space;
  const isHuge = (pte & PTE_HUGE) !== 0;
  assert(pageTable.isHuge(page) === isHuge, () => `${entry.where}: huge or not?`);
  if (!isHuge) return;
  const head = pageTable.get(leafStart(page));
  const step = ptePfn(head) === ZERO_PFN ? 0 : page - leafStart(page);
  const expected = (head + (step << PTE_FLAG_BITS)) >>> 0;
  assert(pte === expected, () => `${entry.where}: not in step with its huge entry`);
}
