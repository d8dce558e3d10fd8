/**
 * munmap: intent goes first, so that no fault can grow the fact back; then the devices' shadows,
 * the fact, the CPU's shadows; frames last. Linux: mm/vma.c do_vmi_munmap().
 */
import {
  type AddrRange,
  assert,
  EINVAL,
  isPageAligned,
  isPageRange,
  type Result,
  type VirtAddr,
  virtAddr,
  vpnOf,
} from "../base/index.ts";
import { Invalidation, MMU_NOTIFY_UNMAP } from "../notifier/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import type { AddressSpace } from "./address-space.ts";

const MUNMAP = eventId("mm:munmap");

/** 0, also where nothing was mapped; -EINVAL for an unaligned start or no length. */
export function* munmap(space: AddressSpace, start: VirtAddr, bytes: number): Sleeps<Result> {
  const end = virtAddr(Math.ceil(bytes / 4096) * 4096 + start);
  if (!isPageAligned(start) || !(bytes > 0) || !isPageRange(start, end)) return -EINVAL;
  using _mmap = yield* space.mmapLock.acquireWrite();
  yield* unmapRange(space, { start, end });
  return 0;
}

/** Takes [start, end) out of the space. The caller holds mmapLock for writing. */
export function* unmapRange(space: AddressSpace, range: AddrRange): Sleeps<void> {
  space.mmapLock.assertHeldWrite();
  const gone = space.vmas.detach(range.start, range.end);
  if (gone.length === 0) return;
  const event = new Invalidation({ ...range, event: MMU_NOTIFY_UNMAP });
  let isStarted = false;
  try {
    const started = yield* space.notifiers.start(event);
    assert(started === 0, "a blockable invalidation cannot be refused");
    isStarted = true;
  } finally {
    // Killed while a device was told: nothing has been unmapped, so the intent comes back.
    if (!isStarted) space.vmas.attach(gone);
  }
  const cursor = space.cursor.begin();
  cursor.clearRange(vpnOf(range.start), vpnOf(range.end));
  cursor.flush();
  space.notifiers.end(event);
  const pages = vpnOf(range.end) - vpnOf(range.start);
  space.memory.tracer.emit(MUNMAP, space.id, vpnOf(range.start), pages);
}
