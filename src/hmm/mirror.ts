/**
 * A device's subscription to a space, and short-lived ranges under it: the HMM range API of
 * Linux 5.2 on top of sequences. `valid` means that nothing has invalidated the range since it
 * was read; it never turns true again for what was read before.
 */
import {
  type AddrRange,
  assert,
  EBUSY,
  EFAULT,
  EINVAL,
  isPageRange,
  type Result,
  SPACE_BYTES,
  virtAddr,
  vpnOf,
} from "../base/index.ts";
import { type AddressSpace, mmputAsync } from "../mm/index.ts";
import { IntervalNotifier, type Invalidation, type NotifierOps } from "../notifier/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { HMM_PFN_REQ_FAULT, HMM_PFN_REQ_WRITE, type HmmRange } from "./hmm-range.ts";
import { hmmRangeFault } from "./range-fault.ts";

/** How long `waitUntilValid` waits unless told otherwise, in milliseconds. */
export const HMM_RANGE_DEFAULT_TIMEOUT = 1000;

export interface MirrorOps {
  /**
   * Makes the device forget [start, end) of `update`, its table and its TLB, before returning
   * true. Takes the driver's lock; when `update` is not blockable by `tryAcquire`, and returns
   * false, having changed nothing, when that fails.
   */
  syncCpuDevicePagetables(update: Invalidation): Sleeps<boolean>;
  /** The space goes away: stop all device access to it before returning. */
  release?(): Sleeps<void>;
}

export interface MirrorOptions {
  readonly ops: MirrorOps;
  /** Whose device-private pages the ranges may see. */
  readonly devPrivateOwner?: object;
}

export interface RangeOptions extends AddrRange {
  /** Request of every page: `HMM_PFN_REQ_…`. Default: none. */
  readonly defaultFlags?: number;
  /** Which bits of a page's own request in `pfns` count. Default: none. */
  readonly pfnFlagsMask?: number;
}

export class Mirror {
  readonly space: AddressSpace;
  readonly devPrivateOwner: object | undefined;
  readonly #notifier: IntervalNotifier;
  readonly #listener: NotifierOps;
  #isRegistered = true;

