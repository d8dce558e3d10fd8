/**
 * Huge pages that were set aside before anybody needed them. A mapping reserves what it may need
 * when it is made, so that its faults cannot fail. Linux: mm/hugetlb.c.
 */
import { assert, ENOMEM, PAGE_SIZE, type Pfn, pfn, type Result } from "../../base/index.ts";
import { LARGE_FRAMES, type Pages, PG_HUGETLB, type Zone } from "../../phys/index.ts";

export class HugetlbPool {
  readonly #pages: Pages;
  // the first frames of all huge pages of the pool; the pool holds a reference to every frame
  readonly #heads: Pfn[] = [];
  #reserved = 0;

  /** Takes up to `count` huge pages out of `ram`, for good. Linux: nr_hugepages. */
  constructor(pages: Pages, ram: Zone, count: number) {
    this.#pages = pages;
    for (let i = 0; i < count; i++) {
      const head = pages.allocLarge(ram, PG_HUGETLB);
      if (head === 0) break;
      this.#heads.push(head);
    }
  }

  /** Huge pages of the pool: as many as were asked for, or as fitted. */
  get count(): number {
    return this.#heads.length;
  }

  /** Pages that are neither in use nor promised to a mapping. */
  get freeCount(): number {
    return this.count - this.inUse - this.#reserved;
  }

  get reservedCount(): number {
    return this.#reserved;
  }

  /** Huge pages that somebody has. A page is back when only the pool refers to it. */
  get inUse(): number {
    let used = 0;
    for (const head of this.#heads) if (!this.#isIdle(head)) used++;
    return used;
  }

  /** Promises `pages` to a mapping. 0, or -ENOMEM and nothing promised. */
  reserve(pages: number): Result {
    assert(Number.isInteger(pages) && pages >= 0, () => `${pages} huge pages are promised`);
    if (pages > this.freeCount) return -ENOMEM;
    this.#reserved += pages;
    assert(this.#reserved <= this.count, "more huge pages are promised than there are");
    return 0;
  }

  unreserve(pages: number): void {
    assert(pages >= 0, "a promise is taken back that was none");
    assert(pages <= this.#reserved, "more huge pages are given back than were promised");
    this.#reserved -= pages;
  }

  /**
   * A huge page (a reference to each of its 512 frames), one that was promised or a free one; 0
   * when there is no free one.
   */
  take(isPromised: boolean): Pfn | 0 {
    if (!isPromised && this.freeCount === 0) return 0;
    const head = this.#heads.find((each) => this.#isIdle(each));
    assert(head !== undefined, "a huge page was promised and there is none");
    if (isPromised) this.unreserve(1);
    for (let i = 0; i < LARGE_FRAMES; i++) this.#pages.renew(pfn(head + i));
    assert(!this.#isIdle(head), () => `huge page ${head} is taken and still free`);
    return head;
  }

  /** The references of `take` go back. */
  give(head: Pfn): void {
    assert(this.#pages.is(head, PG_HUGETLB), () => `frame ${head} is not of the pool`);
    assert(this.#pages.refs[head]! > 1, () => `huge page ${head} is given back once too often`);
    for (let i = 0; i < LARGE_FRAMES; i++) this.#pages.put(pfn(head + i));
  }

  #isIdle(head: Pfn): boolean {
    const { refs } = this.#pages;
    for (let i = 0; i < LARGE_FRAMES; i++) if (refs[head + i] !== 1) return false;
    return true;
  }
}

/** What a mapping was promised: huge pages by byte offset. Linux: struct resv_map. */
export class HugetlbReservation {
  readonly #pool: HugetlbPool;
  // byte offsets of the huge pages that are promised and not used yet
  readonly #left = new Set<number>();

  private constructor(pool: HugetlbPool) {
    this.#pool = pool;
  }

  /** Promises the huge pages of the byte offsets [start, end), or -ENOMEM. */
  static make(pool: HugetlbPool, start: number, end: number): HugetlbReservation | Result {
    const step = LARGE_FRAMES * PAGE_SIZE;
    const result = pool.reserve((end - start) / step);
    if (result < 0) return result;
    const reservation = new HugetlbReservation(pool);
    for (let at = start; at < end; at += step) reservation.#left.add(at);
    return reservation;
  }

  take(offset: number): boolean {
    return this.#left.delete(offset);
  }

  /** The page at `offset` is back in the pool: it is promised again, if it is still there. */
  restore(offset: number): void {
    if (!this.#left.has(offset) && this.#pool.reserve(1) === 0) this.#left.add(offset);
  }

  /** What is promised in [start, end) is not needed any more. */
  release(start: number, end: number): void {
    for (const at of this.#left) {
      if (at < start || at >= end) continue;
      this.#left.delete(at);
      this.#pool.unreserve(1);
    }
  }
}
