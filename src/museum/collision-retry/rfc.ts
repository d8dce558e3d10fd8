/**
 * The collision-retry RFC of 2019 (mmu_invlock), bug by bug: its counter and its sequence, what its
 * end answers, its path for readers whose time is over, and those who end it.
 */

import type { Exhibit, Version } from "../exhibit.ts";
import { IntervalNotifierLock, PrecedenceLock } from "./descendants.ts";
import { Invlock, type LockBugs } from "./invlock.ts";
import { buildScene, type DriverBugs, type Scene } from "./scene.ts";

/** The RFC with all its bugs mended but these. */
function rfc(name: string, scene: Scene, bugs: LockBugs = {}): Version {
  return {
    name,
    build: (model) => buildScene(model, scene, (around) => new Invlock(around, bugs)),
  };
}

/** The RFC with everything mended, and its two descendants. */
function mended(scene: Scene): readonly Version[] {
  return [
    rfc("collision-retry RFC, mended", scene),
    {
      name: "interval notifiers, Linux 5.5 to 6.12",
      build: (model) => buildScene(model, scene, (around) => new IntervalNotifierLock(around)),
    },
    {
      name: "here: a sequence and a count of open events for each subscription",
      build: (model) => buildScene(model, scene, (around) => new PrecedenceLock(around)),
    },
  ];
}

/** The mended RFC used by a driver that does this wrong. */
const misused = (name: string, scene: Scene, driver: DriverBugs): Version =>
  rfc(name, { ...scene, driver });

const NOTHING_ELSE = "collision-retry RFC (2019), everything else mended";

const COUNTING: readonly Exhibit[] = [
  {
    id: "B-70",
    title: "the end of an event counts up, so no event ever ends",
    story:
      "mmu_invlock_inv_end() of the RFC adds one to active_invalidates where it should take one " +
      "away: the sequence stays odd after the first event. Found by reading; never merged.",
    kind: "leak",
    says: /4 count as active, the sequence is odd/,
    buggy: rfc(NOTHING_ELSE, { otherEvent: "on A" }, { endCountsUp: true }),
    fixed: mended({ otherEvent: "on A" }),
  },
  {
    id: "B-71",
    title: "an event that touches nothing of the driver's hides one that does",
    story:
      "The RFC makes the sequence odd only for an event that finds no other one active, whether " +
      "that one was interesting or not. Linux 5.5 makes it odd for every event that overlaps.",
    kind: "stale-access",
    says: /maps page 0/,
    buggy: rfc(NOTHING_ELSE, { otherEvent: "elsewhere" }, { onlyFirstMakesOdd: true }),
    fixed: mended({ otherEvent: "elsewhere" }),
  },
];

const SAMPLING: readonly Exhibit[] = [
  {
    id: "B-73",
    title: "nobody samples the sequence, so every attempt after the first event collides",
    story:
      "The RFC compares update_seq with the sequence and never writes it. Found by reading; the " +
      "read path can succeed only as long as there has been no event at all.",
    kind: "livelock",
    says: /attempt 3, and there is no more than 1 event/,
    buggy: rfc(NOTHING_ELSE, {}, { neverSamples: true }),
    fixed: mended({}),
  },
  {
    id: "B-74",
    title: "an odd sample matches itself while its event is still open",
    story:
      "To take the missing sample when mmap_sem is held, the obvious way, is wrong: an event may " +
      "have started since the wait. Linux 5.5 samples before it waits.",
    kind: "stale-access",
    says: /maps page 0/,
    buggy: rfc(NOTHING_ELSE, {}, { samplesAfterLock: true }),
    fixed: mended({}),
  },
  {
    id: "B-83",
    title: "the sequence wraps around between sample and check",
    story:
      "seqcount_t has 32 bits, so 2^31 events within one read section go unseen. Here it has two " +
      "bits, and two events do. Interval notifiers have an unsigned long; ours counts to 2^53.",
    kind: "stale-access",
    says: /maps page 0/,
    buggy: rfc(NOTHING_ELSE, { migrations: 2 }, { sequenceEnd: 4 }),
    fixed: mended({ migrations: 2 }),
  },
];

const REFUSED: Scene = { hasReaper: true, migrations: 0 };
const EXIT: Scene = { exit: "without mmap_sem", migrations: 0 };
/** Its VMAs are safe from exit, and nothing else of it is. */
const LOCKED_EXIT: Scene = {
  exit: "under mmap_sem",
  migrations: 0,
  driver: { holdsNoUsers: true },
};

const ENDINGS: readonly Exhibit[] = [
  {
    id: "B-79",
    title: "an event that the driver refuses stays active for ever",
    story:
      "A driver calls mmu_invlock_inv_start(), would then have to sleep, and may not for the OOM " +
      "reaper. It says -EAGAIN, and the core sends no end. Found by reading.",
    kind: "leak",
    says: /1 count as active, the sequence is odd/,
    buggy: rfc(NOTHING_ELSE, REFUSED, { refusedStaysActive: true }),
    fixed: mended(REFUSED),
  },
  {
    id: "B-80",
    title: "a read section does not keep the address space, and exit frees its VMAs",
    story:
      "The RFC locks mmap_sem and the driver reads VMAs; the exit of 2019 takes no mmap_sem and " +
      "waits for mm_users only. Since Linux 5.5 it is the caller who holds mm_users.",
    kind: "use-after-free",
    says: /looks up the VMA/,
    buggy: misused(NOTHING_ELSE, EXIT, { holdsNoUsers: true }),
    fixed: mended(EXIT),
  },
  {
    id: "B-81",
    title: "release stops the device, and a reader that has begun starts it again",
    story:
      "mmu_invlock knows starts and ends, and release is neither. Needs a section that holds no " +
      "mm_users, as in the mail: with them exit waits. For Linux 5.5 release is an event, too.",
    kind: "stale-access",
    says: /maps page 0/,
    buggy: rfc(NOTHING_ELSE, LOCKED_EXIT, { releaseIsSilent: true }),
    fixed: [
      ...mended(LOCKED_EXIT),
      rfc(
        "release is silent, but read sections hold mm_users",
        { ...LOCKED_EXIT, driver: {} },
        {
          releaseIsSilent: true,
        },
      ),
    ],
  },
];

