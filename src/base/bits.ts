/** Bit sets in words: one bit an index, kept in a `Uint32Array` that the caller owns. */

export const bitWords = (bits: number): number => (bits + 31) >>> 5;

export const testBit = (words: Uint32Array, index: number): boolean =>
  (words[index >>> 5]! & (1 << (index & 31))) !== 0;

export function setBit(words: Uint32Array, index: number): void {
  words[index >>> 5] = words[index >>> 5]! | (1 << (index & 31));
}

export function clearBit(words: Uint32Array, index: number): void {
  words[index >>> 5] = words[index >>> 5]! & ~(1 << (index & 31));
}
