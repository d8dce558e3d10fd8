/**
 * A subscription to one address range and the reader's half of the collision-retry lock.
 * `seq` counts the invalidations that have touched the range; `active` those that do now.
 * Linux: struct mmu_interval_notifier, which keeps one odd-or-even number for a whole space and
 * so makes a reader wait for events that never touch it; two counters a subscription do not.
 */
import type { AddrRange, Handle, VirtAddr } from "../base/index.ts";
import type { Shared, Sleeps } from "../sync/index.ts";
import type { Invalidation } from "./invalidation.ts";

export type Seq = number;

export interface IntervalOps {
  /**
   * Makes the device forget [start, end) of `invalidation`, before it returns. Takes the
   * driver's lock: by waiting when the event is blockable, else by `tryAcquire`, and answers
   * false, having changed nothing, when that fails. The sequence has moved already.
   */
  invalidate(invalidation: Invalidation): Sleeps<boolean>;
}

export class IntervalNotifier implements AddrRange {
  readonly start: VirtAddr;
  readonly end: VirtAddr;
  /** Absent: the subscriber only wants to know whether something happened. */
  readonly ops: IntervalOps | undefined;
  /** Written by `NotifierSubscriptions` only. */
  seq: Seq = 0;
  active = 0;
  handle: Handle | -1 = -1;
  /** What an explorer knows it by, once it is inserted. */
  shared: Shared | undefined = undefined;

  constructor(range: AddrRange, ops?: IntervalOps) {
    this.start = range.start;
    this.end = range.end;
    this.ops = ops;
  }

  get isRegistered(): boolean {
    this.shared?.read();
    return this.handle !== -1;
  }

  /**
   * True: an invalidation touched the range since `seq` was read; what was read then is old.
   * The answer is final only under the driver's lock, the one that `invalidate` takes.
   */
  readRetry(seq: Seq): boolean {
    this.shared?.read();
    return this.seq !== seq || this.active > 0;
  }

  /** `readBegin` for code that may not sleep: `undefined` while an invalidation is open here. */
  tryReadBegin(): Seq | undefined {
    this.shared?.read();
    return this.active === 0 ? this.seq : undefined;
  }
}
