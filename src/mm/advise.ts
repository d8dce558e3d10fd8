/** madvise: what the program does not need. Linux: mm/madvise.c. */
import {
  addrOf,
  assert,
  EINVAL,
  ENOMEM,
  isPageAligned,
  isPageRange,
  PAGE_SIZE,
  type Result,
  type VirtAddr,
  virtAddr,
  vpnOf,
} from "../base/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../notifier/index.ts";
import type { Sleeps } from "../sync/index.ts";
import type { AddressSpace } from "./address-space.ts";

/**
 * MADV_DONTNEED: the content of [start, start + bytes) is gone, the mapping stays; the next
 * touch finds zeros. -EINVAL for an unaligned start, -ENOMEM over a hole (the rest is done).
 */
export function* madviseDontNeed(
  space: AddressSpace,
  start: VirtAddr,
  bytes: number,
): Sleeps<Result> {
  if (!isPageAligned(start)) return -EINVAL;
  if (bytes === 0) return 0;
  const end = virtAddr(Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE + start);
  if (!isPageRange(start, end)) return -EINVAL;
  // Linux reads the lock here; we write it, so that no page is on its way meanwhile.
  using _mmap = yield* space.mmapLock.acquireWrite();
  let at = start;
  let hole = false;
  for (const vma of [...space.vmas.overlapping(start, end)]) {
    if (vma.start > at) hole = true;
    const from = vpnOf(virtAddr(Math.max(vma.start, start)));
    const to = vpnOf(virtAddr(Math.min(vma.end, end)));
    const event = new Invalidation({
      start: addrOf(from),
      end: addrOf(to),
      event: MMU_NOTIFY_CLEAR,
    });
    const started = yield* space.notifiers.start(event);
    assert(started === 0, "a blockable invalidation cannot be refused");
    const cursor = space.cursor.begin();
    cursor.clearRange(from, to);
    cursor.flush();
    space.notifiers.end(event);
    at = vma.end;
  }
  return hole || at < end ? -ENOMEM : 0;
}
