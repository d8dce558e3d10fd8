/**
 * Entries that are present but lock the CPU out although the program may look: what NUMA
 * balancing leaves behind to learn who touches a page. To HMM they are not present. Linux:
 * mm/memory.c do_numa_page(), mm/mprotect.c change_prot_numa().
 */

import type { AddrRange } from "../../base/index.ts";
import {
  addrOf,
  assert,
  type Pfn,
  type Result,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { Invalidation, MMU_NOTIFY_PROTECTION_VMA } from "../../notifier/index.ts";
import { PG_RESERVED } from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { presentFlags } from "../entry-flags.ts";
import { LEAF_PAGES, leafEnd, leafStart } from "../page-table.ts";
import {
  isWritable,
  PTE_HUGE,
  PTE_PROTNONE,
  PTE_VALID,
  PTE_WRITE,
  ptePfn,
  withFlags,
} from "../pte.ts";
import { VM_READ, VM_SPECIAL, VM_WRITE, type Vma } from "../vma.ts";
import { canReuse } from "./anonymous.ts";

/** Present but locked out although the Vma allows access: let it in again. */
export function faultLockedOut(space: AddressSpace, vma: Vma, page: Vpn): Result {
  const cursor = space.cursor.begin();
  const pte = cursor.get(page);
  assert((pte & PTE_PROTNONE) !== 0, () => `page ${page} is let in and was not locked out`);
  assert(!isWritable(pte), () => `page ${page} is locked out and may be written`);
  const flags = presentFlags(vma, mayWriteAgain(space, vma, page));
  const changed = withFlags(pte, flags, PTE_PROTNONE);
  if (pte & PTE_HUGE) {
    const head = space.pageTable.get(leafStart(page));
    cursor.setHuge(leafStart(page), withFlags(head, flags, PTE_PROTNONE));
  } else cursor.set(page, changed);
  cursor.flush();
  return 0;
}

/** The entry of `page` may get its write bit back without a fault. */
export function mayWriteAgain(space: AddressSpace, vma: Vma, page: Vpn): boolean {
  if (!vma.allows(VM_WRITE)) return false;
  if (vma.isShared) return vma.file?.isShmem !== false;
  return canReuse(space, ptePfn(space.pageTable.get(page)));
}

/**
 * Locks the CPU out of the pages of `range` that it can reach now, so that the next touch tells
 * who it was: how many pages. The caller holds mmapLock. Linux: change_prot_numa().
 */
export function* changeProtNuma(space: AddressSpace, range: AddrRange): Sleeps<Result> {
  space.mmapLock.assertHeld();
  assert(range.start < range.end, "nobody is locked out of no page");
  let changed = 0;
  for (const vma of space.vmas.overlapping(range.start, range.end)) {
    if (!vma.allows(VM_READ) || vma.flags & VM_SPECIAL) continue;
    const start = virtAddr(Math.max(range.start, vma.start));
    const end = virtAddr(Math.min(range.end, vma.end));
    const event = new Invalidation({ start, end, event: MMU_NOTIFY_PROTECTION_VMA });
    yield* space.notifiers.change(event, () => {
      changed += lockOut(vma, vpnOf(start), vpnOf(end));
    });
  }
  return changed;
}

function lockOut(vma: Vma, start: Vpn, end: Vpn): number {
  const { space } = vma;
  const table = space.pageTable;
  assert(vma.start <= addrOf(start) && addrOf(end) <= vma.end, "a range leaves its Vma");
  const cursor = space.cursor.begin();
  let changed = 0;
  for (let page = table.nextUsed(start, end); page < end; ) {
    const pte = table.get(page);
    const frame = ptePfn(pte);
    const isTarget = (pte & PTE_VALID) !== 0 && mayLockOut(vma, frame);
    const isWholeHuge = table.isHuge(page) && page === leafStart(page) && leafEnd(page) <= end;
    if (isTarget && isWholeHuge) {
      cursor.setHuge(page, withFlags(pte, PTE_PROTNONE, PTE_VALID | PTE_WRITE));
      changed += LEAF_PAGES;
    } else if (isTarget && !table.isHuge(page) && isOneUsers(vma, frame)) {
      cursor.set(page, withFlags(pte, PTE_PROTNONE, PTE_VALID | PTE_WRITE));
      changed++;
    }
    page = table.nextUsed(table.isHuge(page) ? leafEnd(page) : vpn(page + 1), end);
  }
  cursor.flush();
  assert(changed <= end - start, "more pages are locked out than the range has");
  return changed;
}

/** Memory that balancing could move: neither the zero page nor a device's. */
const mayLockOut = ({ space }: Vma, frame: Pfn): boolean =>
  !space.memory.pages.is(frame, PG_RESERVED) && !space.memory.pages.isDevice(frame);

/** What several share by copy on write, or somebody pins there, stays where it is. */
function isOneUsers(vma: Vma, frame: Pfn): boolean {
  const { pages } = vma.space.memory;
  return !vma.isCow || (pages.mapcount[frame] === 1 && pages.pins[frame] === 0);
}
