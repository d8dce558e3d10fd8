/** The threads that wait in a page fault, by page: a page that several want is faulted once. */
import type { VirtAddr, Vpn } from "../../base/index.ts";
import type { Task } from "../../sync/index.ts";

/** A thread that waits for a page. */
export interface Waiter {
  readonly page: Vpn;
  /** Linux thread id. */
  readonly thread: number;
  /** Milliseconds on the scheduler's clock. */
  readonly sinceMs: number;
  readonly write: boolean;
}

interface Access extends Waiter {
  /** The exact byte. */
  readonly address: VirtAddr;
  /** The program has no such right: it will not be served again. */
  isBad: boolean;
}

/** All who wait for one page. */
export class PageFault {
  readonly page: Vpn;
  accesses: Access[] = [];
  /** Who is at work on it; nobody when only bad accesses are left. */
  task: Task | undefined = undefined;
  /** The hardware had no mapping at all, not just one that may not be written. */
  isUnmapped = false;

  constructor(page: Vpn) {
    this.page = page;
  }

  /** Those who can still be served. */
  get served(): readonly Access[] {
    return this.accesses.filter(({ isBad }) => !isBad);
  }

  /** Somebody who can be served wants to write. */
  get write(): boolean {
    return this.accesses.some(({ isBad, write }) => !isBad && write);
  }
}

export class WaitingFaults {
  readonly #faults = new Map<Vpn, PageFault>();

  /** The fault of `access.page` with this access; a thread waits for one thing at a time. */
  add(access: Omit<Access, "isBad">): PageFault {
    const { page, thread } = access;
    const fault = this.#faults.get(page) ?? new PageFault(page);
    this.#faults.set(page, fault);
    const again = fault.accesses.findIndex((other) => other.thread === thread);
    if (again >= 0) fault.accesses.splice(again, 1);
    fault.accesses.push({ ...access, isBad: false });
    return fault;
  }

  has(page: Vpn): boolean {
    return this.#faults.has(page);
  }

  /** Everybody who waits for the page has been woken. */
  remove(fault: PageFault): void {
    this.#faults.delete(fault.page);
  }

  /** `thread` does not wait for `page` any more; others may. */
  forget(page: Vpn, thread: number): void {
    const fault = this.#faults.get(page);
    if (fault === undefined) return;
    fault.accesses = fault.accesses.filter((access) => access.thread !== thread);
    if (fault.accesses.length === 0 && fault.task === undefined) this.#faults.delete(page);
  }

  *[Symbol.iterator](): IterableIterator<Waiter> {
    for (const fault of this.#faults.values()) yield* fault.accesses;
  }

  /** How long the longest wait has lasted; 0 when nobody waits. */
  oldestMs(nowMs: number): number {
    let oldest = 0;
    for (const { sinceMs } of this) oldest = Math.max(oldest, nowMs - sinceMs);
    return oldest;
  }
}
