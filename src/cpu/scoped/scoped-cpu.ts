/**
 * The portable CPU: user code reads and writes the window itself. JavaScript has no page faults,
 * so access is bracketed: `access` faults pages in and pins them, and while the bracket is open
 * they stay; single words can be touched outside of brackets after `need`, which looks at a
 * table of what the CPU may touch now. Every page's bytes are at its address (identity frames).
 */
import {
  type AddrRange,
  assert,
  type Result,
  SPACE_PAGES,
  type VirtAddr,
  type Vpn,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import {
  type AddressSpace,
  type CpuMmu,
  type PinnedPages,
  PTE_VALID,
  PTE_WRITE,
  pinPages,
  unpinPages,
} from "../../mm/index.ts";
import { PG_DIRTY } from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";

export class ScopedCpu implements CpuMmu {
  readonly #space: AddressSpace;
  // Vpn -> PTE_VALID, PTE_WRITE: what may be touched now
  readonly #rights = new Uint8Array(SPACE_PAGES);
  readonly #open = new Set<PinnedPages>();

  constructor(space: AddressSpace) {
    assert(space.isIdentity, "a window needs every page's frame at its address");
    this.#space = space;
    space.mmus.push(this);
  }

  revoke(start: Vpn, end: Vpn): void {
    this.#rights.fill(0, start, end);
  }

  /** Every page of [address, address + bytes) may be touched at once. Looks at the table only. */
  mayTouch(address: VirtAddr, bytes: number, write: boolean): boolean {
    const need = PTE_VALID | (write ? PTE_WRITE : 0);
    const rights = this.#rights;
    const last = Math.floor((address + bytes - 1) / 4096);
    for (let page = Math.floor(address / 4096); page <= last; page++) {
      if ((rights[page]! & need) !== need) return false;
    }
    return true;
  }

  /** Takes over what the page table allows for the pages of [start, end). */
  install(start: Vpn, end: Vpn): void {
    for (let page = start; page < end; page = vpn(page + 1)) {
      this.#rights[page] = this.#space.pageTable.get(page) & (PTE_VALID | PTE_WRITE);
    }
  }

  /**
   * Opens a bracket: every page of `range` is in RAM, may be touched, and stays until `close`.
   * All pages or none; when one cannot be had, a negated errno and `failure.address`.
   */
  *access(
    range: AddrRange,
    write: boolean,
    failure: { address: VirtAddr },
  ): Sleeps<PinnedPages | Result> {
    const pinned = yield* pinPages(this.#space, range, { write, failure });
    if (typeof pinned === "number") return pinned;
    this.install(vpnOf(range.start), vpn(vpnOf(range.start) + pinned.frames.length));
    this.#open.add(pinned);
    return pinned;
  }

  /** Closes a bracket, once. What was written in it is marked so. */
  close(pinned: PinnedPages): void {
    assert(this.#open.delete(pinned), "a bracket is closed twice");
    if (pinned.write) {
      for (const frame of pinned.frames) this.#space.memory.pages.setFlag(frame, PG_DIRTY);
    }
    unpinPages(pinned);
  }

  get openBrackets(): number {
    return this.#open.size;
  }

  /** An open bracket that covers a page of [start, end), if any. */
  bracketIn(start: Vpn, end: Vpn): PinnedPages | undefined {
    for (const pinned of this.#open) {
      if (pinned.start < end && start < pinned.start + pinned.frames.length) return pinned;
    }
    return undefined;
  }

  /** For checkers: what the CPU may touch at `page`. */
  rightsOf(page: Vpn): number {
    return this.#rights[page]!;
  }
}
