/**
 * A fault of the device: the one big loop that puts everything together. Linux: the fault handler
 * that drm_gpusvm's documentation gives to every driver, and Xe's.
 */
import {
  EAGAIN,
  EBUSY,
  EFAULT,
  EINVAL,
  ENODEV,
  ENOMEM,
  EOPNOTSUPP,
  ETIME,
  type Result,
  type VirtAddr,
  vpnOf,
} from "../base/index.ts";
import { HMM_RANGE_DEFAULT_TIMEOUT } from "../hmm/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import { migrateRange } from "./migrate-range.ts";
import { evictRange, getPages, SvmScan, scanRange } from "./range-pages.ts";
import type { FindOptions, Svm } from "./svm.ts";
import type { SvmRange } from "./svm-range.ts";

const AGAIN = eventId("svm:again");

/** How often one fault starts over before it gives up, and how often it migrates a chunk. */
const TRIES_MAX = 16;
const MIGRATIONS_MAX = 3;

export interface ServiceOptions extends Omit<FindOptions, "bytesMax"> {
  /** Move the range to the device first, if it can be had. Default false. */
  readonly migrate?: boolean;
  /** Fail rather than use pages that are not on the device; implies `migrate`. Default false. */
  readonly devmemOnly?: boolean;
  /** Some pages of a range may be on the device and some not. Default false. */
  readonly allowMixed?: boolean;
  /** How long CPUs leave what migrates to the device. Doubles with every try. Default 0. */
  readonly timesliceMs?: number;
  /** Milliseconds for all. Default `HMM_RANGE_DEFAULT_TIMEOUT`. */
  readonly timeoutMs?: number;
}

/**
 * Makes the page of `address` usable by the device. 0: it was, at some time during the call; a
 * device that cannot use it any more faults again. -EINVAL (out of the window, or no chunk fits),
 * -EFAULT (no space any more, or a page that cannot be had), -ENOENT (no Vma), -EPERM, -ENOMEM,
 * -ENODEV (closed), -EBUSY (the time is over, or somebody was always faster), or what `bind` or,
 * with `devmemOnly`, the migration answered.
 *
 * One loop, from the top: each try takes the locks anew, so whoever waits for them gets a turn,
 * and a range that was unmapped meanwhile is garbage at the next.
 */
export function* serviceFault(
  svm: Svm,
  address: VirtAddr,
  options: ServiceOptions = {},
): Sleeps<Result> {
  const { id, memory } = svm.space;
  const fault = new DeviceFault(svm, address, options);
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const result = yield* fault.serviceOnce();
    if (result !== -EAGAIN) return result;
    memory.tracer.emit(AGAIN, id, vpnOf(address), -fault.reason);
    if (fault.timeLeft.timeoutMs <= 0) return -EBUSY;
  }
  return fault.reason;
}

/** One fault, over all its tries. */
class DeviceFault {
  readonly #svm: Svm;
  readonly #address: VirtAddr;
  readonly #options: ServiceOptions;
  readonly #deadlineMs: number;
  #bytesMax = Number.POSITIVE_INFINITY;
  #timesliceMs: number;
  #migrationsLeft: number;
  /** What the last try met: the answer when there is no next one. */
  reason: Result = -EBUSY;

  constructor(svm: Svm, address: VirtAddr, options: ServiceOptions) {
    const { timeoutMs = HMM_RANGE_DEFAULT_TIMEOUT, timesliceMs = 0 } = options;
    this.#svm = svm;
    this.#address = address;
    this.#options = options;
    this.#deadlineMs = svm.space.memory.scheduler.nowMs + timeoutMs;
    this.#timesliceMs = timesliceMs;
    this.#migrationsLeft = this.#migrationsMax;
  }

