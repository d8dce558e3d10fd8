/**
 * On-demand paging of a registered memory region, as RDMA has it: a NIC reads and writes a
 * program's memory by DMA addresses that its driver keeps page by page, brings when they are
 * missing, and takes back when the memory changes. Nothing is pinned. Linux:
 * drivers/infiniband/core/umem_odp.c and mlx5's odp.c.
 *
 * **Nouns.** *OdpRegion*: a registered range. *Umem*: its words and DMA mappings
 * (`rdma-odp-umem.ts`). *Unit*: what one entry of the NIC covers.
 *
 * **Locks.** The umem lock ("driver"): DMA mappings and NIC entries of the region; the callback
 * takes it. The words are written outside of it, by `hmmRangeFault`, also by two faults at a time.
 * That is no race: whatever a walk writes is the fact, and it writes nothing (-EBUSY) from the
 * moment an event moves the sequence, so a sticky flag that the callback clears stays cleared.
 *
 * **The one loop** is in `#mapAndLock`. It reads without the lock, takes it, and comes back with
 * the lock held if no event came between: the caller writes the NIC's entries before it gives the
 * lock back. In Linux the retry after such a collision has no bound: its deadline is looked at only
 * after -EBUSY. Here `CollisionRetry` bounds it: a reader that has lost too often goes first.
 *
 * **What goes wrong otherwise.** No check, or one outside the lock: the NIC writes into a frame
 * that belongs to somebody else. Unmapped before the NIC has forgotten: a packet under way finds
 * nothing, or the next owner. Arrays freed before the subscription has ended: a callback uses them.
 * `mmput` where the lock is held: the end of the space waits for this callback, and it for the lock.
 */
import {
  type AddressSpace,
  type AddrRange,
  CollisionRetry,
  type CollisionRetryOptions,
  EBUSY,
  EFAULT,
  EINVAL,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  type HmmDmaMap,
  hmmDmaMapAlloc,
  hmmDmaMapFree,
  hmmRangeFault,
  IntervalNotifier,
  type Invalidation,
  isPageRange,
  type LockGuard,
  Mutex,
  mmputAsync,
  PAGE_SHIFT,
  PAGE_SIZE,
  type Result,
  type Sleeps,
  type VirtAddr,
  virtAddr,
  WaitQueue,
} from "onespace/driver";
import { NIC_READ, NIC_WRITE, type Nic } from "./rdma-odp-hardware.ts";
import { Umem, type Units } from "./rdma-odp-umem.ts";

/** Remote access that a region allows. Linux: IB_ACCESS_REMOTE_READ and its like. */
export const ODP_READ = NIC_READ;
/** Allows reading, too: a page that is written is mapped for both. */
export const ODP_WRITE = NIC_READ | NIC_WRITE;
/**
 * The program promises huge pages all over: units are 2 MiB, and the region begins and ends with
 * one. Linux: IB_ACCESS_HUGETLB.
 */
export const ODP_HUGETLB = 1 << 2;

const HUGE_SHIFT = 21;

export interface RegisterOptions extends AddrRange {
  /** `ODP_READ` or `ODP_WRITE`, and `ODP_HUGETLB`. */
  readonly access: number;
  /** When a fault that collides goes first. */
  readonly collisions?: Pick<CollisionRetryOptions, "collisionsMax" | "timeoutMs">;
}

/** The umem lock, held, and how many pages are mapped. */
interface MappedPages {
  readonly umemLock: LockGuard;
  readonly count: number;
}

export class OdpRegion implements AddrRange {
  readonly nic: Nic;
  readonly space: AddressSpace;
  readonly start: VirtAddr;
  readonly end: VirtAddr;
  readonly unitShift: number;
  /** What the other side names the region by. */
  readonly key: number;
  readonly counts = { mapped: 0, collisions: 0, zapped: 0, refused: 0 };
  readonly #collisions: NonNullable<RegisterOptions["collisions"]>;
  readonly #umem: Umem;
  readonly #notifier: IntervalNotifier;
  readonly #noFaults: WaitQueue;
  // faults and prefetches that run
  #faults = 0;
  #isLeaving = false;

  private constructor(nic: Nic, space: AddressSpace, options: RegisterOptions, map: HmmDmaMap) {
    const { scheduler } = space.memory;
    const access = options.access & ODP_WRITE;
    const isWritable = access === ODP_WRITE;
    this.nic = nic;
    this.space = space;
    this.start = options.start;
    this.end = options.end;
    this.unitShift = shiftOf(options.access);
    this.#collisions = options.collisions ?? {};
    const lock = new Mutex(scheduler, "driver", "the umem lock");
    this.#umem = new Umem({ map, lock, unitShift: this.unitShift, isWritable });
    this.#noFaults = new WaitQueue(scheduler, "faults of a region");
    this.#notifier = new IntervalNotifier(this, { invalidate: (event) => this.#invalidate(event) });
    this.key = nic.createKey({
      units: this.#umem.unitCount,
      unitShift: this.unitShift,
      access,
      fault: (unit, write) => this.#fault({ from: unit, to: unit + 1 }, write),
    });
  }

