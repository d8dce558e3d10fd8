/**
 * Subscribers that count: `active` goes up at the start of an event and down at its end. That is
 * right only if whoever saw the start sees the end, and nobody else does; subscribers that come,
 * go or refuse in the middle of an event are how it goes wrong.
 */
import { EAGAIN } from "../../base/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Cell, Lock, Model, Queue, Thing } from "../model/index.ts";
import { Address } from "./validity.ts";

/** Two subscribers of one space: one counts, and one says -EAGAIN when its lock is taken. */
function buildTwoSubscribers(model: Model, endsTheOthers: boolean): void {
  const page = model.object("P");
  const address = new Address(model, "A", page);
  address.program(page);
  const active = model.counter("active");
  const update = model.lock("update of the second");
  const refusing = (): number => {
    if (!update.tryTake()) return -EAGAIN;
    address.program(undefined);
    update.give();
    return 0;
  };
  model.task("reaper", function* (): Sleeps<void> {
    yield* model.step("tells the first of the start", () => active.value++);
    const result = yield* model.step("tells the second of the start", refusing);
    if (result === 0) yield* model.step("frees P", () => address.free(page));
    // The second has no end.
    if (result < 0 && !endsTheOthers) return;
    yield* model.step("tells the first of the end", () => active.value--);
  });
  model.task("driver", function* (): Sleeps<void> {
    yield* update.take();
    yield* model.step("programs dev[B]", () => update.give());
  });
  model.finally("leak", () =>
    active.value === 0 ? undefined : `the first counts ${active.value}, and no event is active`,
  );
}

interface Registration {
  /** Held for writing by who registers, for reading by who has an event. */
  readonly excludesEvents: boolean;
  /** What the count is when somebody registers. */
  readonly countBegins: "as it was" | "at 0" | "at the active events";
  /** Default: whoever is registered then. */
  readonly endIsFor?: "whoever saw the start";
}

/** A space that sends events, and one subscriber that mirrors [A]. */
class Space {
  readonly address: Address;
  readonly #model: Model;
  readonly #registration: Registration;
  readonly #update: Lock;
  readonly #mmapSem: Lock;
  readonly #queue: Queue;
  readonly #events: Cell<number>;
  // 0: nobody is registered; else which registration this is.
  readonly #registered: Cell<number>;
  readonly #count: Cell<number>;
  readonly #valid: Cell<boolean>;
  readonly #page: Thing;

  constructor(model: Model, registration: Registration) {
    this.#model = model;
    this.#registration = registration;
    this.#page = model.object("P");
    this.address = new Address(model, "A", this.#page);
    this.#update = model.lock("update");
    this.#mmapSem = model.lock("mmap_sem and rmap locks");
    this.#queue = model.queue("the count");
    this.#events = model.counter("events of the space");
    this.#registered = model.counter("registration");
    this.#count = model.counter("count");
    this.#valid = model.cell("valid", false);
  }

  *register(nth = 1): Sleeps<void> {
    const { excludesEvents, countBegins } = this.#registration;
    if (excludesEvents) yield* this.#mmapSem.take();
    yield* this.#model.step("registers", () => {
      this.#registered.value = nth;
      if (countBegins === "at 0") this.#count.value = 0;
      if (countBegins === "at the active events") this.#count.value = this.#events.value;
      if (excludesEvents) this.#mmapSem.give();
      this.#queue.wakeAll();
    });
  }

  untilRegistered(): Sleeps<boolean> {
    return this.#queue.until(() => this.#registered.value !== 0);
  }

  unregister(): Sleeps<void> {
    return this.#model.step("unregisters", () => {
      this.#registered.value = 0;
    });
  }

  /** Maps what the CPU maps at [A], unless there is an event and `waits` is false. */
  *populate(waits: boolean): Sleeps<void> {
    const { address } = this;
    const isIdle = (): boolean => {
      if (this.#count.value === 0) this.#valid.value = true;
      return this.#count.value === 0;
    };
    for (let attempt = 0; attempt < 2; attempt++) {
      if (waits) yield* this.#queue.until(isIdle);
      else if (!(yield* this.#model.step("looks for active events", isIdle))) return;
      const seen = yield* this.#model.step("reads pte[A]", () => address.page);
      yield* this.#update.take();
      const isValid = this.#valid.value;
      if (isValid) address.program(seen);
      this.#update.give();
      if (isValid) return;
    }
  }

  /** An event on [A], which takes its page away, or on an address that nobody mirrors. */
  *event(where: "A" | "B"): Sleeps<void> {
    const { excludesEvents, endIsFor } = this.#registration;
    const { address } = this;
    if (excludesEvents) yield* this.#mmapSem.takeRead();
    const saw = yield* this.#model.step(`starts an event on [${where}]`, () => {
      this.#events.value++;
      if (this.#registered.value === 0) return 0;
      this.#count.value++;
      if (where === "A") this.#valid.value = false;
      return this.#registered.value;
    });
    if (where === "A") {
      yield* this.#update.take();
      address.program(undefined);
      this.#update.give();
      yield* this.#model.step("clears pte[A] and frees P", () => {
        address.page = undefined;
        address.free(this.#page);
      });
    }
    yield* this.#model.step(`ends the event on [${where}]`, () => {
      this.#events.value--;
      const isHeard = this.#registered.value !== 0;
      const isFor = endIsFor === undefined ? isHeard : isHeard && saw === this.#registered.value;
      if (isFor) this.#count.value--;
      if (excludesEvents) this.#mmapSem.giveRead();
      this.#queue.wakeAll();
    });
  }
}

