/**
 * Waiting until a range is valid (HMM range API, 2019): what ends the wait, and what the waiter
 * holds meanwhile. The waits had a timeout of a second; it is left out here, so a wait that only
 * the clock would end is a deadlock.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model } from "../model/index.ts";

interface ExitOptions {
  /** What the waiter waits for. */
  readonly until: "valid or dead" | "valid";
  /** A registered range counts as a user of the address space, so it outlives the range. */
  readonly rangeHoldsUsers?: boolean;
}

function buildExit(model: Model, { until, rangeHoldsUsers = false }: ExitOptions): void {
  const users = model.counter("mm_users", 1);
  const dead = model.cell("dead", false);
  const valid = model.cell("valid", false);
  const notifiers = model.counter("notifiers");
  const idle = model.queue("the range");
  const release = (): void => {
    dead.value = true;
    valid.value = false;
    idle.wakeAll();
  };
  const dropUser = (): void => {
    if (--users.value === 0) release();
  };

  model.task("driver", function* (): Sleeps<void> {
    const isRegistered = yield* model.step("registers the range", () => {
      if (rangeHoldsUsers ? users.value === 0 : dead.value) return false;
      if (rangeHoldsUsers) users.value++;
      valid.value = notifiers.value === 0;
      return true;
    });
    if (!isRegistered) return;
    yield* idle.until(() => valid.value || (until === "valid or dead" && dead.value));
    yield* model.step("unregisters the range", () => {
      if (rangeHoldsUsers) dropUser();
    });
  });
  model.task("exiting process", function* (): Sleeps<void> {
    yield* model.step("drops the last user of its own", dropUser);
  });
  model.task("reclaimer", function* (): Sleeps<void> {
    yield* model.step("starts an event", () => {
      notifiers.value++;
      valid.value = false;
    });
    yield* model.step("ends the event", () => {
      if (--notifiers.value > 0) return;
      valid.value = true;
      idle.wakeAll();
    });
  });
  model.finally("contract", () => (dead.value ? undefined : "the address space is never released"));
}

interface HoldOptions {
  /** What the driver holds while it waits. */
  readonly waitsWith: "nothing" | "mmap_sem" | "update";
  /** Somebody wants mmap_sem for writing. */
  readonly hasWriter?: boolean;
  /** The driver's callback, or work that it waits for, reads the address space. */
  readonly callbackReads?: boolean;
}

function buildHold(model: Model, options: HoldOptions): void {
  const { waitsWith, hasWriter = false, callbackReads = false } = options;
  const mmap = model.lock("mmap_sem");
  const update = model.lock("update");
  const valid = model.cell("valid", true);
  const idle = model.queue("the range");
  const device = model.cell("dev[A]", false);

  model.task("driver", function* (): Sleeps<void> {
    for (let attempt = 0; attempt < 2; attempt++) {
      if (waitsWith === "nothing") yield* idle.until(() => valid.value);
      yield* mmap.takeRead();
      if (waitsWith === "update") yield* update.take();
      if (waitsWith !== "nothing") yield* idle.until(() => valid.value);
      yield* model.step("reads pte[A]", () => {});
      if (waitsWith !== "update") yield* update.take();
      const isValid = valid.value;
      if (isValid) device.value = true;
      update.give();
      mmap.giveRead();
      if (isValid) return;
    }
  });
  model.task("reclaimer", function* (): Sleeps<void> {
    yield* model.step("starts an event", () => {
      valid.value = false;
    });
    if (callbackReads) {
      yield* mmap.takeRead();
      mmap.giveRead();
    }
    yield* update.take();
    device.value = false;
    update.give();
    yield* model.step("ends the event", () => {
      valid.value = true;
      idle.wakeAll();
    });
  });
  if (!hasWriter) return;
  model.task("mapper", function* (): Sleeps<void> {
    yield* mmap.take();
    mmap.give();
  });
}

const WAITS_BEFORE_LOCKS = "Linux 5.5: wait first, then take the locks";

export const WAITING: readonly Exhibit[] = [
  {
    id: "B-20",
    title: "release makes a range invalid and wakes its waiter, who waits for valid and sleeps on",
    story:
      "A patch of July 2019 dropped `dead` from the condition, because release makes the range " +
      "invalid at the same time; but invalid does not end a wait. Two patches later ranges hold " +
      "mm_users, and release cannot come while one exists.",
    kind: "deadlock",
    says: /driver waits on the range/,
    buggy: {
      name: "HMM cleanups v4 (July 2019), patches 10 and 11",
      build: (model) => buildExit(model, { until: "valid" }),
    },
    fixed: [
      {
        name: "Linux 5.2: valid or dead",
        build: (model) => buildExit(model, { until: "valid or dead" }),
      },
      {
        name: "HMM cleanups v4, patch 12: a range holds mm_users",
        build: (model) => buildExit(model, { until: "valid", rangeHoldsUsers: true }),
      },
    ],
  },
  {
    id: "B-21",
    title: "a driver waits for the end of an event with the lock that the event's callback needs",
    story:
      "A rule for callers that the API of 2019 did not state; review found it in amdgpu. Only " +
      "the timeout of a second ends the wait.",
    kind: "deadlock",
    says: /driver waits on the range, ?reclaimer waits on update/,
    buggy: {
      name: "a driver that waits with update held",
      build: (model) => buildHold(model, { waitsWith: "update" }),
    },
    fixed: [
      { name: WAITS_BEFORE_LOCKS, build: (model) => buildHold(model, { waitsWith: "nothing" }) },
    ],
  },
  {
    id: "B-22",
    title: "a driver waits with mmap_sem held, and a writer that queues behind it stops the event",
    story:
      "hmm_vma_fault() of Linux 5.2, which nouveau uses, waits with mmap_sem held for reading. " +
      "It takes a fair lock and a callback that reads the address space, or waits for who does; " +
      "without such a callback only the writer is held up.",
    kind: "deadlock",
    says: /driver waits on the range.*reclaimer waits on mmap_sem.*mapper waits on mmap_sem/,
    buggy: {
      name: "hmm_vma_fault(), Linux 5.2",
      build: (model) =>
        buildHold(model, { waitsWith: "mmap_sem", hasWriter: true, callbackReads: true }),
    },
    fixed: [
      {
        name: WAITS_BEFORE_LOCKS,
        build: (model) =>
          buildHold(model, { waitsWith: "nothing", hasWriter: true, callbackReads: true }),
      },
      {
        name: "Linux 5.2, if the callback reads nothing: the writer waits, that is all",
        build: (model) => buildHold(model, { waitsWith: "mmap_sem", hasWriter: true }),
      },
    ],
  },
];
