/**
 * Whether mmap_sem is held when a fault of a range returns (HMM range API, 2019): it depended on
 * the error code, and not always as documented.
 */
import { EAGAIN, EBUSY } from "../../base/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Cell, Model, Queue } from "../model/index.ts";

interface FaultOptions {
  /** What a fault of an invalid range does with mmap_sem, and says. */
  readonly onInvalid: "drops mmap_sem, -EAGAIN" | "keeps mmap_sem, -EBUSY";
  /** When the core may drop mmap_sem to wait for I/O. */
  readonly allowsRetry: "always" | "when not blocking";
  /** An event makes the range invalid, and valid again. */
  readonly hasEvent?: boolean;
  /** The page is in swap. */
  readonly needsIo?: boolean;
}

/** The caller blocks: it was promised that mmap_sem is still held whatever comes back. */
function buildFault(model: Model, options: FaultOptions): void {
  const { hasEvent = false, needsIo = false } = options;
  const mmap = model.lock("mmap_sem");
  const valid = model.cell("valid", true);
  const isInRam = model.cell("page A is in RAM", !needsIo);
  const idle = model.queue("the range");
  const device = model.cell("dev[A]", false);

  function* coreFault(mayDrop: boolean): Sleeps<boolean> {
    const isDropped = yield* model.step("faults page A", () => {
      if (isInRam.value || !mayDrop) return false;
      mmap.giveRead();
      return true;
    });
    yield* model.step("page A is read in", () => {
      isInRam.value = true;
    });
    return !isDropped;
  }
  function* rangeFault(block: boolean): Sleeps<number> {
    const isValid = yield* model.step("asks whether the range is valid", () => valid.value);
    if (!isValid && options.onInvalid === "keeps mmap_sem, -EBUSY") return -EBUSY;
    if (!isValid) {
      mmap.giveRead();
      return -EAGAIN;
    }
    if (isInRam.value) return 1;
    const isKept = yield* coreFault(options.allowsRetry === "always" || !block);
    return isKept ? 1 : -EAGAIN;
  }
  model.task("driver", function* (): Sleeps<void> {
    for (let attempt = 0; attempt < 2; attempt++) {
      yield* idle.until(() => valid.value);
      yield* mmap.takeRead();
      const pages = yield* rangeFault(true);
      yield* model.step(pages > 0 ? "programs the device" : `is told ${pages}`, () => {
        if (pages > 0) device.value = valid.value;
        mmap.giveRead();
      });
      if (pages > 0) return;
    }
  });
  model.task("mapper", function* (): Sleeps<void> {
    yield* mmap.take();
    mmap.give();
  });
  if (!hasEvent) return;
  model.task("reclaimer", function* (): Sleeps<void> {
    yield* model.step("starts an event", () => {
      valid.value = false;
    });
    yield* model.step("ends the event", () => {
      valid.value = true;
      idle.wakeAll();
    });
  });
}

/** A read-write semaphore as it is: it counts readers and does not know who they are. */
class CountingSemaphore {
  readonly #readers: Cell<number>;
  readonly #isWritten: Cell<boolean>;
  readonly #queue: Queue;

  constructor(model: Model, name: string) {
    this.#readers = model.counter(`readers of ${name}`);
    this.#isWritten = model.cell(`${name} is written`, false);
    this.#queue = model.queue(name);
  }

  *downRead(): Sleeps<void> {
    yield* this.#queue.until(() => !this.#isWritten.value);
    this.#readers.value++;
  }

  upRead(): void {
    this.#readers.value--;
    this.#queue.wakeAll();
  }

  *downWrite(): Sleeps<void> {
    yield* this.#queue.until(() => !this.#isWritten.value && this.#readers.value <= 0);
    this.#isWritten.value = true;
  }

  upWrite(): void {
    this.#isWritten.value = false;
    this.#queue.wakeAll();
  }
}

