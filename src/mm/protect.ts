/** mprotect: other rights for what is mapped. Linux: mm/mprotect.c. */
import {
  type AddrRange,
  assert,
  EINVAL,
  ENOMEM,
  isPageAligned,
  isPageRange,
  type Result,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../base/index.ts";
import { Invalidation, MMU_NOTIFY_PROTECTION_VMA } from "../notifier/index.ts";
import { ZERO_PFN } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import type { AddressSpace } from "./address-space.ts";
import { canReuse, presentFlags } from "./fault.ts";
import {
  isDevicePrivate,
  isMigration,
  isPresent,
  makePte,
  PTE_WRITE,
  ptePfn,
  withFlags,
} from "./pte.ts";
import { VM_ACCESS, VM_WRITE, type Vma } from "./vma.ts";

const MPROTECT = eventId("mm:mprotect");

/**
 * Gives [start, start + bytes) the rights `access` (VM_READ, VM_WRITE, VM_EXEC). Over a hole it
 * is -ENOMEM, and what lies before the hole has changed. -EINVAL for an unaligned start or
 * rights that are none.
 */
export function* mprotect(
  space: AddressSpace,
  start: VirtAddr,
  bytes: number,
  access: number,
): Sleeps<Result> {
  if (!isPageAligned(start)) return -EINVAL;
  if (bytes === 0) return 0;
  const end = virtAddr(Math.ceil(bytes / 4096) * 4096 + start);
  if (!isPageRange(start, end)) return -ENOMEM;
  if ((access & ~VM_ACCESS) !== 0) return -EINVAL;
  using _mmap = yield* space.mmapLock.acquireWrite();
  let at = start;
  for (const found of space.vmas.overlapping(start, end)) {
    if (found.start > at) return -ENOMEM;
    const part = { start: at, end: virtAddr(Math.min(found.end, end)) };
    yield* protectPart(space, part, access);
    at = part.end;
  }
  space.memory.tracer.emit(MPROTECT, space.id, vpnOf(start), vpnOf(end) - vpnOf(start));
  return at < end ? -ENOMEM : 0;
}

/** [start, end) lies within one Vma; it gets one of its own if its rights change. */
function* protectPart(space: AddressSpace, part: AddrRange, access: number): Sleeps<void> {
  const old = space.vmas.find(part.start)!.flags & VM_ACCESS;
  if (old === access) return;
  const vma = changeAccess(space, part, access);
  const event = new Invalidation({ ...part, event: MMU_NOTIFY_PROTECTION_VMA });
  let isStarted = false;
  try {
    const started = yield* space.notifiers.start(event);
    assert(started === 0, "a blockable invalidation cannot be refused");
    isStarted = true;
  } finally {
    // Killed while a device was told: no entry has changed, so the intent goes back.
    if (!isStarted) changeAccess(space, part, old);
  }
  changeEntries(space, vma, vpnOf(part.start), vpnOf(part.end));
  space.notifiers.end(event);
}

/** [start, end), within one Vma, gets the rights `access`. Gives the Vma that covers it now. */
function changeAccess(space: AddressSpace, part: AddrRange, access: number): Vma {
  space.vmas.split(part.start);
  space.vmas.split(part.end);
  const changed = space.vmas.find(part.start)!;
  changed.flags = (changed.flags & ~VM_ACCESS) | access;
  return space.vmas.merge(changed);
}

/** Every entry gets the rights of `vma`, but no write right that a copy or a device forbids. */
function changeEntries(space: AddressSpace, vma: Vma, start: Vpn, end: Vpn): void {
  const table = space.pageTable;
  const cursor = space.cursor.begin();
  for (let page = table.nextUsed(start, end); page < end; ) {
    const pte = table.get(page);
    const frame = ptePfn(pte);
    if (isPresent(pte)) {
      const mayWrite = frame !== ZERO_PFN && canReuse(space, frame);
      cursor.set(page, makePte(frame, presentFlags(vma, mayWrite)));
    } else if ((isDevicePrivate(pte) || isMigration(pte)) && !vma.allows(VM_WRITE)) {
      // Writing comes back by a fault, like that of a page that is here.
      cursor.set(page, withFlags(pte, 0, PTE_WRITE));
    }
    page = table.nextUsed(vpn(page + 1), end);
  }
  cursor.flush();
}
