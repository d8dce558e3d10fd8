/** A sum of many numbers: each invocation adds a block by itself, and that to the total. */
import { type Machine, ptr, u32 } from "onespace";

/** Numbers that one invocation adds: one atomic for so many. */
export const BLOCK = 128;

/** For `Math.ceil(count / BLOCK)` invocations; wraps at 2^32. */
export const sum = (machine: Machine) =>
  machine.kernel(
    { values: ptr(u32), count: u32, total: ptr(u32) },
    (i, { values, count, total }, { BLOCK, atomicAdd }) => {
      let part = 0;
      for (let k = i * BLOCK; k < (i + 1) * BLOCK && k < count; k++) part += values[k];
      atomicAdd(total, 0, part);
    },
    { name: "sum", uses: { BLOCK } },
  );
