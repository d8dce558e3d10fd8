/**
 * mremap: the same memory at another place, or more or less of it. Entries move as they are,
 * wherever their pages live. Linux: mm/mremap.c.
 */
import {
  assert,
  EFAULT,
  EINVAL,
  ENOMEM,
  isPageAligned,
  isPageRange,
  PAGE_SIZE,
  type Result,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { Invalidation, MMU_NOTIFY_UNMAP } from "../../notifier/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import { type AddressSpace, MMAP_BASE, MMAP_END, MMAP_MIN_ADDR } from "../address-space.ts";
import { splitHuge } from "../large/huge.ts";
import { LEAF_KIND_NONE, LEAF_KIND_TABLE, LEAF_PAGES, leafEnd, leafStart } from "../page-table.ts";
import { PTE_NONE } from "../pte.ts";
import { VM_DONTEXPAND, VM_PFNMAP, type Vma } from "../vma.ts";
import { HUGE_BYTES, pageEnd } from "./range.ts";
import { unmapRange } from "./unmap.ts";

const MREMAP = eventId("mm:mremap");

export interface MremapOptions {
  readonly start: VirtAddr;
  readonly bytes: number;
  /** The length it shall have. */
  readonly newBytes: number;
  /** It may go elsewhere when there is no room behind it. Linux: MREMAP_MAYMOVE. */
  readonly mayMove?: boolean;
  /** It goes here, and what is there is unmapped. Linux: MREMAP_FIXED. */
  readonly newStart?: VirtAddr;
}

interface Move {
  readonly vma: Vma;
  readonly from: VirtAddr;
  readonly bytes: number;
  readonly to: VirtAddr;
  readonly newBytes: number;
}

/**
 * Gives the address where the memory is now. -EINVAL (unaligned, no new length, old and new place
 * overlap), -EFAULT (not mapped, more than one Vma, or may not grow), -ENOMEM (no room). With
 * `newStart` what was there is gone even when the move then fails, as in Linux.
 */
export function* mremap(space: AddressSpace, options: MremapOptions): Sleeps<Result> {
  const { start } = options;
  if (!isPageAligned(start) || !(options.bytes >= 0) || !(options.newBytes > 0)) return -EINVAL;
  let bytes: number = pageEnd(virtAddr(0), options.bytes);
  let newBytes: number = pageEnd(virtAddr(0), options.newBytes);
  if (!isPageRange(start, start + Math.max(bytes, PAGE_SIZE))) return -EINVAL;
  using _mmap = yield* space.mmapLock.acquireWrite();
  const vma = space.vmas.find(start);
  if (vma === undefined) return -EFAULT;
  if (vma.isHugetlb) {
    if (start % HUGE_BYTES !== 0 || (options.newStart ?? 0) % HUGE_BYTES !== 0) return -EINVAL;
    bytes = Math.ceil(bytes / HUGE_BYTES) * HUGE_BYTES;
    newBytes = Math.ceil(newBytes / HUGE_BYTES) * HUGE_BYTES;
    if (newBytes > bytes) return -EINVAL;
  }
  space.memory.tracer.emit(MREMAP, space.id, vpnOf(start), newBytes / PAGE_SIZE);
  if (options.newStart !== undefined) {
    return yield* remapTo(space, { ...options, bytes, newBytes, newStart: options.newStart });
  }
  if (newBytes <= bytes) {
    const rest = { start: virtAddr(start + newBytes), end: virtAddr(start + bytes) };
    const unmapped = rest.start < rest.end ? yield* unmapRange(space, rest) : 0;
    return unmapped < 0 ? unmapped : start;
  }
  return yield* grow(space, { ...options, bytes, newBytes });
}

/** To a given place. */
function* remapTo(
  space: AddressSpace,
  options: MremapOptions & { readonly newStart: VirtAddr },
): Sleeps<Result> {
  const { start, newStart, newBytes } = options;
  let { bytes } = options;
  if (!isPageRange(newStart, newStart + newBytes)) return -EINVAL;
  if (newStart < MMAP_MIN_ADDR) return -EINVAL;
  if (start + bytes > newStart && newStart + newBytes > start) return -EINVAL;
  const target = { start: newStart, end: virtAddr(newStart + newBytes) };
  const cleared = yield* unmapRange(space, target);
  if (cleared < 0) return cleared;
  if (bytes > newBytes) {
    const rest = { start: virtAddr(start + newBytes), end: virtAddr(start + bytes) };
    const unmapped = yield* unmapRange(space, rest);
    if (unmapped < 0) return unmapped;
    bytes = newBytes;
  }
  const vma = canResize(space, start, bytes, newBytes);
  if (typeof vma === "number") return vma;
  return yield* moveVma(space, { vma, from: start, bytes, to: newStart, newBytes });
}

/** Longer, here if there is room behind it, else elsewhere. */
function* grow(space: AddressSpace, options: MremapOptions): Sleeps<Result> {
  const { start, bytes, newBytes } = options;
  const vma = canResize(space, start, bytes, newBytes);
  if (typeof vma === "number") return vma;
  const end = virtAddr(start + newBytes);
  const isFree = start + bytes === vma.end && isPageRange(start, end);
  if (isFree && space.vmas.overlapping(vma.end, end).length === 0) {
    space.vmas.extend(vma, end);
    return start;
  }
  if (options.mayMove !== true) return -ENOMEM;
  const to =
    space.vmas.findHole(newBytes, MMAP_BASE, MMAP_END) ??
    space.vmas.findHole(newBytes, MMAP_MIN_ADDR, MMAP_END);
  if (to === undefined) return -ENOMEM;
  return yield* moveVma(space, { vma, from: start, bytes, to, newBytes });
}

/** The one Vma that has all of it, or why it may not get `newBytes`. Linux: vma_to_resize(). */
function canResize(
  space: AddressSpace,
  start: VirtAddr,
  bytes: number,
  newBytes: number,
): Vma | Result {
  const vma = space.vmas.find(start);
  if (vma === undefined) return -EFAULT;
  if (bytes === 0 && !vma.isShared) return -EINVAL;
  if (bytes > vma.end - start) return -EFAULT;
  if (newBytes === bytes) return vma;
  return vma.flags & (VM_DONTEXPAND | VM_PFNMAP) ? -EFAULT : vma;
}

function* moveVma(space: AddressSpace, move: Move): Sleeps<Result> {
  const { vma, from, bytes, to, newBytes } = move;
  space.mmapLock.assertHeldWrite();
  assert(vma.start <= from && from + bytes <= vma.end, "more is moved than one Vma has");
  assert(from + bytes <= to || to + newBytes <= from, "a mapping is moved over itself");
  yield* splitWhatCannotMove(space, move);
  const target = { start: to, end: virtAddr(to + newBytes) };
  // Nothing was ever there: as if it had been mapped at the new place from the start.
  const isUntouched = vma.isAnonymous && vma.anonVma === undefined;
  const moved = vma.cloneAt(target, isUntouched ? to : vma.offset + (from - vma.start));
  const old = { start: from, end: virtAddr(from + bytes) };
  space.vmas.insert(moved);
  space.vmas.merge(moved);
  if (bytes === 0) return to;
  const event = new Invalidation({ ...old, event: MMU_NOTIFY_UNMAP });
  yield* space.notifiers.change(
    event,
    () => moveEntries(space, vpnOf(from), vpnOf(to), bytes / PAGE_SIZE),
    () => {
      for (const vma of space.vmas.detach(target.start, target.end)) vma.unlink();
    },
  );
  // What was promised to the old place is promised to the new one.
  if (vma.reservation !== undefined) {
    space.vmas.split(old.start);
    space.vmas.split(old.end);
    space.vmas.find(old.start)!.reservation = undefined;
  }
  const unmapped = yield* unmapRange(space, old);
  return unmapped < 0 ? unmapped : to;
}

/** Huge entries move as such when both places are aligned and all of it moves. */
function* splitWhatCannotMove(space: AddressSpace, move: Move): Sleeps<void> {
  const shift = vpnOf(move.to) - vpnOf(move.from);
  const start = vpnOf(move.from);
  const end = vpn(start + move.bytes / PAGE_SIZE);
  for (let page = leafStart(start); page < end; page = leafEnd(page)) {
    const isWhole = page >= start && leafEnd(page) <= end;
    const fits = isWhole && shift % LEAF_PAGES === 0;
    const target = fits ? space.pageTable.kindOf(vpn(page + shift)) : LEAF_KIND_TABLE;
    if (target !== LEAF_KIND_NONE) yield* splitHuge(space, page);
  }
}

/** Entry by entry, references and all; where there was a table there is one afterwards. */
function moveEntries(space: AddressSpace, from: Vpn, to: Vpn, count: number): void {
  const table = space.pageTable;
  assert(from + count <= to || to + count <= from, "entries are moved over themselves");
  const target = table.nextUsed(to, vpn(to + count));
  assert(target >= to + count, () => `page ${target} is mapped where entries move to`);
  const shift = to - from;
  const end = vpn(from + count);
  const cursor = space.cursor.begin();
  for (let page = from; page < end; ) {
    const target = vpn(page + shift);
    const stop = vpn(Math.min(end, leafEnd(page), leafEnd(target) - shift));
    if (table.isHuge(page)) {
      const head = table.get(page);
      cursor.setHuge(page, PTE_NONE);
      cursor.setHuge(target, head);
    } else if (table.kindOf(page) === LEAF_KIND_TABLE) {
      table.makeTable(target);
      for (let at = table.nextUsed(page, stop); at < stop; ) {
        const pte = table.get(at);
        cursor.set(at, PTE_NONE);
        cursor.set(vpn(at + shift), pte);
        at = table.nextUsed(vpn(at + 1), stop);
      }
    }
    page = stop;
  }
  cursor.flush();
}
