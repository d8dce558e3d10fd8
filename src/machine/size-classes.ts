/**
 * The sizes in which a heap hands out small blocks: four steps a power of two, so that at most
 * a fifth of a block is not asked for. A block of a class lies at a multiple of the class size
 * from a page boundary, so it is aligned to every power of two that divides the size.
 */
import { assert, PAGE_SIZE } from "../base/index.ts";

export const SMALL_MAX = 2048;

export const CLASS_BYTES: readonly number[] = [
  8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768,
  896, 1024, 1280, 1536, 1792, 2048,
];
assert(CLASS_BYTES.at(-1) === SMALL_MAX, "the last class is the greatest small block");

/** Blocks above this share four pages, so that little is left over at the end. */
const ONE_PAGE_MAX = 256;

export const classPages = (bytes: number): number => (bytes <= ONE_PAGE_MAX ? 1 : 4);
export const classSlots = (bytes: number): number =>
  Math.floor((classPages(bytes) * PAGE_SIZE) / bytes);

// (bytes + 7) / 8 -> class
const CLASS_OF = Uint8Array.from({ length: SMALL_MAX / 8 + 1 }, (_, eighths) =>
  CLASS_BYTES.findIndex((bytes) => bytes >= eighths * 8),
);

/** The smallest class that holds `bytes` (at most SMALL_MAX) at multiples of `align`. */
export function classOf(bytes: number, align: number): number {
  let index = CLASS_OF[(bytes + 7) >>> 3]!;
  // Ends: 2048 is a multiple of every alignment that is asked for here.
  while ((CLASS_BYTES[index]! & (align - 1)) !== 0) index++;
  return index;
}
