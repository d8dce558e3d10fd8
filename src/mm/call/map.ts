/** mmap: more intent. Nothing is mapped yet; faults do that. Linux: mm/mmap.c do_mmap(). */
import {
  type AddrRange,
  assert,
  EACCES,
  EEXIST,
  EINVAL,
  ENOMEM,
  EOPNOTSUPP,
  isPageAligned,
  isPageRange,
  PAGE_SIZE,
  type Result,
  type VirtAddr,
  virtAddr,
  vpnOf,
} from "../../base/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { eventId } from "../../trace/index.ts";
import { type AddressSpace, MMAP_BASE, MMAP_END, MMAP_MIN_ADDR } from "../address-space.ts";
import { CachedFile } from "../file/cached-file.ts";
import { HugetlbReservation } from "../large/hugetlb-pool.ts";
import {
  VM_ACCESS,
  VM_ACCOUNT,
  VM_DONTEXPAND,
  VM_HUGETLB,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYWRITE,
  VM_SHARED,
  VM_WRITE,
  Vma,
} from "../vma.ts";
import { HUGE_BYTES } from "./range.ts";
import { unmapRange } from "./unmap.ts";

const MMAP = eventId("mm:mmap");

/** What to do when a fixed address is taken. */
export const MapMode = {
  /** `start` is a hint: another place is fine. */
  anywhere: "anywhere",
  /** MAP_FIXED: what is there is unmapped first. */
  fixed: "fixed",
  /** MAP_FIXED_NOREPLACE: -EEXIST when anything is there. */
  noReplace: "no-replace",
} as const;
export type MapMode = (typeof MapMode)[keyof typeof MapMode];

export interface MmapOptions {
  readonly start?: VirtAddr;
  readonly bytes: number;
  /** VM_READ, VM_WRITE, VM_EXEC. */
  readonly flags: number;
  readonly mode?: MapMode;
  /** What to map; default: zeros. */
  readonly file?: CachedFile;
  /** Bytes into the file, whole pages. Default 0. */
  readonly offset?: number;
  /** Writes are seen by everybody who maps the same, children too. Default: they are private. */
  readonly isShared?: boolean;
  /** The file was opened for reading only: a shared mapping of it may never be written. */
  readonly isReadOnlyFile?: boolean;
  /** Private memory made of huge pages of the pool. Linux: MAP_HUGETLB. */
  readonly isHugetlb?: boolean;
  /**
   * A fixed `start` may be below MMAP_MIN_ADDR. What is null to a program is memory then.
   * Linux: CAP_SYS_RAWIO.
   */
  readonly isLow?: boolean;
}

/**
 * Maps memory or a file. Gives the address, or -EINVAL (length 0 or not whole pages, unaligned
 * address or offset), -ENOMEM (no room, or too few huge pages), -EEXIST, -EACCES (a shared
 * writable mapping of a file that was opened for reading).
 */
export function* mmap(space: AddressSpace, options: MmapOptions): Sleeps<Result> {
  const align = options.isHugetlb === true ? HUGE_BYTES : PAGE_SIZE;
  if (!(options.bytes > 0) || !isPageAligned(options.bytes)) return -EINVAL;
  const bytes = Math.ceil(options.bytes / align) * align;
  const mode = options.mode ?? MapMode.anywhere;
  const refused = check(space, options);
  if (refused < 0) return refused;
  using _mmap = yield* space.mmapLock.acquireWrite();
  const start =
    mode === MapMode.anywhere ? choosePlace(space, options.start, bytes, align) : options.start;
  if (start === undefined) return mode === MapMode.anywhere ? -ENOMEM : -EINVAL;
  if (start % align !== 0) return -EINVAL;
  const end = virtAddr(start + bytes);
  const lowest = options.isLow === true ? 0 : MMAP_MIN_ADDR;
  if (!isPageRange(start, end) || start < lowest) return -ENOMEM;
  if (space.vmas.overlapping(start, end).length > 0) {
    if (mode === MapMode.noReplace) return -EEXIST;
    const unmapped = yield* unmapRange(space, { start, end });
    if (unmapped < 0) return unmapped;
  }
  return insertVma(space, { start, end }, options);
}

/** What cannot be had at all, whatever the place. */
function check(space: AddressSpace, options: MmapOptions): Result {
  const { file, offset = 0, isShared = false } = options;
  if (file === undefined && offset !== 0) return -EINVAL;
  if (!isPageAligned(offset) || offset < 0) return -EINVAL;
  if (file !== undefined && options.isHugetlb) return -EINVAL;
  if (isShared && options.isHugetlb) return -EOPNOTSUPP;
  // A window's pages have no other place than their own address.
  if (space.isIdentity && (isShared || file !== undefined || options.isHugetlb)) {
    return -EOPNOTSUPP;
  }
  const readOnly = options.isReadOnlyFile === true && isShared;
  return readOnly && options.flags & VM_WRITE ? -EACCES : 0;
}

function insertVma(space: AddressSpace, range: AddrRange, options: MmapOptions): Result {
  space.mmapLock.assertHeldWrite();
  assert(isPageRange(range.start, range.end), "a mapping of parts of pages");
  const flags = flagsFor(options);
  const reservation = options.isHugetlb
    ? HugetlbReservation.make(space.memory.hugetlb, range.start, range.end)
    : undefined;
  if (typeof reservation === "number") return reservation;
  const isNew = options.isShared === true && options.file === undefined;
  const file = isNew
    ? new CachedFile(space.memory, { name: "shared memory", bytes: range.end - range.start })
    : options.file;
  const offset = file === undefined ? range.start : (options.offset ?? 0);
  const vma = new Vma(range, flags, { space, file, offset, reservation });
  vma.link();
  if (isNew) file!.put();
  space.vmas.insert(vma);
  space.vmas.merge(vma);
  const pages = vpnOf(range.end) - vpnOf(range.start);
  space.memory.tracer.emit(MMAP, space.id, vpnOf(range.start), pages);
  return range.start;
}

function flagsFor(options: MmapOptions): number {
  let flags = (options.flags & VM_ACCESS) | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;
  if (options.isShared) {
    flags |= VM_SHARED;
    if (options.isReadOnlyFile) flags &= ~VM_MAYWRITE;
  } else if (options.flags & VM_WRITE && !options.isHugetlb) flags |= VM_ACCOUNT;
  return options.isHugetlb ? flags | VM_HUGETLB | VM_DONTEXPAND : flags;
}

function choosePlace(
  space: AddressSpace,
  hint: VirtAddr | undefined,
  bytes: number,
  align: number,
): VirtAddr | undefined {
  const end = hint === undefined ? undefined : virtAddr(hint + bytes);
  const fits =
    hint !== undefined &&
    end !== undefined &&
    hint % align === 0 &&
    isPageRange(hint, end) &&
    hint >= MMAP_MIN_ADDR &&
    space.vmas.overlapping(hint, end).length === 0;
  if (fits) return hint;
  return (
    space.vmas.findHole(bytes, MMAP_BASE, MMAP_END, align) ??
    space.vmas.findHole(bytes, MMAP_MIN_ADDR, MMAP_END, align)
  );
}
