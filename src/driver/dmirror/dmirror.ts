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
  PAGE_SIZE,
  type Pfn,
  type Result,
  SPACE_BYTES,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import {
  DevicePagemap,
  isMigrating,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type Migration,
  type MigrationDriver,
  migrateFrame,
  migratePfn,
  newMigration,
  runMigration,
} from "../../devmem/index.ts";
import {
  HMM_PFN_ERROR,
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
  type Fault,
  type Memory,
  makePte,
  PageTable,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  ptePfn,
  VM_READ,
  VM_WRITE,
} from "../../mm/index.ts";
import { IntervalNotifier, type Invalidation, MMU_NOTIFY_MIGRATE } from "../../notifier/index.ts";
import { PG_DIRTY, ZERO_PFN } from "../../phys/index.ts";
import { Mutex, type Sleeps } from "../../sync/index.ts";

/** Pages that one step of an operation takes at a time. */
const CHUNK_PAGES = 64;
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

/** The result of an operation: 0 or a negated errno, and what it got done. */
export interface DmirrorResult {
  readonly result: Result;
  /** Pages copied (read, write, snapshot, to device) or moved (to RAM). */
  readonly pages: number;
  /** Rounds of faults. */
  readonly faults: number;
}

/** The device: its memory, shared by all spaces that it mirrors. */
export class DmirrorDevice {
  readonly memory: Memory;
  readonly pagemap: DevicePagemap;
  /** Device frame index * PAGE_SIZE -> bytes. */
  readonly bytes: Uint8Array;
  // Pfn -> the mirror whose page it is
  readonly #mirrors = new Map<Pfn, Dmirror>();

  constructor(memory: Memory, options: { readonly name: string; readonly frames: number }) {
    this.memory = memory;
    this.bytes = new Uint8Array(options.frames * PAGE_SIZE);
    this.pagemap = new DevicePagemap(memory, {
      name: options.name,
      owner: this,
      frames: options.frames,
      migrateToRam: (fault) => this.#migrateToRam(fault),
      pageFree: (frame) => this.#mirrors.delete(frame),
    });
  }

  bytesOf(frame: Pfn): Uint8Array {
    const at = this.pagemap.indexOf(frame) * PAGE_SIZE;
    return this.bytes.subarray(at, at + PAGE_SIZE);
  }

  /** A frame for `mirror`, locked, or 0. */
  alloc(mirror: Dmirror): Pfn | 0 {
    const frame = this.pagemap.allocLocked();
    if (frame !== 0) this.#mirrors.set(frame, mirror);
    return frame;
  }

  /** Linux: dmirror_devmem_fault(). Moves just the page that was touched. */
  *#migrateToRam(fault: Fault): Sleeps<Result> {
    const mirror = this.#mirrors.get(fault.frame);
    assert(mirror !== undefined, "a private page has a mirror that brought it here");
    const { space, vma, page, frame } = fault;
    const migration = newMigration({
      space,
      vma,
      start: page,
      end: vpn(page + 1),
      select: MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
      owner: this,
      faultFrame: frame,
    });
    const moved = yield* runMigration(migration, mirror.toRam);
    return moved < 0 ? moved : 0;
  }
}

/** One space as one device sees it. */
export class Dmirror {
  readonly device: DmirrorDevice;
  readonly space: AddressSpace;
  /** The lock that `invalidate` takes; guards `table`. */
  readonly lock: Mutex;
  /** The device's shadow. */
  readonly table = new PageTable();
  readonly #notifier: IntervalNotifier;

  private constructor(device: DmirrorDevice, space: AddressSpace) {
    this.device = device;
    this.space = space;
    this.lock = new Mutex(space.memory.scheduler, "driver", "the device's update lock");
    this.#notifier = new IntervalNotifier(
      { start: virtAddr(0), end: virtAddr(SPACE_BYTES) },
      { invalidate: (invalidation) => this.#invalidate(invalidation) },
    );
  }

