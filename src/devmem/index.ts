/**
 * # devmem: frames that the CPU cannot touch, and moving pages
 *
 * **Nouns.** *DevicePagemap*: a zone of device frames and its owner. *Migration*: two arrays,
 * `src` and `dst`, and three acts. *Copies* (duplicates): read-only images of RAM pages on a
 * device that is not coherent.
 *
 * **Invariants.**
 * - A page's bytes are authoritative in one place: its frame. While it moves its frame is
 *   locked, unmapped and still.
 * - Migration changes no rss and no charge.
 * - No page table entry of a page with copies is writable.
 * - A page that somebody pins or references besides its mapping does not move.
 *
 * **Locks.** mmapLock for reading around all three acts; page locks by trying only, so that two
 * migrations never wait for each other; the driver's lock inside, between the acts.
 *
 * **Example.** A CPU touched a private page; its owner brings it home:
 * ```ts
 * function* migrateToRam(fault: Fault): Sleeps<Result> {
 *   const { space, vma, page, frame } = fault;
 *   const migration = newMigration({ space, vma, start: page, end: vpn(page + 1),
 *     select: MIGRATE_VMA_SELECT_DEVICE_PRIVATE, owner: device, faultFrame: frame });
 *   return yield* runMigration(migration, {
 *     *copy(m) {
 *       yield* device.drop(m);               // first: the device can touch them no more,
 *       return yield* device.copyToRam(m);   // so that the copy is of a still page
 *     },
 *     *commit() {},                          // the device has nothing to map
 *   });
 * }
 * ```
 *
 * **What it refuses.** Where pages should live: policy is the driver's.
 */
export { DevicePagemap, type DevicePagemapOptions } from "./device-pagemap.ts";
export { protectForCopies } from "./duplicate.ts";
export { type CopyHome, evictFrames, evictPagemap } from "./evict.ts";
export { migrateFinalize, migratePages, migrateSetup } from "./migrate.ts";
export {
  isMigrating,
  MIGRATE_PFN_KEPT,
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type Migration,
  type MigrationOptions,
  migrateFrame,
  migratePfn,
  newMigration,
  SkipReason,
} from "./migration.ts";
export { type MigrationDriver, runMigration } from "./run.ts";
