/**
 * Pages that are left to the host: nobody is told of their faults, Linux gives memory at the first
 * touch, in a system call as well, and the page table knows nothing of it until it catches up.
 * Only for windows whose faults in system calls cannot be served.
 */
import { addrOf, assert, type Vpn, vpn } from "../../base/index.ts";
import {
  type AddressSpace,
  FAULT_WRITE,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  tryFault,
} from "../../mm/index.ts";
import type { HostMemory } from "./host-memory.ts";
import type { PageRun } from "./page-run.ts";

/** Set with all rights in the shadow: the page is left to the host. */
export const LEFT = 4;

/** Most runs that are left at a time: each is a mapping of the host, which has 65,530. */
const RUNS_MAX = 8000;

export class LeftPages {
  readonly #space: AddressSpace;
  readonly #memory: HostMemory;
  // the shadow's
  readonly #rights: Uint8Array;
  // At least as many runs as there are; counted afresh when they seem too many.
  #runs = 0;
  #hasGivenUp = false;

  constructor(space: AddressSpace, memory: HostMemory, rights: Uint8Array) {
    this.#space = space;
    this.#memory = memory;
    this.#rights = rights;
  }

  /**
   * Leaves [start, end) to the host. The program may read and write all of it, and each page is
   * in RAM, writable, or nowhere. The caller holds mmapLock for writing.
   */
  leave(start: Vpn, end: Vpn): void {
    if (this.#hasGivenUp || this.#memory.isClosed || this.#isTooMany()) return;
    // The first run costs one, one more in the middle of watched memory as well.
    this.#runs++;
    if (this.#memory.unwatch(start, end)) {
      this.#rights.fill(LEFT | PTE_VALID | PTE_WRITE, start, end);
    } else this.#giveUp();
  }

  /**
   * The page table says what there is in [start, end), and faults there are told again. What is
   * there only for the host, and about to go (`isGoing`), goes at once.
   */
  catchUp(start: Vpn, end: Vpn, isGoing: boolean): void {
    if (this.#runs === 0 || this.#memory.isClosed) return;
    for (const run of this.#runsIn(start, Math.min(end, this.#rights.length))) {
      if (!this.#watch(run)) return;
      if (isGoing) for (const gone of this.#unknownIn(run)) this.#drop(gone);
      this.#learn(run);
    }
  }

  /** Pages that the page table knows nothing of. */
  countUnknown(): number {
    let count = 0;
    if (this.#runs === 0 || this.#memory.isClosed) return count;
    for (const run of this.#runsIn(0, this.#rights.length)) {
      for (const { start, end } of this.#unknownIn(run)) count += end - start;
    }
    return count;
  }

  /** False: that was too much for the host, and everything is watched and known. */
  #watch({ start, end }: PageRun): boolean {
    // What is taken out of the middle leaves two.
    this.#runs++;
    if (!this.#memory.watch(vpn(start), vpn(end))) {
      this.#giveUp();
      return false;
    }
    this.#rights.fill(0, start, end);
    return true;
  }

  #drop({ start, end }: PageRun): void {
    this.#memory.discard(vpn(start), vpn(end));
  }

  /** From here on nobody touches a page there without our knowledge. */
  #learn(run: PageRun): void {
    const { pageTable, vmas } = this.#space;
    for (const { start, end } of this.#unknownIn(run)) {
      for (let page = vpn(start); page < end; page = vpn(page + 1)) {
        const vma = vmas.find(addrOf(page));
        assert(vma !== undefined, () => `page ${page} was left to the host, and is not mapped`);
        const result = tryFault(this.#space, vma, page, FAULT_WRITE);
        assert(result === 0, () => `page ${page} is there, and cannot be: ${result}`);
      }
    }
    for (let page = pageTable.nextUsed(vpn(run.start), vpn(run.end)); page < run.end; ) {
      this.#rights[page] = PTE_VALID | PTE_WRITE;
      page = pageTable.nextUsed(vpn(page + 1), vpn(run.end));
    }
  }

  /** Runs of pages of `run` that the file has and the page table does not. */
  *#unknownIn(run: PageRun): IterableIterator<PageRun> {
    const { pageTable } = this.#space;
    const end = vpn(run.end);
    for (let at = this.#memory.nextFilled(vpn(run.start), end); at < end; ) {
      if (pageTable.get(at) !== PTE_NONE) at = vpn(at + 1);
      const start = this.#memory.nextFilled(at, end);
      const filled = start < end ? this.#memory.nextHole(start, end) : end;
      at = pageTable.nextUsed(start, filled);
      if (start < at) yield { start, end: at };
      if (at === filled) at = this.#memory.nextFilled(at, end);
    }
  }

  *#runsIn(start: number, end: number): IterableIterator<PageRun> {
    for (let at = start; at < end; at++) {
      if ((this.#rights[at]! & LEFT) === 0) continue;
      let stop = at + 1;
      while (stop < end && (this.#rights[stop]! & LEFT) !== 0) stop++;
      yield { start: at, end: stop };
      at = stop;
    }
  }

  #isTooMany(): boolean {
    if (this.#runs < RUNS_MAX) return false;
    this.#runs = [...this.#runsIn(0, this.#rights.length)].length;
    return this.#runs >= RUNS_MAX / 2;
  }

  /** Too many pieces: everything is watched from now on. */
  #giveUp(): void {
    this.#hasGivenUp = true;
    this.#runs = 0;
    const all = [...this.#runsIn(0, this.#rights.length)];
    const isWatched = this.#memory.watch(vpn(0), vpn(this.#memory.pageCount));
    assert(isWatched, "the window in one piece is too much");
    for (const { start, end } of all) this.#rights.fill(0, start, end);
    for (const run of all) this.#learn(run);
  }
}
