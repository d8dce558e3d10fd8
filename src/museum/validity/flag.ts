/**
 * The validity flag of the HMM range API (Linux 5.1 to 5.4) and of its predecessor: a driver
 * registers a range, reads the page table, and under its lock asks whether the range is still
 * valid before it programs the device. What makes it valid again is the question.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit, Version } from "../exhibit.ts";
import type { Cell, Lock, Model, Queue } from "../model/index.ts";
import { Address, countedFlag, sequence, uncountedLatch, type Validity } from "./validity.ts";

type Events =
  /** One event on [A]. */
  | "one"
  /** Another, on [B], comes whenever it likes. */
  | "two"
  /** Another, on [B], begins before the one on [A] and ends after it. */
  | "one in another";

/** A space with one range, [A], which maps page P and which a device mirrors. */
class Scene {
  readonly address: Address;
  readonly update: Lock;
  readonly events: Queue;
  readonly #model: Model;
  readonly #validity: Validity;

  constructor(model: Model, validity: Validity) {
    this.#model = model;
    this.#validity = validity;
    this.address = new Address(model, "A", model.object("P"));
    this.update = model.lock("update");
    this.events = model.queue("the end of events");
  }

  /** Fills the device's entry, as the drivers' documents say. */
  *populate(attemptsMax = 3): Sleeps<void> {
    const { address, update } = this;
    const validity = this.#validity;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      if (attempt === 0 || validity.isForOneSnapshot) yield* this.register();
      yield* this.events.until(() => validity.isReady());
      const seen = yield* this.#model.step("reads pte[A]", () => address.page);
      yield* update.take();
      const isValid = validity.isValid();
      if (isValid) address.program(seen);
      update.give();
      if (isValid) return;
    }
  }

  register(): Sleeps<void> {
    return this.#model.step("registers [A]", () => this.#validity.register());
  }

  /** Takes P away from [A], inside an event. */
  *unmap(): Sleeps<void> {
    const { address, update } = this;
    const model = this.#model;
    yield* this.start("A");
    yield* update.take();
    address.program(undefined);
    this.#validity.calledBack?.(true);
    update.give();
    const page = yield* model.step("clears pte[A]", () => {
      const old = address.page!;
      address.page = undefined;
      return old;
    });
    yield* model.step("frees P", () => address.free(page));
    yield* this.end("A");
  }

  start(where: "A" | "B"): Sleeps<void> {
    return this.#model.step(`starts an event on [${where}]`, () => {
      this.#validity.start(where === "A");
    });
  }

  end(where: "A" | "B", ended?: Cell<number>): Sleeps<void> {
    return this.#model.step(`ends the event on [${where}]`, () => {
      this.#validity.end(where === "A");
      if (ended !== undefined) ended.value++;
      this.events.wakeAll();
    });
  }
}

function buildFlag(model: Model, validity: Validity, events: Events = "one"): void {
  const scene = new Scene(model, validity);
  const outer = model.queue("the other event");
  const isOuterActive = model.cell("the outer event is active", false);
  const isInnerOver = model.cell("the inner event is over", false);
  const nests = events === "one in another";
  model.task("driver", () => scene.populate());
  model.task("unmapper", function* (): Sleeps<void> {
    if (nests) yield* outer.until(() => isOuterActive.value);
    yield* scene.unmap();
    if (nests) yield* model.step("is done", () => signal(isInnerOver));
  });
  if (events === "one") return;
  model.task("other event", function* (): Sleeps<void> {
    yield* scene.start("B");
    if (nests) {
      yield* model.step("lets the unmapper begin", () => signal(isOuterActive));
      yield* outer.until(() => isInnerOver.value);
    }
    yield* scene.end("B");
  });
  function signal(cell: { value: boolean }): void {
    cell.value = true;
    outer.wakeAll();
  }
}

/**
 * Two threads keep events on [B] going, each the next before the other's last has ended. A second,
 * which the driver waits, is longer than any one event: both threads end at least one in it.
 */
function buildChain(model: Model, validity: Validity): void {
  const scene = new Scene(model, validity);
  const threads = [
    { name: "mprotect", events: 2, ended: model.counter("events of mprotect that ended") },
    { name: "reclaim", events: 1, ended: model.counter("events of reclaim that ended") },
  ];
  model.task("driver", function* (): Sleeps<void> {
    const before = yield* model.step("registers [A] and begins to wait", () => {
      validity.register();
      return threads.map(({ ended }) => ended.value);
    });
    const isLate = (): boolean => threads.every(({ ended }, i) => ended.value > before[i]!);
    yield* scene.events.until(() => validity.isReady() || isLate());
    const isReady = validity.isReady();
    model.expect(isReady, "livelock", "the wait for [A] times out, and nothing has touched [A]");
    const seen = yield* model.step("reads pte[A]", () => scene.address.page);
    yield* scene.update.take();
    if (validity.isValid()) scene.address.program(seen);
    scene.update.give();
  });
  for (const { name, events, ended } of threads) {
    model.task(name, function* (): Sleeps<void> {
      for (let event = 0; event < events; event++) {
        yield* scene.start("B");
        yield* scene.end("B", ended);
      }
    });
  }
}

/** The second of the two shapes that the old comment offered for the closing call. */
function buildClosing(model: Model, isResultUsed: boolean): void {
  const validity = uncountedLatch(model);
  const scene = new Scene(model, validity);
  const { address, update } = scene;
  // Before any event begins, so that only the closing call is in question.
  validity.register();
  model.task("driver", function* (): Sleeps<void> {
    const seen = yield* model.step("reads pte[A]", () => address.page);
    yield* update.take();
    const isValid = validity.isValid();
    if (isValid || !isResultUsed) address.program(seen);
    update.give();
  });
  model.task("unmapper", () => scene.unmap());
}

