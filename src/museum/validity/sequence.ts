/**
 * The sequence of interval notifiers (Linux 5.5 and later), and the two rules that it stands on:
 * the sequence moves in every callback, and all that belongs together is done under one lock.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Cell, Model, Queue } from "../model/index.ts";
import { Address, type Page } from "./validity.ts";

/** One subscription of a space; Linux: mmu_interval_notifier. */
class IntervalNotifier {
  readonly #model: Model;
  readonly #idle: Queue;
  // Odd while an event is active.
  readonly #global: Cell<number>;
  // What `#global` was at the last event that hit; equal to it while that event is active.
  readonly #own: Cell<number>;
  readonly #active: Cell<number>;

  constructor(model: Model) {
    this.#model = model;
    this.#idle = model.queue("the end of events");
    this.#global = model.counter("seq of the space", 2);
    this.#own = model.counter("seq of [A]", 1);
    this.#active = model.counter("active events");
  }

  /** Part of the step that begins an event on [A]. */
  start(): void {
    this.#active.value++;
    this.#global.value |= 1;
  }

  /** Linux: mmu_interval_set_seq(). */
  setSeq(): void {
    this.#own.value = this.#global.value;
  }

  end(): Sleeps<void> {
    return this.#model.step("ends the event", () => {
      this.#active.value--;
      if (this.#active.value > 0) return;
      this.#global.value++;
      this.#idle.wakeAll();
    });
  }

  *readBegin(): Sleeps<number> {
    const seq = yield* this.#model.step("reads seq of [A]", () => this.#own.value);
    yield* this.#idle.until(() => this.#global.value !== seq);
    return seq;
  }

  mustRetry(seq: number): boolean {
    return this.#own.value !== seq;
  }
}

interface Rules {
  /** The callback moves the sequence and tears down under the driver's lock. Default true. */
  readonly isCalledBackLocked?: boolean;
  /** The driver asks whether it must retry under its lock. Default true. */
  readonly asksLocked?: boolean;
}

const ATTEMPTS_MAX = 3;

function buildUnmap(model: Model, { isCalledBackLocked = true, asksLocked = true }: Rules): void {
  const page = model.object("P");
  const address = new Address(model, "A", page);
  const notifier = new IntervalNotifier(model);
  const update = model.lock("update");
  model.task("driver", function* (): Sleeps<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const seq = yield* notifier.readBegin();
      const seen = yield* model.step("reads pte[A]", () => address.page);
      const ask = (): boolean => notifier.mustRetry(seq);
      let mustRetry = asksLocked || (yield* model.step("asks whether to retry", ask));
      yield* update.take();
      if (asksLocked) mustRetry = ask();
      if (!mustRetry) yield* model.step("programs dev[A]", () => address.program(seen));
      update.give();
      if (!mustRetry) return;
    }
  });
  model.task("unmapper", function* (): Sleeps<void> {
    yield* model.step("starts an event", () => notifier.start());
    if (isCalledBackLocked) yield* update.take();
    yield* model.step("sets seq and clears dev[A]", () => {
      notifier.setSeq();
      address.program(undefined);
    });
    if (isCalledBackLocked) update.give();
    yield* model.step("clears pte[A]", () => {
      address.page = undefined;
    });
    yield* model.step("frees P", () => address.free(page));
    yield* notifier.end();
  });
}

/** Who moves the sequence when a device migrates a page to itself. */
type Mover =
  /** Nobody: the callback sees its own event and returns. */
  | "nobody"
  /** The callback, which then leaves the device's entry alone. */
  | "callback"
  /** The core, for all subscriptions, before any callback. */
  | "core";

/** A device faults on [A] and, in another thread, migrates [A] to its own memory. */
function buildMigration(model: Model, mover: Mover): void {
  const source = model.object("P");
  const target = model.object("Q");
  const address = new Address(model, "A", source);
  const notifier = new IntervalNotifier(model);
  const update = model.lock("update");
  model.task("fault handler", function* (): Sleeps<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const seq = yield* notifier.readBegin();
      const seen = yield* model.step("reads pte[A]", () => address.page);
      // A migration entry: hmm_range_fault() waits for its end and says busy.
      if (seen === undefined) continue;
      yield* update.take();
      const mustRetry = notifier.mustRetry(seq);
      if (!mustRetry) address.program(seen);
      update.give();
      if (!mustRetry) return;
    }
  });
  const setPage = (words: string, page: Page): Sleeps<void> =>
    model.step(words, () => {
      address.page = page;
    });
  model.task("migrator", function* (): Sleeps<void> {
    yield* model.step("starts an event of its own", () => {
      notifier.start();
      if (mover === "core") notifier.setSeq();
    });
    if (mover === "callback") {
      yield* update.take();
      notifier.setSeq();
      update.give();
    }
    yield* setPage("puts a migration entry at pte[A]", undefined);
    yield* notifier.end();
    yield* update.take();
    address.program(target);
    update.give();
    yield* setPage("puts Q at pte[A]", target);
    yield* model.step("frees P", () => address.free(source));
  });
}

export const VALID_SEQUENCE: readonly Exhibit[] = [
  {
    id: "B-13",
    title: "a callback that ignores its own device's event forgets to move the sequence",
    story:
      "lib/test_hmm.c of Linux 6.12 returns before it sets the sequence when the event is a " +
      "migration of its own device; amdgpu has a like early return. Nouveau sets it first.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "lib/test_hmm.c, Linux 6.12",
      build: (model) => buildMigration(model, "nobody"),
    },
    fixed: [
      {
        name: "the callback sets the sequence, then leaves the teardown out",
        build: (model) => buildMigration(model, "callback"),
      },
      {
        name: "here: the core moves the sequence, the callback filters as it likes",
        build: (model) => buildMigration(model, "core"),
      },
    ],
  },
  {
    id: "B-14",
    title: "a callback sets the sequence and tears down without the driver's lock",
    story:
      "What the lock is for in mmu_interval_set_seq(): without it the callback passes between a " +
      "driver's question and what the driver does about the answer. A rule, not a bug of Linux.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "callback without the lock",
      build: (model) => buildUnmap(model, { isCalledBackLocked: false }),
    },
    fixed: [
      { name: "callback under the lock, as hmm.rst asks", build: (model) => buildUnmap(model, {}) },
    ],
  },
  {
    id: "B-15",
    title: "a driver asks whether to retry before it takes its lock",
    story:
      "Every version of the documents asks for the lock first. The same holds for the flag of " +
      "Linux 5.2, and for an unregister that returns it, as a posted patch of July 2019 had.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "question outside the lock",
      build: (model) => buildUnmap(model, { asksLocked: false }),
    },
    fixed: [
      { name: "question under the lock, as hmm.rst asks", build: (model) => buildUnmap(model, {}) },
    ],
  },
];
