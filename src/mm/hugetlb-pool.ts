/**
 * Huge pages that were set aside before anybody needed them. A mapping reserves what it may need
 * when it is made, so that its faults cannot fail. Linux: mm/hugetlb.c.
 */
import { assert, ENOMEM, PAGE_SIZE, type Pfn, pfn, type Result } from "../base/index.ts";
import { LARGE_FRAMES, type Pages, PG_HUGETLB, type Zone } from "../phys/index.ts";

export class HugetlbPool {
  readonly #pages: Pages;
  readonly #ram: Zone;
  /** Huge pages that the pool may hand out at once. */
  readonly count: number;
  // the first frames of huge pages that were handed out, some of them back by now
  readonly #heads = new Set<Pfn>();
  #reserved = 0;

  constructor(pages: Pages, ram: Zone, count: number) {
    this.#pages = pages;
    this.#ram = ram;
    this.count = count;
  }

  /** Pages that are neither in use nor promised to a mapping. */
  get freeCount(): number {
    return this.count - this.inUse - this.#reserved;
  }

  get reservedCount(): number {
    return this.#reserved;
  }

  /** Promises `pages` to a mapping. 0, or -ENOMEM and nothing promised. */
  reserve(pages: number): Result {
    if (pages > this.freeCount) return -ENOMEM;
    this.#reserved += pages;
    return 0;
  }

  unreserve(pages: number): void {
    assert(pages <= this.#reserved, "more huge pages are given back than were promised");
    this.#reserved -= pages;
  }

  /** A huge page (512 frames with a reference each), one that was promised or a free one; or 0. */
  take(isPromised: boolean): Pfn | 0 {
    if (!isPromised && this.freeCount === 0) return 0;
    const head = this.#pages.allocLarge(this.#ram, PG_HUGETLB);
    if (head === 0) return 0;
    if (isPromised) this.unreserve(1);
    this.#heads.add(head);
    return head;
  }

  /** Huge pages that somebody has. A page is back when its last reference is. */
  get inUse(): number {
    for (const head of this.#heads) {
      if (!this.#pages.is(head, PG_HUGETLB)) this.#heads.delete(head);
    }
    return this.#heads.size;
  }

  /** The references of `take` go back; the frames are free when nothing maps them. */
  give(head: Pfn): void {
    for (let i = 0; i < LARGE_FRAMES; i++) this.#pages.put(pfn(head + i));
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
