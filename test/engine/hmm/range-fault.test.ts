import { describe, expect, it } from "vitest";
import { EBUSY, EFAULT, EINVAL, ENOMEM, EPERM, vpnOf } from "../../../src/base/index.ts";
import { Dmirror, DmirrorDevice } from "../../../src/driver/dmirror/index.ts";
import {
  HMM_PFN_ERROR,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmRange,
  hmmRangeFault,
} from "../../../src/hmm/index.ts";
import {
  Advice,
  LEAF_PAGES,
  munmap,
  poisonPage,
  ptePfn,
  SwapArea,
  VM_READ,
} from "../../../src/mm/index.ts";
import { IntervalNotifier } from "../../../src/notifier/index.ts";
import { ZERO_PFN } from "../../../src/phys/index.ts";
import type { Sleeps } from "../../../src/sync/index.ts";
import { bytesOf, pageAt, RW, rangeAt, type TestWorld, testWorld } from "../test-world.ts";

const V = HMM_PFN_VALID;
const W = HMM_PFN_WRITE;
const READ = HMM_PFN_REQ_FAULT;
const WRITE = HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE;

function rangeOf(world: TestWorld, page: number, count: number, flags = 0): HmmRange {
  const range = rangeAt(page, count);
  const notifier = new IntervalNotifier(range);
  expect(world.space.notifiers.insert(notifier)).toBe(0);
  return {
    ...range,
    notifier,
    notifierSeq: notifier.seq,
    pfns: new Uint32Array(count),
    defaultFlags: flags,
    pfnFlagsMask: 0,
    devPrivateOwner: world.device,
  };
}

function* faultLocked(world: TestWorld, range: HmmRange): Sleeps<number> {
  using _mmap = yield* world.space.mmapLock.acquireRead();
  return yield* hmmRangeFault(world.space, range);
}

const fault = (world: TestWorld, range: HmmRange): number => world.run(faultLocked(world, range));

/** The flags of a page's word after a call with `flags`, or the error. */
function look(world: TestWorld, page: number, flags: number): string {
  const range = rangeOf(world, page, 1, flags);
  let result = fault(world, range);
  // A fault that raised an invalidation: look again, like every driver.
  if (result === -EBUSY) {
    range.notifierSeq = range.notifier.seq;
    result = fault(world, range);
  }
  const names = { [-EFAULT]: "EFAULT", [-EPERM]: "EPERM", [-EBUSY]: "EBUSY" };
  if (result !== 0) return names[result] ?? `${result}`;
  const word = range.pfns[0]!;
  if (word === HMM_PFN_ERROR) return "error";
  return `${word & V ? "V" : "-"}${word & W ? "W" : "-"}`;
}

/** What a page can be, and what a look finds: no request, to read, to write, "write" alone. */
const TRUTH: readonly (readonly [string, (world: TestWorld) => void, readonly string[]])[] = [
  ["never touched", (world) => void world.map(0, 1), ["--", "V-", "VW", "--"]],
  [
    "never touched, read-only",
    (world) => void world.map(0, 1, VM_READ),
    ["--", "V-", "EPERM", "--"],
  ],
  ["the zero page", zeroPage, ["V-", "V-", "VW", "V-"]],
  ["written", written, ["VW", "VW", "VW", "VW"]],
  ["on this device", onDevice, ["VW", "VW", "VW", "VW"]],
  ["on another device", onOtherDevice, ["--", "VW", "VW", "--"]],
  [
    "of an unreadable Vma",
    (world) => void world.map(0, 1, 0),
    ["error", "EFAULT", "EFAULT", "error"],
  ],
  ["in a hole", () => {}, ["error", "EFAULT", "EFAULT", "error"]],
];

function zeroPage(world: TestWorld): void {
  world.map(0, 1);
  world.load(0);
}

function written(world: TestWorld): void {
  world.map(0, 1);
  world.store(0, 7);
}

function onDevice(world: TestWorld): void {
  written(world);
  world.toDevice(0, 1);
}