  get timeLeft(): { readonly timeoutMs: number } {
    return { timeoutMs: this.#deadlineMs - this.#svm.space.memory.scheduler.nowMs };
  }

  /** One pass with the svm lock: an answer, or -EAGAIN. */
  *serviceOnce(): Sleeps<Result> {
    const svm = this.#svm;
    const options = this.#options;
    using _svm = yield* svm.lock.acquire();
    if (svm.isClosed) return -ENODEV;
    yield* svm.collectGarbage();
    const bytesMax = this.#bytesMax;
    const range = yield* svm.findOrInsert(this.#address, { ...options, bytesMax });
    if (typeof range === "number") return range;
    if (range.serves(this.#address, options.write === true)) return 0;
    const placed = yield* this.#place(range);
    if (placed < 0) return placed;
    const readOnly = options.write !== true;
    const got = yield* getPages(svm, range, { ...options, readOnly, ...this.timeLeft });
    return got < 0 ? yield* this.#recover(range, got) : yield* this.#bind(range);
  }

  get #migrationsMax(): number {
    const { migrate, devmemOnly } = this.#options;
    return migrate === true || devmemOnly === true ? MIGRATIONS_MAX : 0;
  }

  /** Puts the range where the policy wants it. Negative only if that is an answer. */
  *#place(range: SvmRange): Sleeps<Result> {
    const { devmemOnly = false } = this.#options;
    const where = scanRange(this.#svm, range);
    if (where === SvmScan.equal) return 0;
    if (this.#migrationsLeft === 0) return devmemOnly ? this.reason : 0;
    this.#migrationsLeft--;
    // What is away does not come along: everything starts from RAM.
    const isHome = where === SvmScan.system;
    const home = isHome ? 0 : yield* evictRange(this.#svm, range, this.timeLeft);
    const result = home < 0 ? home : yield* this.#migrate(range);
    if (result === 0 || !devmemOnly) return 0;
    // Too large for the device, or for one Vma: a part of it may do.
    const mayFit = result === -ENOMEM || result === -EINVAL;
    if (mayFit && (yield* this.#takeSmaller(range))) return -EAGAIN;
    this.reason = result;
    return result === -EBUSY || range.isUnmapped ? -EAGAIN : result;
  }

  #migrate(range: SvmRange): Sleeps<Result> {
    const timesliceMs = this.#timesliceMs;
    // If it was not long enough to get the pages mapped, it is longer the next time.
    this.#timesliceMs *= 2;
    return migrateRange(this.#svm, range, { timesliceMs });
  }

  /** What to do about pages that could not be had: -EAGAIN, or the answer. */
  *#recover(range: SvmRange, got: Result): Sleeps<Result> {
    if (got === -EBUSY || got === -EAGAIN) return got;
    this.reason = got;
    // Unmapped: the garbage collector has work, and the Vma will tell the truth.
    if (range.isUnmapped) return -EAGAIN;
    if (got === -EOPNOTSUPP) {
      const home = yield* evictRange(this.#svm, range, this.timeLeft);
      return home < 0 && home !== -ETIME ? home : -EAGAIN;
    }
    if (this.#options.devmemOnly && got === -EFAULT) {
      // A page went home again since it was placed.
      this.reason = -EBUSY;
      if (this.#migrationsLeft > 0) return -EAGAIN;
    }
    // A page that nobody can have must not take its neighbours with it.
    if (yield* this.#takeSmaller(range)) return -EAGAIN;
    return got === -ENOMEM ? got : -EAGAIN;
  }

  /** The next try takes a smaller chunk; false when there is none. */
  *#takeSmaller(range: SvmRange): Sleeps<boolean> {
    const bytes = range.end - range.start;
    const smaller = this.#svm.chunkSizes.find((size) => size < bytes);
    if (smaller === undefined) return false;
    this.#bytesMax = smaller;
    this.#migrationsLeft = this.#migrationsMax;
    yield* this.#svm.ranges.remove(range);
    return true;
  }

  *#bind(range: SvmRange): Sleeps<Result> {
    using _notifier = yield* this.#svm.notifierLock.acquire();
    if (!range.pagesValid) return -EAGAIN;
    range.isBound = true;
    return yield* this.#svm.ops.bind(range);
  }
}
