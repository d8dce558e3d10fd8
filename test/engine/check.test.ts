import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { assert, PAGE_SIZE, type Pfn, vpnOf } from "../../src/base/index.ts";
import { REACH_COPY, REACH_EXCLUSIVE } from "../../src/check/index.ts";
import {
  Advice,
  asPte,
  makePte,
  PTE_DEVICE_PRIVATE,
  PTE_HUGE,
  PTE_MIGRATION,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  SwapArea,
  VM_READ,
  type Vma,
} from "../../src/mm/index.ts";
import { IntervalNotifier, Invalidation, MMU_NOTIFY_CLEAR } from "../../src/notifier/index.ts";
import {
  PG_DUPLICATED,
  PG_EXCLUSIVE,
  PG_LOCKED,
  ZERO_PFN,
  type Zone,
} from "../../src/phys/index.ts";
import type { Sleeps } from "../../src/sync/index.ts";
import { BASE, HUGE, rangeAt, TestWorld } from "./test-world.ts";

const FIRST = vpnOf(BASE);

/** Page 0 written by CPU and device, page 1 read, page 2 on the device. All is well. */
function build() {
  const world = new TestWorld({ swap: new SwapArea(4) });
  world.map(0, 4);
  for (const page of [0, 2]) world.store(page, 1);
  world.deviceStore(0, 2);
  world.load(0);
  world.load(1);
  world.toDevice(2, 1);
  world.check();
  const { pages } = world.memory;
  return { world, pages, frame: ptePfn(world.pte(0)) };
}

type Built = ReturnType<typeof build>;

/** Past the cursor: counts and shadows do not follow. */
const poke = ({ world }: Built, page: number, pte: Pte): void =>
  world.space.pageTable.set((FIRST + page) as typeof FIRST, pte);

const without = (pte: Pte, flags: number): Pte => ((pte & ~flags) >>> 0) as Pte;

function open({ world }: Built): void {
  const event = new Invalidation({ ...rangeAt(0, 1), event: MMU_NOTIFY_CLEAR });
  const task = world.scheduler.spawn("forgets to end", world.space.notifiers.start(event));
  task.observed = true;
  world.scheduler.run();
}

function keepLock({ world }: Built): void {
  function* forget(): Sleeps<void> {
    yield* world.space.mmapLock.acquireRead();
  }
  const task = world.scheduler.spawn("forgets to unlock", forget());
  task.observed = true;
  world.scheduler.run();
}

type Wrong = readonly [RegExp, (built: Built) => void];

