/** How the device takes a range apart: chunk by chunk, as many pages as Linux's takes at a time. */
import {
  type AddrRange,
  PAGE_SIZE,
  SPACE_BYTES,
  type VirtAddr,
  virtAddr,
} from "../../base/index.ts";

/** Pages that one step of an operation takes at a time. */
const CHUNK_PAGES = 64;

/** The end of the chunk that begins at `start`, at most `end`. */
export const chunkEnd = (start: VirtAddr, end: VirtAddr): VirtAddr =>
  virtAddr(Math.min(start + CHUNK_PAGES * PAGE_SIZE, end));

export function* chunks(range: AddrRange): Generator<AddrRange, void, void> {
  for (let start = range.start; start < range.end; ) {
    const end = chunkEnd(start, range.end);
    yield { start, end };
    start = end;
  }
}

/** [start, start + count pages), or undefined when that is nothing or leaves the space. */
export function rangeOf(start: VirtAddr, count: number): AddrRange | undefined {
  const end = start + count * PAGE_SIZE;
  if (start % PAGE_SIZE !== 0 || count <= 0 || end > SPACE_BYTES) return undefined;
  return { start, end: virtAddr(end) };
}
