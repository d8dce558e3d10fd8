/** Law: what a page table counts in each of its leaves agrees with the words that are there. */
import { assert } from "../base/index.ts";
import {
  type AddressSpace,
  LEAF_COUNTERS,
  LEAF_USED,
  LEAF_VALID,
  LEAF_WRITABLE,
  PTE_VALID,
  PTE_WRITE,
} from "../mm/index.ts";
import { unwatched } from "../sync/index.ts";

export function checkLeafCounts({ id, pageTable }: AddressSpace): void {
  const directory = unwatched(pageTable.directory);
  const counters = unwatched(pageTable.counters);
  for (let at = 0; at < directory.length; at++) {
    const leaf = directory[at]!;
    if (leaf < 0) continue;
    let used = 0;
    let valid = 0;
    let writable = 0;
    for (const pte of unwatched(pageTable.leaves[leaf]!)) {
      if (pte !== 0) used++;
      if ((pte & PTE_VALID) !== 0) valid++;
      if ((pte & PTE_WRITE) !== 0) writable++;
    }
    const base = leaf * LEAF_COUNTERS;
    assert(
      counters[base + LEAF_USED] === used &&
        counters[base + LEAF_VALID] === valid &&
        counters[base + LEAF_WRITABLE] === writable,
      () =>
        `space ${id}, leaf ${at}: ${counters.subarray(base, base + 3)} used, valid, writable ` +
        `entries are counted, not ${used},${valid},${writable}`,
    );
  }
}
