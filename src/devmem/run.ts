/**
 * The three acts with a driver's two parts between them, safe against errors and against being
 * killed in the middle: whatever happens, every page ends in exactly one place, unlocked.
 */
import { assert, type Result } from "../base/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { migrateFinalize, migratePages, migrateSetup } from "./migrate.ts";
import { MIGRATE_PFN_MIGRATE, type Migration } from "./migration.ts";

export interface MigrationDriver {
  /**
   * The pages of `migration` with MIGRATE in `src` are still. Makes the device forget them,
   * fills `dst` with locked frames (leaving 0 where there is none) and copies. A negative result
   * calls the whole migration off; frames that `dst` names by then are given back.
   */
  copy(migration: Migration): Sleeps<Result>;
  /**
   * Those that still have MIGRATE have moved: the device may map them now. What leaves its memory
   * it may keep as a copy, if nobody else maps the page (MIGRATE_PFN_KEPT).
   */
  commit(migration: Migration): Sleeps<void>;
}

/** Runs a migration; the caller holds mmapLock. The pages that moved, or a negated errno. */
export function* runMigration(migration: Migration, driver: MigrationDriver): Sleeps<Result> {
  const result = yield* migrateSetup(migration);
  if (result < 0) return result;
  let isCommitted = false;
  try {
    if (migration.count === 0) return 0;
    const copied = yield* driver.copy(migration);
    if (copied < 0) return copied;
    migration.space.mmapLock.assertHeld();
    yield* migratePages(migration);
    isCommitted = true;
    yield* driver.commit(migration);
    assert(migration.count <= migration.src.length, "more pages have moved than the range has");
    return migration.count;
  } finally {
    if (!isCommitted) callOff(migration);
    migrateFinalize(migration);
  }
}

function callOff(migration: Migration): void {
  const { src } = migration;
  assert(migration.count >= 0, "fewer pages than none were to move");
  for (let slot = 0; slot < src.length; slot++) src[slot] = src[slot]! & ~MIGRATE_PFN_MIGRATE;
  migration.count = 0;
}
