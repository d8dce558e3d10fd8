/**
 * What the hardware maps of a space now, page by page, and the only one who changes that. It
 * gives no more than the page table does, and asks the host only about pages whose rights differ.
 */
import { assert, type Result, type Vpn, vpn } from "../../base/index.ts";
import { type AddressSpace, PTE_VALID, PTE_WRITE } from "../../mm/index.ts";
import { rightsIn } from "../rights.ts";
import type { HostMemory } from "./host-memory.ts";
import { LEFT } from "./left-pages.ts";

/** Pages without a mapping that one revocation passes over rather than begin a second one. */
const BRIDGE_PAGES = 512;

export class HardwareShadow {
  // Vpn -> PTE_VALID, PTE_WRITE; and LEFT, which only `LeftPages` sets
  readonly rights: Uint8Array;
  readonly #space: AddressSpace;
  readonly #memory: HostMemory;

  constructor(space: AddressSpace, memory: HostMemory) {
    this.#space = space;
    this.#memory = memory;
    this.rights = new Uint8Array(memory.pageCount);
  }

  /**
   * Takes away from [start, end) what the page table does not allow any more. Pages that lost
   * only the right to be written are protected, which keeps them mapped for readers. A window
   * that is not served any more has nothing to be taken away.
   */
  revoke(start: Vpn, end: Vpn): void {
    if (this.#memory.isClosed) return;
    const last = Math.min(end, this.rights.length);
    for (let at = start as number; at < last; ) {
      const loss = this.#lossOf(at);
      if (loss === Loss.none) {
        at++;
        continue;
      }
      const stop = loss === Loss.write ? this.#endOfWrites(at, last) : this.#endOfAll(at, last);
      if (loss === Loss.write) {
        this.#memory.protect(vpn(at), vpn(stop));
        this.rights.fill(PTE_VALID, at, stop);
      } else {
        this.#memory.revoke(vpn(at), vpn(stop));
        this.rights.fill(0, at, stop);
      }
      at = stop;
    }
  }

  /**
   * Gives [start, end) what the page table allows now, neighbours of one kind in one call.
   * -ENOMEM: the host has no memory for some page; those before it have what they should.
   */
  install(start: Vpn, end: Vpn): Result {
    for (let at = start as number; at < end; ) {
      const [have, fact] = [this.rights[at]!, this.#factOf(at)];
      let stop = at + 1;
      if (have !== fact && (have & LEFT) === 0) {
        while (stop < end && this.rights[stop] === have && this.#factOf(stop) === fact) stop++;
        const result = this.#grow(vpn(at), vpn(stop), fact);
        if (result < 0) return result;
      }
      at = stop;
    }
    return 0;
  }

  /**
   * A thread faulted on `page`: the hardware allows no more than `rights`, whatever we granted.
   * The host may drop a mapping when it runs out of memory, and tells nobody. To be followed by
   * `install` at once: the news may be old, and then the page has more than is known.
   */
  observe(page: Vpn, rights: number): void {
    if (this.rights[page]! & LEFT) return;
    this.rights[page] = this.rights[page]! & rights;
  }

  #grow(start: Vpn, end: Vpn, fact: number): Result {
    const have = this.rights[start]!;
    assert((have & ~fact) === 0, () => `page ${start}: the hardware allows what nobody granted`);
    if (have === 0) {
      const result = this.#memory.install(start, end, (fact & PTE_WRITE) !== 0);
      if (result < 0) {
        // Some of them may be mapped: then nobody would know.
        this.#memory.revoke(start, end);
        return result;
      }
    } else this.#memory.unprotect(start, end);
    this.rights.fill(fact, start, end);
    return 0;
  }

  /** What the hardware allows at `page` and the page table does not. */
  #lossOf(page: number): Loss {
    const have = this.rights[page]!;
    if (have === 0 || (have & LEFT) !== 0) return Loss.none;
    const fact = this.#factOf(page);
    if ((have & ~fact) === 0) return Loss.none;
    return fact === 0 ? Loss.all : Loss.write;
  }

  #endOfWrites(start: number, end: number): number {
    let at = start + 1;
    while (at < end && this.#lossOf(at) === Loss.write) at++;
    return at;
  }

  /** The end of the last page that loses all, with nothing but unmapped pages in between. */
  #endOfAll(start: number, end: number): number {
    let stop = start + 1;
    for (let at = stop; at < end && at - stop < BRIDGE_PAGES; at++) {
      if (this.rights[at] === 0) continue;
      if (this.#lossOf(at) !== Loss.all) break;
      stop = at + 1;
    }
    return stop;
  }

  #factOf(page: number): number {
    return rightsIn(this.#space.pageTable.get(vpn(page)));
  }
}

const Loss = { none: 0, write: 1, all: 2 } as const;
type Loss = (typeof Loss)[keyof typeof Loss];
