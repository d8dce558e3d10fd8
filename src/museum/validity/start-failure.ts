/**
 * Events that may not sleep. The OOM reaper asks a mirror to let go of a page; whoever would have
 * to sleep for that says -EAGAIN, and the reaper leaves the page alone and sends no end. What
 * hmm_invalidate_range_start() has done by then must be undone, and its result must arrive.
 */
import { EAGAIN } from "../../base/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit, Version } from "../exhibit.ts";
import type { Cell, Lock, Model } from "../model/index.ts";
import { Address } from "./validity.ts";

interface Protocol {
  /** What guards the list of ranges and the count; before Linux 5.1 a spinlock and no count. */
  readonly rangesLock: "spinlock" | "mutex";
  readonly hasCount: boolean;
  /** How start takes the lock of the list of mirrors. */
  readonly mirrorsSem: "sleeps" | "tries";
  /** What the loop over the mirrors does with -EAGAIN. */
  readonly onBusy: "goto out" | "break" | "keep it and break";
  /** Start takes its count back before it fails. */
  readonly unwinds: boolean;
  /** The core sends an end although start has failed. */
  readonly endsFailed?: boolean;
}

const LINUX_5_1: Protocol = {
  rangesLock: "mutex",
  hasCount: true,
  mirrorsSem: "tries",
  onBusy: "goto out",
  unwinds: false,
};
const SERIES: Protocol = {
  rangesLock: "spinlock",
  hasCount: true,
  mirrorsSem: "tries",
  onBusy: "keep it and break",
  unwinds: true,
};

/** The space's `struct hmm`, and one mirror whose device maps P at [A]. */
class Hmm {
  readonly notifiers: Cell<number>;
  readonly mirrorsSem: Lock;
  /** Of the list of ranges. */
  readonly lock: Lock;
  /** The driver's. */
  readonly update: Lock;
  readonly address: Address;
  readonly #model: Model;
  readonly #protocol: Protocol;
  readonly #driverTries: boolean;

  constructor(model: Model, protocol: Protocol, driverTries: boolean) {
    this.#model = model;
    this.#protocol = protocol;
    this.#driverTries = driverTries;
    this.notifiers = model.counter("notifiers");
    this.mirrorsSem = model.lock("mirrors_sem");
    this.lock = model.lock("hmm.lock");
    this.update = model.lock("update");
    const page = model.object("P");
    this.address = new Address(model, "A", page);
    this.address.program(page);
  }

  /** Linux: hmm_invalidate_range_start(), called where nobody may sleep. */
  *start(): Sleeps<number> {
    const model = this.#model;
    const { mirrorsSem, unwinds } = this.#protocol;
    const isMarked = yield* model.step("marks the ranges invalid", () => this.#count(1, true));
    if (!isMarked) return -EAGAIN;
    const isIn = yield* model.step("looks for mirrors", () => {
      const isMine = this.mirrorsSem.tryTakeRead();
      if (!isMine && mirrorsSem === "sleeps") this.#sleeps("mirrors_sem");
      return isMine;
    });
    const result = isIn ? yield* this.#callMirrors() : -EAGAIN;
    if (result < 0 && unwinds) yield* model.step("takes the count back", () => this.#count(-1));
    return result;
  }

  /** Linux: hmm_invalidate_range_end(). */
  end(): Sleeps<void> {
    return this.#model.step("ends the event", () => {
      this.#count(-1);
    });
  }

  *#callMirrors(): Sleeps<number> {
    const { onBusy } = this.#protocol;
    const mirrors = [() => this.#syncDevice()];
    let result = 0;
    for (const sync of mirrors) {
      const own = yield* this.#model.step("asks the mirror to let go of [A]", sync);
      if (own !== -EAGAIN) continue;
      if (onBusy === "goto out") {
        // The result that the caller gets is another variable of the same name.
        this.mirrorsSem.giveRead();
        return result;
      }
      if (onBusy === "keep it and break") result = own;
      break;
    }
    this.mirrorsSem.giveRead();
    return result;
  }

  /** The driver's callback. */
  #syncDevice(): number {
    if (!this.#driverTries || !this.update.tryTake()) return -EAGAIN;
    this.address.program(undefined);
    this.update.give();
    return 0;
  }

  /** False: would have slept, where `mayFail` allows to say so. */
  #count(change: 1 | -1, mayFail = false): boolean {
    const { rangesLock, hasCount } = this.#protocol;
    const isMutex = rangesLock === "mutex";
    if (isMutex && !this.lock.tryTake()) {
      if (!mayFail) this.#sleeps("hmm.lock");
      return false;
    }
    if (hasCount) this.notifiers.value += change;
    if (isMutex) this.lock.give();
    return true;
  }

  #sleeps(lock: string): never {
    this.#model.fail("context", `the OOM reaper sleeps on ${lock}, where nobody may sleep`);
  }
}

/** Whom the reaper meets. */
type Other =
  /** A driver that holds its lock to program another address. */
  | "programmer"
  /** Somebody who registers a mirror. */
  | "registrar of mirrors"
  /** Somebody who registers a range. */
  | "registrar of ranges"
  /** No task: a driver that says -EAGAIN to whoever may not sleep, as nouveau does. */
  | "refusing driver";