  /** Opens the device for `space`; -EINVAL when the space is going away. */
  static open(device: DmirrorDevice, space: AddressSpace): Dmirror | Result {
    const mirror = new Dmirror(device, space);
    const result = space.notifiers.insert(mirror.#notifier);
    return result < 0 ? result : mirror;
  }

  /** Closes it: no callback runs afterwards, and the mirror's private pages are home. */
  *close(): Sleeps<void> {
    const all = { start: virtAddr(0x1_0000), end: virtAddr(SPACE_BYTES) };
    if (this.space.users.count > 0) yield* this.#bringHome(all);
    yield* this.space.notifiers.remove(this.#notifier);
  }

  /** The device reads `count` pages; `take` gets each page's bytes. */
  *read(
    start: VirtAddr,
    count: number,
    take: (page: Vpn, bytes: Uint8Array) => void,
  ): Sleeps<DmirrorResult> {
    return yield* this.#access(start, count, (page, bytes) => take(page, bytes), false);
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
      this.space.users.put();
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
    const result = yield* this.#migrate(range, MIGRATE_VMA_SELECT_SYSTEM, this.toDevice);
    if (result < 0) return failed(result);
    using _update = yield* this.lock.acquire();
    const pages = this.#copyOut(vpnOf(range.start), vpnOf(range.end), take, false);
    return { result: pages === count ? 0 : -ENOENT, pages, faults: 0 };
  }

  /** Moves what is on the device in `count` pages back to RAM. */
  *migrateToRam(start: VirtAddr, count: number): Sleeps<DmirrorResult> {
    const range = rangeOf(start, count);
    if (range === undefined) return failed(-EINVAL);
    const select = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
    const result = yield* this.#migrate(range, select, this.toRam);
    return result < 0 ? failed(result) : { result: 0, pages: result, faults: 0 };
  }

  /** The driver's part of a migration to the device. */
  readonly toDevice: MigrationDriver = {
    copy: (migration) => this.#copyToDevice(migration),
    commit: (migration) => this.#mapMigrated(migration),
  };

  /** The driver's part of a migration to RAM: nothing is left to map. */
  readonly toRam: MigrationDriver = {
    copy: (migration) => this.#copyToRam(migration),
    *commit() {},
  };

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
      const at = frame * PAGE_SIZE;
      const isPrivate = pages.isDevice(frame);
      const data = isPrivate ? this.device.bytesOf(frame) : bytes.u8.subarray(at, at + PAGE_SIZE);
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
      this.space.users.put();
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
      this.#program(range);
      return 0;
    }
    return -EBUSY;
  }

