/**
 * The pages of one thread: runs within the spans that it owns. It takes spans when no run is
 * long enough, and gives them back when nothing lies in them, but for one that it keeps, so that
 * a block at the border of a span does not take and give it all the time.
 *
 * What can be had is a *room*: free runs of ours and spans of nobody, as far as they touch. So one
 * thread alone gets every block that a heap without spans could give.
 */
import { assert, PAGE_SIZE, type Vpn, vpn } from "../../base/index.ts";
import { PageRuns } from "./page-runs.ts";
import { type HeapShared, NOBODY, SPAN_PAGES } from "./shared.ts";
import { Spans, spanOf } from "./spans.ts";

const NONE = -1;
/** How often other threads may be faster before there is no room. Each time somebody got some. */
const TRIES_MAX = 1000;

/** How much is passed over at a time, at most, for pages that can be touched at once: 4 MiB. */
const SKIP_PAGES_MAX = 1024;

/** Pages [start, end) that could be had; where to go on looking. */
interface Room {
  readonly start: number;
  readonly end: number;
  readonly nextSpan: number;
}

export interface Run {
  readonly first: number;
  readonly pages: number;
}

/** Free pages [start, end) that belong together. */
export interface FreedRun {
  readonly start: number;
  readonly end: number;
}

/** Where pages are: blocks are made of those that can be touched at once, as far as can be. */
export interface Presence {
  /** Pages [start, end) can be touched at once. */
  isHere(start: Vpn, end: Vpn): boolean;
  /**
   * Pages [start, end) are about to be used, and nobody needs what they hold. False: who touches
   * some of them would have to wait.
   */
  renew(start: Vpn, end: Vpn): boolean;
}

export interface PagesOptions {
  /**
   * Told of pages [start, end) that no block uses any more, and of what they are part of; what they
   * hold is forgotten, before this returns: another thread may have them right after. It does not
   * call the heap.
   */
  readonly onPagesFree?: (start: Vpn, end: Vpn, run: FreedRun) => void;
  /** For a thread that cannot wait for pages that are elsewhere. */
  readonly presence?: Presence;
}

export class OwnPages {
  readonly #base: number;
  readonly #runs: PageRuns;
  readonly #spans: Spans;
  readonly presence: Presence | undefined;
  readonly #onPagesFree: PagesOptions["onPagesFree"];
  /** A span in which nothing lies, or NONE. */
  #kept = NONE;

  /** `base`: the page number of the heap's first page. */
  constructor(shared: HeapShared, me: number, base: number, options: PagesOptions = {}) {
    this.#base = base;
    this.presence = options.presence;
    this.#runs = new PageRuns(shared.pages, base);
    this.#spans = new Spans(shared, me);
    this.#onPagesFree = options.onPagesFree;
  }

  get spans(): Spans {
    return this.#spans;
  }

  /** Whether a run that the thread took begins here. */
  isTaken(first: number): boolean {
    return this.#runs.isTaken(first);
  }

  lengthOf(first: number): number {
    return this.#runs.lengthOf(first);
  }

  /** The first page of the taken run that covers `page`, or -1. A walk: for messages only. */
  coveredBy(page: number): number {
    return this.#runs.coveredBy(page);
  }

  /** Takes a run of the pages that are the thread's; the first page, or -1. */
  take(pages: number, align: number): number {
    const first = this.#runs.take(pages, align);
    if (first === NONE || this.#kept === NONE) return first;
    if (first < this.#spans.endPage(this.#kept)) {
      if (first + pages > this.#spans.firstPage(this.#kept)) this.#kept = NONE;
    }
    return first;
  }

  /** Takes a run, and spans for it if it needs some; the first page, or -1. */
  takeOrGrow(pages: number, align: number): number {
    const first = this.take(pages, align);
    if (first !== NONE || !this.#grow(pages, align)) return first;
    return this.take(pages, align);
  }

  /** Pages of a taken run can be touched at once. */
  isHere(first: number, pages: number): boolean {
    const start = this.#base + first;
    return this.presence?.isHere(vpn(start), vpn(start + pages)) ?? true;
  }

  /** A run that was just taken is about to be used: it, or one nobody has to wait for. */
  renewed(first: number, pages: number, align: number): number {
    const passed: number[] = [];
    let run = first;
    // What a launch has on its way lies together: farther away each time.
    for (let skip = 1; skip <= SKIP_PAGES_MAX && !this.#renew(run, pages); skip *= 4) {
      const gap = this.takeOrGrow(skip, 1);
      if (gap !== NONE) passed.push(gap);
      const next = this.takeOrGrow(pages, align);
      if (next === NONE) break;
      passed.push(run);
      run = next;
    }
    for (const each of passed) this.give(each);
    return run;
  }

  #renew(first: number, pages: number): boolean {
    const start = this.#base + first;
    return this.presence?.renew(vpn(start), vpn(start + pages)) ?? true;
  }

  /** Gives a taken run back. Its content is forgotten before another thread can have it. */
  give(first: number): void {
    const pages = this.#runs.lengthOf(first);
    const start = this.#runs.give(first);
    const end = start + this.#runs.freeFrom(start);
    const base = this.#base;
    const run = { start: base + start, end: base + end };
    this.#onPagesFree?.(vpn(base + first), vpn(base + first + pages), run);
    this.#giveSpans(start, end);
  }

  /** Gives back every span in which nothing lies. */
  giveAllFree(): void {
    const free: Run[] = [];
    this.#eachRun((first, pages) => {
      if (!this.#runs.isTaken(first)) free.push({ first, pages });
    });
    for (const { first, pages } of free) {
      const [span, end] = this.#wholeSpans(first, first + pages);
      if (span < end) this.#release(first, span, end);
    }
    this.#kept = NONE;
  }

  /** Every taken run, ascending. */
  taken(): Run[] {
    const taken: Run[] = [];
    this.#eachRun((first, pages) => {
      if (this.#runs.isTaken(first)) taken.push({ first, pages });
    });
    return taken;
  }

