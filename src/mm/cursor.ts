/**
 * The one pen of the page table. It writes entries, keeps the space's rss, and gathers what the
 * CPU's shadows must forget; frames that lose their mapping are given back only after `flush`,
 * when no shadow can reach them. Linux: the page table lock plus struct mmu_gather.
 *
 * A cursor is used within plain code: `begin`, any number of writes, `flush`. Nobody else runs
 * in between, so one cursor a space is enough.
 */
import { assert, type Pfn, pfn, SPACE_PAGES, type Vpn, vpn as vpnNumber } from "../base/index.ts";
import { ZERO_PFN } from "../phys/index.ts";
import type { AddressSpace } from "./address-space.ts";
import { LEAF_KIND_TABLE, LEAF_PAGES, leafEnd, leafStart } from "./page-table.ts";
import {
  hasFrame,
  isPresent,
  PTE_HUGE,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  SPECIAL_SWAP,
  specialOf,
  swapSlotOf,
} from "./pte.ts";
import { MM_ANONPAGES, rssKindOf } from "./rss.ts";

/** Above all pages; an integer, so that the field stays one. */
const NOWHERE = SPACE_PAGES + 1;

export class PageTableCursor {
  readonly #space: AddressSpace;
  // frames to put after the flush
  readonly #dropped: Pfn[] = [];
  #start = NOWHERE;
  #end = 0;
  #isOpen = false;

  constructor(space: AddressSpace) {
    this.#space = space;
  }

