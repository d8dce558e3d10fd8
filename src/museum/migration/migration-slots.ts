/**
 * What happens to one slot of a migration (migrate_vma_setup, _pages, _finalize): collected or
 * skipped, filled or lost to a fault, moved or put back. A slot that fails must leave no trace.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Lock, Model } from "../model/index.ts";

/** The collector meets a large folio, which it has to split, and somebody has it locked. */
function buildLargeFolio(model: Model, putsOnSkip: boolean): void {
  const references = model.counter("references of the folio", 1);
  const folio = model.lock("the folio");
  const isSplit = model.cell("the folio is split", false);

  model.task("collector", function* (): Sleeps<void> {
    yield* model.step("takes a reference, drops the page table lock", () => {
      references.value++;
    });
    const isMine = yield* model.step("tries to lock the folio", () => {
      const isLocked = folio.tryTake();
      if (!isLocked && putsOnSkip) references.value--;
      return isLocked;
    });
    if (!isMine) return;
    yield* model.step("splits the folio and puts it", () => {
      isSplit.value = true;
      references.value--;
      folio.give();
    });
  });
  model.task("writeback", function* (): Sleeps<void> {
    yield* folio.take();
    yield* model.step("writes the folio", () => folio.give());
  });
  model.finally("leak", () =>
    references.value === 1 ? undefined : "the folio has a reference that nobody will drop",
  );
}

/** A CPU fault brings D home as R; the copy engine may hang. */
function buildFailedCopy(model: Model, undoes: boolean): void {
  const pte = model.cell<"D" | "migrating" | "R">("pte[A]", "D");
  const bytes = { D: model.cell("bytes of D", "data"), R: model.cell("bytes of R", "") };
  const pages = { D: model.object("device page D"), R: model.object("page R") };
  const engine = model.cell<"works" | "hangs">("the copy engine", "works");
  const moves = model.cell("src[0] has MIGRATE", false);
  const target = model.cell<"R" | "none">("dst[0]", "none");

  model.task("CPU fault", function* (): Sleeps<void> {
    yield* model.step("sets up: pte[A] becomes a migration entry", () => {
      pte.value = "migrating";
      moves.value = true;
    });
    yield* model.step("allocates R into dst[0]", () => {
      target.value = "R";
    });
    const isCopied = yield* model.step("has the engine copy D to R", () => {
      if (engine.value === "hangs") return false;
      bytes.R.value = bytes.D.value;
      return true;
    });
    if (!isCopied && undoes) {
      yield* model.step("frees R and clears dst[0]", () => {
        pages.R.free();
        target.value = "none";
      });
    }
    if (isCopied || undoes) {
      yield* model.step("pages: drops MIGRATE where dst is empty", () => {
        if (target.value === "none") moves.value = false;
      });
    }
    yield* model.step("finalizes", () => {
      const isMoved = moves.value && target.value === "R";
      pte.value = isMoved ? "R" : "D";
      if (isMoved) pages.D.free();
      else if (target.value === "R") pages.R.free();
    });
  });
  model.task("hardware", function* (): Sleeps<void> {
    yield* model.step("hangs the copy engine", () => {
      engine.value = "hangs";
    });
  });
  model.finally("lost-update", () => {
    if (pte.value === "migrating") return "pte[A] is a migration entry for ever";
    if (bytes[pte.value].value === "data") return undefined;
    return `pte[A] is ${pte.value}, which is empty; the data went with the device page`;
  });
  model.always("use-after-free", () => {
    if (pte.value === "migrating" || !pages[pte.value].isFreed) return undefined;
    return `pte[A] is ${pte.value}, which is freed`;
  });
}

/** A driver fills an empty slot with device memory while a thread touches the address. */
function buildEmptySlot(model: Model, looksAgain: boolean): void {
  const pte = model.cell<"none" | "Q" | "D">("pte[A]", "none");
  const device = model.cell<"D" | "none">("dev[A]", "none");
  const hasQ = model.cell("the thread has written to Q", false);
  const moves = model.cell("src[0] has MIGRATE", false);
  const update = model.lock("update");

  model.task("driver", function* (): Sleeps<void> {
    yield* model.step("sets up: pte[A] is empty, so it can be filled", () => {
      moves.value = pte.value === "none";
    });
    if (!moves.value) return;
    yield* model.step("pages: puts D into pte[A] if it is still empty", () => {
      if (pte.value === "none") pte.value = "D";
      else moves.value = false;
    });
    yield* update.take();
    if (!looksAgain || moves.value) device.value = "D";
    update.give();
  });
  model.task("thread", function* (): Sleeps<void> {
    yield* model.step("touches A: puts Q into pte[A] if it is empty", () => {
      if (pte.value !== "none") return;
      pte.value = "Q";
      hasQ.value = true;
    });
  });
  model.finally("lost-update", () =>
    hasQ.value && pte.value !== "Q" ? "Q is gone, and what the thread wrote to it" : undefined,
  );
  model.always("stale-access", () =>
    device.value === "D" && pte.value !== "D"
      ? `the device has D at A, and the CPU has ${pte.value}`
      : undefined,
  );
}

/** How a migration that has a page locked comes by the next one. */
type Locking = "waits" | "waits for the first" | "tries";