/** Somebody registers while an event on `first` may be on its way; after that comes one on [A]. */
function buildArrival(model: Model, first: "A" | "B", registration: Registration): void {
  const space = new Space(model, registration);
  model.task("driver", function* (): Sleeps<void> {
    yield* space.register();
    // From an interrupt, say, which puts the fault back into its queue and comes again.
    yield* space.populate(false);
  });
  model.task("munmap", () => space.event(first));
  if (first === "A") return;
  model.task("reclaim", function* (): Sleeps<void> {
    yield* space.untilRegistered();
    yield* space.event("A");
  });
}

/** A subscriber goes in the middle of an event and comes back in the same memory. */
function buildReturn(model: Model, registration: Registration): void {
  const space = new Space(model, registration);
  model.task("driver", function* (): Sleeps<void> {
    yield* space.register(1);
    yield* space.unregister();
    yield* space.register(2);
    yield* space.populate(true);
  });
  model.task("reclaim", () => space.event("A"));
}

const EXCLUDING: Registration = { excludesEvents: true, countBegins: "at 0" };
const SEEDED: Registration = { excludesEvents: false, countBegins: "at the active events" };
const REMEMBERING: Registration = {
  excludesEvents: false,
  countBegins: "at 0",
  endIsFor: "whoever saw the start",
};

export const SUBSCRIBER_COUNT: readonly Exhibit[] = [
  {
    id: "B-10",
    title: "one subscriber refuses the start, and another's count is never taken down",
    story:
      "Until 2021 the notifier core sent no end to anybody when one subscriber failed. Since " +
      "then those that have an end get it, and those that may refuse must not have one.",
    kind: "leak",
    says: /counts 1, and no event/,
    buggy: {
      name: "notifier core, Linux 5.2",
      build: (model) => buildTwoSubscribers(model, false),
    },
    fixed: [
      { name: "notifier core since 2021", build: (model) => buildTwoSubscribers(model, true) },
    ],
  },
  {
    id: "B-11",
    title: "who registers during an event counts its end and not its start",
    story:
      "The count falls to -1, and the next event looks like none. Linux registers with mmap_sem " +
      "and all rmap locks held, which whoever has an event holds, too.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "registration at any time",
      build: (model) => buildArrival(model, "B", { ...EXCLUDING, excludesEvents: false }),
    },
    fixed: [
      {
        name: "registration excludes events, as in Linux",
        build: (model) => buildArrival(model, "B", EXCLUDING),
      },
      {
        name: "the count begins at the number of active events",
        build: (model) => buildArrival(model, "B", SEEDED),
      },
    ],
  },
  {
    id: "B-11b",
    title: "an event that remembers who saw its start says nothing to who comes later",
    story:
      "Balanced counts are not enough when the event in whose middle somebody registers is one " +
      "on its own addresses: then it is B-110 again.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "an event remembers who saw its start",
      build: (model) => buildArrival(model, "A", REMEMBERING),
    },
    fixed: [
      {
        name: "registration excludes events, as in Linux",
        build: (model) => buildArrival(model, "A", EXCLUDING),
      },
      {
        name: "the count begins at the number of active events",
        build: (model) => buildArrival(model, "A", SEEDED),
      },
    ],
  },
  {
    id: "B-12",
    title: "a count outlives the registration that it belongs to",
    story:
      "Who unregisters during an event is not told of its end. If the memory is registered " +
      "again, or somebody still waits for the count, that wait is for ever. KVM forces it to 0.",
    kind: "deadlock",
    says: /driver waits on the count/,
    buggy: {
      name: "the count stays as it was",
      build: (model) => buildReturn(model, { ...EXCLUDING, countBegins: "as it was" }),
    },
    fixed: [
      {
        name: "a registration begins its count at 0, and excludes events",
        build: (model) => buildReturn(model, EXCLUDING),
      },
      {
        name: "the count begins at the number of active events",
        build: (model) => buildReturn(model, SEEDED),
      },
    ],
  },
];
