/**
 * All ranges of one device in one space, and the callback through which they lose their pages.
 * Addresses are cut into fixed intervals with one subscription each: made with the first range in
 * it, gone with the last. Linux: struct drm_gpusvm_notifier.
 */
import {
  type AddrRange,
  assert,
  EFAULT,
  type Handle,
  IntervalTree,
  type Result,
  type VirtAddr,
  vpnOf,
} from "../base/index.ts";
import type { AddressSpace } from "../mm/index.ts";
import { IntervalNotifier, type Invalidation, MMU_NOTIFY_UNMAP } from "../notifier/index.ts";
import { Mutex, type Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import { blockAround, isWithin, type SvmRange } from "./svm-range.ts";

const UNMAPPED = eventId("svm:unmapped");

/** The driver's half of the device's page table. Both are called under the notifier lock. */
export interface SvmOps {
  /**
   * The device forgets every page of `range`, table and TLB, before this returns. It may sleep
   * only if `mayWait`.
   */
  invalidate(range: SvmRange, mayWait: boolean): Sleeps<void>;
  /**
   * The device may use the pages of `range` as its `words` say. Negative: why not, which is what
   * the fault answers; what was entered is dropped with the range.
   */
  bind(range: SvmRange): Sleeps<Result>;
}

/** One subscription and the ranges below it. */
interface Interval {
  readonly notifier: IntervalNotifier;
  readonly tree: IntervalTree;
  // Handle -> SvmRange
  readonly byHandle: (SvmRange | undefined)[];
}

/** Changed with the svm lock held; a range is removed under the notifier lock as well. */
export class SvmRanges {
  /** Inside every other lock: taken by the callback, and around {pages valid? bind}. */
  readonly lock: Mutex;
  /** What waits to be removed, in the order in which it was unmapped. Guarded by `lock`. */
  readonly unmapped: SvmRange[] = [];
  readonly #space: AddressSpace;
  readonly #ops: SvmOps;
  readonly #intervalBytes: number;
  // index of the interval -> Interval
  readonly #intervals = new Map<number, Interval>();
  #count = 0;

  constructor(space: AddressSpace, ops: SvmOps, intervalBytes: number) {
    this.#space = space;
    this.#ops = ops;
    this.#intervalBytes = intervalBytes;
    this.lock = new Mutex(space.memory.scheduler, "driver", "the notifier lock of an svm");
  }

  get count(): number {
    return this.#count;
  }

  /** Subscriptions that are there now. */
  get intervalCount(): number {
    return this.#intervals.size;
  }

  /** The interval around `address`, whether somebody subscribes to it or not. */
  intervalAt(address: VirtAddr): AddrRange {
    return blockAround(address, this.#intervalBytes);
  }

  find(address: VirtAddr): SvmRange | undefined {
    const interval = this.#intervals.get(this.#indexOf(address));
    if (interval === undefined || interval.tree.query(address, address + 1) === 0) return undefined;
    return interval.byHandle[interval.tree.hits[0]!];
  }

  /** A range has part of `chunk`, which lies within one interval. */
  overlaps(chunk: AddrRange): boolean {
    const interval = this.#intervals.get(this.#indexOf(chunk.start));
    return interval !== undefined && interval.tree.query(chunk.start, chunk.end) > 0;
  }

  /** Adds a range, and subscribes to its interval if it is the first there. -EFAULT: no space. */
  insert(range: SvmRange): Result {
    const interval = this.#intervals.get(this.#indexOf(range.start)) ?? this.#subscribe(range);
    if (typeof interval === "number") return interval;
    assert(isWithin(range, interval.notifier), "a range lies within one interval");
    range.handle = interval.tree.insert(range.start, range.end);
    interval.byHandle[range.handle] = range;
    this.#count++;
    return 0;
  }

  /** Takes a range away from the device and forgets it. Linux: drm_gpusvm_range_remove(). */
  *remove(range: SvmRange): Sleeps<void> {
    const index = this.#indexOf(range.start);
    const interval = this.#intervals.get(index)!;
    {
      using _notifier = yield* this.lock.acquire();
      yield* this.#drop(range, true);
      interval.tree.remove(range.handle as Handle);
      interval.byHandle[range.handle] = undefined;
      range.handle = -1;
      this.#count--;
      const at = this.unmapped.indexOf(range);
      if (at >= 0) this.unmapped.splice(at, 1);
    }
    if (interval.tree.size === 0) yield* this.#unsubscribe(index, interval);
  }

  /**
   * Forgets everything: first the device, then the subscriptions. The other way round an event
   * in between would not reach the entries that are left.
   */
  *clear(): Sleeps<void> {
    for (const [index, interval] of [...this.#intervals]) {
      for (const range of rangesIn(interval, interval.notifier)) yield* this.remove(range);
      // Only if whoever removed the last range was killed before this.
      if (this.#intervals.has(index)) yield* this.#unsubscribe(index, interval);
    }
  }

  /** The device has nothing of `range` any more. Under the notifier lock. */
  *#drop(range: SvmRange, mayWait: boolean): Sleeps<void> {
    this.lock.assertHeld();
    range.pagesValid = false;
    if (!range.isBound) return;
    yield* this.#ops.invalidate(range, mayWait);
    // Not before: who is killed in the driver leaves a range that is still to be dropped.
    range.isBound = false;
  }

  /**
   * The callback. It passes over nobody's events, also not over this device's own migrations:
   * the pages that move are dropped by it. Nothing is freed here, because that needs the svm lock,
   * which a fault holds while it waits for this very event.
   */
  *#invalidate(interval: Interval, invalidation: Invalidation): Sleeps<boolean> {
    const { blockable } = invalidation;
    const guard = blockable ? yield* this.lock.acquire() : this.lock.tryAcquire();
    if (guard === undefined) return false;
    using _notifier = guard;
    for (const range of rangesIn(interval, invalidation)) {
      if (invalidation.event === MMU_NOTIFY_UNMAP) this.#setUnmapped(range, invalidation);
      yield* this.#drop(range, blockable);
    }
    return true;
  }

  #setUnmapped(range: SvmRange, invalidation: AddrRange): void {
    if (!isWithin(range, invalidation)) range.isPartial = true;
    if (range.isUnmapped) return;
    range.isUnmapped = true;
    this.unmapped.push(range);
    const { id, memory } = this.#space;
    memory.tracer.emit(UNMAPPED, id, vpnOf(range.start), range.pageCount);
  }

  #subscribe(range: SvmRange): Interval | Result {
    const notifier = new IntervalNotifier(this.intervalAt(range.start), {
      invalidate: (invalidation) => this.#invalidate(interval, invalidation),
    });
    const interval: Interval = { notifier, tree: new IntervalTree(), byHandle: [] };
    if (this.#space.notifiers.insert(notifier) < 0) return -EFAULT;
    this.#intervals.set(this.#indexOf(range.start), interval);
    return interval;
  }

  *#unsubscribe(index: number, interval: Interval): Sleeps<void> {
    this.#intervals.delete(index);
    yield* this.#space.notifiers.remove(interval.notifier);
  }

  #indexOf(address: VirtAddr): number {
    return Math.floor(address / this.#intervalBytes);
  }
}

/** A copy: callbacks sleep between one range and the next. */
function rangesIn({ tree, byHandle }: Interval, part: AddrRange): SvmRange[] {
  const hits = tree.query(part.start, part.end);
  return Array.from(tree.hits.subarray(0, hits), (handle) => byHandle[handle]!);
}
