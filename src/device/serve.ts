/**
 * Serving a device's faults: from blocks of pages that it wants to entries in its table. How a
 * block is served (mapped where it is, copied, moved) is the caller's to say: policy is not here.
 * Linux: the fault handler that drm_gpusvm's documentation gives to every driver.
 */
import {
  addrOf,
  EBUSY,
  EFAULT,
  EINVAL,
  ENODEV,
  ENOMEM,
  type Pfn,
  type Result,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../base/index.ts";
import { protectForCopies } from "../devmem/index.ts";
import {
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmRange,
} from "../hmm/index.ts";
import { asPte, isPinned, isPresent, mmputAsync, ptePfn, VM_READ } from "../mm/index.ts";
import { PG_ANON, PG_CACHED, PG_DUPLICATED, ZERO_PFN } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import type { DeviceShadow } from "./device-shadow.ts";
import { ENTRY_NONE, entryFrame } from "./entry.ts";
import { moveIn } from "./move.ts";
import { AGAIN, DONE, read } from "./reading.ts";

/** Private to this file: somebody holds a page that is wanted. */
const HELD = 3;
/** How often a page is looked after that somebody holds and no wake-up is promised for. */
const HELD_LOOK_MS = 1;

export interface Want {
  readonly page: Vpn;
  readonly write: boolean;
}

/** Pages [start, end) that are served together. */
export interface Block {
  readonly start: Vpn;
  readonly end: Vpn;
  /**
   * "map": the device uses the pages where they are, in RAM or its own memory. "copy": it gets
   * copies to read of what is in RAM. "move": what is wanted moves to its memory.
   */
  readonly how: "map" | "copy" | "move";
  /** What all pages must allow: HMM_PFN_REQ_… Default 0. For "map". */
  readonly need?: number;
  /**
   * A page of the device's own that may not be written, although that is needed, is -EFAULT, as in
   * Linux's test device. Default false: it comes home to be copied. For "map".
   */
  readonly keepsOwn?: boolean;
  /** Pages that must be served; the others of the block may be. For "copy" and "move". */
  readonly wanted: readonly Want[];
}

export interface ServeOptions {
  /** Until when to wait for a page that somebody holds. Default: not at all. */
  readonly deadlineMs?: number;
  /** How long CPUs leave to the device what moves. Default 0. */
  readonly timesliceMs?: number;
  /** Frames that came after this arrival are not evicted to make room. Default: all may be. */
  readonly keepAfter?: number;
}

/**
 * Serves the blocks: 0, and what was wanted is in the table, or was during the call. -EBUSY:
 * somebody holds a page until the deadline (a pin that keeps it from moving, or from being
 * protected); collisions are never that. -ENOMEM: the device has no room, or the machine no RAM.
 * -EFAULT, -EPERM: a page cannot be had, or there is no space any more. -EINVAL: memory that
 * cannot move, or be copied (a file's). -ENODEV: closed. Or why a copy failed.
 */
export function* serve(
  shadow: DeviceShadow,
  blocks: readonly Block[],
  options: ServeOptions = {},
): Sleeps<Result> {
  const { space, memory } = shadow;
  if (!space.users.getUnlessZero()) return -EFAULT;
  try {
    if (!(yield* memory.makeRoom(framesFor(shadow, blocks), options.keepAfter))) return -ENOMEM;
    for (const how of ["map", "copy", "move"] as const) {
      const part = blocks.filter((block) => block.how === how);
      const result = part.length === 0 ? 0 : yield* serveAlike(shadow, part, options);
      if (result < 0) return result;
    }
    return 0;
  } finally {
    mmputAsync(space);
  }
}

/** The device's table allows what is wanted of the block. */
export const isServed = (shadow: DeviceShadow, { wanted }: Pick<Block, "wanted">): boolean =>
  wanted.every(({ page, write }) => shadow.allows(page, write));

/** Frames that the blocks may take at most. */
function framesFor(shadow: DeviceShadow, blocks: readonly Block[]): number {
  const { zeroFrame } = shadow.memory;
  let frames = 0;
  for (const { start, end, how } of blocks) {
    if (how === "map") continue;
    for (let page = start; page < end; page = vpn(page + 1)) {
      const entry = shadow.get(page);
      const isTaken = entry !== ENTRY_NONE && entryFrame(entry) !== zeroFrame;
      if (!isTaken) frames++;
    }
  }
  return frames;
}

const WAYS = { map: mapping, copy: copying, move: moving };

/** Blocks that are served in the same way. Nothing is held while a page is waited for. */
function* serveAlike(
  shadow: DeviceShadow,
  blocks: readonly Block[],
  options: ServeOptions,
): Sleeps<Result> {
  const { pages } = shadow.space.memory;
  const { space, notifier, lock } = shadow;
  const deadlineMs = options.deadlineMs ?? space.memory.scheduler.nowMs;
  const way = WAYS[blocks[0]!.how](shadow, blocks, { ...options, deadlineMs });
  for (;;) {
    const result = yield* read({ space, notifier, lock, ...way });
    if (result === DONE) return 0;
    if (result !== HELD) return result;
    const isOver = space.memory.scheduler.nowMs >= deadlineMs;
    if (isOver || !(yield* pages.waitForChange(deadlineMs))) return -EBUSY;
  }
}

type Timed = ServeOptions & { readonly deadlineMs: number };

/** The device reaches RAM: it uses what HMM says. */
function mapping(shadow: DeviceShadow, blocks: readonly Block[]) {
  const ranges = blocks.map((block) => rangeOf(shadow, block));
  return { ranges: () => ranges, commit: () => enter(shadow, ranges) };
}

/** What is in RAM is write-protected, looked at, and copied if it is protected still. */
function copying(shadow: DeviceShadow, blocks: readonly Block[]) {
  const ranges = blocks.map((block) => rangeOf(shadow, block));
  function* place(): Sleeps<Result> {
    const { space, memory } = shadow;
    for (const { start, end } of blocks) {
      const result = yield* protectForCopies(space, start, end, memory.owner);
      if (result < 0) return result === -EBUSY ? HELD : result;
    }
    return 0;
  }
  function* commit(): Sleeps<Result> {
    if (ranges.some((range) => hasWritable(shadow, range))) return AGAIN;
    const { pages } = shadow.space.memory;
    // The page of a file may change without telling anybody: it is not copied.
    const entered = yield* enter(shadow, ranges, (frame) => !pages.is(frame, PG_CACHED));
    if (entered < 0 || blocks.every((block) => isServed(shadow, block))) return entered;
    return ranges.some((range) => hasFilePage(shadow, range)) ? -EINVAL : -ENOMEM;
  }
  return { place, ranges: () => request(ranges, blocks), commit };
}

/**
 * What is wanted moves in, and is entered as it does. What did not come, or is on the device
 * already but not in its table (rights have changed since), is looked at: HMM faults it in, or
 * brings home what the device may no longer write although the program may, and then it is moved
 * again. Between two moves there is a look that succeeded, so neither keeps the other from it.
 */
function moving(shadow: DeviceShadow, blocks: readonly Block[], options: Timed) {
  const { pagemap } = shadow.memory;
  let left = blocks;
  let isMoved = false;
  function* place(): Sleeps<Result> {
    const missing = isMoved ? [] : yield* moveMissing(shadow, left, options.timesliceMs);
    if (typeof missing === "number") return missing;
    isMoved = true;
    left = blocks.filter((block) => !isServed(shadow, block));
    if (left.length === 0) return DONE;
    const judged = yield* judgeMissing(shadow, missing, options.deadlineMs);
    if (judged !== 0) isMoved = false;
    return judged;
  }
  function* commit(ranges: readonly HmmRange[]): Sleeps<Result> {
    // What the look brought home is not entered: it is moved.
    const entered = yield* enter(shadow, ranges, (frame) => pagemap.zone.contains(frame));
    isMoved = false;
    return entered < 0 || left.every((block) => isServed(shadow, block)) ? entered : AGAIN;
  }
  const ranges = () =>
    request(
      left.map((block) => rangeOf(shadow, block)),
      left,
    );
  return { place, ranges, commit };
}

/** What of a block has to move still. */
const missingOf = (shadow: DeviceShadow, { wanted }: Block): Want[] =>
  wanted.filter(({ page, write }) => !shadow.allows(page, write) && !shadow.isHere(page));

/** Moves the blocks of which something is missing: what is missing after that, or an errno. */
function* moveMissing(
  shadow: DeviceShadow,
  blocks: readonly Block[],
  timesliceMs: number | undefined,
): Sleeps<Want[] | Result> {
  for (const block of blocks) {
    if (missingOf(shadow, block).length === 0) continue;
    const moved = yield* moveBlock(shadow, block, timesliceMs);
    if (moved < 0) return moved;
  }
  return blocks.flatMap((block) => missingOf(shadow, block));
}

/** Vma by Vma. Where there is none the look finds out. */
function* moveBlock(shadow: DeviceShadow, block: Block, timesliceMs = 0): Sleeps<Result> {
  const from = addrOf(block.start);
  const to = addrOf(block.end);
  for (const vma of [...shadow.space.vmas.overlapping(from, to)]) {
    if (!vma.allows(VM_READ)) continue;
    const start = vpnOf(virtAddr(Math.max(vma.start, from)));
    const end = vpnOf(virtAddr(Math.min(vma.end, to)));
    const moved = yield* moveIn(shadow, { vma, start, end, timesliceMs });
    if (moved < 0) return moved;
  }
  return 0;
}

/** Some of what is wanted did not come. 0: look; else what to do about it. */
function* judgeMissing(
  { space, memory }: DeviceShadow,
  missing: readonly Want[],
  deadlineMs: number,
): Sleeps<Result> {
  if (missing.length === 0) return 0;
  if (missing.some(({ page }) => isPinned(space, page))) return HELD;
  if (memory.pagemap.zone.freeCount === 0) return -ENOMEM;
  const { pages, scheduler } = space.memory;
  const isHeld = missing.some(({ page }) => {
    const pte = space.pageTable.get(page);
    if (!isPresent(pte) || ptePfn(pte) === ZERO_PFN) return false;
    return pages.isLocked(ptePfn(pte)) || pages.refs[ptePfn(pte)]! > pages.mapcount[ptePfn(pte)]!;
  });
  if (!isHeld) return 0;
  if (scheduler.nowMs >= deadlineMs) return -EBUSY;
  yield* pages.waitForChange(Math.min(deadlineMs, scheduler.nowMs + HELD_LOOK_MS));
  return AGAIN;
}

function rangeOf(shadow: DeviceShadow, block: Block): HmmRange {
  const { start, end, how, need = 0, keepsOwn = false } = block;
  const isWhole = how === "map";
  return {
    start: addrOf(start),
    end: addrOf(end),
    notifier: shadow.notifier,
    notifierSeq: 0,
    pfns: new Uint32Array(end - start),
    defaultFlags: need,
    pfnFlagsMask: isWhole ? 0 : HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE,
    devPrivateOwner: shadow.memory.owner,
    requireWrite: !keepsOwn,
  };
}

/** What is wanted is requested, the other pages are only looked at. */
function request(ranges: readonly HmmRange[], blocks: readonly Block[]): readonly HmmRange[] {
  blocks.forEach(({ start, wanted }, i) => {
    const { pfns } = ranges[i]!;
    pfns.fill(0);
    for (const { page, write } of wanted) {
      pfns[page - start] = HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
    }
  });
  return ranges;
}

/**
 * Enters what HMM said, as far as it is there and `isMeant`. -EFAULT at a page of the device's own
 * that may not be written although that was asked of all.
 */
function* enter(
  shadow: DeviceShadow,
  ranges: readonly HmmRange[],
  isMeant: (frame: Pfn) => boolean = () => true,
): Sleeps<Result> {
  const { memory } = shadow;
  if (shadow.isClosed) return -ENODEV;
  const copies: { readonly page: Vpn; readonly from: Pfn; readonly to: Pfn }[] = [];
  for (const range of ranges) {
    const first = vpnOf(range.start);
    const mustWrite = (range.defaultFlags & HMM_PFN_REQ_WRITE) !== 0;
    for (let i = 0; i < vpnOf(range.end) - first; i++) {
      const word = range.pfns[i]!;
      if ((word & HMM_PFN_VALID) === 0) continue;
      const page = vpn(first + i);
      const frame = ptePfn(asPte(word));
      const write = (word & HMM_PFN_WRITE) !== 0;
      if (!isMeant(frame)) continue;
      if (mustWrite && !write) return -EFAULT;
      if (memory.reachesRam || memory.pagemap.zone.contains(frame)) {
        shadow.enterPage(page, frame, write);
      } else if (shadow.get(page) !== ENTRY_NONE) continue;
      else if (frame === ZERO_PFN) shadow.enterZero(page);
      else {
        const to = shadow.enterCopy(page, frame);
        if (to !== 0) copies.push({ page, from: frame, to });
      }
    }
  }
  return copies.length === 0 ? 0 : yield* fill(shadow, copies);
}

/** Copies what was entered; if that fails, or is killed, there is no such entry. */
function* fill(
  shadow: DeviceShadow,
  copies: readonly { readonly page: Vpn; readonly from: Pfn; readonly to: Pfn }[],
): Sleeps<Result> {
  const { memory } = shadow;
  const from = copies.map((copy) => copy.from);
  const to = copies.map((copy) => copy.to);
  let result: Result = -ENODEV;
  try {
    result = Math.min(yield* memory.ops.copyIn(from, to), 0);
    return result;
  } finally {
    if (result === 0) memory.counters.pagesToDevice += copies.length;
    else for (const { page } of copies) shadow.drop(page, vpn(page + 1));
  }
}

/** A page of RAM that somebody could write without telling us must not be copied. */
function hasWritable(shadow: DeviceShadow, range: HmmRange): boolean {
  const { pages } = shadow.space.memory;
  return range.pfns.some((word) => {
    const frame = ptePfn(asPte(word));
    if ((word & HMM_PFN_VALID) === 0 || !pages.is(frame, PG_ANON)) return false;
    if (pages.isDevice(frame)) return false;
    return (word & HMM_PFN_WRITE) !== 0 || !pages.is(frame, PG_DUPLICATED);
  });
}

function hasFilePage(shadow: DeviceShadow, range: HmmRange): boolean {
  const { pages } = shadow.space.memory;
  return range.pfns.some(
    (word) => (word & HMM_PFN_VALID) !== 0 && pages.is(ptePfn(asPte(word)), PG_CACHED),
  );
}
