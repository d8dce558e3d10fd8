/**
 * What a snapshot says about single entries and ranges that are next to each other, and what a
 * call leaves behind when it fails. Most of these need no interleaving: one task, one path.
 */
import { EBUSY, EFAULT } from "../../base/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model, Thing } from "../model/index.ts";
import { Address, countedFlag, sequence, type Validity } from "./validity.ts";

const PAGE_SIZE = 0x1000;

/** [start, end) */
interface Span {
  readonly start: number;
  readonly end: number;
}

/** Events to the left of a range, on it and to the right of it, all next to each other. */
function buildNeighbours(model: Model, misses: (event: Span, range: Span) => boolean): void {
  const range = { start: 0x2000, end: 0x3000 };
  const valid = model.cell("valid", true);
  const sharesPage = (event: Span): boolean => {
    for (let address = event.start; address < event.end; address += PAGE_SIZE) {
      if (address >= range.start && address < range.end) return true;
    }
    return false;
  };
  model.task("unmapper", function* (): Sleeps<void> {
    for (const start of [0x1000, 0x2000, 0x3000]) {
      const event = { start, end: start + PAGE_SIZE };
      const words = `starts an event at 0x${start.toString(16)}`;
      yield* model.step(words, () => {
        valid.value = misses(event, range);
        if (sharesPage(event)) {
          model.expect(!valid.value, "stale-access", "the range is valid while its page goes");
        } else {
          const message = "the range turns invalid for an event next to it";
          model.expect(valid.value, "imprecise", message);
        }
      });
    }
  });
}

/**
 * The application touches [A], which has a NUMA hint, and the kernel moves its page to the node
 * that it runs on; a device faults on [A] meanwhile.
 */
function buildHint(model: Model, validity: Validity, isHintValid: boolean): void {
  const source = model.object("P");
  const target = model.object("Q");
  const address = new Address(model, "A", source);
  const isHint = model.cell("pte[A] is protnone", true);
  const pageLock = model.lock("page lock");
  const update = model.lock("update");
  const events = model.queue("the end of events");
  function* hintFault(): Sleeps<void> {
    yield* pageLock.take();
    if (isHint.value) yield* migrate();
    pageLock.give();
  }
  function* migrate(): Sleeps<void> {
    yield* model.step("starts an event", () => validity.start(true));
    yield* update.take();
    address.program(undefined);
    update.give();
    yield* model.step("puts Q at pte[A] and frees P", () => {
      address.page = target;
      isHint.value = false;
      address.free(source);
    });
    yield* model.step("ends the event", () => {
      validity.end(true);
      events.wakeAll();
    });
  }
  model.task("application", hintFault);
  model.task("driver", function* (): Sleeps<void> {
    yield* model.step("registers [A]", () => validity.register());
    for (let attempt = 0; attempt < 3; attempt++) {
      yield* events.until(() => validity.isReady());
      const seen = yield* model.step("reads pte[A]", (): Thing | undefined =>
        isHint.value && !isHintValid ? undefined : address.page,
      );
      if (seen === undefined) {
        yield* hintFault();
        continue;
      }
      yield* update.take();
      const isValid = validity.isValid();
      if (isValid) address.program(seen);
      update.give();
      if (isValid) return;
    }
  });
}

const VALID = 1;
const WRITE = 2;
const PFN_SHIFT = 2;

interface Pte {
  readonly pfn: number;
  readonly canRead: boolean;
  readonly canWrite: boolean;
}

