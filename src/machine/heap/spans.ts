/**
 * Which thread owns which span of the heap: an owner is changed by one compareExchange, by the
 * thread that takes the span or by the one that has it. Several spans in a row are taken in
 * ascending order and given back again when another thread was faster at one of them.
 */
import { assert } from "../../base/index.ts";
import { type HeapShared, LOST, NOBODY, SPAN_PAGES } from "./shared.ts";

export const spanOf = (page: number): number => Math.floor(page / SPAN_PAGES);

export class Spans {
  readonly me: number;
  readonly count: number;
  readonly #shared: HeapShared;
  readonly #owners: Int32Array;

  constructor(shared: HeapShared, me: number) {
    this.#shared = shared;
    this.#owners = shared.owners;
    this.me = me;
    this.count = shared.owners.length;
  }

  /** A thread's number, NOBODY or LOST; true now, and later only if that is the caller. */
  ownerOf(span: number): number {
    return Atomics.load(this.#owners, span);
  }

  isMine(span: number): boolean {
    return this.ownerOf(span) === this.me;
  }

  isNobodys(span: number): boolean {
    return this.ownerOf(span) === NOBODY;
  }

  firstPage(span: number): number {
    return span * SPAN_PAGES;
  }

  /** The page behind the span; the last span of a heap may be shorter. */
  endPage(span: number): number {
    return Math.min((span + 1) * SPAN_PAGES, this.#shared.pages);
  }

  get givings(): number {
    return this.#shared.givings;
  }

  /**
   * Takes all of [first, end) that are not the caller's yet, and tells of each. False: another
   * thread has one of them, and the caller has none more than before.
   */
  take(first: number, end: number, onTake: (span: number) => void): boolean {
    const taken: number[] = [];
    for (let span = first; span < end; span++) {
      if (this.isMine(span)) continue;
      if (!this.#change(span, NOBODY, this.me)) {
        for (const each of taken) this.give(each);
        return false;
      }
      taken.push(span);
    }
    for (const span of taken) onTake(span);
    return true;
  }

  /** From here on another thread may write to the span's pages. */
  give(span: number): void {
    assert(this.#change(span, this.me, NOBODY), () => `heap: span ${span} is another thread's`);
    this.#shared.countGiving();
  }

  /** The spans of `number`, whom the caller clears, are the caller's. */
  adopt(number: number): void {
    this.#changeAll(number, this.me);
  }

  /** What is in the spans of `number`, whom the caller clears, is not known to anybody. */
  lose(number: number): void {
    this.#changeAll(number, LOST);
  }

  /** The pages of all spans whose owner is `isCounted`. */
  pagesWhere(isCounted: (owner: number) => boolean): number {
    let pages = 0;
    for (let span = 0; span < this.count; span++) {
      if (isCounted(this.ownerOf(span))) pages += this.endPage(span) - this.firstPage(span);
    }
    return pages;
  }

  #changeAll(from: number, to: number): void {
    for (let span = 0; span < this.count; span++) this.#change(span, from, to);
  }

  #change(span: number, from: number, to: number): boolean {
    return Atomics.compareExchange(this.#owners, span, from, to) === from;
  }
}
