/** What the operations of a device do to a process of the model, and what each answers. */
import { type Answer, type Claim, claimCode } from "./claim.ts";
import { Guess } from "./guess.ts";
import type { Args } from "./model.ts";
import { isShared, type ModelSpace, SLOT_PAGES } from "./model-space.ts";

type DeviceOperation = (space: ModelSpace, args: Args) => Claim;

interface Run {
  readonly device: number;
  readonly start: number;
  readonly end: number;
  readonly count: number;
}

/** Of a run of zero pages every operation says EINVAL. */
const onRun =
  (operation: (space: ModelSpace, run: Run, args: Args) => Claim): DeviceOperation =>
  (space, args) => {
    const start = Number(args[1]) * SLOT_PAGES + Number(args[2]);
    const count = Number(args[3]);
    if (count === 0) return claimCode("EINVAL");
    return operation(space, { device: Number(args[0]), start, end: start + count, count }, args);
  };

export const DEVICE_OPERATIONS: Readonly<Record<string, DeviceOperation>> = {
  dev_read: onRun((space, run) => {
    const bad = firstBad(space, run, false);
    if (bad !== undefined) return claimCode(bad.code);
    return { codes: ["OK"], pages: run.count, words: wordsOf(space, run) };
  }),

  dev_write: onRun((space, run, args) => {
    const bad = firstBad(space, run, true);
    const end = bad?.at ?? run.end;
    const codes = new Set([bad?.code ?? "OK"]);
    if (hasStuck(space, { ...run, end: Math.min(end + 1, run.end) })) codes.add("EFAULT");
    const first = BigInt(`0x${args[4]}`);
    const learn = ({ r }: Answer): void => {
      for (let at = run.start; at < end; at++) {
        const value = first + BigInt(at - run.start);
        // when it fails it may have written some pages, from the first on
        space.setWord(at, r === "OK" ? Guess.of(value) : space.word(at).or(value));
      }
    };
    return { codes: [...codes], pages: run.count, learn };
  }),

  snapshot: onRun((space, run) => {
    const bytes = Array.from({ length: run.count }, (_, i) => bytesOf(space, run.start + i));
    return { codes: ["OK"], pages: run.count, bytes };
  }),

  to_dev: onRun((space, run) => {
    const isSure = canMove(space, run) && isPlain(space, run);
    for (let at = run.start; at < run.end; at++) space.at(at)?.loan.devices.add(run.device);
    if (!canMove(space, run)) return claimCode("EINVAL");
    // a page may not be in the device's table afterwards
    if (firstBad(space, run, false) !== undefined) return claimCode("ENOENT");
    return {
      codes: isSure ? ["OK"] : ["OK", "ENOENT"],
      pages: run.count,
      words: wordsOf(space, run),
    };
  }),

  to_sys: onRun((space, run) => claimCode(canMove(space, run) ? "OK" : "EINVAL")),

  exclusive: onRun((space, run) => {
    const isSure = isSmall(space, run);
    for (let at = run.start; at < run.end; at++) space.noteExclusive(at, run.device);
    if (!canBeExclusive(space, run)) return claimCode("EBUSY");
    return {
      codes: isSure ? ["OK"] : ["OK", "EBUSY"],
      pages: run.count,
      words: wordsOf(space, run),
    };
  }),

  check_exclusive: onRun((space, run) => {
    for (let at = run.start; at < run.end; at++) {
      if (space.mayBeExclusive(at, run.device)) return claimCode("OK", "EPERM");
    }
    return claimCode("OK");
  }),
};

interface BadPage {
  readonly at: number;
  readonly code: string;
}

/** The first page that the device may not access so. */
function firstBad(space: ModelSpace, { start, end }: Run, isWrite: boolean): BadPage | undefined {
  for (let at = start; at < end; at++) {
    if (space.access(at, isWrite) === "OK") continue;
    const isReadOnly = isWrite && space.at(at)?.rights === "r";
    return { at, code: isReadOnly ? "EPERM" : "EFAULT" };
  }
  return undefined;
}

function hasStuck(space: ModelSpace, { start, end, device }: Run): boolean {
  for (let at = start; at < end; at++) if (space.mayBeStuck(at, device)) return true;
  return false;
}

/** Anonymous memory in small pages that nobody shares and no device holds. */
function isPlain(space: ModelSpace, { start, end }: Run): boolean {
  for (let at = start; at < end; at++) {
    const { kind, advice, isAltered, loan } = space.at(at)!;
    if (kind !== "ap" || advice !== "" || isAltered || loan.devices.size > 0) return false;
    if (loan.isExclusive) return false;
  }
  return true;
}

const wordsOf = (space: ModelSpace, { start, count }: Run): Guess[] =>
  Array.from({ length: count }, (_, i) => space.word(start + i));

/** Every page must be mapped and readable, and not a huge page of a pool. */
function canMove(space: ModelSpace, { start, end }: Run): boolean {
  for (let at = start; at < end; at++) {
    const page = space.at(at);
    if (page === undefined || page.rights === "none" || page.kind === "ht") return false;
  }
  return true;
}

/** Only pages that can be written and are, or become, private memory. */
function canBeExclusive(space: ModelSpace, { start, end }: Run): boolean {
  for (let at = start; at < end; at++) {
    if (space.access(at, true) !== "OK" || isShared(space.at(at)!)) return false;
  }
  return true;
}

const ERROR: ReadonlySet<number> = new Set([0xff]);
/** Shared memory stays where it is. */
const SHARED = { r: new Set([0x00, 0x01]), rw: new Set([0x00, 0x01, 0x02]) };
const PRIVATE = {
  r: new Set([0x00, 0x01, 0x05, 0x21]),
  rw: new Set([0x00, 0x01, 0x02, 0x05, 0x06, 0x21, 0x22]),
};
/** Anonymous memory that nobody wrote to may be the zero page. */
const UNTOUCHED = { r: new Set([...PRIVATE.r, 0x11]), rw: new Set([...PRIVATE.rw, 0x11]) };

/** What HMM may say about a page without faulting. */
function bytesOf(space: ModelSpace, at: number): ReadonlySet<number> {
  const page = space.at(at);
  if (page === undefined || page.rights === "none") return ERROR;
  if (isShared(page)) return SHARED[page.rights];
  if (page.kind === "ap" && space.word(at).allows(0n)) return UNTOUCHED[page.rights];
  return PRIVATE[page.rights];
}

/** Advised memory may be in huge pages, and nobody has recorded exclusive access to those. */
function isSmall(space: ModelSpace, { start, end }: Run): boolean {
  for (let at = start; at < end; at++) if (space.at(at)?.advice !== "") return false;
  return true;
}
