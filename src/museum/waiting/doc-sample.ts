/**
 * The usage pattern that Documentation/vm/hmm.rst printed with the HMM range API (Linux 5.2):
 * register, wait, snapshot, look under the driver's lock whether the range is still valid,
 * program the device, unregister. It was never compiled. mmap_sem is left out: nobody here takes
 * it for writing.
 */
import { EAGAIN, EBUSY, EFAULT } from "../../base/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit, Version } from "../exhibit.ts";
import type { Cell, Lock, Model, Queue, Thing } from "../model/index.ts";

const ATTEMPTS_MAX = 4;

/** The sample as it should be; each exhibit takes one thing back. */
interface SampleOptions {
  readonly checksRegister: boolean;
  /** What of a snapshot's answer counts as failure. */
  readonly failure: "not zero" | "negative";
  /** What a snapshot of an invalid range answers. */
  readonly busyCode: number;
  /** The answer after which the sample waits and tries again. */
  readonly retryCode: number;
  readonly waits: "at first and when told" | "before each attempt";
  readonly unregister: "as a mirror" | "as a range";
  /** An event touches the range. */
  readonly hasEvent?: boolean;
  /** Somebody else may take the last memory. */
  readonly hasPressure?: boolean;
}

const GOOD: SampleOptions = {
  checksRegister: true,
  failure: "negative",
  busyCode: EBUSY,
  retryCode: EBUSY,
  waits: "before each attempt",
  unregister: "as a range",
};

/** What HMM keeps for an address space, and the one range that is registered with it. */
class Hmm {
  readonly events: Cell<number>;
  readonly #model: Model;
  readonly #lock: Lock;
  readonly #mirrors: Lock;
  readonly #idle: Queue;
  readonly #range: Thing;
  readonly #notifiers: Cell<number>;
  readonly #isListed: Cell<boolean>;
  readonly #valid: Cell<boolean>;

  constructor(model: Model, range: Thing) {
    this.#model = model;
    this.#range = range;
    this.events = model.counter("events");
    this.#lock = model.lock("hmm.lock");
    this.#mirrors = model.lock("mirrors_sem");
    this.#idle = model.queue("the range");
    this.#notifiers = model.counter("notifiers");
    this.#isListed = model.cell("the range is listed", false);
    this.#valid = model.cell("valid", false);
  }

  get isValid(): boolean {
    return this.#valid.value;
  }

  *register(): Sleeps<void> {
    yield* this.#lock.take();
    this.#isListed.value = true;
    this.#valid.value = this.#notifiers.value === 0;
    this.#lock.give();
  }

  wait(): Sleeps<boolean> {
    return this.#idle.until(() => this.#valid.value);
  }

  /** Pages seen, or why there are none. */
  snapshot(busyCode: number): number {
    return this.#valid.value ? 1 : -busyCode;
  }

  *unregisterRange(): Sleeps<void> {
    yield* this.#lock.take();
    this.#isListed.value = false;
    this.#lock.give();
  }

  /**
   * Given a range for a mirror. In Linux 5.2 both begin with a pointer to the hmm, another pointer
   * and the list's links, so this unlinks the range: under the lock of the mirrors.
   */
  *unregisterMirror(): Sleeps<void> {
    yield* this.#mirrors.take();
    this.#isListed.value = false;
    this.#mirrors.give();
  }

  *start(): Sleeps<void> {
    yield* this.#lock.take();
    this.#notifiers.value++;
    this.events.value++;
    yield* this.#mark(false);
  }

  *end(): Sleeps<void> {
    yield* this.#lock.take();
    this.#notifiers.value--;
    yield* this.#mark(true);
  }

  /** Follows the list to the range and writes there, then gives the lock back. */
  *#mark(valid: boolean): Sleeps<void> {
    if (this.#isListed.value) {
      yield* this.#model.step(`makes the range ${valid ? "valid" : "invalid"}`, () => {
        this.#range.use("an event writes range.valid");
        this.#valid.value = valid;
      });
    }
    this.#idle.wakeAll();
    this.#lock.give();
  }
}

interface Scene {
  readonly hmm: Hmm;
  readonly update: Lock;
  readonly hasMemory: Cell<boolean>;
}

function addOthers(model: Model, options: SampleOptions, scene: Scene): void {
  const { hmm, update, hasMemory } = scene;
  if (options.hasEvent) {
    model.task("reclaimer", function* (): Sleeps<void> {
      yield* hmm.start();
      yield* update.take();
      update.give();
      yield* hmm.end();
    });
  }
  if (options.hasPressure) {
    model.task("other process", function* (): Sleeps<void> {
      yield* model.step("takes the last memory", () => {
        hasMemory.value = false;
      });
    });
  }
}