const LATCH: Version = {
  name: "a count, and a latch that the range's owner arms before it reads",
  build: (model) => buildFlag(model, countedFlag(model, { armedBy: "owner" })),
};
const SEQUENCE: Version = {
  name: "a sequence, as interval notifiers have since Linux 5.5",
  build: (model) => buildFlag(model, sequence(model)),
};

export const VALID_FLAG: readonly Exhibit[] = [
  {
    id: "B-01",
    title: "valid becomes true again, and what was read before the event passes for current",
    story:
      "In Linux 5.1 to 5.4 the end of the last event sets valid on every range. Confirmed " +
      "upstream in November 2019; interval notifiers with a sequence replaced the flag.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "HMM range API, Linux 5.2",
      build: (model) => buildFlag(model, countedFlag(model, { armedBy: "last event" })),
    },
    fixed: [LATCH, SEQUENCE],
  },
  {
    id: "B-02",
    title: "an event that never touches the range makes it valid again",
    story:
      "As B-01, but the last event to end is one on other addresses. Here the order of the ends " +
      "is forced, so the event on the range can never be the one that sets the flag.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "HMM range API, Linux 5.2",
      build: (model) =>
        buildFlag(model, countedFlag(model, { armedBy: "last event" }), "one in another"),
    },
    fixed: [
      {
        name: LATCH.name,
        build: (model) =>
          buildFlag(model, countedFlag(model, { armedBy: "owner" }), "one in another"),
      },
      {
        name: SEQUENCE.name,
        build: (model) => buildFlag(model, sequence(model), "one in another"),
      },
    ],
  },
  {
    id: "B-02b",
    title: "a range that only its own events make valid again is stale all the same",
    story:
      "A repair of B-02 that suggests itself: each range counts the events that hit it, and the " +
      "last of those sets its flag. It is precise, and B-01 is still in it.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "a flag and a count for each range",
      build: (model) =>
        buildFlag(
          model,
          countedFlag(model, { counts: "those that hit", armedBy: "last event" }),
          "two",
        ),
    },
    fixed: [
      {
        name: "a count for each range, and a latch that its owner arms",
        build: (model) =>
          buildFlag(
            model,
            countedFlag(model, { counts: "those that hit", armedBy: "owner" }),
            "two",
          ),
      },
      { name: SEQUENCE.name, build: (model) => buildFlag(model, sequence(model), "two") },
    ],
  },
  {
    id: "B-03",
    title: "a range waits out its second for events that never touch it",
    story:
      "Linux 5.1 to 5.4 count all events of the space, so a range that is registered during a " +
      "chain of others stays invalid until there is a gap. Interval notifiers ended it.",
    kind: "livelock",
    says: /nothing has touched \[A\]/,
    buggy: {
      name: "HMM range API, Linux 5.2",
      build: (model) => buildChain(model, countedFlag(model, { armedBy: "last event" })),
    },
    fixed: [
      {
        name: "a count for each range, and a latch that its owner arms",
        build: (model) =>
          buildChain(model, countedFlag(model, { counts: "those that hit", armedBy: "owner" })),
      },
      { name: SEQUENCE.name, build: (model) => buildChain(model, sequence(model)) },
    ],
  },
  {
    id: "B-08b",
    title: "an event that is counted only after its callbacks leaves a gap in which all looks idle",
    story:
      "A way to have nothing to undo when a start fails; the series of 2019 warns of it. Shown " +
      "with an armed latch, because the flag of Linux 5.2 goes stale without this gap.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "count taken when the callback has returned",
      build: (model) =>
        buildFlag(model, countedFlag(model, { armedBy: "owner", countedAt: "callback" })),
    },
    fixed: [{ ...LATCH, name: "count taken with the marking, as Linux 5.2 does" }],
  },
  {
    id: "B-110",
    title: "a range is registered in the middle of an event and is valid at once",
    story:
      "Before Linux 5.1 registration knew nothing of active events. The count of 5.1 cured it, " +
      "and setting the flag again at its zero created B-01.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "HMM before Linux 5.1",
      build: (model) => buildFlag(model, uncountedLatch(model)),
    },
    fixed: [LATCH, SEQUENCE],
  },
  {
    id: "B-110b",
    title: "a counted latch that nobody arms keeps a range waiting for ever",
    story:
      "The count of Linux 5.1 put onto the latch of before and nothing else: safe from B-01 and " +
      "B-110, but a range that is registered during an event, or hit by one, never gets valid.",
    kind: "deadlock",
    says: /driver waits on the end of events/,
    buggy: {
      name: "a count, and a latch that nobody arms",
      build: (model) => buildFlag(model, countedFlag(model, { armedBy: "nobody" })),
    },
    fixed: [LATCH, SEQUENCE],
  },
  {
    id: "B-114",
    title: "the call that says whether the snapshot holds is made, and its result is not looked at",
    story:
      "The comment of hmm_vma_range_done() before Linux 5.1 offers two shapes; the second locks, " +
      "closes the range and updates the device whatever was answered. 5.1 dropped the comment.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "comment of hmm_vma_range_done(), second shape",
      build: (model) => buildClosing(model, false),
    },
    fixed: [
      {
        name: "the same, but programs only what is still valid",
        build: (model) => buildClosing(model, true),
      },
    ],
  },
];
