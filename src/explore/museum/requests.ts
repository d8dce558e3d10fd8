/**
 * What a driver asks of a range, and what it is told (hmm_range_fault() and its kin, Linux 5.1 to
 * 5.7). Most of it is one task: the walk itself is wrong, or its answer.
 */
import { EBUSY, EINVAL, errnoName } from "../../base/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit, Version } from "./exhibit.ts";
import type { Model } from "./model.ts";
import { LINUX_5_2, type Pte, RangeWalk, VALID, type WalkRules, WRITE } from "./range-walk.ts";
import type { WalkSetup } from "./range-walk.ts";

const ATTEMPTS_MAX = 3;
const ALWAYS_VALID = (): boolean => true;

/** One fault of a range by one task; `judge` looks at the answer. */
interface Single {
  readonly setup: Omit<WalkSetup, "rules">;
  readonly requests: readonly number[];
  readonly judge: (model: Model, walk: RangeWalk, answer: number) => void;
}

const single =
  (what: Single, rules: Partial<WalkRules> = {}): Version["build"] =>
  (model) => {
    const walk = new RangeWalk(model, { ...what.setup, rules: { ...LINUX_5_2, ...rules } });
    model.task("driver", function* (): Sleeps<void> {
      walk.request(what.requests);
      const answer = yield* walk.fault(ALWAYS_VALID);
      yield* model.step(`is told ${answer}`, () => what.judge(model, walk, answer));
    });
  };

/** Success means that what was requested is there. */
function expectRequested(model: Model, walk: RangeWalk, requests: readonly number[]): void {
  for (const [page, request] of requests.entries()) {
    const isThere = (request & ~walk.entries[page]!) === 0;
    model.expect(isThere, "contract", `success, but page ${page} was requested and is not there`);
  }
}

function buildEmptySnapshot(model: Model, counts: WalkRules["counts"]): void {
  const rules = { ...LINUX_5_2, counts };
  const walk = new RangeWalk(model, { ptes: ["none", "none"], hasNoTables: true, rules });
  /** hmm_vma_fault() and nouveau_range_fault(): zero pages count as a collision. */
  function* wrapper(): Sleeps<number> {
    const pages = yield* walk.snapshot(ALWAYS_VALID);
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
  const walk = new RangeWalk(model, { ptes: ["swapped", "migrating"], rules });
  model.task("driver", function* (): Sleeps<void> {
    walk.request(requests);
    const answer = yield* walk.fault(ALWAYS_VALID);
    yield* model.step(`is told ${answer}`, () => {
      if (answer >= 0) expectRequested(model, walk, requests);
    });
  });
  model.task("migration", function* (): Sleeps<void> {
    yield* model.step("replaces the migration entry", () => {
      walk.ptes[1]!.value = "writable";
      walk.migrated.wakeAll();
    });
  });
}

/** Faults a range, then takes a snapshot of another one, with the same words on the stack. */
function buildStackWords(model: Model, clears: WalkRules["clears"]): void {
  const walk = new RangeWalk(model, { ptes: ["none"], rules: { ...LINUX_5_2, clears } });
  model.task("driver", function* (): Sleeps<void> {
    walk.request([VALID]);
    yield* walk.fault(() => walk.faulted.length === 0);
    yield* model.step("the page is reclaimed", () => {
      walk.ptes[0]!.value = "none";
      walk.faulted.length = 0;
    });
    walk.request([NONE_REQUESTED]);
    yield* walk.snapshot(() => walk.faulted.length === 0);
    yield* model.step("looks at what the snapshot did", () => {
      const isQuiet = walk.faulted.length === 0;
      model.expect(isQuiet, "contract", "a snapshot has faulted a page");
    });
  });
}
const NONE_REQUESTED = 0;

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

const READ_ONLY_VMA: Single = {
  setup: {
    ptes: ["read-only"],
    vmas: [{ start: 0, end: 1 }],
    defaultFlags: VALID | WRITE,
  },
  requests: [0],
  judge: (model, _walk, answer) =>
    model.expect(answer < 0, "contract", "a VMA that is read-only was written to"),
};
const GAP: Single = {
  setup: { ptes: ["none", "writable"], vmas: [{ start: 1, end: 2, isWritable: true }] },
  requests: [VALID, VALID],
  judge: (model, _walk, answer) =>
    model.expect(answer < 0, "contract", "success for an address that nothing maps"),
};
const UNREADABLE: Single = {
  setup: {
    ptes: ["writable", "none"],
    vmas: [
      { start: 0, end: 1, isWritable: true },
      { start: 1, end: 2, isReadable: false },
    ],
  },
  requests: [VALID, VALID],
  judge: (model, walk, answer) => {
    const isKept = (walk.entries[0]! & VALID) !== 0;
    const words = `${errnoName(-answer)} for page 1 has cleared entry 0`;
    model.expect(isKept, "contract", words);
  },
};
const COPY_ON_WRITE: Pte[] = ["read-only", "read-only", "read-only"];
const ONE_WRITE: Single = {
  setup: { ptes: COPY_ON_WRITE },
  requests: [VALID | WRITE, VALID, VALID],
  judge: (model, walk, answer) => {
    model.expect(answer === 3, "contract", "three pages were requested");
    const extra = walk.faulted.find(({ page, isWrite }) => isWrite && page > 0);
    const words = `page ${extra?.page} was copied for writing, and nobody asked`;
    model.expect(extra === undefined, "imprecise", words);
  },
};

export const REQUESTS: readonly Exhibit[] = [];