function buildSample(model: Model, options: SampleOptions): void {
  const range = model.object("the range");
  const hmm = new Hmm(model, range);
  const update = model.lock("update");
  const hasMemory = model.cell("memory is left", true);
  const isProgrammed = model.cell("the device was programmed", false);
  const answer = model.cell("populate's answer", 0);

  function* register(): Sleeps<Hmm | undefined> {
    const isCreated = yield* model.step("allocates the hmm", () => hasMemory.value);
    if (!isCreated) return undefined;
    yield* hmm.register();
    return hmm;
  }
  function* populate(): Sleeps<number> {
    const found = yield* register();
    if (options.checksRegister && found === undefined) return -EFAULT;
    const unregister = (): Sleeps<void> =>
      options.unregister === "as a range" ? found!.unregisterRange() : found!.unregisterMirror();
    if (options.waits === "at first and when told" && found !== undefined) yield* found.wait();
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      if (options.waits === "before each attempt") yield* found!.wait();
      const pages = yield* model.step(`snapshots, attempt ${attempt}`, () => {
        const events = hmm.events.value;
        const isExplained = attempt <= events + 1;
        model.expect(isExplained, "livelock", `attempt ${attempt} for ${events} events`);
        return found!.snapshot(options.busyCode);
      });
      if (options.failure === "negative" ? pages < 0 : pages !== 0) {
        if (pages === -options.retryCode) {
          if (options.waits === "at first and when told") yield* found!.wait();
          continue;
        }
        yield* unregister();
        return pages;
      }
      yield* update.take();
      const isValid = found!.isValid;
      if (isValid) {
        isProgrammed.value = true;
        yield* unregister();
      }
      update.give();
      if (isValid) return 0;
    }
    yield* unregister();
    return -EBUSY;
  }
  model.task("driver", function* (): Sleeps<void> {
    const result = yield* populate();
    yield* model.step(`returns ${result}; the range was on its stack`, () => {
      range.free();
      answer.value = result;
    });
  });
  addOthers(model, options, { hmm, update, hasMemory });
  model.finally("contract", () => {
    if (answer.value === -EBUSY) return "populate fails with -EBUSY, for one event that has ended";
    if (answer.value === -EFAULT || isProgrammed.value) return undefined;
    return `populate answers ${answer.value} and has not programmed the device`;
  });
}

const version = (name: string, options: Partial<SampleOptions>): Version => ({
  name,
  build: (model) => buildSample(model, { ...GOOD, ...options }),
});

export const DOC_SAMPLE: readonly Exhibit[] = [
  {
    id: "B-23",
    title: "the documented pattern takes the number of pages for an error",
    story:
      "hmm_range_snapshot() answers how many pages it saw; the sample gives up unless that is " +
      "zero. Since Linux 5.8 hmm_range_fault() answers zero for success.",
    kind: "contract",
    says: /answers 1 and has not programmed/,
    buggy: version("hmm.rst, Linux 5.2", { failure: "not zero" }),
    fixed: [version("only a negative answer is a failure", {})],
  },
  {
    id: "B-24",
    title: "the documented pattern unregisters the range as if it were a mirror",
    story:
      "The two structures began alike, so the wrong call did unlink the range, but without the " +
      "lock of its list: an event that has just found the range writes to a dead stack frame. " +
      "The cleanups of July 2019 corrected the text.",
    kind: "use-after-free",
    says: /an event writes range\.valid/,
    buggy: version("hmm.rst, Linux 5.2", { unregister: "as a mirror", hasEvent: true }),
    fixed: [version("HMM cleanups v4, patch 2: hmm_range_unregister()", { hasEvent: true })],
  },
  {
    id: "B-25",
    title: "the documented pattern ignores that registering may fail",
    story:
      "It calls hmm_range_register() with one argument of four and does not look at the answer. " +
      "When no hmm can be allocated, the snapshot follows a null pointer.",
    kind: "error",
    says: /undefined/,
    buggy: version("hmm.rst, Linux 5.2", {
      checksRegister: false,
      waits: "at first and when told",
      hasPressure: true,
    }),
    fixed: [version("the answer is looked at", { hasPressure: true })],
  },
  {
    id: "B-26",
    title: "the documented pattern tries again without waiting",
    story:
      "When the range is no longer valid under the driver's lock, the sample jumps to the " +
      "snapshot, which refuses. Each event costs one attempt more than it explains, and no bound " +
      "is put on attempts. Since Linux 5.5 every attempt begins with mmu_interval_read_begin().",
    kind: "livelock",
    says: /attempt 3 for 1 events/,
    buggy: version("hmm.rst, Linux 5.2", { waits: "at first and when told", hasEvent: true }),
    fixed: [version("Linux 5.5: wait before each attempt", { hasEvent: true })],
  },
  {
    id: "B-27",
    title: "the code of a collision changes and the documented pattern still tests the old one",
    story:
      "The cleanups of July 2019 made it -EBUSY; the sample went on testing for -EAGAIN, so " +
      "every collision became a failure. Named in review of that series.",
    kind: "contract",
    says: /-EBUSY, for one event/,
    buggy: version("HMM cleanups v4, patch 19", { retryCode: EAGAIN, hasEvent: true }),
    fixed: [version("the sample tests for -EBUSY", { hasEvent: true })],
  },
];
