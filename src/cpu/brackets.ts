/**
 * Access brackets: pages that are faulted in and pinned while somebody touches their bytes. What
 * the backends of a window share; what a bracket means for user code is theirs.
 */
import { type AddrRange, assert, type Result, type VirtAddr, type Vpn } from "../base/index.ts";
import { type AddressSpace, type PinnedPages, pinPages, unpinPages } from "../mm/index.ts";
import { PG_DIRTY } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";

export class Brackets {
  readonly #space: AddressSpace;
  readonly #open = new Set<PinnedPages>();

  constructor(space: AddressSpace) {
    this.#space = space;
  }

  get count(): number {
    return this.#open.size;
  }

  /**
   * Pins every page of `range`, all or none; when one cannot be had, a negated errno and
   * `failure.address`. They stay until `close`.
   */
  *open(
    range: AddrRange,
    write: boolean,
    failure: { address: VirtAddr },
  ): Sleeps<PinnedPages | Result> {
    const pinned = yield* pinPages(this.#space, range, { write, failure });
    if (typeof pinned !== "number") this.#open.add(pinned);
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

  /** An open bracket that covers a page of [start, end), if any. */
  find(start: Vpn, end: Vpn): PinnedPages | undefined {
    for (const pinned of this.#open) {
      if (pinned.start < end && start < pinned.start + pinned.frames.length) return pinned;
    }
    return undefined;
  }
}