/** Law, as its file is called -> what breaks it, and what is said then. */
const WRONGS: Readonly<Record<string, readonly Wrong[]>> = {
  "fact-within-intent": [
    [/mapped outside every Vma/, ({ world }) => world.space.vmas.detach(BASE, rangeAt(0, 1).end)],
    [/is writable, its Vma is not/, ({ world }) => setRights(world, VM_READ)],
    [/is readable, its Vma is not/, ({ world }) => setRights(world, 0)],
    [/Vma .* is out of order/, ({ world }) => Object.assign(world.vma(0), { end: BASE })],
  ],
  "shadow-within-fact": [
    [/dmirror0 at .* names another frame/, shadow(() => writable(3 as Pfn))],
    [/dmirror0 at .*: the page table gives nothing there/, deviceReaches],
    [/dmirror0 at .* may write too much/, deviceWrites],
    [/CPU at .* names another frame/, cpuShadow((entry) => entry ^ (1 << 12))],
    [
      /CPU at .*: the page table gives nothing there/,
      (built) => poke(built, 0, lockedOut(built.frame)),
    ],
    [/CPU at .* may write too much/, cpuWrites],
    [/other at .* is a copy of a page that can change/, other(REACH_COPY)],
    [/other at .*: the page does not know that it has a copy/, copied],
    [/other at .* believes that it has the page for itself/, other(REACH_EXCLUSIVE)],
    [/other at .* and dmirror0 both have the page alone/, bothAlone],
  ],
  places: [
    [/wrong memory/, (built) => poke(built, 2, writable(ptePfn(built.world.pte(2))))],
    [
      /not on a device/,
      (built) => poke(built, 0, makePte(built.frame, PTE_DEVICE_PRIVATE | PTE_WRITE)),
    ],
    [
      /its bytes are not at its address/,
      ({ world }) => Object.assign(world.space, { isIdentity: true }),
    ],
  ],
  writers: [
    [/writable and has copies/, ({ pages, frame }) => pages.setFlag(frame, PG_DUPLICATED)],
    [/could write the zero page/, (built) => poke(built, 1, writable(ZERO_PFN))],
    [
      /could write a page that others see/,
      ({ pages, frame }) => pages.clearFlag(frame, PG_EXCLUSIVE),
    ],
  ],
  "reverse-maps": [
    [/Vma .* is missing in a reverse map/, forgetVma],
    [/not in its reverse map/, ({ pages, frame }) => set(pages.mapping, frame, 0)],
    [/wrong index/, ({ pages, frame }) => set(pages.index, frame, 77)],
  ],
  "huge-entries": [
    [/huge or not/, (built) => poke(built, 0, asPte(built.world.pte(0) | PTE_HUGE))],
    [/not in step with its huge entry/, outOfStep],
  ],
  references: [
    [/map count is wrong/, ({ pages, frame }) => set(pages.mapcount, frame, 2)],
    [/has 2 references, 1 are known/, ({ pages, frame }) => pages.get(frame)],
    [/is mapped and free/, ({ pages, frame }) => set(pages.refs, frame, 0)],
    [/has too few references/, ({ pages, frame }) => set(pages.pins, frame, 3)],
    [/is exclusive and mapped 2x/, sharedExclusive],
    [/stays locked/, ({ pages, frame }) => pages.setFlag(frame, PG_LOCKED)],
    [/zero page: 3 references, 2 are known/, ({ pages }) => pages.get(ZERO_PFN)],
  ],
  "leaf-counts": [
    [/leaf 128: 3,2,2 used, valid, writable entries are counted, not 3,2,1/, writtenPast],
  ],
  zones: [[/zone ram counts 9 used frames, has 1/, ({ world }) => miscount(world.memory.ram)]],
  charges: [
    [/rss of space 1 is 0, 3, 0, 0, not 0, 2, 0, 0/, ({ world }) => world.space.rss[1]!++],
    [/frames are charged, the group says/, ({ pages, frame }) => set(pages.charged, frame, 0)],
  ],
  "swap-slots": [
    [
      /1 swap slots are used, entries name 0/,
      ({ world }) => world.memory.swap.store(new Uint8Array(PAGE_SIZE)),
    ],
  ],
  notifiers: [
    [/counts 1 open events, there are 0/, (built) => subscribe(built, { active: 1, seq: 1 })],
    [/its sequence did not move/, (built) => subscribe(built, { seq: -1 })],
  ],
  "at-rest": [
    [/migrating for ever/, (built) => poke(built, 0, makePte(built.frame, PTE_MIGRATION))],
    [/mmapLock of space 1 is held by nobody/, keepLock],
    [/an invalidation was never ended/, open],
    [/somebody who does not run goes first/, keepPrecedence],
    [/dmirror0 has lost a page/, loseBooks],
  ],
};

const writable = (frame: Pfn): Pte => makePte(frame, PTE_VALID | PTE_WRITE);
const lockedOut = (frame: Pfn): Pte => makePte(frame, 1 << 6);

function set(column: Int32Array | Uint8Array, index: number, value: number): void {
  column[index] = value;
}

function setRights(world: TestWorld, flags: number): void {
  world.vma(0).flags = flags;
}

function shadow(change: (pte: Pte) => Pte): (built: Built) => void {
  return ({ world }) => world.mirror.table.set(FIRST, change(world.deviceEntry(0)));
}

function cpuShadow(change: (entry: number) => number): (built: Built) => void {
  return ({ world }) => {
    const tlb = world.cpu.tlb as Map<typeof FIRST, number>;
    tlb.set(FIRST, change(tlb.get(FIRST)!));
  };
}

function deviceReaches(built: Built): void {
  poke(built, 0, lockedOut(built.frame));
  built.world.cpu.revoke(FIRST, (FIRST + 1) as typeof FIRST);
}

function deviceWrites(built: Built): void {
  poke(built, 0, without(built.world.pte(0), PTE_WRITE));
  built.world.cpu.revoke(FIRST, (FIRST + 1) as typeof FIRST);
}

function cpuWrites(built: Built): void {
  poke(built, 0, without(built.world.pte(0), PTE_WRITE));
  const { world } = built;
  world.mirror.table.set(FIRST, without(world.deviceEntry(0), PTE_WRITE));
}

