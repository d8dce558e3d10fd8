/** Where a checker is: one entry of a page table, and the Vma that it lies in. */
import { addrOf, formatAddress, type Pfn, type Vpn, vpn } from "../base/index.ts";
import {
  type AddressSpace,
  asPte,
  LEAF_PAGES,
  LEAF_SHIFT,
  type PageTable,
  PTE_NONE,
  PTE_PROTNONE,
  PTE_VALID,
  type Pte,
  ptePfn,
  type Vma,
} from "../mm/index.ts";
import { unwatched } from "../sync/index.ts";

/** One object for a whole walk, moved from entry to entry: a space may have a million. */
export class Entry {
  readonly space: AddressSpace;
  page = vpn(0);
  pte: Pte = PTE_NONE;
  vma: Vma | undefined;

  constructor(space: AddressSpace) {
    this.space = space;
  }

  get frame(): Pfn {
    return ptePfn(this.pte);
  }

  /** The CPU's page tables have it, whether it may be touched or not. */
  get isHere(): boolean {
    return (this.pte & (PTE_VALID | PTE_PROTNONE)) !== 0;
  }

  /** For messages. */
  get where(): string {
    return `space ${this.space.id} ${formatAddress(addrOf(this.page))}`;
  }
}

/** Calls `visit` for every entry of `space`, always with the same object. */
export function walkEntries(space: AddressSpace, visit: (entry: Entry) => void): void {
  const entry = new Entry(space);
  forEachEntry(space.pageTable, (page, pte) => {
    entry.page = page;
    entry.pte = pte;
    entry.vma = space.vmas.find(addrOf(page));
    visit(entry);
  });
}

/** Every entry that is not none. An explorer does not notice that somebody looks. */
export function forEachEntry(table: PageTable, visit: (page: Vpn, pte: Pte) => void): void {
  const directory = unwatched(table.directory);
  for (let index = 0; index < directory.length; index++) {
    const leaf = directory[index]!;
    if (leaf < 0) continue;
    const entries = unwatched(table.leaves[leaf]!);
    for (let i = 0; i < LEAF_PAGES; i++) {
      if (entries[i] !== 0) visit(vpn((index << LEAF_SHIFT) + i), asPte(entries[i]!));
    }
  }
}