  *#lookAt(range: HmmRange): Sleeps<Result> {
    range.notifierSeq = (yield* this.space.notifiers.readBegin(range.notifier))!;
    using _mmap = yield* this.space.mmapLock.acquireRead();
    return yield* hmmRangeFault(this.space, range);
  }

  /** Enters what HMM said; the caller holds the lock and has checked the sequence. */
  #program(range: HmmRange): void {
    this.lock.assertHeld();
    const first = vpnOf(range.start);
    for (let index = 0; index < vpnOf(range.end) - first; index++) {
      const word = range.pfns[index]!;
      assert((word & HMM_PFN_VALID) !== 0, "a requested page is valid after success");
      this.table.set(vpn(first + index), asPte(word));
    }
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
    const frame = ptePfn(asPte(word));
    const access = word & HMM_PFN_WRITE ? DMIRROR_PROT_WRITE : DMIRROR_PROT_READ;
    if (frame === ZERO_PFN) return DMIRROR_PROT_ZERO | access;
    if (!this.space.memory.pages.isDevice(frame)) return DMIRROR_PROT_NONE | access;
    const isLocal = this.device.pagemap.zone.contains(frame);
    return (isLocal ? DMIRROR_PROT_DEV_PRIVATE_LOCAL : DMIRROR_PROT_DEV_PRIVATE_REMOTE) | access;
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

  /**
   * Forgets [start, end] of the event, the page at `end` included, as Linux's device does: one
   * more than needed costs a fault and no truth. Its own migrations drop what they move.
   */
  *#invalidate(invalidation: Invalidation): Sleeps<boolean> {
    if (invalidation.event === MMU_NOTIFY_MIGRATE && invalidation.owner === this.device) {
      return true;
    }
    const update = invalidation.blockable ? yield* this.lock.acquire() : this.lock.tryAcquire();
    if (update === undefined) return false;
    using _held = update;
    const last = Math.min(vpnOf(invalidation.end) + 1, SPACE_BYTES / PAGE_SIZE);
    this.#drop(vpnOf(invalidation.start), vpn(last));
    return true;
  }

  #drop(start: Vpn, end: Vpn): void {
    this.lock.assertHeld();
    let page = this.table.nextUsed(start, end);
    while (page < end) {
      this.table.set(page, PTE_NONE);
      page = this.table.nextUsed(vpn(page + 1), end);
    }
  }

  /** Chunk by chunk, each within one readable Vma. Pages moved, or the first error. */
  *#migrate(range: AddrRange, select: number, driver: MigrationDriver): Sleeps<Result> {
    if (!this.space.users.getUnlessZero()) return -EINVAL;
    let moved = 0;
    try {
      using _mmap = yield* this.space.mmapLock.acquireRead();
      for (let at = range.start; at < range.end; ) {
        const vma = this.space.vmas.find(at);
        if (vma === undefined || !vma.allows(VM_READ)) return -EINVAL;
        const stop = Math.min(at + CHUNK_PAGES * PAGE_SIZE, vma.end, range.end);
        const migration = newMigration({
          space: this.space,
          vma,
          start: vpnOf(at),
          end: vpnOf(virtAddr(stop)),
          select,
          owner: this.device,
        });
        const result = yield* runMigration(migration, driver);
        if (result < 0) return result;
        moved += result;
        at = virtAddr(stop);
      }
      return moved;
    } finally {
      this.space.users.put();
    }
  }

  *#copyToDevice(migration: Migration): Sleeps<Result> {
    using _update = yield* this.lock.acquire();
    const { bytes } = this.space.memory;
    for (let slot = 0; slot < migration.src.length; slot++) {
      const word = migration.src[slot]!;
      if (!isMigrating(word)) continue;
      const page = vpn(migration.start + slot);
      this.#drop(page, vpn(page + 1));
      const to = this.device.alloc(this);
      if (to === 0) continue;
      const from = migrateFrame(word);
      if (from === 0) this.device.bytesOf(to).fill(0);
      else bytes.read(from, this.device.bytesOf(to), 0);
      const mayWrite = from === 0 ? migration.vma.allows(VM_WRITE) : word & MIGRATE_PFN_WRITE;
      migration.dst[slot] = migratePfn(to) | (mayWrite ? MIGRATE_PFN_WRITE : 0);
    }
    return 0;
  }

  *#mapMigrated(migration: Migration): Sleeps<void> {
    using _update = yield* this.lock.acquire();
    for (let slot = 0; slot < migration.src.length; slot++) {
      const to = migrateFrame(migration.dst[slot]!);
      if (!isMigrating(migration.src[slot]!) || to === 0) continue;
      const write = migration.dst[slot]! & MIGRATE_PFN_WRITE ? PTE_WRITE : 0;
      this.table.set(vpn(migration.start + slot), makePte(to, PTE_VALID | write));
    }
  }

  *#copyToRam(migration: Migration): Sleeps<Result> {
    using _update = yield* this.lock.acquire();
    const { pages, bytes } = this.space.memory;
    for (let slot = 0; slot < migration.src.length; slot++) {
      const word = migration.src[slot]!;
      const from = migrateFrame(word);
      if (from === 0 || !isMigrating(word)) continue;
      const page = vpn(migration.start + slot);
      const to = this.space.takeFrame(page);
      if (to === 0) continue;
      assert(pages.tryLock(to), "a fresh frame is unlocked");
      this.#drop(page, vpn(page + 1));
      bytes.write(to, this.device.bytesOf(from), 0);
      migration.dst[slot] = migratePfn(to) | (word & MIGRATE_PFN_WRITE);
    }
    return 0;
  }

  /** Every private page of this device in `range` comes back to RAM, Vma by Vma. */
  *#bringHome(range: AddrRange): Sleeps<void> {
    const parts: AddrRange[] = [];
    {
      using _mmap = yield* this.space.mmapLock.acquireRead();
      for (const vma of this.space.vmas.overlapping(range.start, range.end)) {
        parts.push({ start: vma.start, end: vma.end });
      }
    }
    for (const part of parts) {
      yield* this.#migrate(part, MIGRATE_VMA_SELECT_DEVICE_PRIVATE, this.toRam);
    }
  }
}

function* chunks(range: AddrRange): Generator<AddrRange, void, void> {
  for (let at = range.start; at < range.end; ) {
    const end = virtAddr(Math.min(at + CHUNK_PAGES * PAGE_SIZE, range.end));
    yield { start: at, end };
    at = end;
  }
}

/** [start, start + count pages), or undefined when that is nothing or leaves the space. */
function rangeOf(start: VirtAddr, count: number): AddrRange | undefined {
  const end = start + count * PAGE_SIZE;
  if (start % PAGE_SIZE !== 0 || count <= 0 || end > SPACE_BYTES) return undefined;
  return { start, end: virtAddr(end) };
}

const failed = (result: Result): DmirrorResult => ({ result, pages: 0, faults: 0 });
