/**
 * # base: the words that everybody uses
 *
 * **Nouns.** `VirtAddr`, `Vpn`, `Pfn` (branded numbers), `AddrRange` (half open), `Result` (a
 * value or a negated errno), `IntervalTree` (which ranges overlap this one?).
 *
 * **Invariants.** An address is a non-negative number below 2^32; an exclusive end may be 2^32.
 * An errno is positive by itself and negative in a `Result`.
 *
 * **Locks.** None: everything here is a value or belongs to one owner.
 *
 * **Example.**
 * ```ts
 * const page = vpnOf(virtAddr(0x5123));        // 5
 * assert(addrOf(page) === 0x5000, "pages are 4 KiB");
 * if (!isPageRange(start, end)) return -EINVAL;
 * ```
 *
 * **What it refuses.** Knowledge of pages' contents, of time, of tasks, of the host.
 */
export { AssertionError, assert, unreachable } from "./assert.ts";
export { bitWords, clearBit, setBit, testBit } from "./bits.ts";
export {
  addrOf,
  type Brand,
  isPageAligned,
  PAGE_SHIFT,
  PAGE_SIZE,
  type Pfn,
  pageAlignDown,
  pageAlignUp,
  pfn,
  SPACE_BYTES,
  SPACE_PAGES,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "./brand.ts";
export {
  EACCES,
  EAGAIN,
  EBUSY,
  EEXIST,
  EFAULT,
  EINTR,
  EINVAL,
  EIO,
  ENODEV,
  ENOENT,
  ENOMEM,
  ENOSPC,
  ENOSYS,
  EOPNOTSUPP,
  EOVERFLOW,
  EPERM,
  ETIME,
  ETIMEDOUT,
  errnoName,
  type Result,
} from "./errno.ts";
export { type Handle, IntervalTree } from "./interval-tree.ts";
export {
  type AddrRange,
  contains,
  formatAddress,
  formatRange,
  isPageRange,
  overlaps,
  rangeBytes,
} from "./range.ts";
