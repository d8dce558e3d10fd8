/**
 * Moving a space's pages to the device and home, chunk by chunk. Linux:
 * dmirror_migrate_to_device(), dmirror_migrate_to_system().
 */
import {
  type AddrRange,
  EINVAL,
  type Result,
  type VirtAddr,
  virtAddr,
  vpnOf,
} from "../../base/index.ts";
import { type DeviceShadow, type MoveOptions, moveIn } from "../../device/index.ts";
import { mmputAsync, VM_READ } from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { chunkEnd } from "./chunks.ts";

/** Pages of `range` that moved to the device, or the first error. */
export const migrateToDevice = (shadow: DeviceShadow, range: AddrRange): Sleeps<Result> =>
  eachChunk(shadow, range, (part) => moveIn(shadow, part));

/** Pages of `range` that came home, or the first error. */
export const migrateHome = (shadow: DeviceShadow, range: AddrRange): Sleeps<Result> =>
  eachChunk(shadow, range, (part) => {
    const { memory, space } = shadow;
    const { vma, start, end } = part;
    return memory.moveHome({ space, vma, start, end });
  });

/** Each within one readable Vma. */
function* eachChunk(
  { space }: DeviceShadow,
  range: AddrRange,
  move: (part: MoveOptions) => Sleeps<Result>,
): Sleeps<Result> {
  if (!space.users.getUnlessZero()) return -EINVAL;
  let moved = 0;
  try {
    using _mmap = yield* space.mmapLock.acquireRead();
    for (let at: VirtAddr = range.start; at < range.end; ) {
      const vma = space.vmas.find(at);
      if (vma === undefined || !vma.allows(VM_READ)) return -EINVAL;
      const stop = chunkEnd(at, virtAddr(Math.min(vma.end, range.end)));
      const result = yield* move({ vma, start: vpnOf(at), end: vpnOf(stop) });
      if (result < 0) return result;
      moved += result;
      at = stop;
    }
    return moved;
  } finally {
    mmputAsync(space);
  }
}