function onOtherDevice(world: TestWorld): void {
  written(world);
  const other = new DmirrorDevice(world.memory, { name: "dmirror1", frames: 2 });
  const mirror = Dmirror.open(other, world.space) as Dmirror;
  world.shadows.push(mirror);
  expect(world.run(mirror.migrateToDevice(pageAt(0), 1, () => {})).result).toBe(0);
}

describe("a look at a page that is", () => {
  it.each(TRUTH)("%s", (_name, setUp, expected) => {
    const found = [0, READ, WRITE, HMM_PFN_REQ_WRITE].map((flags) => {
      const world = testWorld();
      setUp(world);
      return look(world, 0, flags);
    });
    expect(found).toEqual(expected);
  });
});

const GONE = ["--", "EFAULT", "EFAULT", "--"];

/** The same for what is not there now: it is faulted in, or nobody can. */
const AWAY: readonly (readonly [string, (world: TestWorld) => unknown, readonly string[]])[] = [
  ["in swap", (world) => world.advise(0, 1, Advice.pageOut), ["--", "VW", "VW", "--"]],
  ["exclusive to a device", (world) => world.exclusive(0, 1), ["--", "VW", "VW", "--"]],
  ["locked out for NUMA balancing", (world) => world.lockOut(0, 1), ["--", "VW", "VW", "--"]],
  ["behind a guard", (world) => world.advise(0, 1, Advice.guardInstall), GONE],
  ["broken", (world) => world.run(poisonPage(world.space, pageAt(0))), GONE],
];

describe("a look at a page that is written, and now", () => {
  it.each(AWAY)("%s", (_name, setUp, expected) => {
    const found = [0, READ, WRITE, HMM_PFN_REQ_WRITE].map((flags) => {
      const world = testWorld({ swap: new SwapArea(4) });
      written(world);
      setUp(world);
      return look(world, 0, flags);
    });
    expect(found).toEqual(expected);
  });
});

