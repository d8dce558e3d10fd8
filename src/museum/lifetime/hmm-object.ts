/**
 * Who frees `struct hmm` and its mm, and when (Linux 5.1 to 5.3). There is one hmm for a mirrored
 * mm. Mirrors and running callbacks count references to it; events find it through the notifier
 * that is embedded in it; the notifier, while it is registered, holds a reference to the mm.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Cell, Model } from "../model/index.ts";

/** Linux: kref_get_unless_zero(). Part of the step that calls it. */
function getUnlessZero(kref: Cell<number>): boolean {
  if (kref.value === 0) return false;
  kref.value++;
  return true;
}

interface CallbackOptions {
  /** How a callback finds its hmm: it reads mm->hmm, or knows where its notifier is embedded. */
  readonly finds: "mm->hmm" | "container_of";
  readonly frees: "at once" | "after a grace period";
}

/** A driver unregisters the last mirror while an event calls the notifiers of the mm. */
function buildCallback(model: Model, { finds, frees }: CallbackOptions): void {
  const hmm = model.object("hmm");
  const kref = model.counter("kref", 1);
  const mmHmm = model.cell("mm->hmm", true);
  const isListed = model.cell("the notifier is listed", true);
  const srcu = model.srcu();

  function* put(): Sleeps<void> {
    const isLast = yield* model.step("puts hmm", () => {
      hmm.use("puts it");
      kref.value--;
      return kref.value === 0;
    });
    if (!isLast) return;
    yield* model.step("unlinks the notifier", () => {
      isListed.value = false;
    });
    yield* model.step("clears mm->hmm and frees hmm", () => {
      mmHmm.value = false;
      if (frees === "at once") hmm.free();
      else srcu.call(() => hmm.free());
    });
  }
  function* find(): Sleeps<boolean> {
    if (finds === "mm->hmm") {
      const isThere = yield* model.step("reads mm->hmm", () => mmHmm.value);
      const isFound = yield* model.step("takes a reference", () => {
        if (!isThere) return false;
        hmm.use("the event takes a reference");
        return getUnlessZero(kref);
      });
      model.expect(isFound, "assertion", "VM_BUG_ON(!hmm): a callback finds no hmm");
      return true;
    }
    return yield* model.step("takes a reference", () => {
      hmm.use("the event takes a reference");
      return getUnlessZero(kref);
    });
  }
  model.task("event", function* (): Sleeps<void> {
    const isPicked = yield* model.step("picks the notifier from the list", () => {
      srcu.enter();
      return isListed.value;
    });
    if (isPicked) {
      yield* model.step("follows mn->ops", () => hmm.use("the event follows mn->ops"));
      if (yield* find()) {
        yield* model.step("marks the ranges", () => hmm.use("the event marks the ranges"));
        yield* put();
      }
    }
    yield* model.step("is through the list", () => srcu.leave());
  });
  model.task("driver", put);
}

/** A driver unregisters the last mirror while another one looks for the hmm of the mm. */
function buildLookup(model: Model, { locks }: { readonly locks: boolean }): void {
  const hmm = model.object("hmm");
  const kref = model.counter("kref", 1);
  const mmHmm = model.cell<"this" | "another" | "none">("mm->hmm", "this");
  const lock = model.lock("page_table_lock");

  function* put(): Sleeps<void> {
    const isLast = yield* model.step("puts hmm", () => {
      kref.value--;
      return kref.value === 0;
    });
    if (!isLast) return;
    yield* lock.take();
    if (mmHmm.value === "this") mmHmm.value = "none";
    lock.give();
    // No callback runs here, so a grace period would be over at once.
    yield* model.step("frees hmm", () => hmm.free());
  }
  function* find(): Sleeps<boolean> {
    const get = (isThere: boolean): boolean => {
      if (!isThere) return false;
      hmm.use("somebody takes a reference");
      return getUnlessZero(kref);
    };
    if (locks) {
      yield* lock.take();
      const isFound = get(mmHmm.value === "this");
      lock.give();
      return isFound;
    }
    const isThere = yield* model.step("reads mm->hmm", () => mmHmm.value === "this");
    return yield* model.step("takes a reference", () => get(isThere));
  }
  model.task("driver", put);
  model.task("other driver", function* (): Sleeps<void> {
    if (yield* find()) {
      yield* model.step("registers a range", () => hmm.use("a range is registered"));
      yield* put();
      return;
    }
    yield* lock.take();
    mmHmm.value = "another";
    lock.give();
  });
}

