/**
 * A WebGPU adapter as a device of one address space. It cannot read RAM, so a page that it
 * reads is a copy in its own memory (write-protected at home, `devmem` calls them copies) and a
 * page that it writes lives there (device-private). Its page table is an array in a storage
 * buffer with a mirror here; a change takes effect with the next submission.
 *
 * An entry of the device: frame index << 8 | write << 1 | valid.
 */
import {
  assert,
  ENODEV,
  type Pfn,
  pfn as pfnNumber,
  type Result,
  SPACE_BYTES,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { DevicePagemap, type MigrationDriver } from "../../devmem/index.ts";
import {
  type AddressSpace,
  type Fault,
  PTE_FLAG_BITS,
  PTE_VALID,
  PTE_WRITE,
  VM_READ,
  VM_WRITE,
} from "../../mm/index.ts";
import {
  IntervalNotifier,
  type Invalidation,
  MMU_NOTIFY_MIGRATE,
  MMU_NOTIFY_PROTECTION_PAGE,
} from "../../notifier/index.ts";
import { ZERO_PFN } from "../../phys/index.ts";
import { Mutex, type Sleeps, WaitQueue } from "../../sync/index.ts";
import { awaitPromise } from "./await.ts";
import { FRAME_COPY, FRAME_PRIVATE, FrameCache } from "./frame-cache.ts";
import type { Gpu } from "./gpu.ts";
import { PageMover } from "./page-mover.ts";
import { WebGpuShadow } from "./webgpu-shadow.ts";

/**
 * A CPU fault on a private page brings its neighbours too: 64 KiB, and four times as many each time
 * that the next fault is where the last one's pages ended, as readahead does.
 */
const AROUND_PAGES = 16;
/** Pages that one migration takes at most: 2 MiB. */
const MIGRATION_PAGES = 512;
/** Frame 0 of the device is its zero page: it stands for RAM's, and is never written. */
const ZERO_FRAME = 0;

/** What has been moved since the device was opened. */
export interface DeviceCounters {
  pagesToDevice: number;
  pagesToHost: number;
  /** Copies that were thrown away to make room; their pages were in RAM all the time. */
  copiesDropped: number;
  /** Private pages that were sent home to make room. */
  pagesEvicted: number;
}

export class WebGpuDevice {
  readonly gpu: Gpu;
  readonly space: AddressSpace;
  /** The lock that `invalidate` takes; guards the table and the frames. */
  readonly lock: Mutex;
  /** One launch at a time. */
  readonly svmLock: Mutex;
  readonly pagemap: DevicePagemap;
  readonly frames: FrameCache;
  readonly notifier: IntervalNotifier;
  readonly counters: DeviceCounters = {
    pagesToDevice: 0,
    pagesToHost: 0,
    copiesDropped: 0,
    pagesEvicted: 0,
  };
  /** For checkers. */
  readonly shadow = new WebGpuShadow(this);
  readonly #mover: PageMover;
  readonly #idle: WaitQueue;
  // Device frame index of a copy -> the RAM frame that it is a copy of
  readonly #source: Int32Array;
  /** What the GPU's first failure was. Pages that only it had cannot come home after that. */
  failure: unknown = undefined;
  // Where the pages that the last CPU fault brought home ended, and how many it asked for.
  #homeEnd = 0;
  #around = AROUND_PAGES;
  #isInFlight = false;
  #lost: string | undefined;

  private constructor(gpu: Gpu, space: AddressSpace) {
    const { scheduler } = space.memory;
    this.gpu = gpu;
    this.space = space;
    this.lock = new Mutex(scheduler, "driver", "the GPU's update lock");
    this.svmLock = new Mutex(scheduler, "svm", "the GPU's launch lock");
    this.#idle = new WaitQueue(scheduler, "the end of a round on the GPU");
    this.frames = new FrameCache(gpu.frames);
    this.#source = new Int32Array(gpu.frames);
    this.#mover = new PageMover(this);
    this.pagemap = new DevicePagemap(space.memory, {
      name: "webgpu",
      owner: this,
      frames: gpu.frames,
      migrateToRam: (fault) => this.#migrateToRam(fault),
      pageFree: (frame) => this.frames.remove(this.pagemap.indexOf(frame)),
    });
    this.notifier = new IntervalNotifier(
      { start: virtAddr(0), end: virtAddr(SPACE_BYTES) },
      { invalidate: (invalidation) => this.#invalidate(invalidation) },
    );
    void gpu.lost.then((reason) => {
      this.#lost = reason;
    });
  }

  /** Makes `gpu` a device of `space`. -EINVAL when the space is going away. */
  static attach(gpu: Gpu, space: AddressSpace): WebGpuDevice | Result {
    const device = new WebGpuDevice(gpu, space);
    const result = space.notifiers.insert(device.notifier);
    if (result < 0) {
      device.pagemap.remove();
      return result;
    }
    const { pages } = space.memory;
    const zero = pages.allocAt(device.pagemap.zone, device.pfnOf(ZERO_FRAME));
    assert(zero !== 0, "the first frame of a fresh zone is free");
    gpu.zero(Int32Array.of(ZERO_FRAME), 1);
    return device;
  }

  /**
   * Ends the subscription and gives the frames back. The space is gone by then (its release
   * made the device forget everything), so no page lives here any more.
   */
  *close(): Sleeps<void> {
    using _launch = yield* this.svmLock.acquire();
    yield* this.space.notifiers.remove(this.notifier);
    yield* this.waitIdle();
    assert(this.residentPages === 0, () => `${this.residentPages} pages are left on the device`);
    this.space.memory.pages.put(this.pfnOf(ZERO_FRAME));
    this.pagemap.remove();
  }

  /** Sleeps until no launch runs or waits to run. */
  *waitForLaunches(): Sleeps<void> {
    using _launch = yield* this.svmLock.acquire();
  }

  get lost(): string | undefined {
    return this.#lost;
  }

  /** Frames that hold user data now. */
  get residentPages(): number {
    return this.frames.copyCount + this.frames.privateCount;
  }

  pfnOf(frame: number): Pfn {
    return pfnNumber(this.pagemap.zone.start + frame);
  }

  entryOf(page: Vpn): number {
    return this.gpu.table[page]!;
  }

  /** Runs `submit`, which starts work on the GPU, and sleeps until that is over. */
  *round<T>(submit: () => Promise<T>): Sleeps<T> {
    let running: Promise<T>;
    {
      using _update = yield* this.lock.acquire();
      assert(!this.#isInFlight, "two rounds at once");
      running = submit();
      this.#isInFlight = true;
    }
    const over = (): void => {
      this.#isInFlight = false;
      this.#idle.wakeAll();
    };
    // Also when this task is killed: the GPU runs on.
    running.then(over, over);
    const result = yield* awaitPromise(this.space.memory.scheduler, running, "the GPU");
    yield* this.waitIdle();
    return result;
  }

  /** The driver's part of a migration to the device. */
  get toDevice(): MigrationDriver {
    return this.#mover.toDevice;
  }

  /** Sleeps until no round runs; the table may be changed then, under the lock. */
  *waitIdle(): Sleeps<void> {
    yield* this.#idle.until(() => !this.#isInFlight);
  }

  /** Enters a page that lives here. The caller holds the lock. */
  mapPrivate(page: Vpn, frame: Pfn, write: boolean): void {
    const index = this.pagemap.indexOf(frame);
    assert(this.frames.kind[index] === FRAME_PRIVATE, "the frame holds no private page");
    this.#set(page, index, write ? PTE_VALID | PTE_WRITE : PTE_VALID);
  }

  /** Enters the zero page for reading. The caller holds the lock. */
  mapZero(page: Vpn): void {
    this.#set(page, ZERO_FRAME, PTE_VALID);
  }

  /** A frame for a copy of `source` at `page`, entered for reading; 0 when memory is full. */
  mapCopy(page: Vpn, source: Pfn): number {
    assert(this.entryOf(page) === 0, () => `page ${page} is on the device already`);
    const frame = this.space.memory.pages.alloc(this.pagemap.zone);
    if (frame === 0) return 0;
    const index = this.pagemap.indexOf(frame);
    this.frames.add(index, page, FRAME_COPY);
    this.#source[index] = source;
    this.#set(page, index, PTE_VALID);
    return index;
  }

  /** The RAM frame that the copy in device frame `index` is of. */
  sourceOf(index: number): Pfn {
    return pfnNumber(this.#source[index]!);
  }

  /**
   * Forgets the pages of [start, end): copies go, private frames lose their entry only. The
   * caller holds the lock and knows that no round is running that could use them.
   */
  dropEntries(start: Vpn, end: Vpn): void {
    this.lock.assertHeld();
    const { table } = this.gpu;
    for (let page = start as number; page < end; page++) {
      if (table[page] !== 0) this.#drop(vpn(page));
    }
  }

  /** Brings every private page of [start, end) home, Vma by Vma. */
  *moveHome(start: number, end: number): Sleeps<Result> {
    if (this.frames.privateCount === 0) return 0;
    let moved = 0;
    using _mmap = yield* this.space.mmapLock.acquireRead();
    for (const vma of [...this.space.vmas.overlapping(virtAddr(start), virtAddr(end))]) {
      const last = vpnOf(virtAddr(Math.min(vma.end, end)));
      let page = vpnOf(virtAddr(Math.max(vma.start, start)));
      while (page < last) {
        page = this.#nextPrivate(page, last);
        if (page === last) break;
        const stop = vpn(Math.min(last, page + MIGRATION_PAGES));
        const result = yield* this.#mover.moveHome({ vma, start: page, end: stop });
        if (result < 0) return result;
        moved += result;
        page = stop;
      }
    }
    return moved;
  }

  /**
   * Somebody changes the page table: what the device has of [start, end) goes before this
   * returns, and no round that could have used it is still running.
   */
  *#invalidate(invalidation: Invalidation): Sleeps<boolean> {
    const { event, owner } = invalidation;
    // Our own migrations drop what they move; our own write protection keeps copies as they are.
    const isOwn = event === MMU_NOTIFY_MIGRATE || event === MMU_NOTIFY_PROTECTION_PAGE;
    if (isOwn && owner === this) return true;
    const start = vpnOf(invalidation.start);
    const end = vpnOf(invalidation.end);
    const update = invalidation.blockable ? yield* this.lock.acquire() : this.lock.tryAcquire();
    if (update === undefined) return false;
    using _held = update;
    if (!this.#hasEntries(start, end)) return true;
    if (this.#isInFlight && !invalidation.blockable) return false;
    yield* this.waitIdle();
    this.dropEntries(start, end);
    return true;
  }

  /** A CPU touched a private page: it comes home, with neighbours that are here too. */
  *#migrateToRam(fault: Fault): Sleeps<Result> {
    const { vma, page, frame } = fault;
    if (this.#lost !== undefined) return -ENODEV;
    const first = Math.floor(page / AROUND_PAGES) * AROUND_PAGES;
    const isNext = page === this.#homeEnd;
    this.#around = isNext ? Math.min(4 * this.#around, MIGRATION_PAGES) : AROUND_PAGES;
    const start = vpn(Math.max(first, vpnOf(vma.start)));
    const end = vpn(Math.min(first + this.#around, vpnOf(vma.end)));
    this.#homeEnd = end;
    const result = yield* this.#mover.moveHome({ vma, start, end, faultFrame: frame });
    return Math.min(result, 0);
  }

  #set(page: Vpn, frame: number, flags: number): void {
    this.lock.assertHeld();
    this.gpu.setEntry(page, ((frame << PTE_FLAG_BITS) | flags) >>> 0);
  }

  #drop(page: Vpn): void {
    const index = this.entryOf(page) >>> PTE_FLAG_BITS;
    this.gpu.setEntry(page, 0);
    if (index !== ZERO_FRAME && this.frames.kind[index] === FRAME_COPY) {
      this.space.memory.pages.put(this.pfnOf(index));
    }
  }

  /** Throws away the copy in device frame `index`. The caller holds the lock; nothing runs. */
  dropCopy(index: number): void {
    assert(this.frames.kind[index] === FRAME_COPY, "only copies are dropped");
    this.#drop(vpn(this.frames.page[index]!));
    this.counters.copiesDropped++;
  }

  #hasEntries(start: Vpn, end: Vpn): boolean {
    const { table } = this.gpu;
    for (let page = start as number; page < end; page++) if (table[page] !== 0) return true;
    return false;
  }

  #nextPrivate(page: Vpn, end: Vpn): Vpn {
    let at = this.space.pageTable.nextUsed(page, end);
    while (at < end && !this.isPrivate(at)) {
      at = this.space.pageTable.nextUsed(vpn(at + 1), end);
    }
    return at;
  }

  /** The page lives here. */
  isPrivate(page: Vpn): boolean {
    const frame = this.space.pageTable.get(page) >>> PTE_FLAG_BITS;
    return this.pagemap.zone.contains(pfnNumber(frame));
  }

  get isInFlight(): boolean {
    return this.#isInFlight;
  }
}

assert(PTE_VALID === 1 && PTE_WRITE === 2 && PTE_FLAG_BITS === 8, "the shader knows these bits");
assert(VM_READ !== VM_WRITE && ZERO_PFN > 0, "rights are bits");
