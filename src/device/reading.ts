/**
 * The reader's side of the collision-retry lock, once for all devices: place, look, lock, check,
 * commit. Whoever collides starts over; whoever has collided often goes first (`CollisionRetry`),
 * so a storm of changes costs time and never fails. Linux: the loop that every driver has.
 */
import { assert, EBUSY, type Result } from "../base/index.ts";
import { type HmmRange, hmmRangeFault } from "../hmm/index.ts";
import type { AddressSpace } from "../mm/index.ts";
import { CollisionRetry, type IntervalNotifier, type Seq } from "../notifier/index.ts";
import type { Mutex, Sleeps } from "../sync/index.ts";

/** Look again: the world has changed, by us or by others. */
export const AGAIN = 1;
/** Nothing is left to look at. */
export const DONE = 2;

export interface Reading {
  readonly space: AddressSpace;
  /** Covers all that is read. */
  readonly notifier: IntervalNotifier;
  /** The lock that `invalidate` takes. */
  readonly lock: Mutex;
  /**
   * Puts pages where they are to be, before each look and with mmapLock held; events of its own
   * make the look start over. 0: look. `AGAIN`. Anything else is the answer.
   */
  place?(): Sleeps<Result>;
  /** What to ask HMM about, with its requests; called before each look. */
  ranges(): readonly HmmRange[];
  /** Under the lock, and what `ranges` say is true: 0, `AGAIN`, or an errno. */
  commit(ranges: readonly HmmRange[]): Sleeps<Result>;
}

/** What `commit` answers, or `place`, or HMM when a page cannot be had. Collisions end. */
export function* read(reading: Reading): Sleeps<Result> {
  const { space, notifier, lock } = reading;
  using retry = new CollisionRetry(space.notifiers, notifier, { lock: space.mmapLock });
  for (;;) {
    const begun = yield* retry.begin();
    assert(begun === 0, "nobody calls a device's reading off");
    const placed = reading.place === undefined ? 0 : yield* reading.place();
    if (placed === AGAIN) continue;
    if (placed !== 0) return placed;
    const ranges = reading.ranges();
    const looked = yield* look(space, ranges, retry.seq);
    if (looked === -EBUSY) continue;
    if (looked < 0) return looked;
    using _update = yield* lock.acquire();
    if (retry.retry()) continue;
    const committed = yield* reading.commit(ranges);
    if (committed !== AGAIN) return committed;
  }
}

function* look(space: AddressSpace, ranges: readonly HmmRange[], seq: Seq): Sleeps<Result> {
  for (const range of ranges) {
    range.notifierSeq = seq;
    const result = yield* hmmRangeFault(space, range);
    if (result < 0) return result;
  }
  return 0;
}
