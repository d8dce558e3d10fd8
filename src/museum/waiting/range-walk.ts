/**
 * How hmm_range_fault() of Linux 5.2 goes over an address space of a few pages: VMA by VMA, entry
 * by entry; a missing page is faulted in and the walk begins again there. Numbers of pages stand
 * for addresses. What later versions changed is a rule here.
 */
import { EBUSY, EFAULT, EPERM } from "../../base/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { Cell, Model, Queue } from "../model/index.ts";

/** An entry of the array, as request or as result, is a sum of these. */
export const NONE = 0;
export const VALID = 1;
export const WRITE = 2;
const ERROR = 4;

export type Pte = "none" | "swapped" | "migrating" | "read-only" | "writable";

export interface Vma {
  /** First page. */
  readonly start: number;
  /** After the last page. */
  readonly end: number;
  readonly isReadable?: boolean;
  readonly isWritable?: boolean;
}

export interface WalkRules {
  /** Which entries are compared with the request. */
  readonly compares: "no swap entries" | "all entries";
  /** A fault looks at the VMA, and at what it permits, before it asks the core. */
  readonly checksVma: boolean;
  /** What is faulted together with the page that needs it. */
  readonly faults: "the rest of the chunk" | "that page";
  /** Who sets "does it need a fault" to no before it is computed. */
  readonly clears: "caller" | "nobody";
  /** What a VMA that may not be read does to the array. */
  readonly onUnreadable: "all of it is cleared" | "the rest is cleared";
  /** The array holds requests until it holds results; or requests have an array of their own. */
  readonly requests: "overwritten" | "kept";
  /** What a whole table of missing entries adds to the number of pages seen. */
  readonly counts: "no holes" | "holes";
}

export const LINUX_5_2: WalkRules = {
  compares: "no swap entries",
  checksVma: false,
  faults: "the rest of the chunk",
  clears: "caller",
  onUnreadable: "all of it is cleared",
  requests: "overwritten",
  counts: "no holes",
};

export interface WalkSetup {
  readonly ptes: readonly Pte[];
  /** By address. Default: one that permits everything. */
  readonly vmas?: readonly Vma[];
  /** No page table exists. */
  readonly hasNoTables?: boolean;
  /** Requested of every page. */
  readonly defaultFlags?: number;
  readonly rules: WalkRules;
}

/** What a fault did to the address space. */
export interface Faulted {
  readonly page: number;
  readonly isWrite: boolean;
}

export class RangeWalk {
  readonly ptes: readonly Cell<Pte>[];
  /** Whoever replaces a migration entry wakes it. */
  readonly migrated: Queue;
  /** In: requests. Out: results. It belongs to the driver. */
  entries: number[] = [];
  readonly faulted: Faulted[] = [];
  readonly #model: Model;
  readonly #setup: WalkSetup;
  readonly #vmas: readonly Vma[];
  #kept: readonly number[] = [];
  #isFaulting = false;
  // The two words on the stack that say what is needed. Nobody may clear them between calls.
  #needsFault = false;
  #needsWrite = false;
  // first page that is not final
  #last = 0;
  #passes = 0;

  constructor(model: Model, setup: WalkSetup) {
    this.#model = model;
    this.#setup = setup;
    this.ptes = setup.ptes.map((pte, page) => model.cell<Pte>(`pte[${page}]`, pte));
    this.#vmas = setup.vmas ?? [{ start: 0, end: setup.ptes.length, isWritable: true }];
    this.migrated = model.queue("the migration entry");
  }

