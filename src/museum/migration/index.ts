/**
 * # museum/migration: pages that move between the CPU and a device, or belong to a device alone
 *
 * **Nouns.** *Slot*: one page of a migration. *Device page*: memory that the CPU cannot reach;
 * touching it is a fault that brings the page home. *Copy*: the bytes of a page, of which one
 * counts.
 *
 * **Invariants.** A slot that fails leaves no trace. No write is lost, and none is seen where it
 * should not be. Faults on one page do not keep each other from getting on.
 *
 * **Locks.** Those of the models, as the code of the time took them.
 *
 * **Example.** `visit(DEVICE_FAULTS[0])` shows B-90.
 *
 * **What it refuses.** Sizes: a page is a page, except where its order is the bug.
 */
export { DEVICE_COPIES } from "./device-copies.ts";
export { DEVICE_FAULTS } from "./device-faults.ts";
export { MIGRATION_SLOTS } from "./migration-slots.ts";
