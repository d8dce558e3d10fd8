/**
 * A device that mirrors a space and has memory of its own, for tests: it keeps a table from page
 * to (memory, may write) and does what it is told in chunks of 64 pages. Modelled on the
 * behaviour of the test device of Linux, lib/test_hmm.c; differences are named where they are.
 */
import {
  type AddrRange,
  addrOf,
  assert,
  EBUSY,
  EFAULT,
  EINVAL,
  ENOENT,
  EPERM,
  type Pfn,
  type Result,
  SPACE_BYTES,
  SPACE_PAGES,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { reachableIn, type Shadow, type ShadowVisitor } from "../../check/index.ts";
import {
  HMM_PFN_ERROR,
  HMM_PFN_HUGE,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmRange,
  hmmRangeFault,
} from "../../hmm/index.ts";
import {
  type AddressSpace,
  asPte,
  mmputAsync,
  type PageTable,
  PTE_VALID,
  PTE_WRITE,
  ptePfn,
} from "../../mm/index.ts";
import { IntervalNotifier } from "../../notifier/index.ts";
import { PG_DIRTY, ZERO_PFN } from "../../phys/index.ts";
import type { Mutex, Sleeps } from "../../sync/index.ts";
import { chunks, rangeOf } from "./chunks.ts";
import type { DmirrorDevice } from "./dmirror-device.ts";
import { DmirrorExclusive } from "./dmirror-exclusive.ts";
import { DmirrorMigrations } from "./dmirror-migrate.ts";
import { DmirrorTable } from "./dmirror-table.ts";

/** How often a device fault starts over before it says -EBUSY. */
const COLLISIONS_MAX = 1000;

/** One byte a page of a snapshot: what the device may know. Access replaces, it does not add. */
export const DMIRROR_PROT_ERROR = 0xff;
export const DMIRROR_PROT_NONE = 0x00;
export const DMIRROR_PROT_READ = 0x01;
export const DMIRROR_PROT_WRITE = 0x02;
export const DMIRROR_PROT_ZERO = 0x10;
export const DMIRROR_PROT_DEV_PRIVATE_LOCAL = 0x20;
export const DMIRROR_PROT_DEV_PRIVATE_REMOTE = 0x30;
export const DMIRROR_PROT_DEV_COHERENT_LOCAL = 0x40;
export const DMIRROR_PROT_DEV_COHERENT_REMOTE = 0x50;
/** Added: mapped by one entry of 2 MiB. */
export const DMIRROR_PROT_PMD = 0x04;

/** The result of an operation: 0 or a negated errno, and what it got done. */
export interface DmirrorResult {
  readonly result: Result;
  /** Pages copied (read, write, snapshot, to device) or moved (to RAM). */
  readonly pages: number;
  /** Rounds of faults. */
  readonly faults: number;
}

/** One space as one device sees it. */
export class Dmirror implements Shadow {
  readonly isCpu = false;
  readonly device: DmirrorDevice;
  readonly space: AddressSpace;
  readonly #table: DmirrorTable;
  readonly #migrations: DmirrorMigrations;
  readonly #exclusives: DmirrorExclusive;
  readonly #notifier: IntervalNotifier;

  private constructor(device: DmirrorDevice, space: AddressSpace) {
    this.device = device;
    this.space = space;
    this.#table = new DmirrorTable(space.memory.scheduler, device);
    this.#migrations = new DmirrorMigrations(device, space, this.#table);
    this.#exclusives = new DmirrorExclusive(space, this.#table);
    this.#notifier = new IntervalNotifier(
      { start: virtAddr(0), end: virtAddr(SPACE_BYTES) },
      { invalidate: (invalidation) => this.#table.invalidate(invalidation) },
    );
  }

  get name(): string {
    return this.device.pagemap.zone.name;
  }

  forEachReachable(visit: ShadowVisitor): void {
    reachableIn(this.table, visit);
  }

  /** The device's shadow. */
  get table(): PageTable {
    return this.#table.entries;
  }

  /** The lock that an invalidation takes; guards `table`. */
  get lock(): Mutex {
    return this.#table.lock;
  }

  /** Opens the device for `space`; -EINVAL when the space is going away. */
  static open(device: DmirrorDevice, space: AddressSpace): Dmirror | Result {
    const mirror = new Dmirror(device, space);
    const result = space.notifiers.insert(mirror.#notifier);
    if (result < 0) return result;
    device.addTable(space, mirror.#table);
    return mirror;
  }

  /**
   * Closes it: it reaches nothing any more. All pages of the device come home, also those of
   * other spaces, as Linux's test device does. Linux: dmirror_fops_release().
   */
  *close(): Sleeps<void> {
    yield* this.space.notifiers.remove(this.#notifier);
    this.device.removeTable(this.space);
    yield* this.device.evictAll();
    using _update = yield* this.lock.acquire();
    this.#table.drop(vpn(0), vpn(SPACE_PAGES));
  }

  /** The device reads `count` pages; `take` gets each page's bytes. */
  *read(
    start: VirtAddr,
    count: number,
    take: (page: Vpn, bytes: Uint8Array) => void,
  ): Sleeps<DmirrorResult> {
    return yield* this.#access(start, count, take, false);
  }

  /** The device writes `count` whole pages; `fill` supplies each page's bytes. */
  *write(
    start: VirtAddr,
    count: number,
    fill: (page: Vpn, bytes: Uint8Array) => void,
  ): Sleeps<DmirrorResult> {
    return yield* this.#access(start, count, fill, true);
  }

  /** One byte a page (`DMIRROR_PROT_…`) into `out`, without faulting anything in. */
  *snapshot(start: VirtAddr, count: number, out: Uint8Array): Sleeps<DmirrorResult> {
    const range = rangeOf(start, count);
    if (range === undefined) return failed(-EINVAL);
    if (!this.space.users.getUnlessZero()) return failed(-EINVAL);
    let pages = 0;
    try {
      for (const chunk of chunks(range)) {
        const result = yield* this.#snapshotChunk(chunk, out, vpnOf(chunk.start) - vpnOf(start));
        if (result < 0) return { result, pages, faults: 0 };
        pages += vpnOf(chunk.end) - vpnOf(chunk.start);
      }
    } finally {
      mmputAsync(this.space);
    }
    return { result: 0, pages, faults: 0 };
  }

  /**
   * Moves `count` pages to the device, then reads all of them through its table. -EINVAL where
   * no readable Vma is, -ENOENT when a page is not in the table afterwards.
   */
  *migrateToDevice(
    start: VirtAddr,
    count: number,
    take: (page: Vpn, bytes: Uint8Array) => void,
  ): Sleeps<DmirrorResult> {
    const range = rangeOf(start, count);
    if (range === undefined) return failed(-EINVAL);
    const result = yield* this.#migrations.toDevice(range);
    if (result < 0) return failed(result);
    using _update = yield* this.lock.acquire();
    const pages = this.#copyOut(vpnOf(range.start), vpnOf(range.end), take, false);
    return { result: pages === count ? 0 : -ENOENT, pages, faults: 0 };
  }

  /** Moves what is on the device in `count` pages back to RAM. */
  *migrateToRam(start: VirtAddr, count: number): Sleeps<DmirrorResult> {
    const range = rangeOf(start, count);
    if (range === undefined) return failed(-EINVAL);
    const result = yield* this.#migrations.toRam(range);
    return result < 0 ? failed(result) : { result: 0, pages: result, faults: 0 };
  }

  /**
   * Takes `count` pages for the device alone, then reads all of them through its table. -EBUSY
   * when a page of a chunk of 64 cannot be had: then none of that chunk is entered, although
   * those that could are locked out until somebody touches them. Linux: dmirror_exclusive().
   */
  *exclusive(
    start: VirtAddr,
    count: number,
    take: (page: Vpn, bytes: Uint8Array) => void,
  ): Sleeps<DmirrorResult> {
    const range = rangeOf(start, count);
    if (range === undefined) return failed(-EINVAL);
    const result = yield* this.#exclusives.take(range);
    if (result < 0) return failed(result);
    using _update = yield* this.lock.acquire();
    const pages = this.#copyOut(vpnOf(range.start), vpnOf(range.end), take, false);
    return { result: pages === count ? 0 : -ENOENT, pages, faults: 0 };
  }

  /** -EPERM when the device still has a page of the range for itself, else 0. */
  *checkExclusive(start: VirtAddr, count: number): Sleeps<DmirrorResult> {
    const range = rangeOf(start, count);
    if (range === undefined) return failed(-EINVAL);
    using _update = yield* this.lock.acquire();
    return failed(this.#exclusives.holdsAny(range) ? -EPERM : 0);
  }

  *#access(
    start: VirtAddr,
    count: number,
    each: (page: Vpn, bytes: Uint8Array) => void,
    write: boolean,
  ): Sleeps<DmirrorResult> {
    const range = rangeOf(start, count);
    if (range === undefined) return failed(-EINVAL);
    const first = vpnOf(range.start);
    const end = vpnOf(range.end);
    let done = 0;
    let faults = 0;
    for (;;) {
      {
        using _update = yield* this.lock.acquire();
        done += this.#copyOut(vpn(first + done), end, each, write);
      }
      if (done === count) return { result: 0, pages: done, faults };
      const rest = { start: addrOf(vpn(first + done)), end: range.end };
      const result = yield* this.#fault(rest, write);
      if (result < 0) return { result, pages: done, faults };
      faults++;
    }
  }

  /** Copies page by page through the table up to the first that is missing; how many. */
  #copyOut(
    start: Vpn,
    end: Vpn,
    each: (page: Vpn, bytes: Uint8Array) => void,
    write: boolean,
  ): number {
    this.lock.assertHeld();
    const { pages, bytes } = this.space.memory;
    const need = PTE_VALID | (write ? PTE_WRITE : 0);
    let page = start;
    for (; page < end; page = vpn(page + 1)) {
      const entry = this.table.get(page);
      if ((entry & need) !== need) break;
      const frame = ptePfn(entry);
      const isPrivate = this.space.memory.isPrivate(frame);
      const data = isPrivate ? this.device.bytesOf(frame) : bytes.page(frame);
      if (write) pages.setFlag(frame, PG_DIRTY);
      each(page, data);
    }
    return page - start;
  }

  *#fault(range: AddrRange, write: boolean): Sleeps<Result> {
    if (!this.space.users.getUnlessZero()) return -EFAULT;
    try {
      for (const chunk of chunks(range)) {
        const result = yield* this.#faultChunk(chunk, write);
        if (result < 0) return result;
      }
      return 0;
    } finally {
      mmputAsync(this.space);
    }
  }

  *#faultChunk(chunk: AddrRange, write: boolean): Sleeps<Result> {
    const flags = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
    const range = this.#newRange(chunk, this.#notifier, flags);
    for (let collisions = 0; collisions < COLLISIONS_MAX; collisions++) {
      const result = yield* this.#lookAt(range);
      if (result === -EBUSY) continue;
      if (result < 0) return result;
      using _update = yield* this.lock.acquire();
      if (range.notifier.readRetry(range.notifierSeq)) continue;
      return this.#program(range);
    }
    return -EBUSY;
  }

  *#lookAt(range: HmmRange): Sleeps<Result> {
    range.notifierSeq = (yield* this.space.notifiers.readBegin(range.notifier))!;
    using _mmap = yield* this.space.mmapLock.acquireRead();
    return yield* hmmRangeFault(this.space, range);
  }

  /**
   * Enters what HMM said; the caller holds the lock and has checked the sequence. -EFAULT at a
   * page of the device's own that may not be written: HMM leaves it as it is.
   */
  #program(range: HmmRange): Result {
    this.lock.assertHeld();
    const first = vpnOf(range.start);
    const write = (range.defaultFlags & HMM_PFN_REQ_WRITE) !== 0;
    for (let index = 0; index < vpnOf(range.end) - first; index++) {
      const word = range.pfns[index]!;
      assert((word & HMM_PFN_VALID) !== 0, "a requested page is valid after success");
      if (write && (word & HMM_PFN_WRITE) === 0) return -EFAULT;
      this.#table.set(vpn(first + index), asPte(word & ~HMM_PFN_HUGE));
    }
    return 0;
  }

  *#snapshotChunk(chunk: AddrRange, out: Uint8Array, offset: number): Sleeps<Result> {
    const notifier = new IntervalNotifier(chunk);
    const range = this.#newRange(chunk, notifier, 0);
    const inserted = this.space.notifiers.insert(notifier);
    if (inserted < 0) return inserted;
    try {
      for (let collisions = 0; collisions < COLLISIONS_MAX; collisions++) {
        const result = yield* this.#lookAt(range);
        if (result === -EBUSY) continue;
        if (result < 0) return result;
        using _update = yield* this.lock.acquire();
        if (notifier.readRetry(range.notifierSeq)) continue;
        const count = vpnOf(chunk.end) - vpnOf(chunk.start);
        for (let i = 0; i < count; i++) out[offset + i] = this.#protectionOf(range.pfns[i]!);
        return 0;
      }
      return -EBUSY;
    } finally {
      this.space.notifiers.removeSilent(notifier);
    }
  }

  #protectionOf(word: number): number {
    if (word & HMM_PFN_ERROR) return DMIRROR_PROT_ERROR;
    if ((word & HMM_PFN_VALID) === 0) return DMIRROR_PROT_NONE;
    const access = word & HMM_PFN_WRITE ? DMIRROR_PROT_WRITE : DMIRROR_PROT_READ;
    const size = word & HMM_PFN_HUGE ? DMIRROR_PROT_PMD : 0;
    return this.#placeOf(ptePfn(asPte(word)), size !== 0) | access | size;
  }

  #placeOf(frame: Pfn, isHuge: boolean): number {
    const { memory } = this.space;
    // The huge zero page is another page than the zero page.
    if (frame === ZERO_PFN) return isHuge ? DMIRROR_PROT_NONE : DMIRROR_PROT_ZERO;
    if (!memory.pages.isDevice(frame)) return DMIRROR_PROT_NONE;
    const isLocal = this.device.pagemap.zone.contains(frame);
    if (memory.isPrivate(frame)) {
      return isLocal ? DMIRROR_PROT_DEV_PRIVATE_LOCAL : DMIRROR_PROT_DEV_PRIVATE_REMOTE;
    }
    return isLocal ? DMIRROR_PROT_DEV_COHERENT_LOCAL : DMIRROR_PROT_DEV_COHERENT_REMOTE;
  }

  #newRange(chunk: AddrRange, notifier: IntervalNotifier, defaultFlags: number): HmmRange {
    return {
      start: chunk.start,
      end: chunk.end,
      notifier,
      notifierSeq: 0,
      pfns: new Uint32Array(vpnOf(chunk.end) - vpnOf(chunk.start)),
      defaultFlags,
      pfnFlagsMask: 0,
      devPrivateOwner: this.device,
    };
  }
}

const failed = (result: Result): DmirrorResult => ({ result, pages: 0, faults: 0 });
