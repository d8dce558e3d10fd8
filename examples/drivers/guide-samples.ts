/**
 * The first driver, further: what `docs/driver-guide.md` shows of patience, of code that may not
 * sleep, of DMA, of memory that only the device can touch, and of exclusive access. Each is as
 * small as it can be; the other examples of this folder are whole drivers.
 */
import {
  type AddressSpace,
  type AddrRange,
  addrOf,
  assert,
  CollisionRetry,
  DevicePagemap,
  type DmaDevice,
  EBUSY,
  EFAULT,
  ENOMEM,
  type Fault,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  type HmmRange,
  hmmRangeFault,
  IntervalNotifier,
  isMigrating,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type Migration,
  type MigrationDriver,
  Mirror,
  makeDeviceExclusive,
  makePte,
  migrateFrame,
  migratePfn,
  mmputAsync,
  newMigration,
  PAGE_SIZE,
  type Pfn,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  putExclusive,
  type Result,
  runMigration,
  type Sleeps,
  type Vpn,
  vpn,
  vpnOf,
} from "onespace/driver";
import { ATTEMPTS_MAX, FirstDriver } from "./first-driver.ts";

/** Its faults do not fail because others are faster: after some collisions it goes first. */
export class PatientDriver extends FirstDriver {
  override *serviceFault(part: AddrRange, write: boolean): Sleeps<Result> {
    const { notifiers, users } = this.space;
    if (!users.getUnlessZero()) return -EFAULT;
    const notifier = new IntervalNotifier(part);
    const inserted = notifiers.insert(notifier);
    assert(inserted === 0, "a live space can be subscribed to");
    try {
      return yield* this.populate(newRange(notifier, write));
    } finally {
      notifiers.removeSilent(notifier);
      mmputAsync(this.space);
    }
  }

  *populate(range: HmmRange): Sleeps<Result> {
    const { notifiers, mmapLock } = this.space;
    using read = new CollisionRetry(notifiers, range.notifier, { lock: mmapLock });
    for (;;) {
      const begun = yield* read.begin();
      if (begun < 0) return begun;
      range.notifierSeq = read.seq;
      const result = yield* hmmRangeFault(this.space, range);
      if (result === -EBUSY) continue;
      if (result < 0) return result;
      using _update = yield* this.lock.acquire();
      if (!read.retry()) return this.program(range);
    }
  }
}

const newRange = (notifier: IntervalNotifier, write: boolean): HmmRange => ({
  start: notifier.start,
  end: notifier.end,
  notifier,
  notifierSeq: 0,
  pfns: new Uint32Array(vpnOf(notifier.end) - vpnOf(notifier.start)),
  defaultFlags: write ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : HMM_PFN_REQ_FAULT,
  pfnFlagsMask: 0,
  devPrivateOwner: undefined,
});

/** For code that may not sleep. False: hand the fault to a task that may. */
export function tryServiceFault(driver: FirstDriver, part: AddrRange, write: boolean): boolean {
  const range = driver.mirror.range(part);
  if (typeof range === "number") return false;
  using _registered = range;
  if (!range.tryUntilValid() || range.tryFault({ write }) < 0) return false;
  using update = driver.lock.tryAcquire();
  return update !== undefined && range.valid && driver.program(range) === 0;
}

/** Copies pages of the program out by DMA. `transfer` may not sleep. How many, or an errno. */
export function* sendByDma(
  driver: FirstDriver,
  part: AddrRange,
  dma: DmaDevice,
  transfer: (addresses: Float64Array) => void,
): Sleeps<Result> {
  const range = driver.mirror.range(part);
  if (typeof range === "number") return range;
  using _registered = range;
  const addresses = new Float64Array(range.pfns.length);
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    if (!(yield* range.waitUntilValid())) return -EBUSY;
    const result = yield* range.fault({ write: false });
    if (result === -EBUSY) continue;
    if (result < 0) return result;
    using _update = yield* driver.lock.acquire();
    const mapped = range.dmaMap(dma, addresses);
    if (mapped === -EBUSY) continue;
    if (mapped < 0) return mapped;
    transfer(addresses);
    return range.dmaUnmap(dma, addresses);
  }
  return -EBUSY;
}

