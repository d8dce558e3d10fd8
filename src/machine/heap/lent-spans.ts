/**
 * What mappings have of the heap: whole spans, from the top, while malloc takes them from the
 * bottom. The engine takes them and gives them back, by the same one word a span as the threads
 * of the heap, so neither side asks the other.
 */
import { PAGE_SIZE } from "../../base/index.ts";
import { HeapShared, MAPPED } from "./shared.ts";
import { Spans, spanOf } from "./spans.ts";

/** The addresses of a heap, and what its threads share. */
export interface HeapRange {
  /** Page aligned, as `end`. */
  readonly start: number;
  readonly end: number;
  readonly shared: SharedArrayBuffer;
}

interface Addresses {
  readonly start: number;
  readonly end: number;
}

/** What all `Heap`s over [start, end) share, before there is one. */
export const newHeapRange = ({ start, end }: Addresses): HeapRange => ({
  start,
  end,
  shared: sharedOf(start, end).buffer,
});

const sharedOf = (start: number, end: number, buffer?: SharedArrayBuffer): HeapShared =>
  new HeapShared(start / PAGE_SIZE, (end - start) / PAGE_SIZE, buffer);

export class LentSpans {
  readonly #start: number;
  readonly #spans: Spans;

  constructor({ start, end, shared }: HeapRange) {
    this.#start = start;
    this.#spans = new Spans(sharedOf(start, end, shared), MAPPED);
  }

  /** Takes the highest run of free spans with room for `bytes`; where no more is, undefined. */
  take(bytes: number): Addresses | undefined {
    const pages = Math.ceil(bytes / PAGE_SIZE);
    const { count } = this.#spans;
    let end = count;
    for (let span = count - 1; span >= 0; span--) {
      if (!this.#spans.isNobodys(span)) end = span;
      else if (this.#pagesIn(span, end) >= pages) {
        // The last span of a heap is shorter: without it there may be enough.
        if (this.#pagesIn(span, end - 1) >= pages) end--;
        if (this.#spans.take(span, end, () => {})) return this.#addresses(span, end);
        // A thread was faster at one of them: below it there may be room.
        end = span;
      }
    }
    return undefined;
  }

  /**
   * Spans that mappings have: those that [start, end) touches, and their neighbours as far as
   * `isEmpty` (where others were faster, one may have been taken and never used).
   */
  *around(
    start: number,
    end: number,
    isEmpty: (span: Addresses) => boolean,
  ): IterableIterator<Addresses> {
    const first = Math.max(0, spanOf((start - this.#start) / PAGE_SIZE));
    const last = spanOf((end - 1 - this.#start) / PAGE_SIZE);
    for (let span = first - 1; this.#isLent(span); span--) {
      if (!isEmpty(this.#addresses(span, span + 1))) break;
      yield this.#addresses(span, span + 1);
    }
    for (let span = first; this.#isLent(span) || span <= last; span++) {
      if (span >= this.#spans.count) break;
      if (span > last && !isEmpty(this.#addresses(span, span + 1))) break;
      if (this.#isLent(span)) yield this.#addresses(span, span + 1);
    }
  }

  /** Gives spans back to whoever comes first. They are the heap's memory again, and empty. */
  give({ start, end }: Addresses): void {
    const first = spanOf((start - this.#start) / PAGE_SIZE);
    const last = spanOf((end - 1 - this.#start) / PAGE_SIZE);
    for (let span = first; span <= last; span++) this.#spans.give(span);
  }

  #isLent(span: number): boolean {
    return span >= 0 && span < this.#spans.count && this.#spans.isMine(span);
  }

  #pagesIn(first: number, end: number): number {
    return first === end ? 0 : this.#spans.endPage(end - 1) - this.#spans.firstPage(first);
  }

  #addresses(first: number, end: number): Addresses {
    return {
      start: this.#start + this.#spans.firstPage(first) * PAGE_SIZE,
      end: this.#start + this.#spans.endPage(end - 1) * PAGE_SIZE,
    };
  }
}
