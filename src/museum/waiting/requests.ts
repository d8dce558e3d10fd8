/**
 * What a driver asks of a range, and what it is told (HMM range API, Linux 5.1 to 5.7): requests
 * that get lost, and answers that say something else than what happened.
 */
import { EBUSY, EINVAL } from "../../base/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit } from "../exhibit.ts";
import type { Model } from "../model/index.ts";
import { LINUX_5_2, NONE, RangeWalk, VALID, type WalkRules } from "./range-walk.ts";

const ATTEMPTS_MAX = 3;
const ALWAYS_VALID = (): boolean => true;

/** Success means that what was requested is there. */
function expectRequested(model: Model, walk: RangeWalk, requests: readonly number[]): void {
  for (const [page, request] of requests.entries()) {
    const isThere = (request & ~walk.entries[page]!) === 0;
    model.expect(isThere, "contract", `success, but page ${page} was requested and is not there`);
  }
}

function buildHole(model: Model, counts: WalkRules["counts"]): void {
  const rules = { ...LINUX_5_2, counts };
  const walk = new RangeWalk(model, { ptes: ["none", "none"], hasNoTables: true, rules });
  /** hmm_vma_fault() and hmm_range_dma_map(): zero pages count as a collision. */
  function* wrapper(): Sleeps<number> {
    walk.request([NONE, NONE]);
    const pages = yield* walk.fault(ALWAYS_VALID);
    return pages === 0 ? -EBUSY : Math.min(pages, 0);
  }
  model.task("driver", function* (): Sleeps<void> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const answer = yield* wrapper();
      yield* model.step(`is told ${answer}`, () => {
        const isExplained = answer !== -EBUSY;
        model.expect(isExplained, "contract", "-EBUSY, and no event has touched the range");
      });
      if (answer === 0) return;
    }
  });
}

interface RetryOptions {
  /** The driver writes its requests into the array before every attempt, not only the first. */
  readonly fills: "once" | "before each attempt";
  readonly requests?: WalkRules["requests"];
}

/** Validity is a sequence here, which is not what Linux 5.2 had, so that B-01 stays out. */
function buildRetry(model: Model, { fills, requests = "overwritten" }: RetryOptions): void {
  const wanted = [VALID, VALID];
  const rules: WalkRules = { ...LINUX_5_2, requests };
  const walk = new RangeWalk(model, { ptes: ["writable", "none"], rules });
  const sequence = model.counter("sequence");
  const active = model.counter("active");
  const idle = model.queue("the range");

  model.task("driver", function* (): Sleeps<void> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      let seen = 0;
      yield* idle.until(() => {
        seen = sequence.value;
        return active.value === 0;
      });
      if (attempt === 0 || fills === "before each attempt") walk.request(wanted);
      const isValid = (): boolean => active.value === 0 && sequence.value === seen;
      const answer = yield* walk.fault(isValid);
      const isDone = yield* model.step(`is told ${answer}`, () => {
        if (answer < 0 || !isValid()) return false;
        expectRequested(model, walk, wanted);
        return true;
      });
      if (isDone) return;
    }
  });
  model.task("reclaimer", function* (): Sleeps<void> {
    yield* model.step("starts an event", () => {
      active.value++;
      sequence.value++;
    });
    yield* model.step("reclaims page 1", () => {
      walk.ptes[1]!.value = "none";
    });
    yield* model.step("ends the event", () => {
      active.value--;
      idle.wakeAll();
    });
  });
}

function buildSwapped(model: Model, compares: WalkRules["compares"]): void {
  const requests = [VALID, VALID];
  const rules: WalkRules = { ...LINUX_5_2, compares };
  const walk = new RangeWalk(model, { ptes: ["migrating", "swapped"], rules });
  model.task("driver", function* (): Sleeps<void> {
    walk.request(requests);
    const answer = yield* walk.fault(ALWAYS_VALID);
    yield* model.step(`is told ${answer}`, () => {
      if (answer >= 0) expectRequested(model, walk, requests);
    });
  });
  model.task("migration", function* (): Sleeps<void> {
    yield* model.step("replaces the migration entry", () => {
      walk.ptes[0]!.value = "writable";
      walk.migrated.wakeAll();
    });
  });
}

/** Faults a range, then takes a snapshot of another one, with the same words on the stack. */
function buildStackWords(model: Model, clears: WalkRules["clears"]): void {
  const walk = new RangeWalk(model, { ptes: ["none"], rules: { ...LINUX_5_2, clears } });
  model.task("driver", function* (): Sleeps<void> {
    // An event comes with the first fault and cuts the walk short.
    const isValid = (): boolean => walk.faulted.length === 0;
    walk.request([VALID]);
    yield* walk.fault(isValid);
    yield* model.step("the page is reclaimed", () => {
      walk.ptes[0]!.value = "none";
      walk.faulted.length = 0;
    });
    walk.request([NONE]);
    yield* walk.snapshot(isValid);
    yield* model.step("looks at what the snapshot did", () => {
      const isQuiet = walk.faulted.length === 0;
      model.expect(isQuiet, "contract", "a snapshot has faulted a page");
    });
  });
}

const PAGE = 0x1000;
/** What a table of the model covers: two pages. */
const TABLE = 2 * PAGE;

type Registering = "stores what it is given" | "stores pages" | "refuses";

