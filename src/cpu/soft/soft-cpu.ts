/**
 * A CPU whose every load and store walks a TLB and, on a miss, the page table: slow and exactly
 * right, so it is the referee for tests. One word decides an access: the entry of its page.
 */
import {
  assert,
  PAGE_SIZE,
  type Result,
  SPACE_PAGES,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpnOf,
} from "../../base/index.ts";
import { REACH_WRITE, type Shadow, type ShadowVisitor } from "../../check/index.ts";
import {
  type AddressSpace,
  asPte,
  type CpuMmu,
  cpuFault,
  FAULT_WRITE,
  PTE_VALID,
  PTE_WRITE,
  ptePfn,
} from "../../mm/index.ts";
import { PG_DIRTY } from "../../phys/index.ts";
import { Shared, type Sleeps, YIELD } from "../../sync/index.ts";

export class SoftCpu implements CpuMmu, Shadow {
  readonly name = "CPU";
  readonly isCpu = true;
  readonly space: AddressSpace;
  // Vpn -> page table entry as it was when the access walked, or 0
  readonly #tlb = new Map<Vpn, number>();
  readonly #shared: Shared;

  constructor(space: AddressSpace) {
    this.space = space;
    this.#shared = new Shared(space.memory.scheduler);
    space.mmus.push(this);
  }

  /** A word at `address` (4-byte aligned), or the negated errno of the fault. */
  *load(address: VirtAddr): Sleeps<{ readonly value: number } | Result> {
    const result = yield* this.#reach(address, false);
    if (result < 0) return result;
    const { bytes } = this.space.memory;
    return { value: bytes.loadWord(this.#frameAt(address), wordOf(address)) };
  }

  /** Stores a word; 0 or the negated errno of the fault. */
  *store(address: VirtAddr, value: number): Sleeps<Result> {
    const result = yield* this.#reach(address, true);
    if (result < 0) return result;
    const { bytes, pages } = this.space.memory;
    const frame = this.#frameAt(address);
    pages.setFlag(frame, PG_DIRTY);
    bytes.storeWord(frame, wordOf(address), value);
    return 0;
  }

  revoke(start: Vpn, end: Vpn): void {
    this.#shared.write();
    if (end - start > this.#tlb.size) {
      for (const page of this.#tlb.keys()) {
        if (page >= start && page < end) this.#tlb.delete(page);
      }
      return;
    }
    for (let page = start as number; page < end; page++) this.#tlb.delete(page as Vpn);
  }

  forEachReachable(visit: ShadowVisitor): void {
    for (const [page, entry] of this.tlb) {
      visit(page, ptePfn(asPte(entry)), entry & PTE_WRITE ? REACH_WRITE : 0);
    }
  }

  /** What this CPU can reach without a walk, for tests. Vpn -> entry. */
  get tlb(): ReadonlyMap<Vpn, number> {
    this.#shared.read();
    return this.#tlb;
  }

  /** Detaches from the space. */
  dispose(): void {
    this.space.mmus.splice(this.space.mmus.indexOf(this), 1);
    this.#tlb.clear();
  }

  /** Afterwards the access is possible and nobody has run in between. */
  *#reach(address: VirtAddr, write: boolean): Sleeps<Result> {
    assert(address % 4 === 0 && address < SPACE_PAGES * PAGE_SIZE, "a word is 4-byte aligned");
    const page = vpnOf(address);
    const need = PTE_VALID | (write ? PTE_WRITE : 0);
    if (this.space.memory.scheduler.explores) yield YIELD;
    while (((this.#tlb.get(page) ?? 0) & need) !== need) {
      const pte = this.space.pageTable.get(page);
      this.#shared.read();
      if ((pte & need) === need) {
        this.#shared.write();
        this.#tlb.set(page, pte);
        break;
      }
      const result = yield* cpuFault(this.space, virtAddr(address), write ? FAULT_WRITE : 0);
      if (result < 0) return result;
    }
    return 0;
  }

  #frameAt(address: VirtAddr) {
    this.#shared.read();
    return ptePfn(asPte(this.#tlb.get(vpnOf(address))!));
  }
}

const wordOf = (address: VirtAddr): number => (address % PAGE_SIZE) >>> 2;