function buildReaper(model: Model, protocol: Protocol, others: readonly Other[]): void {
  const hmm = new Hmm(model, protocol, !others.includes("refusing driver"));
  const { address } = hmm;
  model.task("reaper", function* (): Sleeps<void> {
    const result = yield* hmm.start();
    if (result === 0) {
      yield* model.step("clears pte[A] and frees P", () => {
        const page = address.page!;
        address.page = undefined;
        address.free(page);
      });
    }
    if (result === 0 || protocol.endsFailed) yield* hmm.end();
  });
  for (const other of others) if (other !== "refusing driver") model.task(other, () => meet(other));
  function* meet(other: Exclude<Other, "refusing driver">): Sleeps<void> {
    if (other === "registrar of ranges" && protocol.rangesLock === "spinlock") {
      yield* model.step("registers a range", () => hmm.notifiers.value);
      return;
    }
    const lock = {
      programmer: hmm.update,
      "registrar of mirrors": hmm.mirrorsSem,
      "registrar of ranges": hmm.lock,
    }[other];
    yield* lock.take();
    yield* model.step("does its work", () => lock.give());
  }
  model.always("assertion", () => {
    const count = hmm.notifiers.value;
    return count < 0 ? `notifiers is ${count}` : undefined;
  });
  model.finally("leak", () => {
    const count = hmm.notifiers.value;
    return count > 0 ? `notifiers is ${count}, and no event is active` : undefined;
  });
}

const version = (name: string, protocol: Protocol, ...others: Other[]): Version => {
  return { name, build: (model) => buildReaper(model, protocol, others) };
};
const fixed = (...others: Other[]): Version =>
  version("HMM range API series, July 2019", SERIES, ...others);

export const START_FAILURE: readonly Exhibit[] = [
  {
    id: "B-05",
    title: "the callback's -EAGAIN stays in a variable that hides the one that is returned",
    story:
      "hmm_invalidate_range_start() of Linux 5.1 declares ret twice. The reaper frees what the " +
      "device still maps. Fixed by the series of July 2019 together with B-07.",
    kind: "stale-access",
    says: /maps P/,
    buggy: version("Linux 5.1", LINUX_5_1, "programmer"),
    fixed: [fixed("programmer")],
  },
  {
    id: "B-06",
    title: "the goto becomes a break, and the callback's -EAGAIN is still lost",
    story:
      "An early patch of the series of July 2019 tidies the loop of B-05 and keeps its second " +
      "ret. The same schedule; a later patch of the same series mends it.",
    kind: "stale-access",
    says: /maps P/,
    buggy: version(
      "HMM range API series, early patch",
      { ...LINUX_5_1, onBusy: "break" },
      "programmer",
    ),
    fixed: [fixed("programmer")],
  },
  {
    id: "B-07",
    title: "a start that fails at the lock of the mirrors leaves its event counted for ever",
    story:
      "In Linux 5.1 nobody takes the count back, because a start that failed gets no end. Every " +
      "range is invalid from then on. Fixed by the series of July 2019.",
    kind: "leak",
    says: /notifiers is 1/,
    buggy: version("Linux 5.1", LINUX_5_1, "registrar of mirrors"),
    fixed: [fixed("registrar of mirrors")],
  },
  {
    id: "B-08a",
    title: "the result is returned, and the count is leaked instead",
    story:
      "The half of B-05's repair that looks like all of it: with one ret and nothing undone, a " +
      "busy driver does to the count what B-07 does.",
    kind: "leak",
    says: /notifiers is 1/,
    buggy: version("one ret, nothing undone", { ...SERIES, unwinds: false }, "programmer"),
    fixed: [fixed("programmer")],
  },
  {
    id: "B-08c",
    title: "the count is taken back under a mutex, where nobody may sleep",
    story:
      "Why the series of July 2019 makes a spinlock of hmm.lock: start can give up at a mutex, " +
      "but it cannot give up undoing.",
    kind: "context",
    says: /sleeps on hmm\.lock/,
    buggy: version(
      "undone under the mutex",
      { ...SERIES, rangesLock: "mutex" },
      "refusing driver",
      "registrar of ranges",
    ),
    fixed: [fixed("refusing driver", "registrar of ranges")],
  },
  {
    id: "B-08d",
    title: "start takes its count back, and the core sends an end as well",
    story:
      "Since 2021 the core sends an end to all subscribers that have one when any of them fails. " +
      "The unwinding of July 2019 is right only with a core that sends none.",
    kind: "assertion",
    says: /notifiers is -1/,
    buggy: version("both undo", { ...SERIES, endsFailed: true }, "programmer"),
    fixed: [
      fixed("programmer"),
      version("the core alone", { ...SERIES, unwinds: false, endsFailed: true }, "programmer"),
    ],
  },
  {
    id: "B-09",
    title: "the end of an event that may not sleep takes a mutex",
    story:
      "hmm_invalidate_range_end() of Linux 5.1 does not even look whether it may sleep; whoever " +
      "registers a range holds the same mutex. A spinlock since July 2019.",
    kind: "context",
    says: /sleeps on hmm\.lock/,
    buggy: version("Linux 5.1", LINUX_5_1, "registrar of ranges"),
    fixed: [fixed("registrar of ranges")],
  },
  {
    id: "B-112",
    title: "the start of an event that may not sleep waits for the lock of the mirrors",
    story:
      "Before Linux 5.1 start slept for mirrors_sem whatever it was told: a deadlock once the " +
      "holder waits for the memory that the reaper is about to free. 5.1 tries, and has B-07.",
    kind: "context",
    says: /sleeps on mirrors_sem/,
    buggy: version(
      "HMM before Linux 5.1",
      { ...SERIES, hasCount: false, mirrorsSem: "sleeps", unwinds: false },
      "registrar of mirrors",
    ),
    fixed: [fixed("registrar of mirrors")],
  },
];
