/** What stands in the way of a program at an address, in words for it. */
import { ENOMEM, formatRange, type Result, type VirtAddr, virtAddr } from "../../base/index.ts";
import { type AddressSpace, MMAP_MIN_ADDR, VM_READ, VM_WRITE } from "../../mm/index.ts";
import type { ByteRange, Outcome } from "./calls.ts";

/** Why the program may not touch the byte at `address`; undefined: it may. */
export function whyNot(space: AddressSpace, address: VirtAddr, write: boolean): string | undefined {
  const vma = space.vmas.find(address);
  if (vma === undefined) {
    return address < MMAP_MIN_ADDR
      ? "nothing is mapped there: it is a null pointer"
      : "nothing is mapped there";
  }
  if (vma.allows(write ? VM_WRITE : VM_READ)) return undefined;
  return `${formatRange(vma)} is mapped ${vma.allows(VM_READ) ? "read-only" : "without rights"}`;
}

/** How a change of whole pages ended; over a hole: where that is. */
export function withHole(space: AddressSpace, result: Result, range: ByteRange): Outcome {
  if (result !== -ENOMEM) return { result };
  const address = firstHole(space, virtAddr(range.start), range.start + range.bytes);
  return { result, ...(address !== undefined && { address }) };
}

/** The first address of [start, end) where nothing is mapped, if there is one. */
function firstHole(space: AddressSpace, start: VirtAddr, end: number): VirtAddr | undefined {
  let at: number = start;
  for (const vma of space.vmas.overlapping(start, virtAddr(end))) {
    if (vma.start > at) break;
    at = vma.end;
  }
  return at < end ? virtAddr(at) : undefined;
}