/** Takes a page for the device alone, and enters it. -EBUSY: not to be had now. */
export function* takeExclusive(driver: FirstDriver, page: Vpn): Sleeps<Result> {
  const { space } = driver;
  if (!space.users.getUnlessZero()) return -EFAULT;
  const frames: Pfn[] = [];
  try {
    using _mmap = yield* space.mmapLock.acquireRead();
    const part = { start: addrOf(page), end: addrOf(vpn(page + 1)) };
    const found = yield* makeDeviceExclusive(space, part, frames, driver);
    if (found < 0) return found;
    const frame = frames[0];
    if (frame === undefined || frame === 0) return -EBUSY;
    // The page is locked: nobody takes it back before it is entered.
    using _update = yield* driver.lock.acquire();
    driver.table.set(page, makePte(frame, PTE_VALID | PTE_WRITE));
    return 0;
  } finally {
    putExclusive(space, frames);
    mmputAsync(space);
  }
}

/** A device with memory of its own, which the CPU cannot touch. It mirrors one space. */
export class OwnMemory extends FirstDriver {
  readonly pagemap: DevicePagemap;
  readonly bytes: Uint8Array;

  constructor(space: AddressSpace, frames = 4) {
    super(space);
    this.bytes = new Uint8Array(frames * PAGE_SIZE);
    this.pagemap = new DevicePagemap(space.memory, {
      name: "own",
      owner: this,
      frames,
      migrateToRam: (fault) => this.#migrateToRam(fault),
    });
  }

  override *open(): Sleeps<Result> {
    const mirror = yield* Mirror.register(this.space, { ops: this, devPrivateOwner: this });
    if (typeof mirror === "number") return mirror;
    this.mirror = mirror;
    return 0;
  }

  override bytesOf(entry: Pte): Uint8Array {
    const frame = ptePfn(entry);
    if (!this.pagemap.zone.contains(frame)) return super.bytesOf(entry);
    const at = this.pagemap.indexOf(frame) * PAGE_SIZE;
    return this.bytes.subarray(at, at + PAGE_SIZE);
  }

  /** Moves a page to the device: 1, or 0 when it may not move or there is no room; an errno. */
  *move(page: Vpn): Sleeps<Result> {
    const { space } = this;
    if (!space.users.getUnlessZero()) return -EFAULT;
    try {
      using _mmap = yield* space.mmapLock.acquireRead();
      const vma = space.vmas.find(addrOf(page));
      if (vma === undefined) return -EFAULT;
      const where = { space, vma, start: page, end: vpn(page + 1), owner: this };
      const migration = newMigration({ ...where, select: MIGRATE_VMA_SELECT_SYSTEM });
      return yield* runMigration(migration, this.#toDevice);
    } finally {
      mmputAsync(space);
    }
  }

  readonly #toDevice: MigrationDriver = {
    copy: (migration) => this.#copy(migration, () => this.pagemap.allocLocked()),
    commit: (migration) => this.#enter(migration),
  };

  readonly #toRam: MigrationDriver = {
    copy: (migration) => this.#copy(migration, () => takeLocked(migration)),
    *commit() {},
  };

  /** A CPU wants the page, in whatever space: a child's after fork, too. */
  *#migrateToRam({ space, vma, page, frame }: Fault): Sleeps<Result> {
    const where = { space, vma, start: page, end: vpn(page + 1), owner: this, faultFrame: frame };
    const migration = newMigration({ ...where, select: MIGRATE_VMA_SELECT_DEVICE_PRIVATE });
    const result = yield* runMigration(migration, this.#toRam);
    return Math.min(result, 0);
  }

  /** The event has made everybody forget the page, and it is still: its bytes go elsewhere. */
  *#copy(migration: Migration, alloc: () => Pfn | 0): Sleeps<Result> {
    const word = migration.src[0]!;
    const [from, to] = [migrateFrame(word), alloc()];
    if (to === 0) return migration.faultFrame === 0 ? 0 : -ENOMEM;
    const target = this.bytesOf(makePte(to, PTE_VALID));
    if (from === 0) target.fill(0);
    else target.set(this.bytesOf(makePte(from, PTE_VALID)));
    migration.dst[0] = migratePfn(to) | (word & MIGRATE_PFN_WRITE);
    return 0;
  }

  /** It has moved: the device may map it, while it is locked and nobody can take it away. */
  *#enter(migration: Migration): Sleeps<void> {
    using _update = yield* this.lock.acquire();
    const to = migrateFrame(migration.dst[0]!);
    if (to === 0 || !isMigrating(migration.src[0]!)) return;
    const write = migration.dst[0]! & MIGRATE_PFN_WRITE ? PTE_WRITE : 0;
    this.table.set(migration.start, makePte(to, PTE_VALID | write));
  }
}

/** A locked frame of RAM, or 0. */
function takeLocked({ space, start }: Migration): Pfn | 0 {
  const frame = space.takeFrame(start);
  if (frame !== 0) assert(space.memory.pages.tryLock(frame), "a fresh frame is unlocked");
  return frame;
}
