/**
 * Anonymous memory: the first touch, and copy on write. Linux: mm/memory.c do_anonymous_page(),
 * do_wp_page().
 */
import { assert, ENOMEM, type Pfn, type Result, type Vpn } from "../../base/index.ts";
import {
  PG_ANON,
  PG_DIRTY,
  PG_DUPLICATED,
  PG_EXCLUSIVE,
  PG_LARGE,
  ZERO_PFN,
} from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { presentFlags } from "../entry-flags.ts";
import {
  isWritable,
  makePte,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  withFlags,
} from "../pte.ts";
import type { Vma } from "../vma.ts";
import { clearEvent } from "./event.ts";

const COW = eventId("mm:cow");

/** Nothing there yet: the zero page to read, a cleared frame to write. */
export function faultAnonymous(space: AddressSpace, vma: Vma, page: Vpn, write: boolean): Result {
  const { pages } = space.memory;
  assert(vma.isAnonymous, "zeros are mapped where something else is to be seen");
  assert(space.pageTable.get(page) === PTE_NONE, "zeros are mapped where something is");
  if (!write) {
    const cursor = space.cursor.begin();
    cursor.map(page, makePte(ZERO_PFN, PTE_VALID));
    cursor.flush();
    return 0;
  }
  const frame = space.allocFrame(page);
  if (frame === 0) return -ENOMEM;
  clearFrame(space, frame);
  space.ownAnonymous(frame, vma, page);
  pages.setFlag(frame, PG_DIRTY);
  const cursor = space.cursor.begin();
  cursor.map(page, makePte(frame, presentFlags(vma, true)));
  cursor.flush();
  pages.put(frame);
  return 0;
}

export function clearFrame(space: AddressSpace, frame: Pfn): void {
  if (!space.ram.isCleared) space.memory.bytes.zero(frame);
}

/** Nobody else sees `frame`, on the CPU or as a copy on a device: it may be written in place. */
export function canReuse(space: AddressSpace, frame: Pfn): boolean {
  const { pages } = space.memory;
  return pages.is(frame, PG_EXCLUSIVE) && !pages.is(frame, PG_DUPLICATED);
}

/**
 * It was shared once, but whoever shared it is gone: the only reference is the mapping that
 * faults. Part of a large page never counts as such. Linux: wp_can_reuse_anon_folio().
 */
export function isLoneOwner(space: AddressSpace, frame: Pfn): boolean {
  const { pages } = space.memory;
  if (!pages.is(frame, PG_ANON) || pages.is(frame, PG_LARGE)) return false;
  return pages.refs[frame] === 1 && !pages.isLocked(frame);
}

/** Permission gained needs no event: no shadow holds more than it did. Linux: wp_page_reuse(). */
export function reuse(space: AddressSpace, page: Vpn, pte: Pte): Result {
  assert((pte & PTE_VALID) !== 0, () => `page ${page} may be written and not be read`);
  assert(ptePfn(pte) !== ZERO_PFN, () => `page ${page} would write the zero page`);
  const cursor = space.cursor.begin();
  cursor.set(page, withFlags(pte, PTE_WRITE, 0));
  cursor.flush();
  space.memory.pages.setFlag(ptePfn(pte), PG_DIRTY);
  return 0;
}

/**
 * A write to a page that others may see: the zero page, a file's, or one shared after fork is
 * copied; one that devices hold read-only copies of is taken back from them.
 */
export function* faultWriteProtected(
  space: AddressSpace,
  vma: Vma,
  page: Vpn,
  pte: Pte,
): Sleeps<Result> {
  const old = ptePfn(pte);
  assert((pte & PTE_VALID) !== 0, () => `page ${page} is copied and is not there`);
  assert(!isWritable(pte), () => `page ${page} is copied and may be written in place`);
  if (space.memory.pages.is(old, PG_EXCLUSIVE)) {
    return yield* takeBackFromDevices(space, page, pte);
  }
  const frame = space.allocFrame(page);
  if (frame === 0) return -ENOMEM;
  try {
    if (old === ZERO_PFN) clearFrame(space, frame);
    else space.memory.bytes.copy(old, frame);
    return yield* space.notifiers.change(clearEvent(page), () => {
      // Somebody else may have been faster while the callbacks ran.
      if (space.pageTable.get(page) === pte) replaceByCopy(space, vma, page, frame);
    });
  } finally {
    space.memory.pages.put(frame);
  }
}

function replaceByCopy(space: AddressSpace, vma: Vma, page: Vpn, frame: Pfn): void {
  const { pages } = space.memory;
  assert(pages.mapcount[frame] === 0, () => `the copy of page ${page} is mapped already`);
  assert(!vma.isShared, () => `page ${page} is shared, and a copy would part it`);
  space.ownAnonymous(frame, vma, page);
  pages.setFlag(frame, PG_DIRTY);
  const cursor = space.cursor.begin();
  cursor.unmap(page);
  cursor.map(page, makePte(frame, presentFlags(vma, true)));
  cursor.flush();
  space.memory.tracer.emit(COW, space.id, page, frame);
}

/**
 * Devices read copies of this page. They forget them before the CPU may write; that is an
 * invalidation although the page stays where it is.
 */
function takeBackFromDevices(space: AddressSpace, page: Vpn, pte: Pte): Sleeps<Result> {
  return space.notifiers.change(clearEvent(page), () => {
    if (space.pageTable.get(page) !== pte) return;
    const isOne = space.memory.pages.mapcount[ptePfn(pte)] === 1;
    assert(isOne, () => `page ${page} is exclusive and mapped by somebody else`);
    space.memory.pages.clearFlag(ptePfn(pte), PG_DUPLICATED);
    reuse(space, page, pte);
  });
}
