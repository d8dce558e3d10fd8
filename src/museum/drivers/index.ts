/**
 * # museum/drivers: what is built above the range functions
 *
 * **Nouns.** *Loop*: how a driver serves faults, and tries again. *Count*, *sequence*: how it
 * knows of events in progress. *Interval*: what it subscribes to.
 *
 * **Invariants.** A fault is served as it asks for. Whoever compares and whoever changes do so
 * under one lock. Nobody waits for an event that waits for him.
 *
 * **Locks.** Those of the models, as the code of the time took them.
 *
 * **Example.** `visit(NOTIFIER_COUNTS[0])` shows B-104.
 *
 * **What it refuses.** Hardware: a device is a few cells.
 */
export { DRIVER_LOOPS } from "./driver-loops.ts";
export { NOTIFIER_COUNTS } from "./notifier-counts.ts";
