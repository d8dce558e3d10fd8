/**
 * A device's subscription to a space. Linux 5.2: struct hmm_mirror; the mmu notifier, the list of
 * ranges and their locks behind it are `NotifierSubscriptions` here, made with the space.
 */
import {
  assert,
  EFAULT,
  EINVAL,
  isPageRange,
  PAGE_SHIFT,
  type Result,
  SPACE_BYTES,
  virtAddr,
} from "../../base/index.ts";
import { type AddressSpace, LEAF_SHIFT, mmputAsync } from "../../mm/index.ts";
import { IntervalNotifier, type Invalidation, type NotifierOps } from "../../notifier/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { DeviceEntries } from "./entry-format.ts";
import { MirrorRange, type RangeOptions } from "./mirror-range.ts";

/** Sizes of a page that a device may have: of a page, and of a huge one. */
const PAGE_SHIFTS = [PAGE_SHIFT, PAGE_SHIFT + LEAF_SHIFT];

export interface MirrorOps {
  /**
   * Makes the device forget [start, end) of `update`, its table and its TLB, before returning
   * true. Takes the driver's lock; when `update` is not blockable by `tryAcquire`, and returns
   * false, having changed nothing, when that fails.
   */
  syncCpuDevicePagetables(update: Invalidation): Sleeps<boolean>;
  /**
   * The space goes away: stop all device access to it before returning. Once, and only while the
   * mirror is registered. It may not unregister the mirror.
   */
  release?(): Sleeps<void>;
}

export interface MirrorOptions {
  readonly ops: MirrorOps;
  /** Whose device-private pages the ranges may see. */
  readonly devPrivateOwner?: object;
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
    this.#listener = ops.release === undefined ? {} : { release: () => this.#release(ops) };
  }

  /**
   * Subscribes a device to `space`. -EINVAL when the callback is missing or the space is going
   * away. The mirror may outlive the space; then it only waits to be unregistered.
   */
  static *register(space: AddressSpace, options: MirrorOptions): Sleeps<Mirror | Result> {
    if (typeof options.ops?.syncCpuDevicePagetables !== "function") return -EINVAL;
    using _mmap = yield* space.mmapLock.acquireWrite();
    if (space.users.count === 0 || space.notifiers.isReleased) return -EINVAL;
    const mirror = new Mirror(space, options);
    const result = space.notifiers.insert(mirror.#notifier);
    if (result < 0) return result;
    space.notifiers.register(mirror.#listener);
    return mirror;
  }

  /** Whoever unregisters may be killed before the listener is gone. */
  *#release(ops: MirrorOps): Sleeps<void> {
    if (this.#isRegistered) yield* ops.release!();
  }

  get isRegistered(): boolean {
    return this.#isRegistered;
  }

  /**
   * Ends the subscription: waits for callbacks that run; none runs after this. Stop the device
   * first: nobody tells it of changes from now on. Once, not from a callback, not with the
   * driver's lock held. Ranges of the mirror are never valid again.
   */
  *unregister(): Sleeps<void> {
    assert(this.#isRegistered, "a mirror is unregistered twice");
    const { notifiers } = this.space;
    assert(!notifiers.isInCallback, "a mirror is unregistered from a callback, which it waits for");
    this.#isRegistered = false;
    yield* notifiers.remove(this.#notifier);
    yield* notifiers.unregister(this.#listener);
  }

  /**
   * Registers a range: a short-lived hold on the space, given back by `unregister` or `using`.
   * -EINVAL when [start, end) is not whole pages of `pageShift` or the mirror is not registered,
   * -EFAULT when the space is going away.
   */
  range<E extends DeviceEntries = Uint32Array>(options: RangeOptions<E>): MirrorRange<E> | Result {
    const { start, end, pageShift = PAGE_SHIFT } = options;
    if (!this.#isRegistered || !PAGE_SHIFTS.includes(pageShift)) return -EINVAL;
    if (!isPageRange(start, end) || (start | (end - start)) % 2 ** pageShift !== 0) return -EINVAL;
    if (!this.space.users.getUnlessZero()) return -EFAULT;
    try {
      return new MirrorRange(this, options);
    } catch (error) {
      mmputAsync(this.space);
      throw error;
    }
  }
}