describe("hmmRangeFault", () => {
  it.each([
    ["success", READ, [0, 2]],
    ["an error", WRITE, [-EPERM, 1]],
    ["a collision", READ, [-EBUSY, 0]],
  ])("keeps mmapLock, and says where it stopped: %s", (what, flags, expected) => {
    const world = testWorld();
    world.map(0, 1);
    world.map(1, 1, VM_READ);
    const range = rangeOf(world, 0, 2, flags);
    if (what === "a collision") world.unmap(0, 1);
    function* locked(): Sleeps<unknown[]> {
      using _mmap = yield* world.space.mmapLock.acquireRead();
      const result = yield* hmmRangeFault(world.space, range);
      world.space.mmapLock.assertHeld();
      return [result, range.last! - vpnOf(range.start)];
    }
    expect(world.run(locked())).toEqual(expected);
  });

  it("gives frames and the two bits that a device may see, nothing else", () => {
    const world = testWorld();
    written(world);
    const frame = ptePfn(world.pte(0));
    const range = rangeOf(world, 0, 1);
    fault(world, range);
    expect(range.pfns[0]).toBe((frame << 8) | V | W);
    world.toDevice(0, 1);
    const again = rangeOf(world, 0, 1);
    fault(world, again);
    expect(again.pfns[0]).toBe((ptePfn(world.pte(0)) << 8) | V | W);
  });

  it("honours a page's own request where the mask lets it count", () => {
    const world = testWorld();
    world.map(0, 4);
    const range = { ...rangeOf(world, 0, 4), pfnFlagsMask: WRITE };
    range.pfns.set([READ, WRITE, 0, READ]);
    expect(fault(world, range)).toBe(0);
    // Nothing is faulted in, or for writing, that nobody asked for.
    expect(Array.from(range.pfns, (word) => word & 0xff)).toEqual([V, V | W, 0, V]);
    expect([0, 2, 3].map((page) => ptePfn(world.pte(page)))).toEqual([ZERO_PFN, 0, ZERO_PFN]);
    const deaf = { ...rangeOf(world, 0, 1), pfnFlagsMask: 0 };
    deaf.pfns[0] = WRITE;
    expect([fault(world, deaf), deaf.pfns[0]! & 0xff]).toEqual([0, V]);
  });

  it.each([
    ["leaves pages of the caller's own where they are when pages have their own requests", WRITE],
    ["takes them home with their neighbours when all have the same, as Linux does", 0],
  ])("%s", (_what, pfnFlagsMask) => {
    const world = testWorld();
    world.map(1, 2);
    for (const page of [1, 2]) world.store(page, page);
    expect(world.toDevice(1, 1)).toBe(0);
    world.map(0, 1);
    const own = { pfnFlagsMask, devPrivateOwner: world.device };
    const range = { ...rangeOf(world, 0, 3), defaultFlags: READ, ...own };
    while (fault(world, range) === -EBUSY) range.notifierSeq = range.notifier.seq;
    expect(Array.from(range.pfns, (word) => word & V)).toEqual([V, V, V]);
    expect(world.memory.isPrivate(world.frame(1))).toBe(pfnFlagsMask !== 0);
  });

  it("keeps what it found before the page that fails", () => {
    const world = testWorld();
    world.map(0, 2);
    world.map(3, 1);
    const range = rangeOf(world, 0, 4, READ);
    range.pfns.fill(0xabc00);
    expect(fault(world, range)).toBe(-EFAULT);
    const [a, b, hole, after] = range.pfns;
    expect([a! & V, b! & V, hole, after]).toEqual([V, V, 0xabc00, 0xabc00]);
  });

  it("is busy when somebody invalidated since the sequence was read", () => {
    const world = testWorld();
    written(world);
    const range = rangeOf(world, 0, 1, READ);
    world.run(munmap(world.space, pageAt(0), bytesOf(1)));
    expect(fault(world, range)).toBe(-EBUSY);
    expect([range.pfns[0], world.count("hmm:retry")]).toEqual([0, 1]);
    expect(look(world, 0, READ)).toBe("EFAULT");
  });

  it("is busy after a fault of its own that invalidated", () => {
    const world = testWorld();
    zeroPage(world);
    const range = rangeOf(world, 0, 1, WRITE);
    expect(fault(world, range)).toBe(-EBUSY);
    range.notifierSeq = range.notifier.seq;
    expect([fault(world, range), range.pfns[0]! & 0xff]).toEqual([0, V | W]);
  });

  it("passes on that memory is out", () => {
    const world = testWorld({ frames: 1 });
    world.map(0, 2);
    world.store(0, 1);
    expect(fault(world, rangeOf(world, 1, 1, WRITE))).toBe(-ENOMEM);
  });

  it("copies a leaf that is readable throughout, and finds the same as a walk", () => {
    const world = testWorld({ frames: LEAF_PAGES });
    world.map(0, LEAF_PAGES);
    for (let page = 0; page < LEAF_PAGES; page++) {
      if (page % 3 === 0) world.store(page, page);
      else world.load(page);
    }
    const whole = rangeOf(world, 0, LEAF_PAGES);
    const parts = [rangeOf(world, 0, 100), rangeOf(world, 100, LEAF_PAGES - 100)];
    for (const range of [whole, ...parts]) expect(fault(world, range)).toBe(0);
    expect([...whole.pfns]).toEqual(parts.flatMap((part) => [...part.pfns]));
    expect(whole.pfns[3]! & 0xff).toBe(V | W);
  });

  it("walks over Vmas and leaves in one go", () => {
    const world = testWorld({ frames: 8 });
    const edge = LEAF_PAGES - 2;
    world.map(edge, 2, VM_READ);
    world.map(LEAF_PAGES, 2, RW);
    const range = rangeOf(world, edge, 4, READ);
    expect(fault(world, range)).toBe(0);
    expect(Array.from(range.pfns, (word) => word & 0xff)).toEqual([V, V, V, V]);
  });

  it("needs pages, room for them, and mmapLock", () => {
    const world = testWorld();
    const range = rangeOf(world, 0, 2);
    expect(fault(world, { ...range, end: range.start })).toBe(-EINVAL);
    expect(() => fault(world, { ...range, pfns: new Uint32Array(1) })).toThrow(/too short/);
    expect(() => world.run(hmmRangeFault(world.space, range))).toThrow(/needs mmapLock/);
    expect(vpnOf(range.end) - vpnOf(range.start)).toBe(2);
  });
});
