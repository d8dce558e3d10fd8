/** Pages that were sent away under pressure come back. Linux: mm/memory.c do_swap_page(). */
import { assert, EIO, ENOMEM, type Result, type Vpn } from "../../base/index.ts";
import { PG_DIRTY } from "../../phys/index.ts";
import { eventId } from "../../trace/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { presentFlags } from "../entry-flags.ts";
import { makePte, SPECIAL_SWAP, specialOf, swapSlotOf } from "../pte.ts";
import type { Vma } from "../vma.ts";

const SWAP_IN = eventId("mm:swap-in");

/**
 * Reads the page of a swap entry into a frame of its own. Who shares the slot (after fork) reads
 * its own copy: both have the same bytes, and neither can write the other's.
 */
export function faultSwapped(space: AddressSpace, vma: Vma, page: Vpn): Result {
  const { memory } = space;
  const entry = space.pageTable.get(page);
  assert(specialOf(entry) === SPECIAL_SWAP, () => `page ${page} comes back and was not swapped`);
  assert(!vma.isShared, () => `page ${page} is shared and was swapped as if it were not`);
  const frame = space.allocFrame(page);
  if (frame === 0) return -ENOMEM;
  const loaded = memory.swap.load(swapSlotOf(entry), memory.bytes.page(frame));
  if (loaded < 0) {
    memory.pages.put(frame);
    return -EIO;
  }
  space.ownAnonymous(frame, vma, page);
  memory.pages.setFlag(frame, PG_DIRTY);
  const cursor = space.cursor.begin();
  cursor.unmap(page);
  cursor.map(page, makePte(frame, presentFlags(vma, true)));
  cursor.flush();
  memory.pages.put(frame);
  memory.tracer.emit(SWAP_IN, space.id, page, frame);
  return 0;
}