/** A snapshot of a writable page, a read-only one, and one with a NUMA hint. */
function buildSnapshot(model: Model, entryOf: (pfn: number, flags: number) => number): void {
  const table: readonly Pte[] = [
    { pfn: 5, canRead: true, canWrite: true },
    { pfn: 6, canRead: true, canWrite: false },
    // protnone: present, and no access goes through
    { pfn: 7, canRead: false, canWrite: false },
  ];
  const flagsOf = ({ canRead, canWrite }: Pte): number =>
    canRead ? VALID | (canWrite ? WRITE : 0) : 0;
  model.task("driver", function* (): Sleeps<void> {
    for (const pte of table) {
      const entry = yield* model.step(`reads the entry of page ${pte.pfn}`, () =>
        entryOf(pte.pfn, flagsOf(pte)),
      );
      const isValid = (entry & VALID) !== 0;
      const message = `page ${pte.pfn} is reported ${isValid ? "" : "not "}valid`;
      model.expect(isValid === pte.canRead, "contract", message);
      const isWritable = (entry & WRITE) !== 0;
      model.expect(isWritable === pte.canWrite, "contract", `page ${pte.pfn} has other rights`);
    }
  });
}

/** What is in the caller's array. */
type Walked = "a request" | "a page" | "nothing" | "an error";

/** The first of two VMAs has a page in its middle that cannot be mirrored. */
const SPECIAL = 1;
const VMAS: readonly Span[] = [
  { start: 0, end: 4 },
  { start: 4, end: 6 },
];

/** Fills entries of one VMA and moves `last` on; a negated errno where it stops. */
interface Walk {
  readonly entries: Walked[];
  // index of the first entry that has not been read
  last: number;
}

function walk(it: Walk, vma: Span): number {
  for (it.last = vma.start; it.last < vma.end; it.last++) {
    it.entries[it.last] = it.last === SPECIAL ? "an error" : "a page";
    if (it.last === SPECIAL) return -EFAULT;
  }
  return 0;
}

type Snapshot = (it: Walk) => number;

/** Linux 5.2: hmm_range_snapshot(). */
function snapshotThatDrops(it: Walk): number {
  for (const vma of VMAS) walk(it, vma);
  return it.last;
}

/** Linux 5.2: hmm_range_fault(). */
function snapshotThatStops(it: Walk): number {
  for (const vma of VMAS) {
    const result = walk(it, vma);
    if (result === 0) continue;
    it.entries.fill("nothing", it.last);
    return result;
  }
  return it.last;
}

/** Linux 5.8: what cannot be mirrored is no error unless it was asked for. */
function snapshotThatMarks(it: Walk): number {
  for (const vma of VMAS) {
    if (walk(it, vma) < 0) it.entries.fill("a page", it.last + 1, vma.end);
  }
  return 0;
}

function buildWalk(model: Model, snapshot: Snapshot): void {
  const it: Walk = { entries: new Array<Walked>(6).fill("a request"), last: 0 };
  model.task("driver", function* (): Sleeps<void> {
    const result = yield* model.step("takes a snapshot", () => snapshot(it));
    const stale = it.entries.indexOf("a request");
    const message = `the snapshot gives ${result}, and entry ${stale} is still the request`;
    model.expect(stale < 0, "contract", message);
  });
}

interface Range {
  hmm?: "hmm";
  isListed: boolean;
}

/** When the range's pointer to its space is set: by a fault that succeeds, or before the walk. */
type SetsHmm = "on success" | "before the walk";

/** Three faults: one that fails, one that is busy, one that succeeds and is closed. */
function buildFault(model: Model, setsHmm: SetsHmm): void {
  const range: Range = { isListed: false };
  function close(): void {
    const isOpen = range.hmm !== undefined;
    model.expect(isOpen, "assertion", "BUG: hmm_vma_range_done() of a range without an hmm");
    delete range.hmm;
    range.isListed = false;
  }
  function fault(walked: number): number {
    delete range.hmm;
    if (setsHmm === "before the walk") range.hmm = "hmm";
    range.isListed = true;
    if (walked < 0) close();
    else range.hmm = "hmm";
    return walked;
  }
  model.task("driver", function* (): Sleeps<void> {
    for (const walked of [-EFAULT, -EBUSY, 0]) {
      const result = yield* model.step("faults the range", () => fault(walked));
      if (result === 0) yield* model.step("closes the range", close);
      model.expect(!range.isListed, "leak", "the range is still listed");
    }
  });
}

