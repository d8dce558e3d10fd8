/** A column of what user code may touch now, page by page: the shadow of a window's backend. */
import { PAGE_SIZE, type VirtAddr, vpn } from "../base/index.ts";
import { REACH_WRITE, type ShadowVisitor } from "../check/index.ts";
import { type AddressSpace, PTE_VALID, PTE_WRITE, type Pte } from "../mm/index.ts";
import { ZERO_PFN } from "../phys/index.ts";

/**
 * What the CPU may do by an entry: PTE_VALID, PTE_WRITE. Entries of pages that live elsewhere
 * have a write bit, too: it says what they may do when they are back.
 */
export const rightsIn = (pte: Pte): number =>
  (pte & PTE_VALID) === 0 ? 0 : pte & (PTE_VALID | PTE_WRITE);

/** `rights` (Vpn -> PTE_VALID, PTE_WRITE) allows every page of [address, address + bytes). */
export function allows(
  rights: Uint8Array,
  address: VirtAddr,
  bytes: number,
  write: boolean,
): boolean {
  const need = PTE_VALID | (write ? PTE_WRITE : 0);
  const last = Math.floor((address + bytes - 1) / PAGE_SIZE);
  for (let page = Math.floor(address / PAGE_SIZE); page <= last; page++) {
    if ((rights[page]! & need) !== need) return false;
  }
  return true;
}

/**
 * What `rights` reach: in a window that is the frame whose bytes lie at the page's address. A free
 * one holds zeros, so it is as good as the zero page.
 */
export function reachableBy(rights: Uint8Array, space: AddressSpace, visit: ShadowVisitor): void {
  const { bytes, ram } = space.memory;
  for (let page = 0; page < rights.length; page++) {
    if (rights[page] === 0) continue;
    const frame = bytes.frameAt(page);
    const reach = rights[page]! & PTE_WRITE ? REACH_WRITE : 0;
    visit(vpn(page), ram.isUsed(frame) ? frame : ZERO_PFN, reach);
  }
}
