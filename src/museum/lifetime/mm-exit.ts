/**
 * HMM against the end of a process. Whoever gives back the last mm_users runs the exit path: it
 * calls the notifiers' release, and takes the VMAs and pages away without mmap_sem, because
 * nobody can come any more. In Linux 5.2 ranges did not count as users of the mm.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model } from "../model/index.ts";

interface Users {
  /** Linux: mmget_not_zero(). */
  get(): Sleeps<boolean>;
  /** Linux: mmput(): the last one runs the exit path. */
  put(): Sleeps<void>;
}

function usersOf(model: Model, count: number, exit: () => Sleeps<void>): Users {
  const users = model.counter("mm_users", count);
  return {
    get: () =>
      model.step("gets mm_users unless it is zero", () => {
        if (users.value > 0) users.value++;
        return users.value > 0;
      }),
    *put() {
      const isLast = yield* model.step("puts mm_users", () => {
        users.value--;
        return users.value === 0;
      });
      if (isLast) yield* exit();
    },
  };
}

interface PinOptions {
  /** Registering a range gets mm_users, unregistering puts it. */
  readonly pins: boolean;
}

/** A driver walks the VMAs of a process that exits. */
function buildWalk(model: Model, { pins }: PinOptions): void {
  const vma = model.object("the VMA");
  const isDead = model.cell("hmm->dead", false);
  const mmap = model.lock("mmap_sem");
  const users = usersOf(model, 1, function* (): Sleeps<void> {
    yield* model.step("release: the mm is dead", () => {
      isDead.value = true;
    });
    yield* model.step("frees the VMAs", () => vma.free());
  });

  function* walk(): Sleeps<void> {
    yield* mmap.takeRead();
    const isRefused = !pins && isDead.value;
    if (!isRefused) yield* model.step("looks for the VMA", () => vma.use("the driver walks it"));
    mmap.giveRead();
  }
  model.task("driver", function* (): Sleeps<void> {
    if (!pins) return yield* walk();
    if (!(yield* users.get())) return;
    yield* walk();
    yield* users.put();
  });
  model.task("exit", () => users.put());
}

/** A driver registers a range of a process that exits. */
function buildRegister(model: Model, { pins }: PinOptions): void {
  const isDead = model.cell("hmm->dead", false);
  const isListed = model.cell("the range is listed", false);
  const isReleased = model.cell("release has returned", false);
  const valid = model.cell("valid", false);
  const lock = model.lock("hmm->lock");
  const users = usersOf(model, 1, function* (): Sleeps<void> {
    yield* model.step("release: the mm is dead", () => {
      isDead.value = true;
    });
    yield* lock.take();
    if (isListed.value) valid.value = false;
    isReleased.value = true;
    lock.give();
  });

  model.task("driver", function* (): Sleeps<void> {
    const isAlive = pins
      ? yield* users.get()
      : yield* model.step("tests hmm->dead", () => !isDead.value);
    if (!isAlive) return;
    yield* lock.take();
    isListed.value = true;
    valid.value = true;
    lock.give();
    yield* model.step("unregisters the range", () => {
      isListed.value = false;
      valid.value = false;
    });
    if (pins) yield* users.put();
  });
  model.task("exit", () => users.put());
  model.always("contract", () =>
    valid.value && isReleased.value ? "the range is valid, and its mm is released" : undefined,
  );
}

interface ReleaseOptions {
  /** What keeps a commit from coming after release: the flag, the range's mm_users, a sequence. */
  readonly relies: "valid" | "mm_users" | "sequence";
}

/** A driver programs a page of a process that exits, while an event goes on elsewhere. */
function buildRelease(model: Model, { relies }: ReleaseOptions): void {
  const page = model.object("page P");
  const pte = model.cell<"P" | "none">("pte[A]", "P");
  const device = model.cell<"P" | "none">("dev[A]", "none");
  const isDead = model.cell("hmm->dead", false);
  const valid = model.cell("valid", true);
  const notifiers = model.counter("notifiers");
  const seq = model.counter("seq");
  const isListed = model.cell("the notifier is listed", true);
  const update = model.lock("update");
  const users = usersOf(model, 1, function* (): Sleeps<void> {
    yield* model.step("release: the mm is dead, no range is valid", () => {
      isDead.value = true;
      valid.value = false;
    });
    yield* update.take();
    seq.value++;
    device.value = "none";
    update.give();
    yield* model.step("unlinks the notifier", () => {
      isListed.value = false;
    });
    yield* model.step("clears pte[A] and frees P", () => {
      pte.value = "none";
      page.free();
    });
  });

  model.task("driver", function* (): Sleeps<void> {
    if (relies !== "valid" && !(yield* users.get())) return;
    const mine = yield* model.step("samples the sequence", () => seq.value);
    const seen = yield* model.step("reads pte[A] unless the mm is dead", () =>
      relies === "valid" && (isDead.value || !valid.value) ? undefined : pte.value,
    );
    if (relies === "sequence") yield* users.put();
    yield* update.take();
    const isCurrent = relies === "sequence" ? seq.value === mine : valid.value;
    if (isCurrent && seen !== undefined) device.value = seen;
    update.give();
    if (relies === "mm_users") yield* users.put();
  });
  model.task("exit", () => users.put());
  model.task("event elsewhere", function* (): Sleeps<void> {
    const isCounted = yield* model.step("starts an event", () => {
      if (isListed.value) notifiers.value++;
      return isListed.value;
    });
    yield* model.step("ends the event", () => {
      if (!isCounted || !isListed.value) return;
      notifiers.value--;
      if (notifiers.value === 0) valid.value = true;
    });
  });
  model.always("stale-access", () =>
    device.value === "P" && page.isFreed ? "the device maps P, which is freed" : undefined,
  );
}

