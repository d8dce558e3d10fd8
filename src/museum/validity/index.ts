/**
 * # museum/validity: what a driver read is no longer true, and it does not know
 *
 * **Nouns.** *Address*: a page that the CPU and a device have entries for. *Validity*: how a range
 * knows whether what was read still holds: a flag, a latch, a count, a sequence.
 *
 * **Invariants.** The rule that all of them break or keep: a device has no entry for a page that
 * is freed.
 *
 * **Locks.** Those of the models, as the code of the time took them.
 *
 * **Example.** `visit(VALID_FLAG[0])` shows B-01.
 *
 * **What it refuses.** Drivers: the one here fills one entry of its device.
 */
export { VALID_DMA } from "./dma.ts";
export { VALID_ENTRIES } from "./entries.ts";
export { VALID_FLAG } from "./flag.ts";
export { VALID_SEQUENCE } from "./sequence.ts";
export { START_FAILURE } from "./start-failure.ts";
export { SUBSCRIBER_COUNT } from "./subscriber-count.ts";
