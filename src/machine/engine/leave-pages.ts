/** Memory that nobody has to look after yet is left to the host, where that helps system calls. */
import { type VirtAddr, type Vpn, virtAddr, vpn, vpnOf } from "../../base/index.ts";
import {
  type AddressSpace,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  VM_READ,
  VM_WRITE,
  type Vma,
} from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { WindowCpu } from "./window-cpu.ts";

const READ_WRITE = VM_READ | VM_WRITE;

/**
 * Leaves to the host what the program may read and write in [start, end), as far as each page is
 * nowhere or in RAM and writable. Until then a device may have been on its way to it.
 */
export function* leavePages(
  space: AddressSpace,
  cpu: WindowCpu,
  start: VirtAddr,
  end: number,
): Sleeps<void> {
  if (cpu.leave === undefined) return;
  using _mmap = yield* space.mmapLock.acquireWrite();
  for (const vma of space.vmas.overlapping(start, virtAddr(end))) {
    if (!vma.isAnonymous || (vma.flags & READ_WRITE) !== READ_WRITE) continue;
    for (const [from, to] of runsIn(space, vma, start, end)) cpu.leave(from, to);
  }
}

/** Runs of pages of `vma` whose entries allow all that the host would. */
function* runsIn(
  space: AddressSpace,
  vma: Vma,
  start: number,
  end: number,
): IterableIterator<[Vpn, Vpn]> {
  const { pageTable } = space;
  const last = vpnOf(virtAddr(Math.min(end, vma.end)));
  let from = vpnOf(virtAddr(Math.max(start, vma.start)));
  for (let at = pageTable.nextUsed(from, last); ; at = pageTable.nextUsed(vpn(at + 1), last)) {
    if (at < last && isFree(pageTable.get(at))) continue;
    if (from < at) yield [from, at];
    if (at >= last) return;
    from = vpn(at + 1);
  }
}

const isFree = (pte: Pte): boolean =>
  pte === PTE_NONE || (pte & (PTE_VALID | PTE_WRITE)) === (PTE_VALID | PTE_WRITE);
