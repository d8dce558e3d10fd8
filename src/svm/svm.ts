/**
 * One space as one device sees it: finds or makes ranges, and forgets what was unmapped. Linux:
 * struct drm_gpusvm.
 */
import {
  type AddrRange,
  assert,
  contains,
  EFAULT,
  EINVAL,
  ENOENT,
  ENOMEM,
  EPERM,
  isPageRange,
  PAGE_SIZE,
  type Result,
  SPACE_BYTES,
  SPACE_PAGES,
  type VirtAddr,
} from "../base/index.ts";
import { type AddressSpace, mmputAsync, VM_READ, VM_WRITE } from "../mm/index.ts";
import { Mutex, type Sleeps } from "../sync/index.ts";
import type { SvmDeviceMemory } from "./device-memory.ts";
import { evictRange, SvmScan, scanRange } from "./range-pages.ts";
import { type SvmOps, SvmRanges } from "./range-set.ts";
import { blockAround, isWithin, SvmRange } from "./svm-range.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
/** Linux: the sizes that Xe uses. */
const CHUNK_SIZES = [2 * MIB, 64 * KIB, PAGE_SIZE];
const INTERVAL_BYTES = 512 * MIB;

export interface SvmOptions {
  readonly ops: SvmOps;
  /** Addresses that the device can use; whole pages. */
  readonly window: AddrRange;
  /** Where ranges migrate to. Default: nowhere. */
  readonly deviceMemory?: SvmDeviceMemory;
  /** Whose device pages the device may use. Default: the owner of `deviceMemory`. */
  readonly devPrivateOwner?: object;
  /**
   * Sizes of ranges: falling powers of two, in bytes. Default 2 MiB, 64 KiB, 4 KiB. A list that
   * does not end with a page is for devices that cannot map one.
   */
  readonly chunkSizes?: readonly number[];
  /** Addresses of one subscription, a power of two, in bytes. Default 512 MiB. */
  readonly notifierBytes?: number;
  /** Ranges at a time. Default: one a page. */
  readonly rangesMax?: number;
}

export interface FindOptions {
  /** The program must be allowed to write there. Default false. */
  readonly write?: boolean;
  /** The largest chunk to take, in bytes. Default: the first of `chunkSizes`. */
  readonly bytesMax?: number;
  /** Chunks of up to so many bytes only where every page is there already. Default 0: any. */
  readonly checkPagesBytes?: number;
}

export class Svm {
  readonly space: AddressSpace;
  readonly deviceMemory: SvmDeviceMemory | undefined;
  readonly devPrivateOwner: object | undefined;
  /** The driver's lock: held to find, make, migrate, map and remove ranges. Outermost of all. */
  readonly lock: Mutex;
  readonly ranges: SvmRanges;
  readonly ops: SvmOps;
  /** Falling powers of two. */
  readonly chunkSizes: readonly number[];
  readonly #window: AddrRange;
  readonly #rangesMax: number;
  #isClosed = false;

  constructor(space: AddressSpace, options: SvmOptions) {
    const { window, chunkSizes = CHUNK_SIZES, notifierBytes = INTERVAL_BYTES } = options;
    assert(isPageRange(window.start, window.end), "an svm's window is whole pages");
    assert(isChunk(notifierBytes), "an interval is a power of two, a page at least");
    assertChunkSizes(chunkSizes);
    this.space = space;
    this.deviceMemory = options.deviceMemory;
    this.devPrivateOwner = options.devPrivateOwner ?? options.deviceMemory?.pagemap.owner;
    this.lock = new Mutex(space.memory.scheduler, "svm", "the lock of an svm");
    this.ranges = new SvmRanges(space, options.ops, notifierBytes);
    this.ops = options.ops;
    this.chunkSizes = chunkSizes;
    this.#window = window;
    this.#rangesMax = options.rangesMax ?? SPACE_PAGES;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Inside every other lock: around {pages valid? bind}, and around the use of the table. */
  get notifierLock(): Mutex {
    return this.ranges.lock;
  }

  /**
   * The range of `address`, or a new one: the largest chunk around it that fits. -EINVAL (out of
   * the window, or no chunk fits), -EFAULT (no space any more), -ENOENT (no Vma), -EPERM (the
   * program may not do that), -ENOMEM (too many ranges). The caller holds the svm lock. Linux:
   * drm_gpusvm_range_find_or_insert().
   */
  *findOrInsert(address: VirtAddr, options: FindOptions = {}): Sleeps<SvmRange | Result> {
    this.lock.assertHeld();
    const { space } = this;
    if (!contains(this.#window, address)) return -EINVAL;
    if (!space.users.getUnlessZero()) return -EFAULT;
    try {
      using _mmap = yield* space.mmapLock.acquireRead();
      const vma = space.vmas.find(address);
      if (vma === undefined) return -ENOENT;
      if (!vma.allows(options.write ? VM_READ | VM_WRITE : VM_READ)) return -EPERM;
      const known = this.ranges.find(address);
      if (known !== undefined) return known;
      const chunk = this.#chooseChunk(address, vma, options);
      if (chunk === undefined) return -EINVAL;
      if (this.ranges.count >= this.#rangesMax) return -ENOMEM;
      const range = new SvmRange(chunk);
      const result = this.ranges.insert(range);
      return result < 0 ? result : range;
    } finally {
      mmputAsync(space);
    }
  }

  #chooseChunk(address: VirtAddr, vma: AddrRange, options: FindOptions): AddrRange | undefined {
    const { bytesMax = Number.POSITIVE_INFINITY, checkPagesBytes = 0 } = options;
    const interval = this.ranges.intervalAt(address);
    for (const size of this.chunkSizes) {
      const chunk = blockAround(address, size);
      if (size > bytesMax || ![vma, interval, this.#window].every((each) => isWithin(chunk, each)))
        continue;
      if (this.ranges.overlaps(chunk)) continue;
      if (size > PAGE_SIZE && size <= checkPagesBytes && !this.#isPresent(chunk)) continue;
      return chunk;
    }
    return undefined;
  }

  #isPresent(chunk: AddrRange): boolean {
    return scanRange(this, chunk) !== SvmScan.unpopulated;
  }

  /**
   * Removes what was unmapped. A range is never split: of one that was unmapped in part, the rest
   * comes home first and is found again, in smaller chunks, by whoever needs it. The caller holds
   * the svm lock.
   */
  *collectGarbage(): Sleeps<void> {
    this.lock.assertHeld();
    for (;;) {
      const range = this.ranges.unmapped[0];
      if (range === undefined) return;
      // As far as it goes: what cannot come home now is found where it is by the next fault.
      if (range.isPartial) yield* evictRange(this, range);
      yield* this.ranges.remove(range);
    }
  }

  /**
   * The device loses everything and is told of nothing more; later faults are -ENODEV. Also for a
   * space that is going away. Pages stay where they are; the CPU can have them. Again is nothing.
   */
  *close(): Sleeps<void> {
    using _svm = yield* this.lock.acquire();
    this.#isClosed = true;
    yield* this.ranges.clear();
  }
}

const isChunk = (bytes: number): boolean =>
  bytes >= PAGE_SIZE && bytes <= SPACE_BYTES && Math.log2(bytes) % 1 === 0;

function assertChunkSizes(sizes: readonly number[]): void {
  assert(sizes.length > 0, "an svm needs a chunk size");
  sizes.forEach((size, i) => {
    assert(isChunk(size), () => `${size} is no size of a chunk`);
    assert(i === 0 || size < sizes[i - 1]!, "chunk sizes fall");
  });
}
