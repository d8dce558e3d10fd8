/**
 * Ranges of HMM (Linux 5.1 to 5.4): structures of the driver, often on its stack, that hmm keeps
 * on a list and events write to. What goes wrong when one is not taken off the list, is taken off
 * twice, or is followed to things that it no longer points to.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model } from "../model/index.ts";

interface RegisterOptions {
  /** When range->hmm is set: before the test whether the mm is dead, or after it. */
  readonly sets: "before the test" | "after the test";
}

/** A driver registers a range of a process that exits, and unregisters it in any case. */
function buildRefused(model: Model, { sets }: RegisterOptions): void {
  const isDead = model.cell("hmm->dead", false);
  const rangeHmm = model.cell<"hmm" | "NULL">("range->hmm", "NULL");
  const isListed = model.cell("the range is listed", false);
  // One is the mirror's.
  const kref = model.counter("kref", 1);

  const register = (): void => {
    kref.value++;
    if (sets === "before the test") rangeHmm.value = "hmm";
    if (isDead.value) {
      kref.value--;
      return;
    }
    rangeHmm.value = "hmm";
    isListed.value = true;
  };
  const unregister = (): void => {
    if (rangeHmm.value === "NULL") return;
    model.expect(isListed.value, "assertion", "list_del() of a range that is on no list");
    isListed.value = false;
    kref.value--;
    rangeHmm.value = "NULL";
  };
  model.task("driver", function* (): Sleeps<void> {
    yield* model.step("registers the range", register);
    yield* model.step("cleans up: unregisters the range", unregister);
  });
  model.task("exit", () =>
    model.step("release: the mm is dead", () => {
      isDead.value = true;
    }),
  );
  model.finally("leak", () => (kref.value === 1 ? undefined : `kref is ${kref.value}, not 1`));
}

interface TimeoutOptions {
  readonly unregisters: boolean;
}

/** A driver's range is on its stack; the driver waits for it until an event ends or time is up. */
function buildTimeout(model: Model, { unregisters }: TimeoutOptions): void {
  const frame = model.object("the driver's stack frame");
  const isListed = model.cell("the range is listed", false);
  const valid = model.cell("valid", false);
  const notifiers = model.counter("notifiers");
  const users = model.counter("mm_users", 1);
  const lock = model.lock("ranges_lock");
  const idle = model.queue("the range");

  function* unregister(): Sleeps<void> {
    yield* lock.take();
    isListed.value = false;
    users.value--;
    lock.give();
  }
  function* fault(): Sleeps<void> {
    yield* lock.take();
    isListed.value = true;
    users.value++;
    valid.value = notifiers.value === 0;
    lock.give();
    const isValid = yield* idle.until(() => valid.value, { timeout: true });
    // An invalid range is EAGAIN to the caller; a valid one is faulted here.
    if (isValid || unregisters) yield* unregister();
  }
  model.task("driver", function* (): Sleeps<void> {
    yield* fault();
    yield* model.step("returns", () => frame.free());
  });
  model.task("event", function* (): Sleeps<void> {
    yield* lock.take();
    notifiers.value++;
    if (isListed.value) {
      frame.use("the start of an event writes range->valid");
      valid.value = false;
    }
    lock.give();
    yield* lock.take();
    notifiers.value--;
    if (isListed.value) {
      frame.use("the end of an event writes range->valid");
      valid.value = true;
    }
    idle.wakeAll();
    lock.give();
  });
  model.finally("leak", () =>
    users.value === 1 ? undefined : "the range's mm_users is never given back",
  );
}

interface TwiceOptions {
  /** What stands against a second call. */
  readonly guard: "range->hmm is NULL" | "the callers' lock" | "one step that tests and marks";
}

/** Two threads of a driver unregister the same range. */
function buildTwice(model: Model, { guard }: TwiceOptions): void {
  const isSet = model.cell("range->hmm", true);
  const isListed = model.cell("the range is listed", true);
  // The mirror's and the range's.
  const kref = model.counter("kref", 2);
  const lock = model.lock("hmm->lock");
  const callers = model.lock("the driver's lock");

  const test = (): Sleeps<boolean> => model.step("reads range->hmm", () => isSet.value);
  const testAndMark = (): Sleeps<boolean> =>
    model.step("tests and marks the range", () => {
      const wasSet = isSet.value;
      isSet.value = false;
      return wasSet;
    });
  function* unregister(): Sleeps<void> {
    const isMine = yield* guard === "one step that tests and marks" ? testAndMark() : test();
    if (!isMine) return;
    yield* lock.take();
    model.expect(isListed.value, "assertion", "list_del() of a range that is on no list");
    isListed.value = false;
    lock.give();
    yield* model.step("puts hmm and clears range->hmm", () => {
      kref.value--;
      isSet.value = false;
    });
  }
  function* caller(): Sleeps<void> {
    if (guard !== "the callers' lock") return yield* unregister();
    yield* callers.take();
    yield* unregister();
    callers.give();
  }
  model.task("thread 1", caller);
  model.task("thread 2", caller);
  model.finally("leak", () => (kref.value === 1 ? undefined : `kref is ${kref.value}, not 1`));
}

