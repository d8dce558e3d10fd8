/**
 * One look at one range: a hold on the space and a subscription of its own, as long as the look
 * lasts. The subscription is why events elsewhere in the interval do not make it start over.
 */
import { type AddrRange, assert, EAGAIN, EBUSY, type Result, vpnOf } from "../base/index.ts";
import { HMM_RANGE_DEFAULT_TIMEOUT, type HmmRange } from "../hmm/index.ts";
import { type AddressSpace, mmputAsync } from "../mm/index.ts";
import { IntervalNotifier } from "../notifier/index.ts";
import type { Sleeps } from "../sync/index.ts";

/** Rounds beyond one a page (each page that comes home is an event). A virtual clock may stand. */
const ROUNDS_MAX = 32;

export class RangeLook {
  /** What HMM is asked: request and owner are the caller's to set. */
  readonly hmm: HmmRange;
  readonly #space: AddressSpace;
  readonly #deadlineMs: number;
  #roundsLeft: number;

  /** None when the space is going away. */
  static open(
    space: AddressSpace,
    range: AddrRange,
    timeoutMs = HMM_RANGE_DEFAULT_TIMEOUT,
  ): RangeLook | undefined {
    if (!space.users.getUnlessZero()) return undefined;
    return new RangeLook(space, range, timeoutMs);
  }

  private constructor(space: AddressSpace, { start, end }: AddrRange, timeoutMs: number) {
    this.#space = space;
    this.#deadlineMs = space.memory.scheduler.nowMs + timeoutMs;
    const count = vpnOf(end) - vpnOf(start);
    this.#roundsLeft = count + ROUNDS_MAX;
    const notifier = new IntervalNotifier({ start, end });
    assert(space.notifiers.insert(notifier) === 0, "a space with users takes subscriptions");
    const pfns = new Uint32Array(count);
    const none = { notifierSeq: 0, defaultFlags: 0, pfnFlagsMask: 0, devPrivateOwner: undefined };
    this.hmm = { start, end, notifier, pfns, ...none, requireWrite: true };
  }

  /** Begins, or begins again. -EBUSY: the time is over. -EAGAIN: too many rounds. */
  *begin(): Sleeps<Result> {
    if (this.#roundsLeft-- === 0) return -EAGAIN;
    const { memory, notifiers } = this.#space;
    if (memory.scheduler.nowMs >= this.#deadlineMs) return -EBUSY;
    const seq = yield* notifiers.readBegin(this.hmm.notifier, this.#deadlineMs);
    if (seq === undefined) return -EBUSY;
    this.hmm.notifierSeq = seq;
    return 0;
  }

  /** An event touched the range since `begin`. Final only under the notifier lock. */
  get isOld(): boolean {
    return this.hmm.notifier.readRetry(this.hmm.notifierSeq);
  }

  [Symbol.dispose](): void {
    this.#space.notifiers.removeSilent(this.hmm.notifier);
    mmputAsync(this.#space);
  }
}
