/**
 * # machine/heap: malloc and free for any number of threads
 *
 * **Nouns.** *Heap*: what one thread allocates with; all bookkeeping of its blocks is in it, in
 * the thread's own memory. *Span*: 4 MiB of the heap's addresses, owned by one thread,
 * by mappings (*lent*), or by nobody.
 * *Bag*: where others leave the blocks of a thread that they free. *Remains*: what a thread that
 * ended left allocated, for another to adopt.
 *
 * **Invariants.** A page is in the bookkeeping of at most one thread, and only of the one that
 * owns its span. What is shared (`shared.ts`) changes one word at a time and is right between any
 * two changes, so a thread that is terminated anywhere leaves a heap that is right for the others;
 * its own spans are lost (`bury`). A freed address is in one bag or one thread's hands.
 *
 * ```text
 *   freeing thread                     adopting thread
 *     owner of the span: 5
 *                                        spans of 5 become 7's
 *                                        empties the bag of 5, and its number is free
 *     into the bag of 5
 *     owner of the span: 7, not 5
 *     takes it out again: into the bag of 7
 *     (or is too late: who took it sends it on)
 * ```
 *
 * **Locks.** None, and nobody waits.
 *
 * **Example.**
 * ```ts
 * const heap = new Heap({ start, end });
 * const id = heap.invite();
 * const worker = new Worker(url, { workerData: { start, end, shared: heap.shared, id } });
 *   // there: const heap = new Heap(workerData); post({ block: heap.malloc(64) }); …
 *   //        post({ remains: heap.detach() });
 * let [isDetached, remains] = [false, undefined];
 * worker.on("message", (message) => {
 *   if (message.block !== undefined) heap.free(message.block); // the worker may use it again
 *   else { isDetached = true; remains = message.remains; }
 * });
 * worker.on("exit", () => {
 *   if (!isDetached) heap.bury(id);
 *   else if (remains !== undefined) heap.adopt(remains);       // or the next worker does
 * });
 * ```
 *
 * **What it refuses.** To say at once that another thread's block is none (its owner hears of it),
 * to bring back blocks of a thread that ended without `detach`, and a 256th thread at a time. A
 * thread that wants more than is free is refused (ENOMEM), also while another is just taking it;
 * what others freed and its owner has not collected, and a free span that each thread keeps, are
 * not free.
 */
export { Heap } from "./heap.ts";
export { type HeapRange, LentSpans, newHeapRange } from "./lent-spans.ts";
export type { HeapOptions, HeapUsage } from "./options.ts";
export type { FreedRun, Presence } from "./own-pages.ts";
export type { HeapRemains } from "./remains.ts";