  /** Takes over the spans of `number`, whom the caller clears: `taken`, and free pages between. */
  adopt(number: number, taken: readonly Run[]): void {
    let at = 0;
    let page = 0;
    for (let span = 0; span < this.#spans.count; span++) {
      if (this.#spans.ownerOf(span) !== number) continue;
      page = Math.max(page, this.#spans.firstPage(span));
      const end = this.#spans.endPage(span);
      while (page < end) {
        const run = taken[at];
        if (run?.first === page) {
          this.#runs.addTaken(page, run.pages);
          page += run.pages;
          at++;
        } else {
          const gapEnd = Math.min(run?.first ?? end, end);
          this.#runs.addFree(page, gapEnd - page);
          page = gapEnd;
        }
      }
    }
    assert(at === taken.length, "heap: blocks to adopt lie outside of their thread's spans");
    this.#spans.adopt(number);
  }

  /** Bytes of the heap that this thread has or could take, and the longest run of them. */
  get bytesFree(): number {
    const nobodys = this.#spans.pagesWhere((owner) => owner === NOBODY);
    return (this.#runs.pagesFree + nobodys) * PAGE_SIZE;
  }

  get bytesFreeRun(): number {
    let longest = this.#runs.longest;
    for (let span = 0; ; ) {
      const room = this.#room(span, Number.POSITIVE_INFINITY);
      if (room === undefined) return longest * PAGE_SIZE;
      longest = Math.max(longest, room.end - room.start);
      span = room.nextSpan;
    }
  }

  /** Bytes of runs that are taken. */
  get bytesTaken(): number {
    const mine = this.#spans.pagesWhere((owner) => owner === this.#spans.me);
    return (mine - this.#runs.pagesFree) * PAGE_SIZE;
  }

  /** Takes the spans of the first room that is large enough. */
  #grow(pages: number, align: number): boolean {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const { givings } = this.#spans;
      const first = this.#findRoom(pages, align);
      if (first === NONE) {
        // A thread that was slower elsewhere may have given back what was missing here.
        if (this.#spans.givings === givings) return false;
        continue;
      }
      const end = spanOf(first + pages - 1) + 1;
      const isTaken = this.#spans.take(spanOf(first), end, (span) => {
        const start = this.#spans.firstPage(span);
        this.#runs.addFree(start, this.#spans.endPage(span) - start);
      });
      if (isTaken) return true;
    }
    return false;
  }

  /** The first page of a place for `pages` pages in the lowest room that has one, or NONE. */
  #findRoom(pages: number, align: number): number {
    for (let span = 0; ; ) {
      const room = this.#room(span, pages + align - 1);
      if (room === undefined) return NONE;
      const first = Math.ceil((room.start + this.#base) / align) * align - this.#base;
      if (first + pages <= room.end) return first;
      span = room.nextSpan;
    }
  }

  /** The first room with a span of nobody at or behind `span`; not all of it if over `enough`. */
  #room(span: number, enough: number): Room | undefined {
    const spans = this.#spans;
    while (span < spans.count && !spans.isNobodys(span)) span++;
    if (span === spans.count) return undefined;
    const start = spans.firstPage(span) - this.#runs.freeUpTo(spans.firstPage(span));
    for (;;) {
      do span++;
      while (
        span < spans.count &&
        spans.endPage(span - 1) - start < enough &&
        spans.isNobodys(span)
      );
      let end = spans.endPage(span - 1);
      if (span === spans.count || end - start >= enough) return { start, end, nextSpan: span };
      // The page before is nobody's: a free run of ours that covers `end` begins there.
      end += this.#runs.freeFrom(end);
      const next = spanOf(end);
      const isOver = next === span || next === spans.count || spans.firstPage(next) !== end;
      if (isOver || !spans.isNobodys(next)) return { start, end, nextSpan: span };
      span = next;
    }
  }

  /** Gives back the whole spans of the free run [start, end), but keeps one span altogether. */
  #giveSpans(start: number, end: number): void {
    const [span, endSpan] = this.#wholeSpans(start, end);
    if (span >= endSpan) return;
    if (this.#kept === NONE) this.#kept = span;
    const kept = this.#kept;
    if (kept < span || kept >= endSpan) {
      this.#release(start, span, endSpan);
      return;
    }
    // From the end: what is left of the run begins where it began.
    if (kept + 1 < endSpan) this.#release(start, kept + 1, endSpan);
    if (span < kept) this.#release(start, span, kept);
  }

  /** Gives back the spans [first, end), which lie in the free run that begins at `run`. */
  #release(run: number, first: number, end: number): void {
    const start = this.#spans.firstPage(first);
    this.#runs.removeFree(run, start, this.#spans.endPage(end - 1) - start);
    for (let span = first; span < end; span++) this.#spans.give(span);
  }

  #wholeSpans(start: number, end: number): [first: number, end: number] {
    const first = spanOf(start + SPAN_PAGES - 1);
    const last = spanOf(end - 1);
    return [first, this.#spans.endPage(last) === end ? last + 1 : last];
  }

  #eachRun(visit: (first: number, pages: number) => void): void {
    let page = 0;
    for (let span = 0; span < this.#spans.count; span++) {
      if (!this.#spans.isMine(span)) continue;
      page = Math.max(page, this.#spans.firstPage(span));
      while (page < this.#spans.endPage(span)) {
        const pages = this.#runs.anyLengthOf(page);
        visit(page, pages);
        page += pages;
      }
    }
  }
}
