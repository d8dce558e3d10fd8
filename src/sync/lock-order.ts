/**
 * The order of locks, outermost first. It is the documentation and the check: a task may wait
 * for a lock only below all that it holds. Linux: the lists at the head of mm/rmap.c and
 * mm/filemap.c, drm_gpusvm's locking notes; notifier callbacks run inside the SRCU reader.
 */
import { assert, unreachable } from "../base/index.ts";
import type { Task } from "./task.ts";

export const LOCK_ORDER = [
  /** One fault service or one user of a device's shared state at a time. */
  "svm",
  /** `AddressSpace.mmapLock`: written to change VMAs, read to look and to fault. */
  "mmap",
  /** One reader of a machine at a time goes before those who change what it reads. */
  "precedence",
  /** A page's lock bit: its identity and place stay as they are. */
  "page",
  /** The reverse map. */
  "rmap",
  /**
   * Not a lock: `start` to `end` of an invalidation, and `readBegin`, which takes and drops it
   * even when it need not wait. So waiting for an invalidation with the driver's lock held is
   * caught in the first run and not in the unlucky one.
   */
  "invalidation",
  /** Inside a notifier callback. */
  "srcu",
  /** The one lock that a driver takes in `invalidate` and around {check, commit}. */
  "driver",
] as const;

export type LockClass = (typeof LOCK_ORDER)[number];

/** Not a search: where a class is written out, compilers make its rank a constant. */
function rankOf(lockClass: LockClass): number {
  switch (lockClass) {
    case "svm":
      return 0;
    case "mmap":
      return 1;
    case "precedence":
      return 2;
    case "page":
      return 3;
    case "rmap":
      return 4;
    case "invalidation":
      return 5;
    case "srcu":
      return 6;
    case "driver":
      return 7;
  }
}

assert(
  LOCK_ORDER.every((lockClass, rank) => rankOf(lockClass) === rank),
  "the ranks of locks are those of the list",
);

/**
 * Asserts that `task` may wait for a lock of `lockClass`. `nested` names the one legal reason
 * for taking a second lock of a class.
 */
export function assertMayWait(task: Task, lockClass: LockClass, nested?: string): void {
  const rank = rankOf(lockClass);
  const from = nested === undefined ? rank : rank + 1;
  for (let held = from; held < LOCK_ORDER.length; held++) {
    if (task.held[held] !== 0) refuse(task, lockClass, held);
  }
}

/** Apart: a message that is not needed shall cost nothing, not even its closure. */
function refuse(task: Task, lockClass: LockClass, held: number): never {
  unreachable(
    `lock order: task "${task.name}" waits for "${lockClass}" while it holds ` +
      `"${LOCK_ORDER[held]}" (order: ${LOCK_ORDER.join(" -> ")})`,
  );
}

/** `task` has `count` locks more of `lockClass`. */
export function noteAcquired(task: Task, lockClass: LockClass, count = 1): void {
  const rank = rankOf(lockClass);
  task.held[rank] = task.held[rank]! + count;
}

export function noteReleased(task: Task, lockClass: LockClass, count = 1): void {
  const rank = rankOf(lockClass);
  const left = task.held[rank]! - count;
  if (left < 0) unreachable(`task "${task.name}" gives back a "${lockClass}" it lacks`);
  task.held[rank] = left;
}
