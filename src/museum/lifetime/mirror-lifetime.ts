/**
 * HMM mirrors (Linux 5.1 to 5.4) between their driver, which unregisters and frees them, and
 * release, which calls an operation of each when the process exits.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model } from "../model/index.ts";

/** How release goes through the mirrors, and what unregistering one waits for. */
type Walk = "pops each, unlocked" | "reads mirrors_sem" | "srcu";

/** A driver unregisters and frees its mirror while the process exits. */
function buildFree(model: Model, walk: Walk): void {
  const mirror = model.object("the mirror");
  const isListed = model.cell("the mirror is listed", true);
  const sem = model.lock("mirrors_sem");
  const srcu = model.srcu();

  const callRelease = (): Sleeps<void> =>
    model.step("calls ops->release", () => mirror.use("release calls its operation"));

  function* release(): Sleeps<void> {
    if (walk === "srcu") {
      const isThere = yield* model.step("looks at the list", () => {
        srcu.enter();
        return isListed.value;
      });
      if (isThere) yield* callRelease();
      return yield* model.step("is through the list", () => srcu.leave());
    }
    if (walk === "reads mirrors_sem") {
      yield* sem.takeRead();
      if (isListed.value) yield* callRelease();
      return sem.giveRead();
    }
    yield* sem.take();
    const isThere = isListed.value;
    isListed.value = false;
    sem.give();
    if (isThere) yield* callRelease();
  }
  model.task("exit", release);
  model.task("driver", function* (): Sleeps<void> {
    yield* sem.take();
    isListed.value = false;
    sem.give();
    if (walk === "srcu") yield* srcu.synchronize();
    yield* model.step("frees the mirror", () => mirror.free());
  });
}

interface SelfOptions {
  readonly walk: "pops each, unlocked" | "reads mirrors_sem";
  /** Who unregisters the mirror when its process exits. */
  readonly unregisters: "the release operation" | "a worker";
}

/** A driver that wants its mirror gone when the process exits. */
function buildSelf(model: Model, { walk, unregisters }: SelfOptions): void {
  const isListed = model.cell("the mirror is listed", true);
  const isGone = model.cell("the mirror is unregistered", false);
  const isAsked = model.cell("work is queued", false);
  const workQueue = model.queue("work queue");
  const sem = model.lock("mirrors_sem");

  function* unregister(): Sleeps<void> {
    yield* sem.take();
    isListed.value = false;
    isGone.value = true;
    sem.give();
  }
  function* release(): Sleeps<void> {
    if (unregisters === "the release operation") return yield* unregister();
    yield* model.step("queues work", () => {
      isAsked.value = true;
      workQueue.wakeAll();
    });
  }
  model.task("exit", function* (): Sleeps<void> {
    if (walk === "reads mirrors_sem") {
      yield* sem.takeRead();
      if (isListed.value) yield* release();
      return sem.giveRead();
    }
    yield* sem.take();
    isListed.value = false;
    sem.give();
    yield* release();
  });
  if (unregisters === "a worker") {
    model.task("worker", function* (): Sleeps<void> {
      yield* workQueue.until(() => isAsked.value);
      yield* unregister();
    });
  }
  model.finally("leak", () => (isGone.value ? undefined : "the mirror is never unregistered"));
}

/** Release waits for a driver's work, which changes the mm, while another mirror goes. */
function buildWork(model: Model, walk: Walk): void {
  const isDone = model.cell("the work is done", false);
  const done = model.queue("the work");
  const isOtherListed = model.cell("the other mirror is listed", true);
  const sem = model.lock("mirrors_sem");
  const srcu = model.srcu();

  const enter = (): Sleeps<void> =>
    walk === "srcu" ? model.step("enters the list", () => srcu.enter()) : sem.takeRead();
  const leave = (): Sleeps<void> =>
    model.step("leaves the list", () => (walk === "srcu" ? srcu.leave() : sem.giveRead()));
  const waitForWork = (): Sleeps<boolean> => done.until(() => isDone.value);
  model.task("exit", function* (): Sleeps<void> {
    if (walk === "pops each, unlocked") {
      yield* sem.take();
      sem.give();
      yield* waitForWork();
      yield* sem.take();
      return sem.give();
    }
    yield* enter();
    yield* waitForWork();
    yield* leave();
  });
  model.task("other driver", function* (): Sleeps<void> {
    yield* sem.take();
    isOtherListed.value = false;
    sem.give();
    if (walk === "srcu") yield* srcu.synchronize();
  });
  // Raises an event, whose start looks at the mirrors.
  model.task("work", function* (): Sleeps<void> {
    yield* enter();
    yield* leave();
    yield* model.step("is done", () => {
      isDone.value = true;
      done.wakeAll();
    });
  });
}

interface TwiceOptions {
  /** What stands against a second call. */
  readonly guard: "mirror->hmm is NULL" | "the callers' lock" | "one step that tests and marks";
}

