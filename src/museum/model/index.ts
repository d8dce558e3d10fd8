/**
 * # museum/model: the words that the museum's models are written in
 *
 * **Nouns.** *Model*: a handful of cells, locks, queues and objects, and tasks that take named
 * steps. *Step*: atomic. *Cell*: a shared word. *Thing*: memory that can be freed. *Lock*: as the
 * kernel has it, without guards. *Queue*: where tasks sleep. *Grace period*: waits for readers.
 *
 * **Invariants.**
 * - Everything that a step reads or writes in a cell is declared by the cell, so that reduction
 *   knows what may trade places. What two tasks share is a cell, or a word of this room.
 * - A rule of `always` holds after every step, one of `finally` when all tasks have ended; then
 *   every lock must have been given back, too.
 *
 * **Locks.** The model's own. A lock passes to those who wait in the order in which they came.
 *
 * **Example.**
 * ```ts
 * const page = model.object("P");
 * model.task("driver", () => model.step("writes P", () => page.use("the driver")));
 * model.task("kernel", () => model.step("frees P", () => page.free()));
 * ```
 *
 * **What it refuses.** Real time: a wait with a timeout may end between any two steps. Memory that
 * is seen in another order than it was written: a step is seen by all when it is done.
 */
export type { Cell, Thing } from "./cell.ts";
export type { Lock } from "./lock.ts";
export { Model } from "./model.ts";
export type { Queue } from "./queue.ts";
