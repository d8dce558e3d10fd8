/** What a thread that ends leaves for another: which pages are taken, and by what. Plain data. */
import { PAGE_SIZE } from "../../base/index.ts";
import type { OwnPages } from "./own-pages.ts";
import { numberOf } from "./shared.ts";
import { classWords, type Slabs } from "./slabs.ts";

/** May be sent to another thread (structured clone) and must reach exactly one `adopt`. */
export interface HeapRemains {
  /** Of the thread that is gone. */
  readonly id: number;
  /** By taken run: first page, pages, and the class of the slab there + 1; 0: a large block. */
  readonly runs: Int32Array;
  /** The free bits of these slabs, in their order. */
  readonly freeBits: Int32Array;
  /** Blocks of other threads that were to be freed when the bags of those were full. */
  readonly pending: readonly number[];
}

const RUN_WORDS = 3;

export function packRemains(
  id: number,
  pages: OwnPages,
  slabs: Slabs,
  pending: readonly number[],
): HeapRemains {
  const runs: number[] = [];
  const freeBits: number[] = [];
  for (const { first, pages: length } of pages.taken()) {
    const index = slabs.classAt(first);
    runs.push(first, length, index + 1);
    if (index >= 0) freeBits.push(...slabs.freeBitsAt(first));
  }
  return {
    id,
    runs: Int32Array.from(runs),
    freeBits: Int32Array.from(freeBits),
    pending: [...pending],
  };
}

/** Makes what is left part of `pages` and `slabs`; how much that is. */
export function unpackRemains(
  remains: HeapRemains,
  pages: OwnPages,
  slabs: Slabs,
): { readonly blocks: number; readonly largeBytes: number } {
  const { id, runs, freeBits } = remains;
  const taken = Array.from({ length: runs.length / RUN_WORDS }, (_, i) => ({
    first: runs[i * RUN_WORDS]!,
    pages: runs[i * RUN_WORDS + 1]!,
    slabClass: runs[i * RUN_WORDS + 2]! - 1,
  }));
  pages.adopt(numberOf(id), taken);
  let blocks = 0;
  let largeBytes = 0;
  let at = 0;
  for (const { first, pages: length, slabClass } of taken) {
    if (slabClass < 0) {
      blocks++;
      largeBytes += length * PAGE_SIZE;
      continue;
    }
    const end = at + classWords(slabClass);
    blocks += slabs.reopen(slabClass, first, freeBits.subarray(at, end));
    at = end;
  }
  return { blocks, largeBytes };
}