/** The addresses that the driver has are not those of pages. */
function buildUnaligned(model: Model, registering: Registering): void {
  const down = (address: number): number => Math.floor(address / PAGE) * PAGE;
  const register = (start: number, end: number): { start: number; end: number } | number => {
    if (down(start) >= down(end)) return -EINVAL;
    if (registering === "stores what it is given") return { start, end };
    const isAligned = start === down(start) && end === down(end);
    return isAligned || registering === "stores pages"
      ? { start: down(start), end: down(end + PAGE - 1) }
      : -EINVAL;
  };
  model.task("driver", function* (): Sleeps<void> {
    const [start, end] = [0x1800, 0x3000];
    let range = yield* model.step("registers 0x1800 to 0x3000", () => register(start, end));
    if (typeof range === "number") {
      const pages = "registers 0x1000 to 0x3000";
      range = yield* model.step(pages, () => register(down(start), down(end + PAGE - 1)));
    }
    model.expect(typeof range !== "number", "contract", "a range of whole pages is refused");
    if (typeof range === "number") return;
    const entries: number[] = [];
    // The walk goes table by table; the first index of each comes from its first address.
    for (let from = range.start; from < range.end; from = nextTable(from)) {
      const first = Math.floor((from - range.start) / PAGE);
      yield* model.step(`walks the table of ${from.toString(16)}`, () => {
        const stop = Math.min(nextTable(from), range.end);
        for (let at = from, i = first; at < stop; at += PAGE, i++) entries[i] = at / PAGE;
      });
    }
    yield* model.step("reads the entries", () => {
      for (const [i, page] of entries.map(Math.floor).entries()) {
        const isOwn = page === down(start) / PAGE + i;
        model.expect(isOwn, "contract", `entry ${i} tells of page ${page}`);
      }
    });
  });
}
const nextTable = (address: number): number => (Math.floor(address / TABLE) + 1) * TABLE;

export const REQUESTS: readonly Exhibit[] = [
  {
    id: "B-31",
    title: "a range without pages is zero pages, and zero reads as busy",
    story:
      "In Linux 5.2 a hole that nothing is requested of answers 0, and hmm_vma_fault() and " +
      "hmm_range_dma_map() make that -EBUSY: who tries again does so for ever. Since Linux 5.8 " +
      "the answer is 0 or an error, and each entry says whether there is a page.",
    kind: "contract",
    says: /-EBUSY, and no event/,
    buggy: {
      name: "HMM range API, Linux 5.2",
      build: (model) => buildHole(model, "no holes"),
    },
    fixed: [
      {
        name: "holes count: the entries tell what is there",
        build: (model) => buildHole(model, "holes"),
      },
    ],
  },
  {
    id: "B-32",
    title: "results overwrite requests, and the next attempt requests the results",
    story:
      "A page that was faulted in and reclaimed again has lost its request: the fault succeeds " +
      "without it and the driver cancels the device's access. In 2020 Linux 5.7 stopped clearing " +
      "requests that have no result yet, and nouveau asks for one page at a time.",
    kind: "contract",
    says: /page 1 was requested and is not there/,
    buggy: {
      name: "nouveau, Linux 5.2 to 5.6, but with a sequence",
      build: (model) => buildRetry(model, { fills: "once" }),
    },
    fixed: [
      {
        name: "the array is filled before each attempt",
        build: (model) => buildRetry(model, { fills: "before each attempt" }),
      },
      {
        name: "here: requests have an array of their own",
        build: (model) => buildRetry(model, { fills: "once", requests: "kept" }),
      },
    ],
  },
  {
    id: "B-35",
    title: "pages in swap and pages that migrate are never faulted in",
    story:
      "Since the walk's results were put in order in Linux 5.2, swap entries were not compared " +
      "with the request: success, and no page. Mended for swap in Linux 5.4 and for migration " +
      "entries in March 2020.",
    kind: "contract",
    says: /page [01] was requested and is not there/,
    buggy: {
      name: "HMM range API, Linux 5.2",
      build: (model) => buildSwapped(model, "no swap entries"),
    },
    fixed: [{ name: "Linux 5.7", build: (model) => buildSwapped(model, "all entries") }],
  },
  {
    id: "B-36",
    title: "the helper that says whether a fault is needed never says no",
    story:
      "Linux 5.2 moved the clearing of its two outputs to the callers. All callers in the tree " +
      "do clear them; one that did not would fault what it only looks at. Since 2020 the helper " +
      "returns its answer.",
    kind: "contract",
    says: /a snapshot has faulted/,
    buggy: {
      name: "HMM range API v3, with a caller that clears nothing",
      build: (model) => buildStackWords(model, "nobody"),
    },
    fixed: [{ name: "Linux 5.2", build: (model) => buildStackWords(model, "caller") }],
  },
  {
    id: "B-38",
    title: "a range is checked in whole pages and stored as it was given",
    story:
      "hmm_range_register() of April 2019 masks the addresses for the comparison only. Behind " +
      "the first table all indices are off by one. Later in 2019 such ranges were refused.",
    kind: "contract",
    says: /entry 0 tells of page 2/,
    buggy: {
      name: "HMM range API v3",
      build: (model) => buildUnaligned(model, "stores what it is given"),
    },
    fixed: [
      {
        name: "-EINVAL, and the driver aligns",
        build: (model) => buildUnaligned(model, "refuses"),
      },
      { name: "whole pages are stored", build: (model) => buildUnaligned(model, "stores pages") },
    ],
  },
];
