/**
 * The second page table of a virtual machine, from guest page (gfn) to frame, and virtual CPUs that
 * run the guest through it. Each has a TLB. An access that finds no entry with the rights it needs
 * leaves the guest: the hypervisor handles the fault, and the access is executed again.
 *
 * A TLB may say what the table said earlier. So a hypervisor that takes an entry away and does not
 * flush is caught: the guest reaches a frame that belongs to somebody else by then.
 */
import {
  type Memory,
  makePte,
  PAGE_SIZE,
  type Pfn,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  type Result,
  type Sleeps,
  YIELD,
} from "onespace/driver";

/** Guest pages that one large entry maps, to frames in a row. */
export const LARGE_PAGES = 512;

/** The entry `distance` pages before or behind `entry`, of frames in a row. */
export const entryAt = (entry: Pte, distance: number): Pte =>
  makePte((ptePfn(entry) + distance) as Pfn, entry & (PTE_VALID | PTE_WRITE));

/** What an access does when it reaches memory, in one step: the bytes of the page. */
export type Landing = (bytes: Uint8Array, frame: Pfn) => void;

/** The hypervisor's answer to a fault: 0 or more to execute the access again. */
export type FaultExit = (gfn: number, write: boolean) => Sleeps<Result>;

export class GuestMmu {
  readonly memory: Memory;
  readonly #tlbs: Map<number, Pte>[] = [];
  // gfn -> entry
  readonly #small = new Map<number, Pte>();
  // gfn of the first page -> its entry
  readonly #large = new Map<number, Pte>();

  constructor(memory: Memory) {
    this.memory = memory;
  }

  set(gfn: number, entry: Pte): void {
    this.#small.set(gfn, entry);
  }

  /** One entry for `LARGE_PAGES` from `gfn` on, which is a multiple of that. */
  setLarge(gfn: number, entry: Pte): void {
    for (const each of this.#small.keys()) {
      if (each >= gfn && each < gfn + LARGE_PAGES) this.#small.delete(each);
    }
    this.#large.set(gfn, entry);
  }

  /** What maps `gfn`, as the entry of that page; 0 for nothing. */
  get(gfn: number): Pte {
    const small = this.#small.get(gfn);
    if (small !== undefined) return small;
    const index = gfn % LARGE_PAGES;
    const large = this.#large.get(gfn - index);
    return large === undefined ? PTE_NONE : entryAt(large, index);
  }

  get smallCount(): number {
    return this.#small.size;
  }

  get largeCount(): number {
    return this.#large.size;
  }

  /** Takes the entries of [from, to) away, large ones whole; `visit` sees each one. */
  clear(from: number, to: number, visit: (entry: Pte, pages: number) => void): void {
    for (const [gfn, entry] of this.#small) {
      if (gfn < from || gfn >= to) continue;
      visit(entry, 1);
      this.#small.delete(gfn);
    }
    for (const [gfn, entry] of this.#large) {
      if (gfn + LARGE_PAGES <= from || gfn >= to) continue;
      visit(entry, LARGE_PAGES);
      this.#large.delete(gfn);
    }
  }

  /** All virtual CPUs have forgotten everything when it returns: an interrupt to each. */
  flushTlbs(): void {
    for (const tlb of this.#tlbs) tlb.clear();
  }

  addVcpu(exit: FaultExit): Vcpu {
    const tlb = new Map<number, Pte>();
    this.#tlbs.push(tlb);
    return new Vcpu(this, tlb, exit);
  }
}

export class Vcpu {
  readonly mmu: GuestMmu;
  readonly counts = { exits: 0 };
  // gfn -> entry as it was when the guest walked
  readonly #tlb: Map<number, Pte>;
  readonly #exit: FaultExit;

  constructor(mmu: GuestMmu, tlb: Map<number, Pte>, exit: FaultExit) {
    this.mmu = mmu;
    this.#tlb = tlb;
    this.#exit = exit;
  }

  /** One access of the guest: 0 when it has landed, or why the hypervisor cannot go on. */
  *access(gfn: number, write: boolean, land: Landing): Sleeps<Result> {
    for (;;) {
      yield YIELD;
      const entry = this.#translate(gfn, PTE_VALID | (write ? PTE_WRITE : 0));
      if (entry !== undefined) {
        const at = ptePfn(entry) * PAGE_SIZE;
        land(this.mmu.memory.bytes.u8.subarray(at, at + PAGE_SIZE), ptePfn(entry));
        return 0;
      }
      this.counts.exits++;
      const result = yield* this.#exit(gfn, write);
      if (result < 0) return result;
    }
  }

  #translate(gfn: number, need: number): Pte | undefined {
    const cached = this.#tlb.get(gfn) ?? PTE_NONE;
    if ((cached & need) === need) return cached;
    const entry = this.mmu.get(gfn);
    if ((entry & need) !== need) return undefined;
    this.#tlb.set(gfn, entry);
    return entry;
  }
}
