/**
 * # museum/waiting: waiting for a range, asking it for pages, and trying again
 *
 * **Nouns.** *Range walk*: how a range function goes over VMAs and entries. *Request*: what a
 * driver asks of an entry. *Attempt*: one way through the loop of a driver.
 *
 * **Invariants.** A wait ends with what it waits for, whatever the waiter holds. Every answer says
 * what happened, and which locks are held. There are not more attempts than events can explain.
 *
 * **Locks.** Those of the models, as the code of the time took them.
 *
 * **Example.** `visit(WAITING[0])` shows B-20.
 *
 * **What it refuses.** Timeouts: a wait that only the clock would end is a deadlock here.
 */
export { DOC_SAMPLE } from "./doc-sample.ts";
export { FAULT_WALK } from "./fault-walk.ts";
export { LOCK_STATE } from "./lock-state.ts";
export { REQUESTS } from "./requests.ts";
export { WAITING } from "./waiting.ts";
