/**
 * CPU faults on pages that only a device can reach. The fault asks the page's driver to bring it
 * home; what the fault holds while it asks decides whether two faults get in each other's way.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model } from "../model/index.ts";

/** Attempts of a fault, or of a driver's loop. */
const ATTEMPTS = 3;

/** What a fault holds of the page when it calls the driver, and what it does if it cannot. */
type Hold = "a reference" | "its lock, or faults again" | "its lock, or sleeps";

/** The device page D at address A, with its one mapping. */
class DevicePage {
  readonly model: Model;
  readonly pte;
  readonly references;
  readonly isLocked;
  readonly changes;
  /** A fault comes to the driver with the page locked. */
  readonly #comesLocked: boolean;

  constructor(model: Model, comesLocked: boolean) {
    this.model = model;
    this.pte = model.cell<"device" | "migrating" | "RAM">("pte[A]", "device");
    this.references = model.counter("references of D", 1);
    this.isLocked = model.cell("D is locked", false);
    this.changes = model.queue("D");
    this.#comesLocked = comesLocked;
  }

  /** Part of a step: a fault finds the entry, and takes what it holds while it asks the driver. */
  take(): "RAM" | "migrating" | "locked" | "mine" {
    if (this.pte.value !== "device") return this.pte.value;
    if (this.#comesLocked && this.isLocked.value) return "locked";
    if (this.#comesLocked) this.isLocked.value = true;
    this.references.value++;
    return "mine";
  }

  /** Part of a step: gives back what `take` took. */
  put(): void {
    this.references.value--;
    if (this.#comesLocked) this.#unlock();
  }

  /** The driver's part: setup, pages and finalize of a migration of one page. */
  *migrateToRam(): Sleeps<void> {
    // The collector's reference takes the place of the mapping's.
    const isCollected = yield* this.model.step("collects D, if it can lock it", () => {
      if (this.pte.value !== "device") return false;
      if (!this.#comesLocked && this.isLocked.value) return false;
      this.isLocked.value = true;
      this.pte.value = "migrating";
      return true;
    });
    if (!isCollected) return;
    const isPinned = yield* this.model.step("counts the references of D", () => {
      // The collector's and the fault's.
      const expected = 2;
      if (this.references.value <= expected) return false;
      this.pte.value = "device";
      if (!this.#comesLocked) this.#unlock();
      return true;
    });
    if (isPinned) return;
    yield* this.model.step("copies D to RAM and maps the copy", () => {
      this.pte.value = "RAM";
      this.references.value--;
      if (!this.#comesLocked) this.#unlock();
    });
  }

  #unlock(): void {
    this.isLocked.value = false;
    this.changes.wakeAll();
  }
}

/**
 * Two threads touch A. The scheduler is fair: nobody begins an attempt before the other has ended
 * as many, so that whoever fails has not just met a thread that stopped.
 */
function buildFaults(model: Model, hold: Hold): void {
  const page = new DevicePage(model, hold !== "a reference");
  const { pte, references, isLocked, changes } = page;
  const attempts = [model.counter("attempts of 1"), model.counter("attempts of 2")] as const;
  const round = model.queue("the other thread");

  function* attempt(): Sleeps<boolean> {
    const found = yield* model.step("faults: looks at pte[A]", () => page.take());
    if (found === "RAM") return true;
    if (found === "migrating") yield* changes.until(() => pte.value !== "migrating");
    if (found === "locked" && hold === "its lock, or sleeps") {
      yield* changes.until(() => !isLocked.value);
    }
    if (found !== "mine") return false;
    yield* page.migrateToRam();
    yield* model.step("drops its reference", () => page.put());
    return false;
  }
  function* fault(me: 0 | 1): Sleeps<void> {
    const other = attempts[me === 0 ? 1 : 0];
    for (let made = 0; made < ATTEMPTS; made++) {
      yield* round.until(() => other.value >= made);
      const isHome = yield* attempt();
      attempts[me].value = isHome ? ATTEMPTS : made + 1;
      round.wakeAll();
      if (isHome) return;
    }
  }
  model.task("thread 1", () => fault(0));
  model.task("thread 2", () => fault(1));
  model.finally("livelock", () =>
    pte.value === "RAM"
      ? undefined
      : `D is where it was after ${ATTEMPTS} attempts of each thread, and nobody else wanted it`,
  );
  model.finally("leak", () =>
    references.value === (pte.value === "RAM" ? 0 : 1) ? undefined : "D has a reference too many",
  );
}

const TRIES = 4;
/** Failed tries in a row after which it counts as spinning. */
const SPINS = 3;

/** A migration holds D and waits for every CPU to drain; a fault on CPU 1 wants D. */
function buildDrain(model: Model, waits: "spins" | "sleeps"): void {
  const cpu = model.lock("CPU 1");
  const isLocked = model.cell("D is locked", false);
  const drain = model.cell<"idle" | "queued" | "done">("the drain of CPU 1", "idle");
  const work = model.queue("work for CPU 1");
  const drained = model.queue("the drain");
  const unlocked = model.queue("the lock of D");

  function unlock(): void {
    isLocked.value = false;
    unlocked.wakeAll();
  }
  model.task("migration", function* (): Sleeps<void> {
    const isMine = yield* model.step("tries to lock D", () => {
      if (isLocked.value) return false;
      isLocked.value = true;
      return true;
    });
    yield* model.step("asks every CPU to drain its lists", () => {
      drain.value = "queued";
      work.wakeAll();
    });
    yield* drained.until(() => drain.value === "done");
    if (isMine) yield* model.step("unlocks D", unlock);
  });
  model.task("worker of CPU 1", function* (): Sleeps<void> {
    yield* work.until(() => drain.value === "queued");
    yield* cpu.take();
    drain.value = "done";
    drained.wakeAll();
    cpu.give();
  });
  model.task("fault on CPU 1", function* (): Sleeps<void> {
    let spins = 0;
    yield* cpu.take();
    for (let tries = 0; tries < TRIES; tries++) {
      const isMine = yield* model.step("tries to lock D", () => {
        if (!isLocked.value) {
          isLocked.value = true;
          return true;
        }
        if (drain.value === "queued") spins++;
        const isStuck = spins >= SPINS;
        model.expect(!isStuck, "livelock", "the owner of D waits for the CPU of who waits for D");
        return false;
      });
      if (isMine) {
        yield* model.step("brings D home", unlock);
        break;
      }
      if (waits === "spins") continue;
      cpu.give();
      yield* unlocked.until(() => !isLocked.value);
      yield* cpu.take();
    }
    cpu.give();
  });
}

const EFAULT = -14;

/** Device 2 asks for a page while the driver of device 1 moves it to its own memory. */
function buildForeign(model: Model, bringsHome: boolean): void {
  const pte = model.cell<"P" | "device 1">("pte[A]", "P");
  const mapped = model.cell<"P" | "none">("dev2[A]", "none");
  const sequence = model.counter("seq");
  const update = model.lock("update of device 2");

  /** Any migration: an event for device 2, then the entry. */
  function* migrate(to: "P" | "device 1"): Sleeps<void> {
    yield* update.take();
    sequence.value++;
    mapped.value = "none";
    update.give();
    yield* model.step(`makes pte[A] ${to}`, () => {
      pte.value = to;
    });
    yield* update.take();
    sequence.value++;
    update.give();
  }
  function* rangeFault(): Sleeps<number> {
    for (let walk = 0; walk < 2; walk++) {
      const found = yield* model.step("walks to pte[A]", () => pte.value);
      if (found === "P") return 0;
      if (!bringsHome) return EFAULT;
      yield* migrate("P");
    }
    return 0;
  }
  model.task("device 1", () => migrate("device 1"));
  model.task("device 2", function* (): Sleeps<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const seen = yield* model.step("samples seq", () => sequence.value);
      if (seen % 2 === 1) continue;
      const error = yield* rangeFault();
      model.expect(error === 0, "contract", "the range is mapped, and the fault returns -EFAULT");
      yield* update.take();
      const isCurrent = sequence.value === seen;
      if (isCurrent) mapped.value = "P";
      update.give();
      if (isCurrent) return;
    }
  });
  model.always("stale-access", () =>
    mapped.value === "P" && pte.value !== "P" ? "device 2 maps P, which has moved" : undefined,
  );
}

export const DEVICE_FAULTS: readonly Exhibit[] = [
  {
    id: "B-90",
    title: "two CPU faults on one device page make each other's migration fail, again and again",
    story:
      "Until Linux 6.14 a fault took a reference of the page before it called the driver, " +
      "and the migration of the other fault counted it as a pin. Seen with Xe; since 2025 " +
      "the fault locks the page first.",
    kind: "livelock",
    says: /where it was/,
    buggy: { name: "Linux 6.12", build: (model) => buildFaults(model, "a reference") },
    fixed: [
      {
        name: "the fault locks the page, or comes again (2025)",
        build: (model) => buildFaults(model, "its lock, or faults again"),
      },
      {
        name: "the fault locks the page, or sleeps until it is unlocked (2026)",
        build: (model) => buildFaults(model, "its lock, or sleeps"),
      },
    ],
  },
  {
    id: "B-91",
    title: "who spins on the lock of a device page keeps its owner from ever giving it back",
    story:
      "After the fix of B-90 hmm_range_fault() tried the lock again and again without " +
      "sleeping. The owner may wait for work on the very CPU, which a kernel without " +
      "preemption never gives up. Fixed in February 2026.",
    kind: "livelock",
    says: /owner of D waits/,
    buggy: { name: "Linux, 2025", build: (model) => buildDrain(model, "spins") },
    fixed: [
      {
        name: "sleeps until the page is unlocked (2026)",
        build: (model) => buildDrain(model, "sleeps"),
      },
    ],
  },
  {
    id: "B-99",
    title:
      "a page in the memory of another device counts as an error instead of being brought home",
    story:
      "Until Linux 6.0 hmm_range_fault() knew device pages of its caller only and returned " +
      "-EFAULT for others. Fixed in 2022.",
    kind: "contract",
    says: /returns -EFAULT/,
    buggy: { name: "Linux 5.18", build: (model) => buildForeign(model, false) },
    fixed: [
      {
        name: "faults, so that the owner brings the page home (2022)",
        build: (model) => buildForeign(model, true),
      },
    ],
  },
];