/** Two threads of a driver unregister the same mirror. */
function buildTwice(model: Model, { guard }: TwiceOptions): void {
  const hmm = model.object("hmm");
  const kref = model.counter("kref", 1);
  const isSet = model.cell("mirror->hmm", true);
  const sem = model.lock("mirrors_sem");
  const callers = model.lock("the driver's lock");

  const test = (): Sleeps<boolean> => model.step("reads mirror->hmm", () => isSet.value);
  const testAndMark = (): Sleeps<boolean> =>
    model.step("tests and marks the mirror", () => {
      const wasSet = isSet.value;
      isSet.value = false;
      return wasSet;
    });
  function* unregister(): Sleeps<void> {
    const isMine = yield* guard === "one step that tests and marks" ? testAndMark() : test();
    if (!isMine) return;
    yield* sem.take();
    hmm.use("a mirror is unlinked");
    isSet.value = false;
    sem.give();
    yield* model.step("puts hmm", () => {
      kref.value--;
      if (kref.value === 0) hmm.free();
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
  model.finally("leak", () => (kref.value === 0 ? undefined : `kref stays at ${kref.value}`));
}

interface NullOptions {
  readonly first: "lock assertion" | "arguments";
}

interface Mm {
  readonly isLocked: boolean;
}

/** A driver registers a mirror of an mm, and one of NULL. */
function buildNull(model: Model, { first }: NullOptions): void {
  const assertLocked = (mm: Mm | undefined): void => {
    if (mm === undefined) model.fail("error", "&mm->mmap_sem is read, and mm is NULL");
    model.expect(mm.isLocked, "lock", "mmap_sem is not held for writing");
  };
  const register = (mm: Mm | undefined): "EINVAL" | "done" => {
    if (first === "lock assertion") assertLocked(mm);
    if (mm === undefined) return "EINVAL";
    if (first === "arguments") assertLocked(mm);
    return "done";
  };
  model.task("driver", function* (): Sleeps<void> {
    const usual = yield* model.step("registers a mirror", () => register({ isLocked: true }));
    model.expect(usual === "done", "contract", "a mirror is refused");
    const result = yield* model.step("registers a mirror of NULL", () => register(undefined));
    model.expect(result === "EINVAL", "contract", "a mirror of nothing is registered");
  });
}

export const MIRROR_LIFETIME: readonly Exhibit[] = [
  {
    id: "B-53",
    title: "a mirror is freed while release calls its operation",
    story:
      "Release of Linux 5.2 takes the mirror off the list and lets go of mirrors_sem, so that " +
      "unregistering finds nothing to wait for. Patch 16 of the 2019 series keeps lock and list.",
    kind: "use-after-free",
    says: /its operation: the mirror is freed/,
    buggy: {
      name: "hmm_release(), Linux 5.2",
      build: (model) => buildFree(model, "pops each, unlocked"),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 16: mirrors_sem is held for reading",
        build: (model) => buildFree(model, "reads mirrors_sem"),
      },
      { name: "Linux 6.12: SRCU", build: (model) => buildFree(model, "srcu") },
    ],
  },
  {
    id: "B-54",
    title: "a release operation unregisters its mirror and waits for itself",
    story:
      "The price of B-53's cure: from patch 16 of the 2019 series a release operation runs with " +
      "mirrors_sem held and may not unregister. Linux 5.2 allowed it.",
    kind: "deadlock",
    says: /exit waits on mirrors_sem/,
    buggy: {
      name: "HMM series of 2019, a driver of Linux 5.2",
      build: (model) => {
        buildSelf(model, { walk: "reads mirrors_sem", unregisters: "the release operation" });
      },
    },
    fixed: [
      {
        name: "HMM series of 2019, a worker unregisters",
        build: (model) => buildSelf(model, { walk: "reads mirrors_sem", unregisters: "a worker" }),
      },
      {
        name: "Linux 5.2, which has B-53 instead",
        build: (model) => {
          buildSelf(model, { walk: "pops each, unlocked", unregisters: "the release operation" });
        },
      },
    ],
  },
  {
    id: "B-55",
    title: "release, a writer and an event wait for each other on a fair mirrors_sem",
    story:
      "Patch 16 of the 2019 series holds mirrors_sem over the release operation. One that waits " +
      "for work with an event in it is lost when a writer queues between. SRCU has no such " +
      "queue.",
    kind: "deadlock",
    says: /exit waits on the work/,
    buggy: {
      name: "HMM series of 2019, patch 16",
      build: (model) => buildWork(model, "reads mirrors_sem"),
    },
    fixed: [
      { name: "Linux 6.12: SRCU", build: (model) => buildWork(model, "srcu") },
      {
        name: "Linux 5.2: the operation runs unlocked, and has B-53 instead",
        build: (model) => buildWork(model, "pops each, unlocked"),
      },
    ],
  },
  {
    id: "B-56",
    title: "two calls unregister one mirror, and both give back its reference",
    story:
      "Linux 5.2 tests mirror->hmm before it takes the lock, which stops only a second call that " +
      "comes late. Patch 14 of the 2019 series drops the pretence: callers take care.",
    kind: "use-after-free",
    says: /hmm is freed/,
    buggy: {
      name: "hmm_mirror_unregister(), Linux 5.2",
      build: (model) => buildTwice(model, { guard: "mirror->hmm is NULL" }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 14: callers serialize",
        build: (model) => buildTwice(model, { guard: "the callers' lock" }),
      },
      {
        name: "here: the second caller is told so at once",
        build: (model) => buildTwice(model, { guard: "one step that tests and marks" }),
      },
    ],
  },
  {
    id: "B-60",
    title: "an assertion about a lock in the mm comes before the test that there is an mm",
    story:
      "Patch 13 of the 2019 series puts lockdep_assert_held_exclusive() at the head of " +
      "hmm_mirror_register(), before it answers -EINVAL to NULL. Needs a kernel with lockdep.",
    kind: "error",
    says: /mm is NULL/,
    buggy: {
      name: "HMM series of 2019, patch 13",
      build: (model) => buildNull(model, { first: "lock assertion" }),
    },
    fixed: [
      {
        name: "arguments first",
        build: (model) => buildNull(model, { first: "arguments" }),
      },
    ],
  },
];
