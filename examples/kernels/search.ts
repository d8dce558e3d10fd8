/** Where a text has a pattern: an invocation looks at a block of it, byte by byte. */
import { type Machine, ptr, u32 } from "onespace";

/** Bytes of the text that one invocation looks at. */
export const BLOCK = 64;
export const NOWHERE = 0xffff_ffff;

const byteAt = (words: { readonly [index: number]: number }, at: number): number =>
  (words[at >>> 2]! >>> ((at & 3) * 8)) & 255;

/** `first[i]` is where the pattern begins for the first time in block i, or `NOWHERE`. */
export const search = (machine: Machine) =>
  machine.kernel(
    { text: ptr(u32), bytes: u32, pattern: ptr(u32), length: u32, first: ptr(u32) },
    (i, { text, bytes, pattern, length, first }, { BLOCK, NOWHERE, byteAt }) => {
      first[i] = NOWHERE;
      for (let at = i * BLOCK; at < (i + 1) * BLOCK && at + length <= bytes; at++) {
        let same = 0;
        while (same < length && byteAt(text, at + same) === byteAt(pattern, same)) same++;
        if (same === length) {
          first[i] = at;
          return;
        }
      }
    },
    { name: "search", uses: { BLOCK, NOWHERE, byteAt } },
  );

/** The bytes of `text` in words. */
export function bytesOf({ space }: Machine, text: string) {
  const bytes = new TextEncoder().encode(text);
  const words = space.array(u32, Math.max(1, Math.ceil(bytes.length / 4)));
  const padded = new Uint8Array(words.length * 4);
  padded.set(bytes);
  words.copyFrom(new Uint32Array(padded.buffer));
  return { words, bytes: bytes.length };
}
