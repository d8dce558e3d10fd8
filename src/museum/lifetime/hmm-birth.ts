/**
 * How hmm_get_or_create() finds or makes the hmm of an mm (Linux 5.1 to 5.3): it published hmm
 * before its notifier was registered, and took any hmm that it met for somebody else's live one.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model } from "../model/index.ts";

/** A driver unregisters the last mirror while two others register one, under mmap_sem (write). */
function buildGet(model: Model, { overwrites }: { readonly overwrites: boolean }): void {
  const oldKref = model.counter("kref of the old hmm", 1);
  const newKref = model.counter("kref of the new hmm");
  const mmHmm = model.cell<"old" | "new" | "none">("mm->hmm", "old");
  const mmap = model.lock("mmap_sem");

  const get = (): boolean => {
    if (mmHmm.value === "none") return false;
    const kref = mmHmm.value === "old" ? oldKref : newKref;
    if (kref.value === 0) return false;
    kref.value++;
    return true;
  };
  // Part of a step: page_table_lock is held.
  const publish = (): boolean => {
    if (mmHmm.value !== "none" && !overwrites) return false;
    mmHmm.value = "new";
    newKref.value = 1;
    return true;
  };
  function* register(): Sleeps<void> {
    yield* mmap.take();
    let isDone = yield* model.step("looks for a live hmm", get);
    if (!isDone) isDone = yield* model.step("publishes a new hmm", publish);
    mmap.give();
    model.expect(isDone, "contract", "a mirror is refused with ENOMEM, and there is memory");
  }
  model.task("driver", function* (): Sleeps<void> {
    const isLast = yield* model.step("puts the old hmm", () => {
      oldKref.value--;
      return oldKref.value === 0;
    });
    if (!isLast) return;
    yield* model.step("clears mm->hmm if it is the old one", () => {
      if (mmHmm.value === "old") mmHmm.value = "none";
    });
  });
  model.task("mirror 1", register);
  model.task("mirror 2", register);
  model.finally("contract", () => {
    if (mmHmm.value === "none") return "two mirrors are registered, and mm->hmm is NULL";
    const kref = mmHmm.value === "old" ? oldKref : newKref;
    return kref.value === 2 ? undefined : `two mirrors are registered, and kref is ${kref.value}`;
  });
}

interface BirthOptions {
  /** What hmm_get_or_create() does first. */
  readonly first: "publishes" | "registers the notifier";
  /** There is no memory for the notifier. */
  readonly fails?: boolean;
}

/**
 * One driver registers the first mirror; another, which does not hold mmap_sem for writing,
 * registers a range and programs what it read. Validity is a sequence here, so B-01 stays out.
 */
function buildBirth(model: Model, { first, fails = false }: BirthOptions): void {
  const hmm = model.object("hmm");
  const page = model.object("page P");
  const pte = model.cell<"P" | "none">("pte[A]", "P");
  const device = model.cell<"P" | "none">("dev[A]", "none");
  const kref = model.counter("kref");
  const isPublished = model.cell("hmm is published", false);
  const isListed = model.cell("the notifier is listed", false);
  const seq = model.counter("seq");
  const notifiers = model.counter("notifiers");
  // Registering takes all locks that events hold: it never comes in the middle of one.
  const rmap = model.lock("rmap");
  const update = model.lock("update");

  const publish = (): Sleeps<void> =>
    model.step("publishes hmm", () => {
      kref.value++;
      isPublished.value = true;
    });
  model.task("mirror", function* (): Sleeps<void> {
    if (first === "publishes") yield* publish();
    if (fails) {
      return yield* model.step("unpublishes and frees hmm", () => {
        isPublished.value = false;
        hmm.free();
      });
    }
    yield* rmap.take();
    isListed.value = true;
    rmap.give();
    if (first !== "publishes") yield* publish();
  });
  model.task("range", function* (): Sleeps<void> {
    const isThere = yield* model.step("takes a reference to hmm", () => {
      if (isPublished.value) kref.value++;
      return isPublished.value;
    });
    if (!isThere) return;
    const mine = yield* model.step("registers a range", () => {
      hmm.use("a range is registered");
      return notifiers.value === 0 ? seq.value : undefined;
    });
    const seen = yield* model.step("reads pte[A]", () => pte.value);
    yield* update.take();
    if (seq.value === mine) device.value = seen;
    update.give();
    yield* model.step("unregisters the range", () => hmm.use("a range is unregistered"));
  });
  model.always("stale-access", () =>
    device.value === "P" && page.isFreed ? "the device maps P, which is freed" : undefined,
  );
  if (fails) return;
  model.task("unmapper", function* (): Sleeps<void> {
    yield* rmap.take();
    const calls = isListed.value;
    if (calls) {
      yield* update.take();
      notifiers.value++;
      seq.value++;
      device.value = "none";
      update.give();
    }
    yield* model.step("clears pte[A] and frees P", () => {
      pte.value = "none";
      page.free();
      if (calls) notifiers.value--;
      rmap.give();
    });
  });
}

export const HMM_BIRTH: readonly Exhibit[] = [
  {
    id: "B-50",
    title: "a mirror is refused because a dead hmm has not left mm->hmm yet",
    story:
      "hmm_get_or_create() of Linux 5.2 finds no live hmm, makes one, finds mm->hmm set and " +
      "gives up. Patch 9 of the 2019 series overwrites it, under mmap_sem.",
    kind: "contract",
    says: /refused with ENOMEM/,
    buggy: {
      name: "hmm_get_or_create(), Linux 5.2",
      build: (model) => buildGet(model, { overwrites: false }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 9",
        build: (model) => buildGet(model, { overwrites: true }),
      },
    ],
  },
  {
    id: "B-51",
    title: "hmm can be found before its notifier is registered, so a range misses events",
    story:
      "In Linux 5.2 a range was registered without mmap_sem and could find an hmm that nobody " +
      "tells of events yet. Patch 9 of the 2019 series registers the notifier first.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "hmm_get_or_create(), Linux 5.2",
      build: (model) => buildBirth(model, { first: "publishes" }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 9",
        build: (model) => buildBirth(model, { first: "registers the notifier" }),
      },
    ],
  },
  {
    id: "B-51b",
    title: "hmm is freed although a range refers to it, because its notifier found no memory",
    story:
      "The other end of B-51: when registering the notifier fails, Linux 5.2 frees hmm whatever " +
      "its count is. Patch 9 of the 2019 series has not published it by then.",
    kind: "use-after-free",
    says: /a range is (un)?registered: hmm is freed/,
    buggy: {
      name: "hmm_get_or_create(), Linux 5.2",
      build: (model) => buildBirth(model, { first: "publishes", fails: true }),
    },
    fixed: [
      {
        name: "HMM series of 2019, patch 9",
        build: (model) => buildBirth(model, { first: "registers the notifier", fails: true }),
      },
    ],
  },
];