  get #rules(): WalkRules {
    return this.#setup.rules;
  }

  request(flags: readonly number[]): void {
    this.entries = [...flags];
    this.#kept = [...flags];
  }

  /** hmm_range_snapshot(): pages seen, or a negated errno. Faults nothing. */
  snapshot(isValid: () => boolean): Sleeps<number> {
    this.#isFaulting = false;
    return this.#range(isValid);
  }

  /** hmm_range_fault(): pages seen, or a negated errno. */
  fault(isValid: () => boolean): Sleeps<number> {
    this.#isFaulting = true;
    return this.#range(isValid);
  }

  *#range(isValid: () => boolean): Sleeps<number> {
    const pages = this.ptes.length;
    this.#passes = 0;
    let start = 0;
    while (start < pages) {
      if (!isValid()) return -EBUSY;
      const vma = this.#vmas.find(({ end }) => end > start);
      if (vma === undefined) return -EFAULT;
      if (vma.isReadable === false) {
        const isWiping = this.#rules.onUnreadable === "all of it is cleared";
        this.entries.fill(NONE, isWiping ? 0 : start);
        return isWiping ? -EPERM : -EFAULT;
      }
      const end = Math.min(pages, vma.end);
      let result: number;
      do {
        result = yield* this.#walk(start, end, vma);
        start = this.#last;
      } while (result === -EBUSY && isValid());
      if (result !== 0) {
        this.entries.fill(NONE, this.#last);
        return result;
      }
      start = end;
    }
    return this.#last;
  }

  /** A page needs two faults at most: one to be there, one to be writable. */
  *#walk(start: number, end: number, vma: Vma): Sleeps<number> {
    const passes = ++this.#passes;
    const pages = this.ptes.length;
    const isExplained = passes <= 2 * pages + 1;
    this.#model.expect(isExplained, "livelock", `pass ${passes} over ${pages} page`);
    if (this.#setup.hasNoTables && !this.#wants(start, end)) {
      this.entries.fill(NONE, start, end);
      this.#last = this.#rules.counts === "holes" ? end : start;
      return 0;
    }
    for (let page = start; page < end; page++) {
      const result = yield* this.#entry(page, end, page < vma.start ? undefined : vma);
      this.#last = page;
      if (result !== 0) return result;
    }
    this.#last = end;
    return 0;
  }

  #wants(start: number, end: number): boolean {
    const requested = this.entries.slice(start, end).some((entry) => (entry & VALID) !== 0);
    return this.#isFaulting && requested;
  }

  *#entry(page: number, end: number, vma: Vma | undefined): Sleeps<number> {
    const cell = this.ptes[page]!;
    const pte = yield* this.#model.step(`looks at pte[${page}]`, () => cell.value);
    const isOverwritten = this.#rules.requests === "overwritten";
    const own = isOverwritten ? this.entries[page]! : this.#kept[page]!;
    this.entries[page] = NONE;
    const isSwap = pte === "swapped" || pte === "migrating";
    if (isSwap && this.#rules.compares === "no swap entries") return 0;
    this.#compare(own | (this.#setup.defaultFlags ?? 0), flagsOf(pte));
    if (!this.#needsFault && !this.#needsWrite) {
      this.entries[page] = flagsOf(pte);
      if (vma === undefined && this.#rules.checksVma) this.entries[page] = ERROR;
      return 0;
    }
    if (pte === "migrating") {
      yield* this.#settle(page);
      return -EBUSY;
    }
    const stop = this.#rules.faults === "that page" ? page + 1 : end;
    return yield* this.#faultIn(page, stop, vma);
  }

  /** Sets the words to yes where a fault is needed, and never to no. */
  #compare(request: number, flags: number): void {
    if (this.#rules.clears === "caller") {
      this.#needsFault = false;
      this.#needsWrite = false;
    }
    if (!this.#isFaulting || (request & VALID) === 0) return;
    if ((flags & VALID) === 0) this.#needsFault = true;
    if ((request & ~flags & WRITE) !== 0) this.#needsWrite = true;
  }

  /** -EBUSY: the walk must look again. */
  *#faultIn(start: number, end: number, vma: Vma | undefined): Sleeps<number> {
    const isWrite = this.#needsWrite;
    if (this.#rules.checksVma && vma === undefined) return -EFAULT;
    if (this.#rules.checksVma && isWrite && !vma?.isWritable) return -EPERM;
    for (let page = start; page < end; page++) {
      this.entries[page] = NONE;
      if (this.ptes[page]!.value === "migrating") yield* this.#settle(page);
      const words = `${isWrite ? "write-" : ""}faults page ${page}`;
      yield* this.#model.step(words, () => this.#handleFault(page, isWrite, vma!));
    }
    return -EBUSY;
  }

  /** Sleeps until the page has arrived. Linux: migration_entry_wait(). */
  #settle(page: number): Sleeps<boolean> {
    return this.migrated.until(() => this.ptes[page]!.value !== "migrating");
  }

  /** The core. It trusts its caller to have looked at the VMA. */
  #handleFault(page: number, isWrite: boolean, vma: Vma): void {
    const cell = this.ptes[page]!;
    const mayWrite = vma.isWritable ?? false;
    this.faulted.push({ page, isWrite });
    if (cell.value === "writable") return;
    cell.value = isWrite && mayWrite ? "writable" : "read-only";
  }
}

function flagsOf(pte: Pte): number {
  if (pte === "writable") return VALID | WRITE;
  return pte === "read-only" ? VALID : NONE;
}