/** `callerUnlocks`: the fault handler gives mmap_sem back whatever nouveau_range_fault() says. */
function buildNouveau(model: Model, callerUnlocks: "always" | "on success"): void {
  const mmap = new CountingSemaphore(model, "mmap_sem");
  const valid = model.cell("valid", true);
  const vma = model.object("the VMA");
  const isMapped = model.cell("the VMA is listed", true);
  const device = model.cell("dev[A]", false);

  model.task("nouveau", function* (): Sleeps<void> {
    yield* mmap.downRead();
    const isValid = yield* model.step("nouveau_range_fault()", () => {
      if (!valid.value) mmap.upRead();
      return valid.value;
    });
    yield* model.step(isValid ? "programs the device" : "cancels the fault", () => {
      if (isValid) device.value = true;
      if (isValid || callerUnlocks === "always") mmap.upRead();
    });
  });
  model.task("reader", function* (): Sleeps<void> {
    yield* mmap.downRead();
    const isFound = isMapped.value;
    yield* model.step("works on the VMA", () => {
      if (isFound) vma.use("a reader of mmap_sem works on the VMA");
      mmap.upRead();
    });
  });
  model.task("unmapper", function* (): Sleeps<void> {
    yield* mmap.downWrite();
    yield* model.step("unlinks and frees the VMA", () => {
      isMapped.value = false;
      vma.free();
      mmap.upWrite();
    });
  });
  model.task("reclaimer", function* (): Sleeps<void> {
    yield* model.step("starts an event", () => {
      valid.value = false;
    });
  });
}

export const LOCK_STATE: readonly Exhibit[] = [
  {
    id: "B-28",
    title: "one condition has two error codes, and with one of them mmap_sem is dropped",
    story:
      "In Linux 5.2 a fault that finds the range invalid drops mmap_sem and says -EAGAIN, also " +
      "when it may block; a little later the same finding is -EBUSY with mmap_sem held. The " +
      "cleanups of July 2019 made it -EBUSY always.",
    kind: "lock",
    says: /gives back mmap_sem it does not read/,
    buggy: {
      name: "HMM range API, Linux 5.2",
      build: (model) =>
        buildFault(model, {
          onInvalid: "drops mmap_sem, -EAGAIN",
          allowsRetry: "when not blocking",
          hasEvent: true,
        }),
    },
    fixed: [
      {
        name: "HMM cleanups v4, patch 19",
        build: (model) =>
          buildFault(model, {
            onInvalid: "keeps mmap_sem, -EBUSY",
            allowsRetry: "when not blocking",
            hasEvent: true,
          }),
      },
    ],
  },
  {
    id: "B-29",
    title: "a fault that may block tells the core that it may drop mmap_sem",
    story:
      "FAULT_FLAG_ALLOW_RETRY was set for every fault in Linux 5.2, so a page that comes from " +
      "swap unlocked mmap_sem under a caller who asked for blocking. Felix Kuehling's patch sets " +
      "it for faults that do not block.",
    kind: "lock",
    says: /gives back mmap_sem it does not read/,
    buggy: {
      name: "HMM range API, Linux 5.2",
      build: (model) =>
        buildFault(model, {
          onInvalid: "keeps mmap_sem, -EBUSY",
          allowsRetry: "always",
          needsIo: true,
        }),
    },
    fixed: [
      {
        name: "HMM cleanups v4, patch 5",
        build: (model) =>
          buildFault(model, {
            onInvalid: "keeps mmap_sem, -EBUSY",
            allowsRetry: "when not blocking",
            needsIo: true,
          }),
      },
    ],
  },
  {
    id: "B-30",
    title: "nouveau gives mmap_sem back twice, and a writer comes in beside a reader",
    story:
      "Up to Linux 5.2 hmm_vma_fault() released mmap_sem for some errors, and nouveau's fault " +
      "handler for all. The cleanups of July 2019 release on every error inside and on success " +
      "outside.",
    kind: "use-after-free",
    says: /works on the VMA/,
    buggy: { name: "nouveau, Linux 5.2", build: (model) => buildNouveau(model, "always") },
    fixed: [
      {
        name: "HMM cleanups v4, patch 21",
        build: (model) => buildNouveau(model, "on success"),
      },
    ],
  },
];
