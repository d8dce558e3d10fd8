/**
 * Counts and sequences of events in progress: which of the two an end changes first, and who
 * compares, and who may wait for a removal that has to wait for an event.
 */
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model } from "../model/index.ts";

interface EndOptions {
  readonly first: "sequence" | "count";
  /** The end holds mmu_lock; else its two changes are two atomic steps. */
  readonly locks: boolean;
}

/** A virtual CPU resolves a page without locks while an event takes the page away. */
function buildKvm(model: Model, { first, locks }: EndOptions): void {
  const page = model.object("page P");
  const pte = model.cell<"P" | "none">("pte[A]", "P");
  const guest = model.cell<"P" | "none">("spte[A]", "none");
  const sequence = model.counter("seq");
  const inProgress = model.counter("in progress");
  const mmuLock = model.lock("mmu_lock");

  model.task("vCPU", function* (): Sleeps<void> {
    const seen = yield* model.step("samples seq", () => sequence.value);
    const found = yield* model.step("resolves A", () => pte.value);
    yield* mmuLock.take();
    const isBusy = inProgress.value > 0;
    yield* model.step("compares seq and installs what it found", () => {
      if (!isBusy && sequence.value === seen) guest.value = found;
      mmuLock.give();
    });
  });
  model.task("event", function* (): Sleeps<void> {
    yield* mmuLock.take();
    inProgress.value++;
    guest.value = "none";
    mmuLock.give();
    yield* model.step("clears pte[A] and frees P", () => {
      pte.value = "none";
      page.free();
    });
    const bump = (): void => void sequence.value++;
    const drop = (): void => void inProgress.value--;
    if (locks) yield* mmuLock.take();
    const [one, other] = first === "sequence" ? [bump, drop] : [drop, bump];
    yield* model.step(`ends: ${first} first`, one);
    yield* model.step("ends: the other one", other);
    if (locks) mmuLock.give();
  });
  model.always("stale-access", () =>
    guest.value === "P" && page.isFreed ? "the guest maps P, which is freed" : undefined,
  );
}

const EVENTS = 2;

/** Queues are stopped by the first eviction; a worker gets the pages again and starts them. */
function buildRestore(model: Model, compares: boolean): void {
  const page = model.counter("the page at A", 1);
  const gpu = model.counter("gpu[A]");
  const runs = model.cell("the queues run", false);
  const evicted = model.counter("evicted", 1);
  const active = model.counter("events in progress");
  const left = model.counter("events to come", EVENTS);
  const work = model.queue("work");
  const notifierLock = model.lock("notifier_lock");

  /** Part of every step that changes what the queues see. */
  function checkQueues(): void {
    const isStale = runs.value && gpu.value !== page.value;
    model.expect(!isStale, "stale-access", "the queues run on a page that has gone");
  }
  model.task("worker", function* (): Sleeps<void> {
    for (let round = 0; round <= EVENTS; round++) {
      let seen = 0;
      yield* work.until(() => {
        seen = evicted.value;
        return seen > 0 || left.value === 0;
      });
      if (seen === 0) return;
      let found = 0;
      yield* work.until(() => {
        found = page.value;
        return active.value === 0;
      });
      yield* model.step("writes gpu[A]", () => {
        gpu.value = found;
      });
      yield* notifierLock.take();
      if (!compares || evicted.value === seen) {
        evicted.value = 0;
        runs.value = true;
        model.footprint?.note("starts the queues");
      }
      checkQueues();
      notifierLock.give();
    }
  });
  model.task("evictions", function* (): Sleeps<void> {
    for (let event = 0; event < EVENTS; event++) {
      yield* notifierLock.take();
      active.value++;
      evicted.value++;
      if (evicted.value === 1) runs.value = false;
      notifierLock.give();
      yield* model.step("moves the page", () => {
        page.value++;
        checkQueues();
        active.value--;
        left.value--;
        work.wakeAll();
      });
    }
  });
  model.finally("contract", () => (runs.value ? undefined : "the queues are never started again"));
}

/** Events and one interval, as the interval notifiers have them since Linux 5.5. */
class Intervals {
  readonly model: Model;
  readonly #sequence;
  readonly #active;
  readonly #isListed;
  readonly #isDeferred;
  readonly #moved;

  constructor(model: Model) {
    this.model = model;
    this.#sequence = model.counter("seq", 2);
    this.#active = model.counter("events");
    this.#isListed = model.cell("the interval is in the tree", true);
    this.#isDeferred = model.cell("the removal is deferred", false);
    this.#moved = model.queue("seq");
  }

