/**
 * The word of a device's table, made and read here and nowhere else: the page table's own format
 * with two flags, frame << 8 | write << 1 | valid. The frame is the one that the device reaches:
 * a page of its memory, or of RAM if it can read that.
 */
import type { Pfn } from "../base/index.ts";
import { makePte, PTE_NONE, PTE_VALID, PTE_WRITE, type Pte, ptePfn } from "../mm/index.ts";

export type Entry = Pte;

export const ENTRY_NONE: Entry = PTE_NONE;
/** The flags that a device knows. */
export const ENTRY_VALID = PTE_VALID;
export const ENTRY_WRITE = PTE_WRITE;
/** What a frame number counts for in a word. */
const FRAME_STEP = 256;

export const newEntry = (frame: Pfn, write: boolean): Entry =>
  makePte(frame, write ? ENTRY_VALID | ENTRY_WRITE : ENTRY_VALID);

export const entryFrame = (entry: Entry): Pfn => ptePfn(entry);

/** The device may read, or write, what is behind the entry. */
export function allows(entry: Entry, write: boolean): boolean {
  const need = write ? ENTRY_VALID | ENTRY_WRITE : ENTRY_VALID;
  return (entry & need) === need;
}

/** The same word for hardware whose own frames count from 0; `first` is its frame 0 here. */
export const toLocal = (entry: Entry, first: Pfn): number =>
  entry === ENTRY_NONE ? 0 : entry - first * FRAME_STEP;

export const fromLocal = (word: number, first: Pfn): Entry =>
  word === 0 ? ENTRY_NONE : ((word + first * FRAME_STEP) as Entry);

/** Where a driver keeps the words of one space. mm's `PageTable` is one. */
export interface EntryTable {
  get(page: number): Entry;
  set(page: number, entry: Entry): void;
  /** The first page at or after `page`, below `end`, with an entry; `end` when there is none. */
  nextUsed(page: number, end: number): number;
}
