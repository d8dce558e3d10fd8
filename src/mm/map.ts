/** mmap: more intent. Nothing is mapped yet; faults do that. Linux: mm/mmap.c do_mmap(). */
import {
  EEXIST,
  EINVAL,
  ENOMEM,
  isPageAligned,
  isPageRange,
  type Result,
  type VirtAddr,
  virtAddr,
  vpnOf,
} from "../base/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import { type AddressSpace, MMAP_BASE, MMAP_END, MMAP_MIN_ADDR } from "./address-space.ts";
import { unmapRange } from "./unmap.ts";
import { Vma } from "./vma.ts";

const MMAP = eventId("mm:mmap");

/** What to do when a fixed address is taken. */
export const MapMode = {
  /** `start` is a hint: another place is fine. */
  anywhere: "anywhere",
  /** MAP_FIXED: what is there is unmapped first. */
  fixed: "fixed",
  /** MAP_FIXED_NOREPLACE: -EEXIST when anything is there. */
  noReplace: "no-replace",
} as const;
export type MapMode = (typeof MapMode)[keyof typeof MapMode];

export interface MmapOptions {
  readonly start?: VirtAddr;
  readonly bytes: number;
  /** VM_READ, VM_WRITE, VM_EXEC. */
  readonly flags: number;
  readonly mode?: MapMode;
}

/**
 * Maps anonymous private memory. Gives the address, or -EINVAL (length 0 or not whole pages,
 * unaligned address), -ENOMEM (no room), -EEXIST.
 */
export function* mmap(space: AddressSpace, options: MmapOptions): Sleeps<Result> {
  const { bytes } = options;
  const mode = options.mode ?? MapMode.anywhere;
  if (!(bytes > 0) || !isPageAligned(bytes)) return -EINVAL;
  using _mmap = yield* space.mmapLock.acquireWrite();
  const start = mode === MapMode.anywhere ? choosePlace(space, options) : options.start;
  if (start === undefined) return mode === MapMode.anywhere ? -ENOMEM : -EINVAL;
  if (!isPageAligned(start)) return -EINVAL;
  const end = virtAddr(start + bytes);
  if (!isPageRange(start, end) || start < MMAP_MIN_ADDR) return -ENOMEM;
  if (space.vmas.overlapping(start, end).length > 0) {
    if (mode === MapMode.noReplace) return -EEXIST;
    yield* unmapRange(space, { start, end });
  }
  const vma = new Vma({ start, end }, options.flags);
  space.vmas.insert(vma);
  space.vmas.merge(vma);
  space.memory.tracer.emit(MMAP, space.id, vpnOf(start), vpnOf(end) - vpnOf(start));
  return start;
}

function choosePlace(space: AddressSpace, options: MmapOptions): VirtAddr | undefined {
  const hint = options.start;
  const end = hint === undefined ? undefined : virtAddr(hint + options.bytes);
  const fits =
    hint !== undefined &&
    end !== undefined &&
    isPageRange(hint, end) &&
    hint >= MMAP_MIN_ADDR &&
    space.vmas.overlapping(hint, end).length === 0;
  if (fits) return hint;
  return (
    space.vmas.findHole(options.bytes, MMAP_BASE, MMAP_END) ??
    space.vmas.findHole(options.bytes, MMAP_MIN_ADDR, MMAP_END)
  );
}
