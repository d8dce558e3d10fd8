/** Which neighbours a page that a CPU touched brings home with it. Linux: mm/readahead.c. */
import { type Vpn, vpn, vpnOf } from "../base/index.ts";
import type { Vma } from "../mm/index.ts";
import { MIGRATION_PAGES } from "./move.ts";

/**
 * A CPU fault brings neighbours home, too: 64 KiB, and four times as many each time that the next
 * fault is where the last one's pages ended.
 */
const AROUND_PAGES = 16;

export class ReadAhead {
  // Where the pages that the last CPU fault brought home ended, and how many it asked for.
  #homeEnd = 0;
  #around = AROUND_PAGES;

  /** `freeFrames` of RAM: too few, and the page comes alone. */
  around(page: Vpn, vma: Vma, freeFrames: number): { readonly start: Vpn; readonly end: Vpn } {
    const isNext = page === this.#homeEnd;
    this.#around = isNext ? Math.min(4 * this.#around, MIGRATION_PAGES) : AROUND_PAGES;
    const first = Math.floor(page / AROUND_PAGES) * AROUND_PAGES;
    const end = vpn(Math.min(first + this.#around, vpnOf(vma.end)));
    if (freeFrames <= this.#around) return { start: page, end: vpn(page + 1) };
    this.#homeEnd = end;
    return { start: vpn(Math.max(first, vpnOf(vma.start))), end };
  }
}