interface MmOptions {
  /** How hmm_free() and the references to the mm were, by release or patch of the 2019 series. */
  readonly order: "5.2" | "p08" | "p09";
  readonly driver: "unregisters" | "uses hmm->mm";
  /** An event whose callback follows hmm->mm before it looks at kref. */
  readonly hasEvent?: boolean;
}

/** A process exits while a driver still has a mirror of it, and hmm_free() touches the mm. */
function buildMm(model: Model, { order, driver, hasEvent = false }: MmOptions): void {
  const mm = model.object("mm");
  const hmm = model.object("hmm");
  // The process, the registered notifier and, from p08 on, hmm.
  const mmCount = model.counter("mm_count", order === "5.2" ? 2 : 3);
  const kref = model.counter("kref", 1);
  const hmmMm = model.cell("hmm->mm", true);
  const isListed = model.cell("the notifier is listed", true);
  const srcu = model.srcu();

  const drop = (): void => {
    mmCount.value--;
    if (mmCount.value > 0) return;
    if (order === "5.2" && kref.value > 0) hmmMm.value = false;
    mm.free();
  };
  const unlink = (): Sleeps<void> =>
    model.step("unlinks the notifier, which drops mm", () => {
      isListed.value = false;
      drop();
    });
  const clear = (): Sleeps<void> =>
    model.step("clears mm->hmm", () => mm.use("hmm_free takes mm->page_table_lock"));

  function* unregister(): Sleeps<void> {
    yield* model.step("puts hmm", () => {
      kref.value--;
    });
    if (order === "p09") yield* clear();
    yield* unlink();
    if (order !== "p09") yield* clear();
    yield* model.step("frees hmm", () => {
      if (order === "p08") drop();
      srcu.call(() => {
        if (order === "p09") drop();
        hmm.free();
      });
    });
  }
  function* use(): Sleeps<void> {
    const isThere = yield* model.step("tests hmm->mm", () => hmmMm.value);
    if (!isThere) return;
    yield* model.step("takes hmm->mm->mmap_sem", () => {
      model.expect(hmmMm.value, "error", "hmm->mm is NULL after it was tested");
      mm.use("the driver takes mmap_sem");
    });
  }
  model.task("driver", driver === "unregisters" ? unregister : use);
  model.task("exit", function* (): Sleeps<void> {
    yield* model.step("unlinks what is left of the notifiers", () => {
      isListed.value = false;
    });
    yield* srcu.synchronize();
    yield* model.step("drops mm", drop);
  });
  if (!hasEvent) return;
  model.task("event", function* (): Sleeps<void> {
    const isPicked = yield* model.step("picks the notifier from the list", () => {
      srcu.enter();
      return isListed.value;
    });
    if (isPicked) {
      yield* model.step("follows hmm->mm", () => {
        hmm.use("the callback follows hmm->mm");
        mm.use("the callback uses hmm->mm");
      });
    }
    yield* model.step("is through the list", () => srcu.leave());
  });
}

const CONTAINER_OF = {
  name: "HMM series of 2019, patch 6: container_of, and SRCU frees",
  build: (model: Model) => {
    buildCallback(model, { finds: "container_of", frees: "after a grace period" });
  },
};

