/** What a Heap is made with, and what it tells of itself. */
import type { PagesOptions } from "./own-pages.ts";

export interface HeapOptions extends PagesOptions {
  /** The pages of the heap: `[start, end)`, page aligned. */
  readonly start: number;
  readonly end: number;
  /** `shared` of another thread's Heap over the same pages; without it the heap is a new one. */
  readonly shared?: SharedArrayBuffer;
  /** What `invite` of another thread's Heap gave; without it the thread gets an id by itself. */
  readonly id?: number;
  /** Told of an address that another thread freed here and that is no block. */
  readonly onBadFree?: (address: number) => void;
}

export interface HeapUsage {
  readonly blocks: number;
  /** Bytes of blocks, as `sizeOf` counts them. */
  readonly bytesUsed: number;
  /** Bytes of pages that blocks lie in, with the free slots between them. */
  readonly bytesHeld: number;
  /** Bytes of pages that nothing lies in and that this thread has or can take. */
  readonly bytesFree: number;
  /** The longest run of such pages. */
  readonly bytesFreeRun: number;
}

/** All threads together, by spans: what is free within a thread's spans counts as taken. */
export interface HeapTotals {
  readonly threads: number;
  readonly bytesTaken: number;
  /** Bytes of threads that ended without `detach`: nobody gets them again. */
  readonly bytesLost: number;
  readonly bytesFree: number;
}
