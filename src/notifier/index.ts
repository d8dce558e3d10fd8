/**
 * # notifier: the collision-retry lock over address ranges
 *
 * Whoever changes a page table tells those who hold copies of it (devices, ranges) to forget
 * them, and those who are reading it that what they read is old. Linux: mm/mmu_notifier.c; the
 * 2019 RFC of a collision-retry lock (mmu_invlock) is the ancestor.
 *
 * **Nouns.** *Invalidation*: an event over [start, end). *IntervalNotifier*: a subscription to a
 * range, with a sequence. *NotifierOps*: a subscription to a whole space. *CollisionRetry*: one
 * reading of a range, with the escape for readers that lose too often (*Precedence*).
 *
 * **Invariants.** A writer waits for no reader but the one that has precedence. A reader samples
 * (`readBegin`), sleeps as it likes, takes the driver's lock, checks (`readRetry`), commits or
 * starts over.
 *
 * **Why it is right.** `start` moves the sequence of all readers in one atomic step, and only
 * then runs callbacks, which take the driver's lock and drop what was committed:
 * ```
 * munmap                                  device fault
 *   forget the VMA                          seq = readBegin()      (nothing is open: go on)
 *   start: seq moves                        walk: frames of the old page
 *     invalidate: take driver lock
 *       drop the device's entries
 *     give it back                          take driver lock
 *   clear the entry, flush, free            readRetry() -> true: give it back, again
 *   end: active--, wake                     readBegin() sleeps until here; no VMA: -EFAULT
 * ```
 * - The event ended before `readBegin`: the reader sees the new table.
 * - The sequence moved between `readBegin` and `readRetry`: nothing is committed.
 * - The reader committed before the sequence moved: the callback comes later and drops it.
 * There is no fourth case. Linux leaves moving the sequence to each callback, under the driver's
 * lock; a callback that returns early (its own MIGRATE event) then forgets it. Here the core
 * does it for all, before the first callback, so no driver can.
 *
 * **Locks.** "invalidation" (virtual: start to end, and readBegin), "srcu" around callbacks,
 * "precedence" (one reader of a machine), which is taken with mmapLock held for reading.
 *
 * **Example.**
 * ```ts
 * const inv = new Invalidation({ start, end, event: MMU_NOTIFY_UNMAP });
 * yield* space.notifiers.change(inv, () => {
 *   cursor.clearRange(start, end); cursor.flush();
 * });
 * ```
 * `start` and `end` by themselves are for who must sleep in between, and must then end what is
 * open however its task ends.
 *
 * **What it refuses.** Callbacks that fail a blockable event; removal from inside a callback.
 */
export {
  COLLISION_TIMEOUT_MS,
  COLLISIONS_MAX,
  CollisionRetry,
  type CollisionRetryOptions,
} from "./collision-retry.ts";
export { IntervalNotifier, type IntervalOps, type Seq } from "./interval-notifier.ts";
export {
  Invalidation,
  type InvalidationOptions,
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_EXCLUSIVE,
  MMU_NOTIFY_MIGRATE,
  MMU_NOTIFY_PROTECTION_PAGE,
  MMU_NOTIFY_PROTECTION_VMA,
  MMU_NOTIFY_RELEASE,
  MMU_NOTIFY_SOFT_DIRTY,
  MMU_NOTIFY_UNMAP,
  NOTIFY_EVENT_NAMES,
} from "./invalidation.ts";
export { Precedence } from "./precedence.ts";
export { type NotifierOps, NotifierSubscriptions } from "./subscriptions.ts";
