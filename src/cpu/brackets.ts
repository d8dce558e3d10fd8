/**
 * Access brackets: pages that are faulted in and pinned while somebody touches their bytes. The
 * one table of them: who opened which, and what they cover.
 */
import {
  type AddrRange,
  assert,
  type Result,
  type VirtAddr,
  type Vpn,
  vpn,
  vpnOf,
} from "../base/index.ts";
import { type AddressSpace, type PinnedPages, pinPages, unpinPages } from "../mm/index.ts";
import { PG_DIRTY } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";

/** Who opened a bracket, as a number that is nobody else's; 0n: who lasts as long as the table. */
export type BracketOwner = bigint;

export interface Bracket extends PinnedPages {
  /** From 1 on, never used twice. */
  readonly id: number;
  readonly owner: BracketOwner;
}

/** What a CPU does with pages that are there: `ScopedCpu` and `HostCpu` do. */
interface Installs {
  /** Takes over what the page table allows. Negative: the system has no memory for it. */
  install(start: Vpn, end: Vpn): Result;
}

export class Brackets {
  readonly #space: AddressSpace;
  readonly #cpu: Installs;
  readonly #open = new Map<number, Bracket>();
  #nextId = 1;

  constructor(space: AddressSpace, cpu: Installs) {
    this.#space = space;
    this.#cpu = cpu;
  }

  get count(): number {
    return this.#open.size;
  }

  get(id: number): Bracket | undefined {
    return this.#open.get(id);
  }

  /**
   * Opens a bracket: every page of `range` is in RAM, may be touched without a fault, and stays
   * until `close`; system calls may be given it. All pages or none; when one cannot be had, a
   * negated errno and `failure.address`.
   */
  *open(
    range: AddrRange,
    write: boolean,
    failure: { address: VirtAddr },
    owner: BracketOwner = 0n,
  ): Sleeps<Bracket | Result> {
    this.#space.catchUp(vpnOf(range.start), vpnOf(range.end));
    const pinned = yield* pinPages(this.#space, range, { write, failure });
    if (typeof pinned === "number") return pinned;
    const installed = this.#cpu.install(pinned.start, vpn(pinned.start + pinned.frames.length));
    if (installed < 0) {
      unpinPages(pinned);
      failure.address = range.start;
      return installed;
    }
    const bracket: Bracket = { ...pinned, id: this.#nextId++, owner };
    this.#open.set(bracket.id, bracket);
    return bracket;
  }

  /** Closes a bracket, once. What was written in it is marked so. */
  close(bracket: Bracket): void {
    assert(this.#open.delete(bracket.id), "a bracket is closed twice");
    if (bracket.write) {
      for (const frame of bracket.frames) this.#space.memory.pages.setFlag(frame, PG_DIRTY);
    }
    unpinPages(bracket);
  }

  /** Closes the brackets of those who are gone: each owner is asked for once. */
  closeOfGone(isGone: (owner: BracketOwner) => boolean): void {
    const known = new Map<BracketOwner, boolean>([[0n, false]]);
    for (const bracket of this.#open.values()) {
      const { owner } = bracket;
      if (!known.has(owner)) known.set(owner, isGone(owner));
      if (known.get(owner)) this.close(bracket);
    }
  }

  /** An open bracket that covers a page of [start, end), if any. */
  find(start: Vpn, end: Vpn): Bracket | undefined {
    for (const bracket of this.#open.values()) {
      if (bracket.start < end && start < bracket.start + bracket.frames.length) return bracket;
    }
    return undefined;
  }
}