/** What somebody else reaches of page 0. */
function other(reach: number, name = "other"): (built: Built) => void {
  return ({ world, frame }) => {
    world.shadows.push({
      name,
      space: world.space,
      isCpu: false,
      forEachReachable: (visit) => visit(FIRST, frame, reach),
    });
  };
}

function copied(built: Built): void {
  const { world } = built;
  world.mirror.table.set(FIRST, PTE_NONE);
  world.cpu.revoke(FIRST, (FIRST + 1) as typeof FIRST);
  poke(built, 0, without(world.pte(0), PTE_WRITE));
  other(REACH_COPY)(built);
}

function bothAlone(built: Built): void {
  expect(built.world.exclusive(0, 1)).toBe(0);
  other(REACH_EXCLUSIVE)(built);
}

function forgetVma({ world }: Built): void {
  const vmas = world.vma(0).anonChain[0]!.vmas as Vma[];
  vmas.splice(vmas.indexOf(world.vma(0)), 1);
}

function outOfStep({ world }: Built): void {
  const at = 2 * HUGE;
  world.map(at, HUGE);
  world.advise(at, HUGE, Advice.hugePage);
  world.load(at);
  expect(world.isHuge(at)).toBe(true);
  const leaf = world.space.pageTable.leafOf((FIRST + at) as typeof FIRST)!;
  leaf[5] = leaf[5]! ^ PTE_WRITE;
}

/** A word that is written in place, and nobody counts it. */
function writtenPast({ world }: Built): void {
  const leaf = world.space.pageTable.leafOf(FIRST)!;
  const at = FIRST % leaf.length;
  leaf[at + 2] = leaf[at + 2]! ^ PTE_WRITE;
  world.mirror.table.set((FIRST + 2) as typeof FIRST, PTE_NONE);
}

function sharedExclusive(built: Built): void {
  built.world.fork();
  built.pages.setFlag(ptePfn(built.world.pte(0)), PG_EXCLUSIVE);
}

function miscount(zone: Zone): void {
  Object.defineProperty(zone, "usedCount", { value: 9 });
}

function subscribe({ world }: Built, counters: Partial<IntervalNotifier>): void {
  const notifier = new IntervalNotifier(rangeAt(0, 1));
  expect(world.space.notifiers.insert(notifier)).toBe(0);
  Object.assign(notifier, counters);
}

function keepPrecedence({ world }: Built): void {
  const { memory, scheduler, space } = world;
  scheduler.spawn("forgets", memory.precedence.take(space.notifiers, rangeAt(0, 1))).observed =
    true;
  scheduler.run();
}

function loseBooks({ world }: Built): void {
  const { mirror } = world;
  Object.assign(mirror, { checkBooks: () => assert(false, `${mirror.name} has lost a page`) });
}

const CASES = Object.entries(WRONGS).flatMap(([law, wrongs]) =>
  wrongs.map(([message, spoil]) => ({ law, message, spoil })),
);

describe("the checker", () => {
  it.each(CASES)("sees what breaks $law: $message", ({ message, spoil }) => {
    const built = build();
    spoil(built);
    expect(() => built.world.check()).toThrow(message);
  });

  it("has a plant for every law", () => {
    const rooms = new URL("../../src/check/", import.meta.url);
    const isLaw = (file: string): boolean =>
      /^\/\*\*(\n \*)? Law: /.test(readFileSync(new URL(file, rooms), "utf8"));
    const laws = readdirSync(rooms).filter(isLaw);
    expect(laws.sort()).toEqual(
      Object.keys(WRONGS)
        .map((law) => `${law}.ts`)
        .sort(),
    );
  });

  it("sees at the end what is left", () => {
    const { world, frame } = build();
    world.memory.pages.get(frame);
    expect(() => world.exit()).toThrow(/1 frames of ram leaked|references, 0 are known/);
  });

  it("lets shadows lag behind only while an invalidation is open on them", () => {
    const built = build();
    shadow(() => writable(3 as Pfn))(built);
    expect(() => built.world.check({ isQuiet: false })).toThrow(/names another frame/);
    open(built);
    built.world.check({ isQuiet: false });
  });

  it("counts references that somebody is known to hold, and those of a shadow", () => {
    const { world, pages, frame } = build();
    pages.get(frame);
    world.check({ held: new Map([[frame, 1]]) });
    const holder = Object.create(world.mirror, { held: { value: [frame] } });
    holder.forEachReachable = () => {};
    world.check({ shadows: [holder] });
    pages.put(frame);
    world.exit();
  });
});