export const VALID_ENTRIES: readonly Exhibit[] = [
  {
    id: "B-04",
    title: "an event that ends where a range begins makes it invalid",
    story:
      "The test for a miss asks whether the event's end is below the range's start; both are " +
      "exclusive bounds, so it should ask for at or below. From the first version to Linux 5.4.",
    kind: "imprecise",
    says: /an event next to it/,
    buggy: {
      name: "Linux 5.2",
      build: (model) =>
        buildNeighbours(
          model,
          (event, range) => event.end < range.start || event.start >= range.end,
        ),
    },
    fixed: [
      {
        name: "half-open, as everywhere",
        build: (model) =>
          buildNeighbours(
            model,
            (event, range) => event.end <= range.start || event.start >= range.end,
          ),
      },
    ],
  },
  {
    id: "B-16",
    title: "an entry that waits for its NUMA hint fault passes for valid, and its page moves",
    story:
      "Linux 5.1: the device went on with the old page and crashed the application. The move is " +
      "an event, so it takes the flag of B-01, too: with a sequence the same reading is harmless.",
    kind: "stale-access",
    says: /maps P/,
    buggy: {
      name: "Linux 5.1",
      build: (model) => buildHint(model, countedFlag(model, { armedBy: "last event" }), true),
    },
    fixed: [
      {
        name: "the hint is faulted, HMM range API series, July 2019",
        build: (model) => buildHint(model, countedFlag(model, { armedBy: "last event" }), false),
      },
      {
        name: "the hint passes for valid, but a sequence instead of the flag",
        build: (model) => buildHint(model, sequence(model), true),
      },
    ],
  },
  {
    id: "B-17",
    title: "a snapshot reports a page with a NUMA hint as valid",
    story:
      "The repair of B-16 gives such an entry no flags, but the function that makes it of a page " +
      "number has set the valid bit already. Bare page numbers since 2020.",
    kind: "contract",
    says: /page 7 is reported valid/,
    buggy: {
      name: "HMM range API series, July 2019",
      build: (model) => buildSnapshot(model, (pfn, flags) => (pfn << PFN_SHIFT) | VALID | flags),
    },
    fixed: [
      {
        name: "the valid bit comes from the CPU's entry only",
        build: (model) => buildSnapshot(model, (pfn, flags) => (pfn << PFN_SHIFT) | flags),
      },
    ],
  },
  {
    id: "B-111",
    title: "every fault that fails closes a range that it has not opened yet",
    story:
      "Before Linux 5.1 the fault function clears the range's pointer to its space and sets it " +
      "only when it succeeds; its error path closes the range, which calls BUG() without one.",
    kind: "assertion",
    says: /BUG/,
    buggy: {
      name: "hmm_vma_fault() before Linux 5.1",
      build: (model) => buildFault(model, "on success"),
    },
    fixed: [
      {
        name: "the pointer is set when the range is listed, as by registration in Linux 5.1",
        build: (model) => buildFault(model, "before the walk"),
      },
    ],
  },
  {
    id: "B-113",
    title: "a snapshot drops the walk's error and leaves the caller's requests as results",
    story:
      "hmm_range_snapshot() never looks at what the walk returns; the count covers the hole when " +
      "another VMA follows. From the first version to Linux 5.3; 5.4 has one function for both.",
    kind: "contract",
    says: /gives 6, and entry 2 is still the request/,
    buggy: {
      name: "hmm_range_snapshot(), Linux 5.2",
      build: (model) => buildWalk(model, snapshotThatDrops),
    },
    fixed: [
      {
        name: "stops and clears the rest, as hmm_range_fault() does",
        build: (model) => buildWalk(model, snapshotThatStops),
      },
      {
        name: "marks the entry and goes on, Linux 5.8",
        build: (model) => buildWalk(model, snapshotThatMarks),
      },
    ],
  },
];