export const HMM_OBJECT: readonly Exhibit[] = [
  {
    id: "B-40",
    title: "hmm is freed while an event runs the callback of the notifier inside it",
    story:
      "In Linux 5.2 unregistering the last mirror unlinks the notifier, which is no fence, and " +
      "frees hmm at once. Patch 6 of the 2019 series has SRCU free it.",
    kind: "use-after-free",
    says: /the event .*: hmm is freed/,
    buggy: {
      name: "HMM mirrors, Linux 5.2",
      build: (model) => buildCallback(model, { finds: "mm->hmm", frees: "at once" }),
    },
    fixed: [CONTAINER_OF],
  },
  {
    id: "B-42",
    title: "mm->hmm is read without a lock, and freed before a reference is taken",
    story:
      "mm_get_hmm() of Linux 5.2 reads the pointer and then takes a reference unless the count " +
      "is zero; the count may be freed memory by then. Patch 9 of 2019 reads under " +
      "page_table_lock.",
    kind: "use-after-free",
    says: /takes a reference: hmm is freed/,
    buggy: {
      name: "mm_get_hmm(), Linux 5.2",
      build: (model) => buildLookup(model, { locks: false }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 9: read and referenced under page_table_lock",
        build: (model) => buildLookup(model, { locks: true }),
      },
    ],
  },
  {
    id: "B-44",
    title: "a callback finds no hmm although its notifier is still listed",
    story:
      "The last reference goes before the notifier is unlinked, and VM_BUG_ON(!hmm) of Linux 5.2 " +
      "takes that for impossible. Shown with a late free, so that B-40 does not come first.",
    kind: "assertion",
    says: /finds no hmm/,
    buggy: {
      name: "HMM mirrors, Linux 5.2, hmm freed after a grace period",
      build: (model) => {
        buildCallback(model, { finds: "mm->hmm", frees: "after a grace period" });
      },
    },
    fixed: [CONTAINER_OF],
  },
  {
    id: "B-45",
    title: "hmm_free gives back the last reference to the mm and then takes a lock in it",
    story:
      "Needs a process that has exited: then the notifier's is the last mm_count of Linux 5.2. " +
      "From patch 8 of 2019 hmm has a reference of its own; patch 9 clears mm->hmm first as " +
      "well.",
    kind: "use-after-free",
    says: /page_table_lock: mm is freed/,
    buggy: {
      name: "hmm_free(), Linux 5.2",
      build: (model) => buildMm(model, { order: "5.2", driver: "unregisters" }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 8: hmm grabs the mm",
        build: (model) => buildMm(model, { order: "p08", driver: "unregisters" }),
      },
      {
        name: "HMM series of 2019, patch 9: clears mm->hmm first, drops the mm last",
        build: (model) => buildMm(model, { order: "p09", driver: "unregisters" }),
      },
    ],
  },
  {
    id: "B-46",
    title: "hmm->mm becomes NULL between the test and the use",
    story:
      "hmm_mm_destroy() of Linux 5.2 sets hmm->mm to NULL when the last mm_count goes, and every " +
      "user tests for it. Patch 8 of the 2019 series removes the function.",
    kind: "error",
    says: /hmm->mm is NULL/,
    refuted:
      "The notifier holds an mm_count from registration until hmm_free(), which runs at kref 0. " +
      "So the last mm_count goes only when no user of hmm is left, and hmm_mm_destroy() finds " +
      "none.",
    buggy: {
      name: "hmm_mm_destroy(), Linux 5.2",
      build: (model) => buildMm(model, { order: "5.2", driver: "uses hmm->mm" }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 8: hmm->mm is never NULL",
        build: (model) => buildMm(model, { order: "p08", driver: "uses hmm->mm" }),
      },
    ],
  },
  {
    id: "B-52",
    title: "hmm_free drops the mm before callbacks that may use hmm->mm have ended",
    story:
      "Patch 8 of the 2019 series drops the mm at kref 0 and lets SRCU free hmm later; patch 9 " +
      "moves the drop into the SRCU callback.",
    kind: "use-after-free",
    says: /hmm->mm: mm is freed/,
    refuted:
      "The callbacks of patch 8 leave hmm->mm alone at kref 0. Even one that does not is safe: " +
      "the process has an mm_count until its exit has waited for the callbacks of listed " +
      "notifiers.",
    buggy: {
      name: "HMM series of 2019, patch 8, and a callback that uses hmm->mm at once",
      build: (model) => buildMm(model, { order: "p08", driver: "unregisters", hasEvent: true }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 9: SRCU drops the mm",
        build: (model) => buildMm(model, { order: "p09", driver: "unregisters", hasEvent: true }),
      },
    ],
  },
];
