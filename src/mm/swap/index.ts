/**
 * # mm/swap: when RAM is full
 *
 * **Nouns.** *SwapArea*: slots for pages that were sent away; *SwapStore*: who keeps the bytes;
 * *reclaim*: choosing pages and sending them away.
 *
 * **Invariants.** A slot is used as often as entries name it. A page is stored only while nobody
 * can touch it (all its entries are migration entries) and nobody but its mappings holds it.
 *
 * **Locks.** The page's lock, never waited for. No lock that a notifier callback needs.
 *
 * **Example.** `new Memory({ …, swap: new SwapArea(4096, store) })`; faults do the rest.
 *
 * **What it refuses.** Pages of devices (their drivers evict), large pages as a whole.
 */
export { evictRange, reclaimPages } from "./reclaim.ts";
