/**
 * munmap: intent goes first, so that no fault can grow the fact back; then the devices' shadows,
 * the fact, the CPU's shadows; frames last. Linux: mm/vma.c do_vmi_munmap().
 */
import {
  type AddrRange,
  addrOf,
  assert,
  EINVAL,
  isPageAligned,
  isPageRange,
  type Result,
  type VirtAddr,
  type Vpn,
  vpnOf,
} from "../../base/index.ts";
import { Invalidation, MMU_NOTIFY_UNMAP } from "../../notifier/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { splitHugeForCut } from "../large/huge.ts";
import { LEAF_KIND_NONE, leafEnd, leafStart } from "../page-table.ts";
import type { Vma } from "../vma.ts";
import { pageEnd, splitsHugetlb } from "./range.ts";

const MUNMAP = eventId("mm:munmap");

/**
 * 0, also where nothing was mapped; -EINVAL for an unaligned start, no length, a range that
 * leaves the space, or an end within a page of the pool of huge pages.
 */
export function* munmap(space: AddressSpace, start: VirtAddr, bytes: number): Sleeps<Result> {
  const end = pageEnd(start, bytes);
  if (!isPageAligned(start) || !(bytes > 0) || !isPageRange(start, end)) return -EINVAL;
  using _mmap = yield* space.mmapLock.acquireWrite();
  return yield* unmapRange(space, { start, end });
}

/** Takes [start, end) out of the space: 0 or -EINVAL. The caller holds mmapLock for writing. */
export function* unmapRange(space: AddressSpace, range: AddrRange): Sleeps<Result> {
  space.mmapLock.assertHeldWrite();
  assert(range.start < range.end, "a range without pages is unmapped");
  if (splitsHugetlb(space, range.start) || splitsHugetlb(space, range.end)) return -EINVAL;
  if (space.vmas.overlapping(range.start, range.end).length === 0) return 0;
  yield* splitHugeForCut(space, vpnOf(range.start));
  yield* splitHugeForCut(space, vpnOf(range.end));
  space.catchUp(vpnOf(range.start), vpnOf(range.end), true);
  const gone = space.vmas.detach(range.start, range.end);
  yield* zapDetached(space, gone, range);
  const pages = vpnOf(range.end) - vpnOf(range.start);
  space.memory.tracer.emit(MUNMAP, space.id, vpnOf(range.start), pages);
  return 0;
}

function* zapDetached(space: AddressSpace, gone: readonly Vma[], range: AddrRange): Sleeps<void> {
  const event = new Invalidation({ ...range, event: MMU_NOTIFY_UNMAP });
  yield* space.notifiers.change(
    event,
    () => {
      const cursor = space.cursor.begin();
      cursor.clearRange(vpnOf(range.start), vpnOf(range.end));
      cursor.flush();
    },
    () => space.vmas.attach(gone),
  );
  const left = space.pageTable.nextUsed(vpnOf(range.start), vpnOf(range.end));
  assert(left >= vpnOf(range.end), () => `page ${left} is mapped after it was unmapped`);
  freeTables(space, vpnOf(range.start), vpnOf(range.end));
  for (const vma of gone) vma.unlink();
}

/** Tables in whose 2 MiB no Vma is left are gone, so that a huge entry may appear there again. */
function freeTables(space: AddressSpace, start: Vpn, end: Vpn): void {
  const table = space.pageTable;
  const next = (page: Vpn): Vpn => table.nextTable(page, end);
  for (let page = next(leafStart(start)); page < end; page = next(leafEnd(page))) {
    const from = addrOf(page);
    const isNeeded = space.vmas.overlapping(from, addrOf(leafEnd(page))).length > 0;
    if (isNeeded) continue;
    table.freeTable(page);
    assert(table.kindOf(page) === LEAF_KIND_NONE, "a table is freed and still there");
  }
}