interface LastPutOptions {
  readonly puts: "under the locks" | "after the locks" | "by a worker";
}

/** A range of the last process that uses an mm is unregistered after programming the device. */
function buildLastPut(model: Model, { puts }: LastPutOptions): void {
  const page = model.object("page P");
  const device = model.cell<"P" | "none">("dev[A]", "none");
  const users = model.counter("mm_users", 2);
  const work = model.cell<"maybe" | "exit" | "nothing">("work", "maybe");
  const workQueue = model.queue("work queue");
  const mmap = model.lock("mmap_sem");
  const update = model.lock("update");

  function* exit(): Sleeps<void> {
    yield* update.take();
    device.value = "none";
    update.give();
    yield* mmap.take();
    page.free();
    mmap.give();
  }
  function* put(isAsync: boolean): Sleeps<void> {
    const isLast = yield* model.step("puts mm_users", () => {
      users.value--;
      if (isAsync) {
        work.value = users.value === 0 ? "exit" : "nothing";
        workQueue.wakeAll();
      }
      return users.value === 0;
    });
    if (isLast && !isAsync) yield* exit();
  }
  model.task("driver", function* (): Sleeps<void> {
    yield* mmap.takeRead();
    yield* update.take();
    device.value = "P";
    if (puts === "under the locks") yield* put(false);
    update.give();
    mmap.giveRead();
    if (puts !== "under the locks") yield* put(puts === "by a worker");
  });
  model.task("process", () => put(false));
  if (puts === "by a worker") {
    model.task("worker", function* (): Sleeps<void> {
      yield* workQueue.until(() => work.value !== "maybe");
      if (work.value === "exit") yield* exit();
    });
  }
  model.finally("leak", () => {
    if (!page.isFreed) return "nobody has freed P";
    return device.value === "P" ? "the device still maps P" : undefined;
  });
}

export const MM_EXIT: readonly Exhibit[] = [
  {
    id: "B-47",
    title: "the exit path frees the VMAs under a driver that walks them with mmap_sem",
    story:
      "hmm_range_snapshot() and hmm_range_fault() of Linux 5.2 trust hmm->dead and mmap_sem, and " +
      "exit takes none. From patch 12 of the 2019 series a range counts as a user of the mm.",
    kind: "use-after-free",
    says: /walks it: the VMA is freed/,
    buggy: {
      name: "HMM range API, Linux 5.2",
      build: (model) => buildWalk(model, { pins: false }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 12: a range has mm_users",
        build: (model) => buildWalk(model, { pins: true }),
      },
    ],
  },
  {
    id: "B-48",
    title: "a range that is registered during release is valid although its mm is dead",
    story:
      "Linux 5.2 tests hmm->dead before it takes the lock under which the range is listed, and " +
      "release marks only those listed. Patch 12 of the 2019 series gets mm_users instead.",
    kind: "contract",
    says: /valid, and its mm is released/,
    buggy: {
      name: "hmm_range_register(), Linux 5.2",
      build: (model) => buildRegister(model, { pins: false }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 12: a range has mm_users",
        build: (model) => buildRegister(model, { pins: true }),
      },
    ],
  },
  {
    id: "B-49",
    title: "the end of an event elsewhere makes ranges valid again that release has invalidated",
    story:
      "In Linux 5.2 valid means only that no event is active, so an event by the reverse map, " +
      "after release and before the notifier is unlinked, lets a driver program pages of a dead " +
      "process.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "HMM range API, Linux 5.2",
      build: (model) => buildRelease(model, { relies: "valid" }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 12: a range has mm_users",
        build: (model) => buildRelease(model, { relies: "mm_users" }),
      },
      {
        name: "Linux 6.12: mm_users while it reads, then a sequence that release moves",
        build: (model) => buildRelease(model, { relies: "sequence" }),
      },
    ],
  },
  {
    id: "B-58",
    title:
      "unregistering a range is the last mmput, and exit takes the locks that its caller holds",
    story:
      "Patch 12 of the 2019 series has hmm_range_unregister() put mm_users; the documented " +
      "sample and nouveau call it with mmap_sem and their update lock held.",
    kind: "deadlock",
    says: /driver waits on update/,
    buggy: {
      name: "HMM series of 2019, the order of the documented sample",
      build: (model) => buildLastPut(model, { puts: "under the locks" }),
    },
    fixed: [
      {
        name: "unregistered after both locks",
        build: (model) => buildLastPut(model, { puts: "after the locks" }),
      },
      {
        name: "mmput_async(), as RDMA does",
        build: (model) => buildLastPut(model, { puts: "by a worker" }),
      },
    ],
  },
];
