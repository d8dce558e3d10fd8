/**
 * Pages that the device has for itself: marked in the CPU's page table, and with a tag in the
 * device's. Linux: dmirror_exclusive(), dmirror_atomic_map().
 */
import {
  type AddrRange,
  EBUSY,
  EINVAL,
  type Pfn,
  type Result,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import type { DeviceShadow } from "../../device/index.ts";
import {
  makeDeviceExclusive,
  makePte,
  mmputAsync,
  PTE_EXCLUSIVE,
  PTE_VALID,
  putExclusive,
} from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { chunks } from "./chunks.ts";

export class DmirrorExclusive {
  readonly #shadow: DeviceShadow;

  constructor(shadow: DeviceShadow) {
    this.#shadow = shadow;
  }

  /** Chunk by chunk; -EBUSY at the first that cannot be had whole. */
  *take(range: AddrRange): Sleeps<Result> {
    const { space } = this.#shadow;
    if (!space.users.getUnlessZero()) return -EINVAL;
    try {
      using _mmap = yield* space.mmapLock.acquireRead();
      for (const chunk of chunks(range)) {
        const result = yield* this.#takeChunk(chunk);
        if (result < 0) return result;
      }
      return 0;
    } finally {
      mmputAsync(space);
    }
  }

  /** The device's table has a page of `range` as its own. */
  holdsAny(range: AddrRange): boolean {
    for (let page = vpnOf(range.start); page < vpnOf(range.end); page = vpn(page + 1)) {
      if (this.#shadow.get(page) & PTE_EXCLUSIVE) return true;
    }
    return false;
  }

  *#takeChunk(chunk: AddrRange): Sleeps<Result> {
    const count = vpnOf(chunk.end) - vpnOf(chunk.start);
    const { space } = this.#shadow;
    const frames: Pfn[] = [];
    try {
      const found = yield* makeDeviceExclusive(space, chunk, frames, undefined);
      if (found !== count) return -EBUSY;
      return (yield* this.#enter(chunk, frames)) === count ? 0 : -EBUSY;
    } finally {
      putExclusive(space, frames);
    }
  }

  /** While the pages are locked nobody takes them back: what is entered is right. */
  *#enter(chunk: AddrRange, frames: readonly Pfn[]): Sleeps<number> {
    using _update = yield* this.#shadow.lock.acquire();
    let entered = 0;
    frames.forEach((frame, i) => {
      if (frame === 0) return;
      const page = vpn(vpnOf(chunk.start) + i);
      this.#shadow.set(page, makePte(frame, PTE_VALID | PTE_EXCLUSIVE));
      entered++;
    });
    return entered;
  }
}
