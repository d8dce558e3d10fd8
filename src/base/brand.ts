/**
 * Numbers that know what they count. A brand costs nothing at run time; the casts that make
 * one live in this file only, next to the unit's arithmetic.
 *
 * The space is 32 bits wide, so that a WebAssembly pointer, a WGSL `u32` and an address are
 * the same number. Addresses are kept as non-negative doubles (`>>> 0` after bit operations).
 */

declare const brand: unique symbol;
export type Brand<Name extends string> = number & { readonly [brand]: Name };

/** A byte address of the space, 0 to 2^32 - 1. An exclusive end may be 2^32 itself. */
export type VirtAddr = Brand<"VirtAddr">;
/** A virtual page number: address / PAGE_SIZE, 0 to 2^20 - 1 (an exclusive end may be 2^20). */
export type Vpn = Brand<"Vpn">;
/** A page frame number: index into the columns of `Pages`. 0 is never a frame. */
export type Pfn = Brand<"Pfn">;

export const PAGE_SHIFT = 12;
export const PAGE_SIZE = 1 << PAGE_SHIFT;
/** Bytes of one address space. */
export const SPACE_BYTES = 2 ** 32;
/** Pages of one address space. */
export const SPACE_PAGES = SPACE_BYTES / PAGE_SIZE;

export const virtAddr = (address: number): VirtAddr => address as VirtAddr;
export const vpn = (page: number): Vpn => page as Vpn;
export const pfn = (frame: number): Pfn => frame as Pfn;

/** The page that contains `address`; right for an exclusive end of 2^32 too. */
export const vpnOf = (address: VirtAddr): Vpn => Math.floor(address / PAGE_SIZE) as Vpn;
export const addrOf = (page: Vpn): VirtAddr => (page * PAGE_SIZE) as VirtAddr;
export const pageAlignDown = (address: VirtAddr): VirtAddr =>
  (address - (address % PAGE_SIZE)) as VirtAddr;
export const pageAlignUp = (address: VirtAddr): VirtAddr =>
  (Math.ceil(address / PAGE_SIZE) * PAGE_SIZE) as VirtAddr;
export const isPageAligned = (value: number): boolean => value % PAGE_SIZE === 0;
