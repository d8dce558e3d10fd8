/**
 * One invalidation: which addresses, why, by whom, and whether callbacks may sleep. Made by
 * whoever changes the page table; `start` and `end` bracket the change.
 */
import { type AddrRange, assert, type VirtAddr } from "../base/index.ts";
import type { IntervalNotifier } from "./interval-notifier.ts";
import type { NotifierOps } from "./subscriptions.ts";

/** Why the page table changes. Names and meanings as in include/linux/mmu_notifier.h. */
export const MMU_NOTIFY_UNMAP = 0;
export const MMU_NOTIFY_CLEAR = 1;
export const MMU_NOTIFY_PROTECTION_VMA = 2;
export const MMU_NOTIFY_PROTECTION_PAGE = 3;
export const MMU_NOTIFY_SOFT_DIRTY = 4;
export const MMU_NOTIFY_RELEASE = 5;
export const MMU_NOTIFY_MIGRATE = 6;
export const MMU_NOTIFY_EXCLUSIVE = 7;

export const NOTIFY_EVENT_NAMES = [
  "UNMAP",
  "CLEAR",
  "PROTECTION_VMA",
  "PROTECTION_PAGE",
  "SOFT_DIRTY",
  "RELEASE",
  "MIGRATE",
  "EXCLUSIVE",
] as const;

export interface InvalidationOptions {
  readonly start: VirtAddr;
  readonly end: VirtAddr;
  readonly event: number;
  /** False: a callback that would have to sleep refuses instead. Default true. */
  readonly blockable?: boolean;
  /** Who causes a MIGRATE or EXCLUSIVE event; that one may skip its own table work. */
  readonly owner?: object | undefined;
}

/** Shared by all events that touch nobody, so that an event begins without an array of its own. */
export const NOBODY: never[] = [];

export class Invalidation implements AddrRange {
  readonly start: VirtAddr;
  readonly end: VirtAddr;
  readonly event: number;
  readonly blockable: boolean;
  readonly owner: object | undefined;
  /** Subscriptions that this event collides with, from `start` to `end`. Written there only. */
  colliding: IntervalNotifier[] = NOBODY;
  /** Whole-space subscriptions that were told of the start and are to be told of the end. */
  listeners: readonly NotifierOps[] = NOBODY;
  isActive = false;

  constructor(options: InvalidationOptions) {
    assert(options.start < options.end, "an invalidation needs at least one page");
    this.start = options.start;
    this.end = options.end;
    this.event = options.event;
    this.blockable = options.blockable ?? true;
    this.owner = options.owner;
  }

  /** From here to its end nobody may begin to read the range of `notifier`. */
  collideWith(notifier: IntervalNotifier): void {
    assert(this.isActive, "an invalidation collides with a reader while it is not open");
    notifier.shared?.write();
    notifier.seq++;
    notifier.active++;
    // Most events have one: an array made with it has room for no more, an empty one for many.
    if (this.colliding === NOBODY) this.colliding = [notifier];
    else this.colliding.push(notifier);
  }
}
