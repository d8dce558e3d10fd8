/**
 * The one pen of the page table. It writes entries, keeps the space's rss, and gathers what the
 * CPU's shadows must forget; frames that lose their mapping are given back only after `flush`,
 * when no shadow can reach them. Linux: the page table lock plus struct mmu_gather.
 *
 * A cursor is used within plain code: `begin`, any number of writes, `flush`. Nobody else runs
 * in between, so one cursor a space is enough.
 */
import { assert, type Pfn, type Vpn, vpn as vpnNumber } from "../base/index.ts";
import { ZERO_PFN } from "../phys/index.ts";
import type { AddressSpace } from "./address-space.ts";
import { isPresent, PTE_NONE, PTE_VALID, PTE_WRITE, type Pte, ptePfn } from "./pte.ts";

export class Cursor {
  readonly #space: AddressSpace;
  // frames to put after the flush
  readonly #dropped: Pfn[] = [];
  #start = Number.POSITIVE_INFINITY;
  #end = 0;
  #isOpen = false;

  constructor(space: AddressSpace) {
    this.#space = space;
  }

  begin(): this {
    assert(!this.#isOpen, "the cursor is in use: somebody slept between begin and flush");
    this.#isOpen = true;
    return this;
  }

  get(page: Vpn): Pte {
    return this.#space.pageTable.get(page);
  }

  /** Replaces the entry of `page`. References and map counts are the caller's (`map`, `unmap`). */
  set(page: Vpn, pte: Pte): void {
    assert(this.#isOpen, "an entry is written outside begin and flush");
    const table = this.#space.pageTable;
    const old = table.get(page);
    this.#space.rssPages += countsAsResident(pte) - countsAsResident(old);
    table.set(page, pte);
    if (shrinks(old, pte)) this.#gather(page);
  }

  /** Maps `frame` (one more reference and mapping) at `page`, where nothing is. */
  map(page: Vpn, pte: Pte): void {
    assert(this.get(page) === PTE_NONE, () => `page ${page} is mapped already`);
    this.#space.memory.pages.mapped(ptePfn(pte));
    this.set(page, pte);
  }

  /** Empties `page`; its frame is given back after the flush. */
  unmap(page: Vpn): void {
    const old = this.get(page);
    assert(old !== PTE_NONE, () => `page ${page} is not mapped`);
    this.set(page, PTE_NONE);
    this.drop(ptePfn(old));
  }

  /** `frame` is mapped here no more: one mapping less now, one reference less after the flush. */
  drop(frame: Pfn): void {
    this.#space.memory.pages.unmapped(frame);
    this.#dropped.push(frame);
  }

  /** Empties every entry of [start, end). */
  clearRange(start: Vpn, end: Vpn): void {
    const table = this.#space.pageTable;
    for (let page = table.nextUsed(start, end); page < end; ) {
      this.unmap(page);
      page = table.nextUsed(vpnNumber(page + 1), end);
    }
  }

  /** The CPU's shadows forget what shrank; then the dropped frames go. */
  flush(): void {
    assert(this.#isOpen, "flush without begin");
    if (this.#end > this.#start) {
      const start = vpnNumber(this.#start);
      const end = vpnNumber(this.#end);
      for (const mmu of this.#space.mmus) mmu.revoke(start, end);
    }
    for (const frame of this.#dropped) this.#space.memory.pages.put(frame);
    this.#dropped.length = 0;
    this.#start = Number.POSITIVE_INFINITY;
    this.#end = 0;
    this.#isOpen = false;
  }

  #gather(page: Vpn): void {
    if (page < this.#start) this.#start = page;
    if (page >= this.#end) this.#end = page + 1;
  }
}

/** Device-private, migrating and exclusive pages count as the page that they stand for. */
export function countsAsResident(pte: Pte): number {
  return pte !== PTE_NONE && ptePfn(pte) !== ZERO_PFN ? 1 : 0;
}

/** The CPU could do more with `old` than it can with `pte`, or would reach another frame. */
function shrinks(old: Pte, pte: Pte): boolean {
  if (!isPresent(old) || (old & PTE_VALID) === 0) return false;
  if (ptePfn(old) !== ptePfn(pte)) return true;
  return (old & ~pte & (PTE_VALID | PTE_WRITE)) !== 0;
}
