/**
 * Pages that come before the device asks for them: a hint. What does not come, because somebody
 * holds it or there is no room, comes when it is needed. CUDA: cudaMemPrefetchAsync().
 */
import {
  addrOf,
  EBUSY,
  EFAULT,
  EINVAL,
  ENOMEM,
  PAGE_SIZE,
  type Result,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
} from "../base/index.ts";
import { VM_READ, VM_WRITE } from "../mm/index.ts";
import type { Sleeps } from "../sync/index.ts";
import type { DeviceShadow } from "./device-shadow.ts";
import { MIGRATION_PAGES } from "./move.ts";
import { serve, type Want } from "./serve.ts";

export interface PrefetchOptions {
  /**
   * False: what the device can get copies of stays in RAM, where CPUs go on reading it, and what
   * nobody has touched stays so. True: pages move, untouched ones as zeros.
   */
  readonly write: boolean;
  /** Frames that came after this arrival are not evicted to make room. */
  readonly keepAfter: number;
}

/**
 * Brings the pages of [start, end) to the device, as far as there is room: 0. -EFAULT, with
 * `failure.address`: the program may not access a page in that way. -ENODEV: closed. Or why a copy
 * failed.
 */
export function* prefetch(
  shadow: DeviceShadow,
  { start, end }: { readonly start: Vpn; readonly end: Vpn },
  options: PrefetchOptions,
  failure: { address: VirtAddr },
): Sleeps<Result> {
  const bad = yield* firstWithout(shadow, start, end, options.write);
  if (bad !== undefined) {
    failure.address = bad;
    return -EFAULT;
  }
  let size = MIGRATION_PAGES;
  for (let at = start; at < end; ) {
    const stop = vpn(Math.min(end, at - (at % size) + size));
    const result = yield* prefetchBlock(shadow, at, stop, options);
    // The room that is left may do for a part of it.
    if (result === -ENOMEM && size > 1) {
      size >>>= 1;
      continue;
    }
    if (result === -ENOMEM) return 0;
    if (result < 0 && !MAY_STAY.has(result)) return result;
    at = stop;
  }
  return 0;
}

/** Somebody holds a page, or it is a kind of memory that stays where it is. */
const MAY_STAY: ReadonlySet<Result> = new Set([-EBUSY, -EINVAL]);

function* prefetchBlock(
  shadow: DeviceShadow,
  start: Vpn,
  end: Vpn,
  { write, keepAfter }: PrefetchOptions,
): Sleeps<Result> {
  const wanted: Want[] = [];
  if (write) {
    for (let page = start; page < end; page = vpn(page + 1)) {
      if (!shadow.allows(page, true)) wanted.push({ page, write });
    }
    if (wanted.length === 0) return 0;
  } else if (shadow.space.pageTable.nextUsed(start, end) === end) return 0;
  return yield* serve(shadow, [{ start, end, how: write ? "move" : "copy", wanted }], {
    keepAfter,
  });
}

/** The first byte of [start, end) that the program may not access in that way. */
function* firstWithout(
  { space }: DeviceShadow,
  start: Vpn,
  end: Vpn,
  write: boolean,
): Sleeps<VirtAddr | undefined> {
  using _mmap = yield* space.mmapLock.acquireRead();
  // What the host has given unasked is not in the page table yet.
  space.catchUp(start, end);
  const last = end * PAGE_SIZE;
  let at: number = addrOf(start);
  for (const vma of space.vmas.overlapping(addrOf(start), virtAddr(last))) {
    if (vma.start > at || !vma.allows(write ? VM_READ | VM_WRITE : VM_READ)) break;
    at = vma.end;
  }
  return at >= last ? undefined : virtAddr(at);
}
