/**
 * Half-open address ranges `[start, end)`. `end` may be 2^32, one past the last byte.
 */
import { isPageAligned, SPACE_BYTES, type VirtAddr } from "./brand.ts";

export interface AddrRange {
  readonly start: VirtAddr;
  readonly end: VirtAddr;
}

export const rangeBytes = (range: AddrRange): number => range.end - range.start;

/** Adjacent ranges do not overlap: the ends are exclusive. */
export const overlaps = (a: AddrRange, b: AddrRange): boolean => a.start < b.end && b.start < a.end;

export const contains = (range: AddrRange, address: VirtAddr): boolean =>
  address >= range.start && address < range.end;

/** Page aligned, not empty, inside the space. */
export const isPageRange = (start: number, end: number): boolean =>
  Number.isSafeInteger(start) &&
  Number.isSafeInteger(end) &&
  isPageAligned(start) &&
  isPageAligned(end) &&
  start >= 0 &&
  start < end &&
  end <= SPACE_BYTES;

/** `0x1000..0x3000`, for messages. */
export const formatRange = (range: AddrRange): string =>
  `${formatAddress(range.start)}..${formatAddress(range.end)}`;

export const formatAddress = (address: number): string => `0x${address.toString(16)}`;
