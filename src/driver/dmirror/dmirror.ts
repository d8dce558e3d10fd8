/**
 * A device that mirrors a space and has memory of its own, for tests: it keeps a table from page
 * to (memory, may write) and does what it is told in chunks of 64 pages. Modelled on the
 * behaviour of the test device of Linux, lib/test_hmm.c; differences are named where they are.
 */
import {
  type AddrRange,
  addrOf,
  EINVAL,
  ENOENT,
  EPERM,
  type Pfn,
  type Result,
  type VirtAddr,
  type Vpn,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import type { Shadow, ShadowVisitor } from "../../check/index.ts";
import { type Block, DeviceShadow, read, serve, type Want } from "../../device/index.ts";
import {
  HMM_PFN_ERROR,
  HMM_PFN_HUGE,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmRange,
} from "../../hmm/index.ts";
import {
  type AddressSpace,
  asPte,
  mmputAsync,
  PageTable,
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
import { migrateHome, migrateToDevice } from "./dmirror-migrate.ts";

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
  readonly table: PageTable;
  readonly #shadow: DeviceShadow;
  readonly #exclusives: DmirrorExclusive;

  private constructor(device: DmirrorDevice, shadow: DeviceShadow, table: PageTable) {
    this.device = device;
    this.space = shadow.space;
    this.table = table;
    this.#shadow = shadow;
    this.#exclusives = new DmirrorExclusive(shadow);
  }

  get name(): string {
    return this.device.pagemap.zone.name;
  }

  forEachReachable(visit: ShadowVisitor): void {
    this.#shadow.forEachReachable(visit);
  }

  /** Frames of its copies. */
  get held(): Iterable<Pfn> {
    return this.#shadow.held;
  }

  /** The lock that an invalidation takes; guards `table`. */
  get lock(): Mutex {
    return this.#shadow.lock;
  }

  /** Opens the device for `space`; -EINVAL when the space is going away. */
  static open(device: DmirrorDevice, space: AddressSpace): Dmirror | Result {
    const table = new PageTable(space.memory.scheduler.footprint);
    // The page behind an event goes, too, as in Linux's device: that costs a fault and no truth.
    const options = { table, pagesBehind: 1 };
    const shadow = DeviceShadow.open(device.deviceMemory, space, options);
    return typeof shadow === "number" ? shadow : new Dmirror(device, shadow, table);
  }

  /**
   * Closes it: it reaches nothing any more. All pages of the device come home, also those of
   * other spaces, as Linux's test device does. Linux: dmirror_fops_release().
   */
  *close(): Sleeps<void> {
    yield* this.#shadow.close();
    yield* this.device.evictAll();
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
    const result = yield* migrateToDevice(this.#shadow, range);
    if (result < 0) return failed(result);
    using _update = yield* this.lock.acquire();
    const pages = this.#copyOut(vpnOf(range.start), vpnOf(range.end), take, false);
    return { result: pages === count ? 0 : -ENOENT, pages, faults: 0 };
  }

  /** Moves what is on the device in `count` pages back to RAM. */
  *migrateToRam(start: VirtAddr, count: number): Sleeps<DmirrorResult> {
    const range = rangeOf(start, count);
    if (range === undefined) return failed(-EINVAL);
    const result = yield* migrateHome(this.#shadow, range);
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
    const need = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
    for (const { start, end } of chunks(range)) {
      const pages = { start: vpnOf(start), end: vpnOf(end) };
      const block: Block = this.device.deviceMemory.reachesRam
        ? { ...pages, how: "map", need, wanted: [], keepsOwn: true }
        : { ...pages, how: write ? "move" : "copy", wanted: wantedOf(pages, write) };
      const result = yield* serve(this.#shadow, [block]);
      if (result < 0) return result;
    }
    return 0;
  }

  *#snapshotChunk(chunk: AddrRange, out: Uint8Array, offset: number): Sleeps<Result> {
    const { space, lock } = this;
    const notifier = new IntervalNotifier(chunk);
    const pfns = new Uint32Array(vpnOf(chunk.end) - vpnOf(chunk.start));
    const asked = { notifierSeq: 0, defaultFlags: 0, pfnFlagsMask: 0 };
    const range: HmmRange = {
      ...chunk,
      notifier,
      pfns,
      ...asked,
      devPrivateOwner: this.device.deviceMemory.owner,
    };
    const inserted = space.notifiers.insert(notifier);
    if (inserted < 0) return inserted;
    const say = (word: number, i: number): void => {
      out[offset + i] = this.#protectionOf(word);
    };
    function* commit(): Sleeps<Result> {
      pfns.forEach(say);
      return 0;
    }
    try {
      return yield* read({ space, notifier, lock, ranges: () => [range], commit });
    } finally {
      space.notifiers.removeSilent(notifier);
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
}

/** All of them. */
function wantedOf({ start, end }: Pick<Block, "start" | "end">, write: boolean): Want[] {
  return Array.from({ length: end - start }, (_, i) => ({ page: vpn(start + i), write }));
}

const failed = (result: Result): DmirrorResult => ({ result, pages: 0, faults: 0 });
