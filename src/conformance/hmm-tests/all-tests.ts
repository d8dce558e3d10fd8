/** All tests. */

import { ANONYMOUS_TESTS, REPEATED_TESTS } from "./kernel-anonymous.ts";
import { COW_TEST, EXCLUSIVE_TESTS, PIN_TEST } from "./kernel-exclusive.ts";
import { COMPOUND_TEST, FILE_TESTS, MIXED_MAP_TEST, PRIVATE_FILE_TEST } from "./kernel-files.ts";
import { MIGRATE_TEST, MIGRATION_TESTS } from "./kernel-migration.ts";
import { DOUBLE_MAP_TEST, SNAPSHOT_TEST } from "./kernel-two-devices.ts";
import { EVENT_TESTS } from "./own-events.ts";
import { FORK_TEST } from "./own-fork.ts";
import { HUGE_TEST } from "./own-huge.ts";
import { MIGRATION_FAILURE_TEST, MIGRATION_RACE_TEST } from "./own-migration.ts";
import { REQUEST_TEST } from "./own-requests.ts";
import { STORM_TEST } from "./own-storm.ts";
import type { HmmTest } from "./stage.ts";

/** Those of tools/testing/selftests/mm/hmm-tests.c of Linux 6.12, in its order. */
export const KERNEL_TESTS: readonly HmmTest[] = [
  ...ANONYMOUS_TESTS,
  ...FILE_TESTS,
  MIGRATE_TEST,
  PRIVATE_FILE_TEST,
  ...MIGRATION_TESTS,
  ...REPEATED_TESTS,
  MIXED_MAP_TEST,
  SNAPSHOT_TEST,
  COMPOUND_TEST,
  DOUBLE_MAP_TEST,
  ...EXCLUSIVE_TESTS,
  PIN_TEST,
  COW_TEST,
];

/** Those that the kernel does not have. */
export const OWN_TESTS: readonly HmmTest[] = [
  STORM_TEST,
  ...EVENT_TESTS,
  REQUEST_TEST,
  MIGRATION_RACE_TEST,
  MIGRATION_FAILURE_TEST,
  FORK_TEST,
  HUGE_TEST,
];