  begin(): this {
    assert(!this.#isOpen, "the cursor is in use: somebody slept between begin and flush");
    assert(this.#dropped.length === 0, "frames of the last round were not given back");
    this.#isOpen = true;
    return this;
  }

  get(page: Vpn): Pte {
    return this.#space.pageTable.get(page);
  }

  /** Replaces the entry of `page`. References and map counts are the caller's (`map`, `unmap`). */
  set(page: Vpn, pte: Pte): void {
    assert(this.#isOpen, "an entry is written outside begin and flush");
    assert((pte & PTE_HUGE) === 0, "one entry is written as part of a huge one");
    const table = this.#space.pageTable;
    const old = table.get(page);
    if (!isSameFrame(old, pte)) {
      this.#account(old, -1);
      this.#account(pte, 1);
    }
    table.set(page, pte);
    if (shrinks(old, pte)) this.#gather(page, vpnNumber(page + 1));
  }

  /**
   * The words of the table of `page`, for who writes many of one leaf in place between `begin` and
   * `flush`; undefined where no table is. Such a one keeps map counts, as always, and says to
   * `PageTable.recount`, `lost` and `gained` what has changed.
   */
  wordsOf(page: Vpn): Uint32Array | undefined {
    assert(this.#isOpen, "words are written outside begin and flush");
    const table = this.#space.pageTable;
    return table.kindOf(page) === LEAF_KIND_TABLE ? table.leafOf(page) : undefined;
  }

  /** The CPU could reach pages of [start, end), or write them, and cannot any more. */
  lost(start: Vpn, end: Vpn): void {
    assert(this.#isOpen, "rights are lost outside begin and flush");
    assert(start < end, "rights to no page are lost");
    this.#gather(start, end);
  }

  /** So many more anonymous pages are mapped. */
  gained(pages: number): void {
    assert(this.#isOpen, "pages are mapped outside begin and flush");
    const resident = this.#space.rss[MM_ANONPAGES]! + pages;
    assert(resident >= 0, "fewer pages are resident than none");
    this.#space.rss[MM_ANONPAGES] = resident;
  }

  /** Maps `frame` (one more reference and mapping) at `page`, where nothing is. */
  map(page: Vpn, pte: Pte): void {
    assert(this.get(page) === PTE_NONE, "a page is mapped already");
    assert(hasFrame(pte), "a page without a frame is mapped");
    this.#space.memory.pages.mapped(ptePfn(pte));
    this.set(page, pte);
  }

  /** Empties `page`; what was there is given back after the flush. */
  unmap(page: Vpn): void {
    const old = this.get(page);
    assert(old !== PTE_NONE, "a page is unmapped that is not mapped");
    this.set(page, PTE_NONE);
    if (hasFrame(old)) this.drop(ptePfn(old));
    else if (specialOf(old) === SPECIAL_SWAP) this.#space.memory.swap.put(swapSlotOf(old));
  }

  /** `frame` is mapped here no more: one mapping less now, one reference less after the flush. */
  drop(frame: Pfn): void {
    assert(this.#isOpen, "a frame is dropped outside begin and flush");
    this.#space.memory.pages.unmapped(frame);
    this.#dropped.push(frame);
  }

  /** Empties [start, end), a huge entry only as a whole, but leaves what `keep` says. */
  clearRange(start: Vpn, end: Vpn, keep?: (pte: Pte) => boolean): void {
    const table = this.#space.pageTable;
    for (let page = table.nextUsed(start, end); page < end; ) {
      if (table.isHuge(page)) {
        assert(page === leafStart(page) && end >= leafEnd(page), "part of a huge entry is cleared");
        if (keep?.(table.get(page)) !== true) this.unmapHuge(page);
        page = table.nextUsed(leafEnd(page), end);
        continue;
      }
      if (keep?.(table.get(page)) !== true) this.unmap(page);
      page = table.nextUsed(vpnNumber(page + 1), end);
    }
  }

  /** Maps a large page (512 frames from that of `head`, one reference and mapping each). */
  mapHuge(page: Vpn, head: Pte): void {
    const { pages } = this.#space.memory;
    const first = ptePfn(head);
    assert(this.get(page) === PTE_NONE, () => `page ${page} is mapped already`);
    if (first === ZERO_PFN) for (let i = 0; i < LEAF_PAGES; i++) pages.mapped(first);
    else for (let i = 0; i < LEAF_PAGES; i++) pages.mapped(pfn(first + i));
    this.setHuge(page, head);
  }

  /** Other rights for the huge entry of `page`, or none: then references are the caller's. */
  setHuge(page: Vpn, head: Pte): void {
    assert(this.#isOpen, "an entry is written outside begin and flush");
    assert(page === leafStart(page), "a huge entry begins at its leaf");
    const table = this.#space.pageTable;
    const old = table.get(page);
    // Head to head only: what is smaller is cleared first (`PageTable.setHuge` looks, too).
    assert(old === PTE_NONE || table.isHuge(page), () => `page ${page} has a table of entries`);
    this.#account(old, -LEAF_PAGES);
    this.#account(head, LEAF_PAGES);
    table.setHuge(page, head);
    if (shrinks(old, head)) this.#gather(page, leafEnd(page));
  }

  unmapHuge(page: Vpn): void {
    const first = ptePfn(this.get(page));
    assert(this.#space.pageTable.isHuge(page), () => `page ${page} is not part of a huge entry`);
    this.setHuge(page, PTE_NONE);
    const step = first === ZERO_PFN ? 0 : 1;
    for (let i = 0; i < LEAF_PAGES; i++) this.drop(pfn(first + i * step));
  }

  /** The CPU's shadows forget what shrank; then the dropped frames go. */
  flush(): void {
    assert(this.#isOpen, "flush without begin");
    if (this.#end > this.#start) {
      const start = vpnNumber(this.#start);
      const end = vpnNumber(this.#end);
      for (const mmu of this.#space.mmus) mmu.revoke(start, end);
    }
    while (this.#dropped.length > 0) this.#space.memory.pages.put(this.#dropped.pop()!);
    this.#start = NOWHERE;
    this.#end = 0;
    this.#isOpen = false;
  }

  #account(pte: Pte, change: number): void {
    const kind = rssKindOf(this.#space.memory, pte);
    if (kind < 0) return;
    this.#space.rss[kind] = this.#space.rss[kind]! + change;
  }

  #gather(start: Vpn, end: Vpn): void {
    if (start < this.#start) this.#start = start;
    if (end > this.#end) this.#end = end;
  }
}

/** Only what may be done with the page changes, so it counts as it did. */
const isSameFrame = (old: Pte, pte: Pte): boolean =>
  hasFrame(old) && hasFrame(pte) && ptePfn(old) === ptePfn(pte);

/** The CPU could do more with `old` than it can with `pte`, or would reach another frame. */
function shrinks(old: Pte, pte: Pte): boolean {
  if (!isPresent(old) || (old & PTE_VALID) === 0) return false;
  if (ptePfn(old) !== ptePfn(pte)) return true;
  return (old & ~pte & (PTE_VALID | PTE_WRITE)) !== 0;
}
