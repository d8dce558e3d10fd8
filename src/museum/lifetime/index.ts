/**
 * # museum/lifetime: who frees it, and who still has a pointer
 *
 * **Nouns.** *hmm*: what HMM kept for each mirrored mm. *Mirror*: a driver's subscription.
 * *Range*: what a driver watches, often on its stack. *Exit*: the end of a process.
 *
 * **Invariants.** Nobody touches what is freed, or takes off a list what is not on it. What is
 * over gives back what it had.
 *
 * **Locks.** Those of the models, as the code of the time took them.
 *
 * **Example.** `visit(HMM_OBJECT[0])` shows B-40.
 *
 * **What it refuses.** Page contents: nothing here depends on what a page holds.
 */
export { HMM_BIRTH } from "./hmm-birth.ts";
export { HMM_OBJECT } from "./hmm-object.ts";
export { MIRROR_LIFETIME } from "./mirror-lifetime.ts";
export { MM_EXIT } from "./mm-exit.ts";
export { RANGE_LIFETIME } from "./range-lifetime.ts";