/** A wait may time out, and the second attempt is slow at the latest. */
const HASTY: Scene = { patience: 1 };
const TWICE: Scene = { patience: 1, migrations: 2 };
const AGAIN: Scene = { patience: 2, migrations: 2 };
/** A sample taken in the middle of an event costs an attempt more: that is not the point here. */
const PATIENT_ONCE: Scene = { patience: 1, givesUp: true };

const RESULTS: readonly Exhibit[] = [
  {
    id: "B-72a",
    title: "the slow path says true for success, and true means again",
    story:
      "Three conventions in one mail: the example retries on true, the comment on false; the " +
      "code gives true when the fast path collided, and always on the slow path.",
    kind: "livelock",
    says: /attempt 3, and there is no more than 1 event/,
    buggy: rfc(NOTHING_ELSE, HASTY, { slowEndSaysTrue: true }),
    fixed: mended(HASTY),
  },
  {
    id: "B-72b",
    title: "a driver that follows the comment takes a collision for success",
    story:
      "The comment of mn_invlock_end_write_and_unlock() has false mean to start again; the fast " +
      "path answers true when it collided. Linux 5.5 names it read_retry: true is again.",
    kind: "stale-access",
    says: /maps page 0/,
    buggy: misused(NOTHING_ELSE, { givesUp: true }, { takesFalseForCollision: true }),
    fixed: mended({ givesUp: true }),
  },
];

const EXCLUSION: readonly Exhibit[] = [
  {
    id: "B-75",
    title: "the slow path checks nothing, and mmap_sem does not keep reverse maps out",
    story:
      "Reclaim and migration change page tables without mmap_sem, so holding it for writing " +
      "excludes none of their events. It does exclude munmap. Linux 5.5 has no slow path.",
    kind: "stale-access",
    says: /maps page \d/,
    buggy: rfc(NOTHING_ELSE, TWICE, { slowIsUnchecked: true }),
    fixed: [
      ...mended(TWICE),
      rfc(
        "the same, where only munmap takes pages away, under mmap_sem",
        { ...TWICE, movesUnderMmapSem: true },
        { slowIsUnchecked: true },
      ),
    ],
  },
  {
    id: "B-76",
    title: "the slow path begins while an event is open",
    story:
      "A reader whose time is over takes mmap_sem and reads at once, though an event is open. " +
      "The mail checks nothing at the end; a check against the odd number of then finds nothing.",
    kind: "stale-access",
    says: /maps page 0/,
    buggy: rfc(NOTHING_ELSE, PATIENT_ONCE, { slowWaitsForNobody: true }),
    fixed: mended(PATIENT_ONCE),
  },
];

const STICKY: LockBugs = { keepsMode: true, keepsTimeout: true };

const STATE: readonly Exhibit[] = [
  {
    id: "B-77",
    title: "a fast attempt after a slow one gives a read lock back as a write lock",
    story:
      "write_locked of mmu_invlock_state is never cleared, and a wait that timed out leaves the " +
      "time as it was, so the next attempt is fast. Either alone would do no harm.",
    kind: "lock",
    says: /gives back mmap_sem it lacks/,
    buggy: rfc(NOTHING_ELSE, AGAIN, STICKY),
    fixed: [
      ...mended(AGAIN),
      rfc("write_locked stays, and a timeout uses up the time", AGAIN, { keepsMode: true }),
      rfc("the time stays, and every attempt sets write_locked", AGAIN, { keepsTimeout: true }),
    ],
  },
  {
    id: "B-78",
    title: "only waiting uses up the reader's time, so it can collide for ever",
    story:
      "A wait that finds no event gives the whole time back, and the read section costs none: a " +
      "storm of short events keeps the reader on the fast path. Drivers now have a deadline.",
    kind: "livelock",
    says: /time is over/,
    buggy: rfc(NOTHING_ELSE, AGAIN, { onlyWaitsCount: true }),
    fixed: mended(AGAIN),
  },
  {
    id: "B-82",
    title: "the core gives back a read lock of mmap_sem that is held for writing",
    story:
      "A fault that may drop mmap_sem while it waits for a page drops it as a reader; the slow " +
      "path holds it as a writer. There, the fault must wait with the lock held.",
    kind: "lock",
    says: /gives back mmap_sem it does not read/,
    buggy: misused(NOTHING_ELSE, { ...HASTY, locksPage: true }, { letsCoreDropLock: true }),
    fixed: mended({ ...HASTY, locksPage: true }),
  },
];

export const COLLISION_RETRY_RFC: readonly Exhibit[] = [
  ...COUNTING,
  ...SAMPLING,
  ...RESULTS,
  ...EXCLUSION,
  ...STATE,
  ...ENDINGS,
];