  /**
   * Lets the NIC reach [start, end), widened to units; nothing is mapped yet. -EINVAL: no access
   * asked for, no pages, or the space is going away; -EOPNOTSUPP: not a device for this.
   */
  static register(nic: Nic, space: AddressSpace, options: RegisterOptions): OdpRegion | Result {
    const unit = 2 ** shiftOf(options.access);
    const start = virtAddr(Math.floor(options.start / unit) * unit);
    const end = virtAddr(Math.ceil(options.end / unit) * unit);
    if ((options.access & NIC_READ) === 0 || !isPageRange(start, end)) return -EINVAL;
    const map = hmmDmaMapAlloc(nic.dma, (end - start) / PAGE_SIZE);
    if (typeof map === "number") return map;
    const region = new OdpRegion(nic, space, { ...options, start, end }, map);
    const inserted = space.notifiers.insert(region.#notifier);
    if (inserted === 0) return region;
    nic.destroyKey(region.key);
    hmmDmaMapFree(map);
    return inserted;
  }

  /**
   * The end, before or after that of the space. The order is the point: no new fault, those that
   * run have ended, the NIC has forgotten, nothing is mapped, no callback comes; then all is freed.
   */
  *deregister(): Sleeps<void> {
    this.#isLeaving = true;
    yield* this.#noFaults.until(() => this.#faults === 0);
    {
      using _update = yield* this.#umem.lock.acquire();
      yield* this.#forget({ from: 0, to: this.#umem.unitCount });
    }
    yield* this.space.notifiers.remove(this.#notifier);
    this.nic.destroyKey(this.key);
    this.#umem.free();
  }

  /**
   * Maps what is present in [start, end) and faults nothing in: how many pages. Missing ones are
   * skipped; the NIC will ask for them.
   */
  *prefetch({ start, end }: AddrRange): Sleeps<Result> {
    if (!isPageRange(start, end) || start < this.start || end > this.end) return -EFAULT;
    return yield* this.#mapForNic(this.#unitsOf({ start, end }), 0);
  }

  #fault(units: Units, write: boolean): Sleeps<Result> {
    const flags = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
    return this.#mapForNic(units, flags);
  }

  /** Pages mapped and known to the NIC, or a negated errno. */
  *#mapForNic(units: Units, flags: number): Sleeps<Result> {
    if (this.#isLeaving) return -EINVAL;
    this.#faults++;
    try {
      const mapped = yield* this.#mapAndLock(units, flags);
      if (typeof mapped === "number") return mapped;
      using _update = mapped.umemLock;
      this.#enter(units);
      this.counts.mapped += mapped.count;
      return mapped.count;
    } finally {
      this.#faults--;
      if (this.#faults === 0) this.#noFaults.wakeAll();
    }
  }

  /**
   * Finds the pages of some units and maps them for DMA; after a success the umem lock is the
   * caller's. -EFAULT: nothing there, or the space is going away; -EPERM: not for writing;
   * -EINVAL: not in pages of the unit's size; -ENOMEM.
   */
  *#mapAndLock(units: Units, flags: number): Sleeps<MappedPages | Result> {
    const { space } = this;
    if (!space.users.getUnlessZero()) return -EFAULT;
    try {
      const range = this.#umem.range(this.#notifier, units, flags);
      const options = { lock: space.mmapLock, ...this.#collisions };
      using read = new CollisionRetry(space.notifiers, this.#notifier, options);
      for (; ; this.counts.collisions++) {
        const begun = yield* read.begin();
        if (begun < 0) return begun;
        range.notifierSeq = read.seq;
        const result = yield* hmmRangeFault(space, range);
        if (result === -EBUSY) continue;
        if (result < 0) return result;
        const umemLock = yield* this.#umem.lock.acquire();
        if (!read.retry()) return this.#mapUnits(units, umemLock);
        umemLock[Symbol.dispose]();
      }
    } finally {
      // The umem lock is held, which the end of the space needs.
      mmputAsync(space);
    }
  }

  /** Under the umem lock, which goes back when something fails. */
  #mapUnits({ from, to }: Units, umemLock: LockGuard): MappedPages | Result {
    let count = 0;
    for (let unit = from; unit < to; unit++) {
      const result = this.#umem.mapUnit(unit);
      if (result < 0) {
        umemLock[Symbol.dispose]();
        return result;
      }
      count += result;
    }
    return { umemLock, count };
  }

  #enter({ from, to }: Units): void {
    this.#umem.lock.assertHeld();
    for (let unit = from; unit < to; unit++) {
      const address = this.#umem.addressOf(unit);
      const rights = this.#umem.isWritable(unit) ? ODP_WRITE : ODP_READ;
      if (address !== 0) this.nic.enter(this.key, unit, { address, rights });
    }
  }

  /** Before this returns true the NIC reaches no page of the event any more. */
  *#invalidate(event: Invalidation): Sleeps<boolean> {
    const { lock } = this.#umem;
    const update = event.blockable ? yield* lock.acquire() : lock.tryAcquire();
    using _update = update;
    const units = this.#unitsOf(event);
    const isBusy = !event.blockable && this.nic.isBusy(this.key, units.from, units.to);
    if (update === undefined || isBusy) {
      this.counts.refused++;
      return false;
    }
    yield* this.#forget(units);
    return true;
  }

  /** First the NIC, then the DMA mappings, and only then the page table (by whoever called). */
  *#forget(units: Units): Sleeps<void> {
    this.#umem.lock.assertHeld();
    yield* this.nic.zap(this.key, units.from, units.to);
    this.counts.zapped += this.#umem.unmap(units);
  }

  /** Whole units of the region that [start, end) touches. */
  #unitsOf({ start, end }: AddrRange): Units {
    const unit = 2 ** this.unitShift;
    return {
      from: Math.floor((Math.max(start, this.start) - this.start) / unit),
      to: Math.ceil((Math.min(end, this.end) - this.start) / unit),
    };
  }
}

const shiftOf = (access: number): number => (access & ODP_HUGETLB ? HUGE_SHIFT : PAGE_SHIFT);