  /** True: the interval is to be told. */
  *start(): Sleeps<boolean> {
    return yield* this.model.step("starts an event, looks into the tree", () => {
      if (this.#active.value++ === 0) this.#sequence.value++;
      return this.#isListed.value;
    });
  }

  *end(applies?: () => void): Sleeps<void> {
    yield* this.model.step("ends the event", () => {
      if (--this.#active.value > 0) return;
      if (this.#isDeferred.value) {
        applies?.();
        this.#isDeferred.value = false;
        this.#isListed.value = false;
      }
      this.#sequence.value++;
      this.#moved.wakeAll();
    });
  }

  /** With `waits`, nobody calls the interval any more when it returns. */
  *remove(waits = true): Sleeps<void> {
    const seen = yield* this.model.step("removes the interval, or defers that", () => {
      if (this.#active.value > 0) this.#isDeferred.value = true;
      else this.#isListed.value = false;
      return this.#active.value > 0 ? this.#sequence.value : 0;
    });
    if (seen === 0 || !waits) return;
    yield* this.#moved.until(() => this.#sequence.value !== seen);
  }
}

/** A driver takes its interval away while an event is in progress. */
function buildRemoval(model: Model, holdsUpdate: boolean): void {
  const intervals = new Intervals(model);
  const state = model.object("the driver's state");
  const update = model.lock("update");

  model.task("event", function* (): Sleeps<void> {
    if (yield* intervals.start()) {
      yield* update.take();
      state.use("the callback clears the device's table");
      update.give();
    }
    yield* intervals.end();
  });
  model.task("driver", function* (): Sleeps<void> {
    if (!holdsUpdate) yield* intervals.remove();
    yield* update.take();
    state.use("the driver clears the device's table");
    if (holdsUpdate) yield* intervals.remove();
    update.give();
    yield* model.step("frees its state", () => state.free());
  });
}

/** An event unmaps all of the interval, so the driver has no more use for it. */
function buildSelfRemoval(model: Model, by: "the callback" | "a worker"): void {
  const intervals = new Intervals(model);
  const state = model.object("the driver's state");
  const isAsked = model.cell("a worker is asked to clean up", false);
  const work = model.queue("work");
  const askWorker = (): void => {
    isAsked.value = true;
    work.wakeAll();
  };

  model.task("unmapper", function* (): Sleeps<void> {
    if (yield* intervals.start()) {
      yield* model.step("calls back: the interval is unmapped", () => {
        state.use("the callback");
        if (by === "a worker") askWorker();
      });
      if (by === "the callback") {
        yield* intervals.remove();
        yield* model.step("has removed it", askWorker);
      }
    }
    yield* intervals.end();
  });
  model.task("reclaim", function* (): Sleeps<void> {
    if (yield* intervals.start()) {
      yield* model.step("calls back: a page goes", () => state.use("the callback"));
    }
    yield* intervals.end();
  });
  model.task("worker", function* (): Sleeps<void> {
    yield* work.until(() => isAsked.value);
    if (by === "a worker") yield* intervals.remove();
    yield* model.step("frees the driver's state", () => state.free());
  });
}

/** Two events walk the tree while the driver removes its interval. */
function buildEarlyFree(model: Model, waits: boolean): void {
  const intervals = new Intervals(model);
  const interval = model.object("the interval");

  function* event(): Sleeps<void> {
    if (yield* intervals.start()) {
      yield* model.step("calls the interval", () => interval.use("the event calls it"));
    }
    yield* intervals.end(() => interval.use("the deferred removal takes it out of the tree"));
  }
  model.task("event 1", event);
  model.task("event 2", event);
  model.task("driver", function* (): Sleeps<void> {
    yield* intervals.remove(waits);
    yield* model.step("frees the interval", () => interval.free());
  });
}

export const NOTIFIER_COUNTS: readonly Exhibit[] = [
  {
    id: "B-104",
    title: "the end of an event drops the count before it moves the sequence",
    story:
      "KVM moves the sequence first, with a barrier between. The wrong order does no harm " +
      "while the whole end holds mmu_lock; it does as soon as the two changes are two " +
      "steps.",
    kind: "stale-access",
    says: /guest maps P/,
    buggy: {
      name: "count first, without mmu_lock",
      build: (model) => buildKvm(model, { first: "count", locks: false }),
    },
    fixed: [
      {
        name: "sequence first, under mmu_lock (KVM)",
        build: (model) => buildKvm(model, { first: "sequence", locks: true }),
      },
      {
        name: "sequence first, without mmu_lock",
        build: (model) => buildKvm(model, { first: "sequence", locks: false }),
      },
      {
        name: "count first, under mmu_lock",
        build: (model) => buildKvm(model, { first: "count", locks: true }),
      },
    ],
  },
  {
    id: "B-105",
    title: "a worker starts the queues although there was another eviction since it looked",
    story:
      "While queues are stopped an eviction does nothing but count. amdgpu compares the " +
      "count under the lock that counts, before it clears it.",
    kind: "stale-access",
    says: /the queues run/,
    buggy: {
      name: "a worker that clears the count without comparing",
      build: (model) => buildRestore(model, false),
    },
    fixed: [
      {
        name: "compares and clears under the notifier's lock (amdgpu)",
        build: (model) => buildRestore(model, true),
      },
    ],
  },
  {
    id: "B-106",
    title: "a driver removes its interval with the lock held that the callback waits for",
    story:
      "A removal in mid-event waits for the event's end, and the event waits for update. " +
      "The rule of the interval notifiers: remove with no lock held that a callback takes.",
    kind: "deadlock",
    says: /event waits on update/,
    buggy: { name: "removes under update", build: (model) => buildRemoval(model, true) },
    fixed: [{ name: "removes first", build: (model) => buildRemoval(model, false) }],
  },
  {
    id: "B-106b",
    title: "a callback removes its own interval and waits for the event that it is part of",
    story:
      "A removal in mid-event waits for the event's end. drm_gpusvm and amdgpu only mark " +
      "what was unmapped and leave the removal to a worker.",
    kind: "deadlock",
    says: /unmapper waits on seq/,
    buggy: {
      name: "removes in the callback",
      build: (model) => buildSelfRemoval(model, "the callback"),
    },
    fixed: [
      {
        name: "leaves it to a worker",
        build: (model) => buildSelfRemoval(model, "a worker"),
      },
    ],
  },
  {
    id: "B-107",
    title: "an interval is freed while an event that has found it is on its way",
    story:
      "A removal in mid-event is only put on a list that the event's end applies. Linux " +
      "makes the remover sleep until the sequence has moved.",
    kind: "use-after-free",
    says: /the interval is freed/,
    buggy: {
      name: "a removal that does not wait",
      build: (model) => buildEarlyFree(model, false),
    },
    fixed: [
      {
        name: "waits until the sequence has moved (Linux)",
        build: (model) => buildEarlyFree(model, true),
      },
    ],
  },
];