/** Two processes share P and Q, in opposite order of addresses, and both are migrated. */
function buildTwoMigrations(model: Model, locking: Locking): void {
  const isMoved = { P: model.cell("P has moved", false), Q: model.cell("Q has moved", false) };
  const locks = { P: model.lock("the lock of P"), Q: model.lock("the lock of Q") };
  type Page = keyof typeof locks;

  function* lockPage(lock: Lock, isFirst: boolean): Sleeps<boolean> {
    if (locking === "waits" || (isFirst && locking === "waits for the first")) {
      yield* lock.take();
      return true;
    }
    return yield* model.step("tries to lock a page", () => lock.tryTake());
  }
  function* migrate(order: readonly Page[]): Sleeps<void> {
    const mine: Page[] = [];
    for (const page of order) {
      if (yield* lockPage(locks[page], mine.length === 0)) mine.push(page);
    }
    for (const page of mine) {
      yield* model.step(`moves ${page}, if nobody has, and unlocks it`, () => {
        isMoved[page].value = true;
        locks[page].give();
      });
    }
  }
  model.task("migration of P, Q", () => migrate(["P", "Q"]));
  model.task("migration of Q, P", () => migrate(["Q", "P"]));
}

/** A page is migrated while somebody has it pinned for DMA. */
function buildPin(model: Model, countsReferences: boolean): void {
  const pte = model.cell<"P" | "migrating" | "D">("pte[A]", "P");
  const bytes = { P: model.cell("bytes of P", "old"), D: model.cell("bytes of D", "") };
  const references = model.counter("references of P", 1);
  const isWritten = model.cell("the DMA has been done", false);

  model.task("migration", function* (): Sleeps<void> {
    // The collector's reference takes the place of the mapping's.
    yield* model.step("collects P: pte[A] becomes a migration entry", () => {
      pte.value = "migrating";
    });
    const isPinned = yield* model.step("looks at the references of P", () => {
      if (!countsReferences || references.value === 1) return false;
      pte.value = "P";
      return true;
    });
    if (isPinned) return;
    yield* model.step("copies P to D", () => {
      bytes.D.value = bytes.P.value;
    });
    yield* model.step("finalizes: pte[A] becomes D", () => {
      pte.value = "D";
      references.value--;
    });
  });
  model.task("direct I/O", function* (): Sleeps<void> {
    const isPinned = yield* model.step("pins what pte[A] has, if it is present", () => {
      if (pte.value !== "P") return false;
      references.value++;
      return true;
    });
    if (!isPinned) return;
    yield* model.step("writes to P by DMA", () => {
      bytes.P.value = "new";
      isWritten.value = true;
    });
    yield* model.step("unpins P", () => {
      references.value--;
    });
  });
  model.finally("lost-update", () => {
    if (pte.value === "migrating") return "pte[A] is a migration entry for ever";
    const isLost = isWritten.value && bytes[pte.value].value !== "new";
    return isLost ? `what was written to P is not in ${pte.value}` : undefined;
  });
}

export const MIGRATION_SLOTS: readonly Exhibit[] = [
  {
    id: "B-92",
    title: "a large folio that the collector cannot lock keeps the collector's reference",
    story:
      "Linux 6.12 took a reference, dropped the page table lock and, when the folio was " +
      "locked, skipped the slot without putting it: the folio looks pinned for ever. Gone " +
      "since the code was rewritten in 2025.",
    kind: "leak",
    says: /reference that nobody/,
    buggy: { name: "Linux 6.12", build: (model) => buildLargeFolio(model, false) },
    fixed: [{ name: "puts it when it skips", build: (model) => buildLargeFolio(model, true) }],
  },
  {
    id: "B-93",
    title: "after a failed copy finalize maps the empty page and frees the device's data",
    story:
      "nouveau's migrate_to_ram of Linux 6.12 fills dst, and when the copy fails goes " +
      "straight to finalize, which takes MIGRATE and a filled dst for success.",
    kind: "lost-update",
    says: /R, which is empty/,
    buggy: { name: "nouveau, Linux 6.12", build: (model) => buildFailedCopy(model, false) },
    fixed: [
      {
        name: "frees the page and clears dst, and the pages phase always runs",
        build: (model) => buildFailedCopy(model, true),
      },
    ],
  },
  {
    id: "B-94",
    title: "a driver maps its page although a CPU fault has filled the empty slot",
    story:
      "The pages phase takes MIGRATE away from an empty slot that somebody filled; a driver " +
      "that does not look again maps a page that the CPU does not have. Linux drivers look " +
      "again.",
    kind: "stale-access",
    says: /the CPU has Q/,
    buggy: {
      name: "a driver that looks at src before the pages phase",
      build: (model) => buildEmptySlot(model, false),
    },
    fixed: [
      {
        name: "a driver that looks at src after the pages phase",
        build: (model) => buildEmptySlot(model, true),
      },
    ],
  },
  {
    id: "B-95",
    title: "two migrations lock the pages they share in opposite order",
    story:
      "Pages have no order that two address spaces agree on. Linux has tried the lock and " +
      "skipped the page since the first version.",
    kind: "deadlock",
    says: /waits on the lock of/,
    buggy: {
      name: "a collector that waits for page locks",
      build: (model) => buildTwoMigrations(model, "waits"),
    },
    fixed: [
      {
        name: "tries, and skips what is locked (Linux)",
        build: (model) => buildTwoMigrations(model, "tries"),
      },
      {
        name: "waits while it holds nothing, tries after that",
        build: (model) => buildTwoMigrations(model, "waits for the first"),
      },
    ],
  },
  {
    id: "B-96",
    title: "a pinned page is moved, and what its pinner writes afterwards is lost",
    story:
      "Linux counts the references once the page is unmapped, when nobody can come by a new " +
      "one, and puts the page back if there are more than mappings and the migration " +
      "explain.",
    kind: "lost-update",
    says: /written to P is not in D/,
    buggy: {
      name: "a migration that does not count references",
      build: (model) => buildPin(model, false),
    },
    fixed: [
      {
        name: "counts them after the page is unmapped (Linux)",
        build: (model) => buildPin(model, true),
      },
    ],
  },
];
