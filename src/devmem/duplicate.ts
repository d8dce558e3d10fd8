/**
 * Read-only copies on a device that is not coherent with the CPU: before a device copies a page
 * of RAM, the page is write-protected and marked `PG_DUPLICATED`. The next writer, CPU or other
 * device, faults, and that fault raises an invalidation which makes the copies go
 * (`faultWriteProtected`). Linux has no counterpart: its devices read RAM itself; NVIDIA's managed
 * memory calls the like of it "read duplication".
 */
import { addrOf, assert, EBUSY, type Result, type Vpn, vpn } from "../base/index.ts";
import {
  type AddressSpace,
  asPte,
  isWritable,
  PTE_VALID,
  PTE_WRITE,
  ptePfn,
  withFlags,
} from "../mm/index.ts";
import { Invalidation, MMU_NOTIFY_PROTECTION_PAGE } from "../notifier/index.ts";
import { PG_ANON, PG_DUPLICATED, ZERO_PFN } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";

const DUPLICATE = eventId("devmem:duplicate");

/**
 * Makes the valid pages of [start, end) fit to be copied by `owner`. The caller holds mmapLock
 * for reading. 0, or -EBUSY when somebody holds a page for writing (then nothing has changed).
 */
export function* protectForCopies(
  space: AddressSpace,
  start: Vpn,
  end: Vpn,
  owner: object,
): Sleeps<Result> {
  space.mmapLock.assertHeld();
  assert(start < end, "copies are asked for of no page");
  const found = survey(space, start, end);
  if (found < 0) return found;
  if (found === 0) {
    mark(space, start, end);
    return 0;
  }
  const event = new Invalidation({
    start: addrOf(start),
    end: addrOf(end),
    event: MMU_NOTIFY_PROTECTION_PAGE,
    owner,
  });
  let again: Result = 0;
  yield* space.notifiers.change(event, () => {
    // A pin may have come while the callbacks ran: look again before taking rights away.
    again = survey(space, start, end);
    if (again >= 0) mark(space, start, end);
  });
  return Math.min(again, 0);
}

/** How many pages are writable now, or -EBUSY when one is held by a writer. */
function survey(space: AddressSpace, start: Vpn, end: Vpn): Result {
  const { pages } = space.memory;
  let writable = 0;
  for (let page = start; page < end; page = vpn(page + 1)) {
    const pte = space.pageTable.get(page);
    if ((pte & PTE_VALID) === 0) continue;
    if (pages.writePins[ptePfn(pte)]! > 0) return -EBUSY;
    if (isWritable(pte)) writable++;
  }
  return writable;
}

/**
 * Takes write rights away and marks what may be written in place: now, or when those who share it
 * are gone. Pages of files cannot be guarded like that, and are not marked.
 */
function mark(space: AddressSpace, start: Vpn, end: Vpn): void {
  const { pages, tracer } = space.memory;
  const cursor = space.cursor.begin();
  let marked = 0;
  for (let page = start; page < end; page = vpn(page + 1)) {
    const pte = asPte(cursor.get(page));
    const frame = ptePfn(pte);
    if ((pte & PTE_VALID) === 0 || frame === ZERO_PFN || !pages.is(frame, PG_ANON)) continue;
    assert(pages.writePins[frame] === 0, () => `frame ${frame} is copied while a pin writes it`);
    assert(pages.mapcount[frame]! > 0, () => `frame ${frame} is mapped and counts no mapping`);
    pages.setFlag(frame, PG_DUPLICATED);
    if (isWritable(pte)) cursor.set(page, withFlags(pte, 0, PTE_WRITE));
    marked++;
  }
  cursor.flush();
  if (marked > 0) tracer.emit(DUPLICATE, space.id, start, marked);
}
