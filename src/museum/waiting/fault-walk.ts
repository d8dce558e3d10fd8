/**
 * hmm_range_fault() and the VMAs that it goes through (Linux 5.2): what they permit, what lies
 * between them, and how much is faulted. One task each: no schedule is needed to go wrong.
 */
import { errnoName } from "../../base/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { Exhibit, Version } from "../exhibit.ts";
import type { Model } from "../model/index.ts";
import {
  LINUX_5_2,
  RangeWalk,
  VALID,
  type WalkRules,
  type WalkSetup,
  WRITE,
} from "./range-walk.ts";

const ALWAYS_VALID = (): boolean => true;

/** One fault of a range by one task; `judge` looks at the answer. */
interface Single {
  readonly setup: Omit<WalkSetup, "rules">;
  readonly requests: readonly number[];
  readonly judge: (model: Model, walk: RangeWalk, answer: number) => void;
}

function single(name: string, what: Single, rules: Partial<WalkRules> = {}): Version {
  const build = (model: Model): void => {
    const walk = new RangeWalk(model, { ...what.setup, rules: { ...LINUX_5_2, ...rules } });
    model.task("driver", function* (): Sleeps<void> {
      walk.request(what.requests);
      const answer = yield* walk.fault(ALWAYS_VALID);
      yield* model.step(`is told ${answer}`, () => what.judge(model, walk, answer));
    });
  };
  return { name, build };
}

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
const ONE_WRITE: Single = {
  setup: { ptes: ["read-only", "read-only", "read-only"] },
  requests: [VALID | WRITE, VALID, VALID],
  judge: (model, walk, answer) => {
    model.expect(answer === 3, "contract", "three pages were requested");
    const extra = walk.faulted.find(({ page, isWrite }) => isWrite && page > 0);
    const words = `page ${extra?.page} was copied for writing, and nobody asked`;
    model.expect(extra === undefined, "imprecise", words);
  },
};

export const FAULT_WALK: readonly Exhibit[] = [
  {
    id: "B-33",
    title: "a write fault of a VMA that is read-only goes on for ever",
    story:
      "The core takes the fault, makes a copy and leaves the entry read-only, so the walk faults " +
      "again. It takes a write request in default_flags, for one in the array is overwritten. " +
      "Linux 5.4 asks the VMA first and answers -EPERM.",
    kind: "livelock",
    says: /pass 4 over 1 page/,
    buggy: single("HMM range API, Linux 5.2", READ_ONLY_VMA),
    fixed: [single("Linux 5.4", READ_ONLY_VMA, { checksVma: true })],
  },
  {
    id: "B-34",
    title: "an address in front of a VMA is faulted without a VMA",
    story:
      "find_vma() gives the first VMA that ends above the address; it may begin later. The walk " +
      "reports the gap with a null VMA, which the fault follows. Linux 5.4 answers -EFAULT.",
    kind: "error",
    says: /undefined/,
    buggy: single("HMM range API, Linux 5.2", GAP),
    fixed: [single("Linux 5.4", GAP, { checksVma: true })],
  },
  {
    id: "B-37",
    title: "an unreadable VMA at the end clears what was reported before it",
    story:
      "Every other error keeps the entries in front of the page that failed; this one clears the " +
      "whole array, and a driver may have used part of it. Later versions treat it like " +
      "the others.",
    kind: "contract",
    says: /EPERM for page 1 has cleared entry 0/,
    buggy: single("HMM range API, Linux 5.2", UNREADABLE),
    fixed: [
      single("later: the rest is cleared", UNREADABLE, { onUnreadable: "the rest is cleared" }),
    ],
  },
  {
    id: "B-39",
    title: "one page that must be written has the rest of the chunk copied too",
    story:
      "The fault goes on to the end of the chunk with the first page's needs. Correct, and " +
      "memory that nobody asked for; it is so in Linux to this day.",
    kind: "imprecise",
    says: /page 1 was copied/,
    buggy: single("Linux 5.2 to 6.12", ONE_WRITE),
    fixed: [single("here: page by page", ONE_WRITE, { faults: "that page" })],
  },
];
