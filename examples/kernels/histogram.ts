/** How often each byte occurs: all invocations count in the same 256 bins. */
import { type Machine, ptr, u32 } from "onespace";

/** A word of four bytes for each invocation. */
export const histogram = (machine: Machine) =>
  machine.kernel(
    { words: ptr(u32), bytes: u32, bins: ptr(u32) },
    (i, { words, bytes, bins }, { atomicAdd }) => {
      let word = words[i];
      for (let at = 4 * i; at < 4 * i + 4 && at < bytes; at++) {
        atomicAdd(bins, word & 255, 1);
        word = word >>> 8;
      }
    },
    { name: "histogram" },
  );
