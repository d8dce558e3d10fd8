/**
 * # mm/large: pages of 2 MiB
 *
 * **Nouns.** *Huge entry*: one entry of the page table for 2 MiB. *Large page*: 512 frames that
 * were allocated as one and are locked as one. *Pool*: large pages set aside that are never taken
 * apart. *Reservation*: huge pages of the pool that a mapping was promised.
 *
 * **Invariants.** A huge entry lies within one Vma and maps a whole large page, or the zero page.
 * `splitHuge` makes it a table that says the same; `splitLargePage` makes its page 512 pages.
 * Entries of the pool are neither split nor moved.
 *
 * **Locks.** mmapLock, as for any fault; the lock of the page while a large page is split.
 *
 * **Example.**
 * ```ts
 * yield* splitHugeForCut(space, vpnOf(start));   // before a Vma is cut at `start`
 * if (!(yield* splitLargePage(memory, frame))) return -EBUSY;
 * ```
 *
 * **What it refuses.** Other sizes than 2 MiB; collapsing small pages into large ones.
 */
export { splitHuge } from "./huge.ts";
export { HugetlbPool, HugetlbReservation } from "./hugetlb-pool.ts";
export { splitLargePage } from "./split-page.ts";