interface ReaderOptions {
  /** How an event reads the list of ranges. */
  readonly reads: "without a lock" | "under the lock" | "in a read section that is waited for";
}

/** A driver unregisters its range while an event goes through the list. */
function buildReader(model: Model, { reads }: ReaderOptions): void {
  const range = model.object("the range");
  const isListed = model.cell("the range is listed", true);
  const lock = model.lock("hmm->lock");
  const srcu = model.srcu("RCU");
  const hasSection = reads === "in a read section that is waited for";

  const mark = (): void => range.use("the event writes range->valid");

  model.task("event", function* (): Sleeps<void> {
    if (reads === "under the lock") {
      yield* lock.take();
      if (isListed.value) mark();
      return lock.give();
    }
    const isFound = yield* model.step("finds the range on the list", () => {
      srcu.enter();
      return isListed.value;
    });
    if (isFound) yield* model.step("marks it", mark);
    yield* model.step("is through the list", () => srcu.leave());
  });
  model.task("driver", function* (): Sleeps<void> {
    yield* lock.take();
    isListed.value = false;
    lock.give();
    if (hasSection) yield* srcu.synchronize();
    yield* model.step("reuses the memory of the range", () => range.free());
  });
}

interface PoisonOptions {
  /** Where the driver finds the mm whose mmap_sem it has to give back. */
  readonly finds: "range->hmm->mm" | "a pointer of its own";
  /** Registering the range fails: range->hmm is NULL. */
  readonly fails?: boolean;
}

/** A driver faults a range, unregisters it and gives mmap_sem back. */
function buildPoison(model: Model, { finds, fails = false }: PoisonOptions): void {
  const mmap = model.lock("mmap_sem");
  const rangeHmm = model.cell<"hmm" | "NULL" | "poison">("range->hmm", "NULL");
  model.task("driver", function* (): Sleeps<void> {
    yield* mmap.takeRead();
    if (!fails) {
      yield* model.step("registers the range", () => {
        rangeHmm.value = "hmm";
      });
      yield* model.step("faults the range, unregisters it", () => {
        rangeHmm.value = "poison";
      });
    }
    yield* model.step("gives mmap_sem back", () => {
      if (finds === "range->hmm->mm") {
        const hmm = rangeHmm.value;
        model.expect(hmm === "hmm", "use-after-free", `range->hmm->mm: range->hmm is ${hmm}`);
      }
      mmap.giveRead();
    });
  });
}

interface VmaOptions {
  /** What the second attempt begins with. */
  readonly begins: "range->vma of the first" | "looking for the VMA";
}

/** hmm_vma_fault() has dropped mmap_sem for I/O; its caller takes it and tries again. */
function buildVma(model: Model, { begins }: VmaOptions): void {
  const vma = model.object("the VMA");
  const isMapped = model.cell("the VMA is mapped", true);
  const mmap = model.lock("mmap_sem");

  model.task("driver", function* (): Sleeps<void> {
    yield* mmap.takeRead();
    let isThere = isMapped.value;
    if (!isThere) return mmap.giveRead();
    yield* model.step("faults, drops mmap_sem to wait: EAGAIN", () => mmap.giveRead());
    yield* mmap.takeRead();
    if (begins === "looking for the VMA") isThere = isMapped.value;
    if (isThere) {
      yield* model.step("registers the range with range->vma->vm_mm", () => {
        vma.use("hmm_vma_fault() reads range->vma->vm_mm");
      });
    }
    mmap.giveRead();
  });
  model.task("unmapper", function* (): Sleeps<void> {
    yield* mmap.take();
    isMapped.value = false;
    vma.free();
    mmap.give();
  });
}

