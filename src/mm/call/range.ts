/** What the calls ask of their ranges. */
import { PAGE_SIZE, type VirtAddr, virtAddr } from "../../base/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { LEAF_PAGES } from "../page-table.ts";

/** Bytes of a huge page. */
export const HUGE_BYTES = LEAF_PAGES * PAGE_SIZE;

/** The end of [start, start + bytes) rounded up to whole pages. */
export const pageEnd = (start: VirtAddr, bytes: number): VirtAddr =>
  virtAddr(Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE + start);

/** To cut a Vma at `address` would cut a page of the pool of huge pages. */
export function splitsHugetlb(space: AddressSpace, address: VirtAddr): boolean {
  const vma = space.vmas.find(address);
  return vma?.isHugetlb === true && address % HUGE_BYTES !== 0;
}
