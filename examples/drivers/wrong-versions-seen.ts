/**
 * What the random schedules of `first-driver.test.ts` see of each wrong version. The messages are
 * those of `checkWorld`, of the engine's assertions, and of what devices and CPUs find in
 * `first-driver-program.ts`.
 */
import { FirstDriver } from "./first-driver.ts";
import type { DriverClass } from "./first-driver-program.ts";
import * as wrong from "./wrong-versions.ts";

/** What a wrong version does, and by what it is found out. */
export interface WrongVersion {
  readonly Driver: DriverClass;
  /** What passes the schedules in which `Driver` fails. */
  readonly Right: DriverClass;
  /** What it is told by: part of the message of the first schedule that fails. */
  readonly seen: readonly string[];
  /** The same without `checkWorld`, when devices and CPUs notice soon enough. */
  readonly unwatched?: readonly string[];
}

const OTHER_FRAME = "names another frame";
const TOO_MUCH = "may write too much";
const FREE = "which is free";
const OLD_VALUE = "last store was";
const STALE = [OTHER_FRAME, TOO_MUCH, FREE, OLD_VALUE];
const LOCK_ORDER = ['waits for "invalidation" while it holds "driver"'];
const IN_CALLBACK = ["a mirror is unregistered from a callback, which it waits for"];
const CHILD = "changes under it";
const EPERM_READING = ["fails with EPERM"];

export const WRONG_VERSIONS: readonly WrongVersion[] = [
  { Driver: wrong.NoCheck, Right: FirstDriver, seen: STALE, unwatched: [FREE, OLD_VALUE] },
  { Driver: wrong.CheckBeforeLock, Right: FirstDriver, seen: STALE, unwatched: [FREE, OLD_VALUE] },
  { Driver: wrong.LockTakenTwice, Right: FirstDriver, seen: STALE, unwatched: [FREE, OLD_VALUE] },
  { Driver: wrong.StaleRequests, Right: wrong.BareLoop, seen: EPERM_READING },
  { Driver: wrong.GoesOnAfterBusy, Right: wrong.BareLoop, seen: STALE },
  { Driver: wrong.WaitsWithLock, Right: FirstDriver, seen: LOCK_ORDER },
  {
    Driver: wrong.AllWritable,
    Right: FirstDriver,
    seen: [TOO_MUCH],
    unwatched: [OLD_VALUE, CHILD],
  },
  { Driver: wrong.RefusesTooLate, Right: wrong.WithTlb, seen: [FREE, OLD_VALUE] },
  {
    Driver: wrong.KeepsWhatItMoves,
    Right: wrong.MovesPages,
    seen: STALE,
    unwatched: [FREE, OLD_VALUE],
  },
  {
    Driver: wrong.KeepsAtRelease,
    Right: FirstDriver,
    seen: [OTHER_FRAME, FREE],
    unwatched: [FREE],
  },
  { Driver: wrong.UnregistersInCallback, Right: FirstDriver, seen: IN_CALLBACK },
];