export const RANGE_LIFETIME: readonly Exhibit[] = [
  {
    id: "B-41",
    title: "a range that was refused points to an hmm, and cleaning up unregisters it",
    story:
      "hmm_range_register() of Linux 5.2 leaves range->hmm set when it answers -EFAULT for a " +
      "dead mm, without a reference. Patch 3 of the 2019 series sets it last, under the lock.",
    kind: "assertion",
    says: /on no list/,
    buggy: {
      name: "hmm_range_register(), Linux 5.2",
      build: (model) => buildRefused(model, { sets: "before the test" }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 3",
        build: (model) => buildRefused(model, { sets: "after the test" }),
      },
    ],
  },
  {
    id: "B-43",
    title: "a wait times out, the range stays listed, and an event writes to a dead stack",
    story:
      "hmm_vma_fault() of Linux 5.2 to 5.4, later in nouveau, returns without unregistering. " +
      "With patch 12 of 2019 it leaks mm_users too. A fix was posted in May 2019 and not taken.",
    kind: "use-after-free",
    says: /writes range->valid: the driver's stack frame is freed/,
    buggy: {
      name: "hmm_vma_fault(), Linux 5.2 to 5.4",
      build: (model) => buildTimeout(model, { unregisters: false }),
    },
    fixed: [
      {
        name: "the fix of May 2019: unregistered before it returns",
        build: (model) => buildTimeout(model, { unregisters: true }),
      },
    ],
  },
  {
    id: "B-57",
    title: "two calls unregister one range, and both take it off the list",
    story:
      "Linux 5.2 tests range->hmm outside the lock, as it does for mirrors (B-56). Patch 15 of " +
      "the 2019 series poisons the pointer instead, so that a second call crashes for certain.",
    kind: "assertion",
    says: /on no list/,
    buggy: {
      name: "hmm_range_unregister(), Linux 5.2",
      build: (model) => buildTwice(model, { guard: "range->hmm is NULL" }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 15: callers serialize",
        build: (model) => buildTwice(model, { guard: "the callers' lock" }),
      },
      {
        name: "here: the second caller is told so at once",
        build: (model) => buildTwice(model, { guard: "one step that tests and marks" }),
      },
    ],
  },
  {
    id: "B-59",
    title: "the list of ranges has RCU verbs, and who believes them reads a dead range",
    story:
      "Linux 5.2 adds and removes ranges with list_add_rcu() and list_del_rcu() but waits for no " +
      "grace period. It is safe only because all readers lock; patch 11 of 2019 says so.",
    kind: "use-after-free",
    says: /range->valid: the range is freed/,
    buggy: {
      name: "Linux 5.2 with an event that reads as the verbs suggest",
      build: (model) => buildReader(model, { reads: "without a lock" }),
    },
    fixed: [
      {
        name: "Linux 5.2 and later: readers lock",
        build: (model) => buildReader(model, { reads: "under the lock" }),
      },
      {
        name: "unregistering waits for a grace period",
        build: (model) => buildReader(model, { reads: "in a read section that is waited for" }),
      },
    ],
  },
  {
    id: "B-61",
    title: "the way to mmap_sem goes through a range that is unregistered",
    story:
      "A cleanup of nouveau that followed the 2019 series unlocked range->hmm->mm->mmap_sem " +
      "after unregistering, which poisons range->hmm, and after a register that had failed.",
    kind: "use-after-free",
    says: /range->hmm is poison/,
    buggy: {
      name: "nouveau_range_fault(), first cleanup of 2019",
      build: (model) => buildPoison(model, { finds: "range->hmm->mm" }),
    },
    fixed: [
      {
        name: "the driver's own pointer to the mm",
        build: (model) => buildPoison(model, { finds: "a pointer of its own" }),
      },
      {
        name: "the driver's own pointer to the mm, registering fails",
        build: (model) => buildPoison(model, { finds: "a pointer of its own", fails: true }),
      },
    ],
  },
  {
    id: "B-62",
    title: "a second attempt follows range->vma, which mmap_sem no longer keeps alive",
    story:
      "hmm_vma_fault() of Linux 5.2 reads range->vma->vm_mm. Its own unlocking does so only " +
      "while mmap_sem is held; it takes a caller who tries again with the range of an EAGAIN.",
    kind: "use-after-free",
    says: /vm_mm: the VMA is freed/,
    buggy: {
      name: "hmm_vma_fault(), Linux 5.2, and a caller that tries again",
      build: (model) => buildVma(model, { begins: "range->vma of the first" }),
    },
    fixed: [
      {
        name: "the caller looks for the VMA whenever it has taken mmap_sem",
        build: (model) => buildVma(model, { begins: "looking for the VMA" }),
      },
    ],
  },
];