  private constructor(space: AddressSpace, options: MirrorOptions) {
    const { ops } = options;
    this.space = space;
    this.devPrivateOwner = options.devPrivateOwner;
    this.#notifier = new IntervalNotifier(
      { start: virtAddr(0), end: virtAddr(SPACE_BYTES) },
      { invalidate: (invalidation) => ops.syncCpuDevicePagetables(invalidation) },
    );
    this.#listener = ops.release === undefined ? {} : { release: () => ops.release!() };
  }

  /** Subscribes a device to `space`, or -EINVAL when the space is going away. */
  static *register(space: AddressSpace, options: MirrorOptions): Sleeps<Mirror | Result> {
    using _mmap = yield* space.mmapLock.acquireWrite();
    if (space.users.count === 0 || space.notifiers.isReleased) return -EINVAL;
    const mirror = new Mirror(space, options);
    const result = space.notifiers.insert(mirror.#notifier);
    if (result < 0) return result;
    space.notifiers.register(mirror.#listener);
    return mirror;
  }

  /** Ends the subscription; no callback runs after this. Once. Not from a callback. */
  *unregister(): Sleeps<void> {
    assert(this.#isRegistered, "a mirror is unregistered twice");
    this.#isRegistered = false;
    yield* this.space.notifiers.remove(this.#notifier);
    yield* this.space.notifiers.unregister(this.#listener);
  }

  /**
   * Registers a range: a short-lived hold on the space, given back by `unregister` or `using`.
   * -EINVAL when [start, end) is not whole pages, -EFAULT when the space is going away.
   */
  range(options: RangeOptions): MirrorRange | Result {
    assert(this.#isRegistered, "ranges live under a registered mirror");
    if (!isPageRange(options.start, options.end)) return -EINVAL;
    if (!this.space.users.getUnlessZero()) return -EFAULT;
    return new MirrorRange(this, options);
  }
}

export class MirrorRange implements AddrRange {
  readonly start: AddrRange["start"];
  readonly end: AddrRange["end"];
  /** In: requests (where `pfnFlagsMask` lets them count). Out: what `hmm-range.ts` says. */
  readonly pfns: Uint32Array;
  readonly #mirror: Mirror;
  readonly #hmm: HmmRange;
  #isArmed = false;
  #isRegistered = true;

  constructor(mirror: Mirror, options: RangeOptions) {
    this.start = options.start;
    this.end = options.end;
    this.pfns = new Uint32Array(vpnOf(options.end) - vpnOf(options.start));
    this.#mirror = mirror;
    this.#hmm = {
      start: options.start,
      end: options.end,
      notifier: new IntervalNotifier(options),
      notifierSeq: 0,
      pfns: this.pfns,
      defaultFlags: options.defaultFlags ?? 0,
      pfnFlagsMask: options.pfnFlagsMask ?? 0,
      devPrivateOwner: mirror.devPrivateOwner,
      requireWrite: true,
    };
    const inserted = mirror.space.notifiers.insert(this.#hmm.notifier);
    assert(inserted === 0, "a range of a live space can be registered");
  }

  /**
   * Sleeps until no invalidation is open on the range and begins to read it. False when the
   * time is over first. Not with the driver's lock or mmapLock held.
   */
  *waitUntilValid(options: { readonly timeoutMs?: number } = {}): Sleeps<boolean> {
    this.#assertRegistered();
    const { space } = this.#mirror;
    const timeoutMs = options.timeoutMs ?? HMM_RANGE_DEFAULT_TIMEOUT;
    const deadlineMs = space.memory.scheduler.nowMs + timeoutMs;
    const seq = yield* space.notifiers.readBegin(this.#hmm.notifier, deadlineMs);
    this.#isArmed = seq !== undefined;
    if (seq !== undefined) this.#hmm.notifierSeq = seq;
    return this.#isArmed;
  }

  /** Nothing has touched the range since `waitUntilValid`. Final only under the driver's lock. */
  get valid(): boolean {
    this.#assertRegistered();
    return this.#isArmed && !this.#hmm.notifier.readRetry(this.#hmm.notifierSeq);
  }

  /** What is there now, without faulting: the number of pages, or a negated errno. */
  *snapshot(): Sleeps<Result> {
    return yield* this.#read(0, 0);
  }

  /**
   * The same after faulting in what the flags request (`write` requests writing everywhere).
   * -EBUSY: not valid (any more), wait again. -EFAULT, -EPERM, -ENOMEM: see `hmmRangeFault`.
   */
  *fault(options: { readonly write?: boolean } = {}): Sleeps<Result> {
    const asked = options.write === undefined ? 0 : HMM_PFN_REQ_FAULT;
    const flags = this.#hmm.defaultFlags | asked | (options.write ? HMM_PFN_REQ_WRITE : 0);
    return yield* this.#read(flags, this.#hmm.pfnFlagsMask);
  }

  /** Ends the hold; tells whether the range was valid to the end. Later use is an assertion. */
  unregister(): boolean {
    const valid = this.valid;
    this.#isRegistered = false;
    this.#mirror.space.notifiers.removeSilent(this.#hmm.notifier);
    mmputAsync(this.#mirror.space);
    return valid;
  }

  [Symbol.dispose](): void {
    if (this.#isRegistered) this.unregister();
  }

  *#read(defaultFlags: number, pfnFlagsMask: number): Sleeps<Result> {
    if (!this.valid) return -EBUSY;
    const { space } = this.#mirror;
    const range: HmmRange = { ...this.#hmm, defaultFlags, pfnFlagsMask };
    using _mmap = yield* space.mmapLock.acquireRead();
    const result = yield* hmmRangeFault(space, range);
    return result < 0 ? result : this.pfns.length;
  }

  #assertRegistered(): void {
    assert(this.#isRegistered, "a range is used after it was unregistered");
  }
}
