/**
 * The device's shadow of one space: a table from page to (memory, may write), and the one lock
 * around it that an invalidation takes.
 */
import { PAGE_SIZE, SPACE_BYTES, type Vpn, vpn, vpnOf } from "../../base/index.ts";
import { PageTable, PTE_NONE, type Pte } from "../../mm/index.ts";
import { type Invalidation, MMU_NOTIFY_MIGRATE } from "../../notifier/index.ts";
import { Mutex, type Scheduler, type Sleeps } from "../../sync/index.ts";

export class DmirrorTable {
  readonly lock: Mutex;
  /** Guarded by `lock`; written here only. */
  readonly entries: PageTable;
  readonly #owner: object;

  constructor(scheduler: Scheduler, owner: object) {
    this.lock = new Mutex(scheduler, "driver", "the device's update lock");
    this.entries = new PageTable(scheduler.footprint);
    this.#owner = owner;
  }

  set(page: Vpn, entry: Pte): void {
    this.lock.assertHeld();
    this.entries.set(page, entry);
  }

  /** The device forgets the pages of [start, end). */
  drop(start: Vpn, end: Vpn): void {
    this.lock.assertHeld();
    let page = this.entries.nextUsed(start, end);
    while (page < end) {
      this.entries.set(page, PTE_NONE);
      page = this.entries.nextUsed(vpn(page + 1), end);
    }
  }

  /**
   * Forgets [start, end] of the event, the page at `end` included, as Linux's device does: one
   * more than needed costs a fault and no truth. The device's own migrations drop what they move.
   */
  *invalidate(invalidation: Invalidation): Sleeps<boolean> {
    if (invalidation.event === MMU_NOTIFY_MIGRATE && invalidation.owner === this.#owner) {
      return true;
    }
    const update = invalidation.blockable ? yield* this.lock.acquire() : this.lock.tryAcquire();
    if (update === undefined) return false;
    using _held = update;
    const last = Math.min(vpnOf(invalidation.end) + 1, SPACE_BYTES / PAGE_SIZE);
    this.drop(vpnOf(invalidation.start), vpn(last));
    return true;
  }
}
