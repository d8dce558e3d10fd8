import { describe, expect, it } from "vitest";
import { type Pfn, vpnOf } from "../../src/base/index.ts";
import {
  makePte,
  PTE_DEVICE_PRIVATE,
  PTE_MIGRATION,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  VM_READ,
} from "../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../src/notifier/index.ts";
import { PG_DUPLICATED, PG_LOCKED, ZERO_PFN } from "../../src/phys/index.ts";
import type { Sleeps } from "../../src/sync/index.ts";
import { BASE, rangeAt, TestWorld } from "./test-world.ts";

const FIRST = vpnOf(BASE);

/** Page 0 written by CPU and device, page 1 read, page 2 on the device. All is well. */
function build() {
  const world = new TestWorld();
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

const WRONGS: readonly (readonly [RegExp, (built: Built) => void])[] = [
  [/rss of space 1 is 0, 3, 0, 0, not 0, 2, 0, 0/, ({ world }) => world.space.rss[1]!++],
  [/mapped outside every Vma/, ({ world }) => world.space.vmas.detach(BASE, rangeAt(0, 1).end)],
  [/is writable, its Vma is not/, ({ world }) => setRights(world, VM_READ)],
  [/is readable, its Vma is not/, ({ world }) => setRights(world, 0)],
  [/writable and has copies/, ({ pages, frame }) => pages.setFlag(frame, PG_DUPLICATED)],
  [/could write the zero page/, (built) => poke(built, 1, writable(ZERO_PFN))],
  [/wrong memory/, (built) => poke(built, 2, writable(ptePfn(built.world.pte(2))))],
  [
    /wrong memory|not on a device/,
    (built) => poke(built, 0, makePte(built.frame, PTE_DEVICE_PRIVATE | PTE_WRITE)),
  ],
  [/migrating for ever/, (built) => poke(built, 0, makePte(built.frame, PTE_MIGRATION))],
  [/dmirror0 at .* names another frame/, shadow(() => writable(3 as Pfn))],
  [
    /CPU at .*: the page table gives nothing there/,
    (built) => poke(built, 0, lockedOut(built.frame)),
  ],
  [/dmirror0 at .*: the page table gives nothing there/, deviceReaches],
  [/dmirror0 at .* may write too much/, deviceWrites],
  [/CPU at .* names another frame/, cpuShadow((entry) => entry ^ (1 << 12))],
  [/CPU at .* may write too much/, cpuWrites],
  [/map count is wrong/, ({ pages, frame }) => set(pages.mapcount, frame, 2)],
  [/has 2 references, 1 are known/, ({ pages, frame }) => pages.get(frame)],
  [/mapped and free|used without a reference/, ({ pages, frame }) => set(pages.refs, frame, 0)],
  [/stays locked/, ({ pages, frame }) => pages.setFlag(frame, PG_LOCKED)],
  [/frames are charged, the group says/, ({ pages, frame }) => set(pages.charged, frame, 0)],
  [/zero page: 3 references/, ({ pages }) => pages.get(ZERO_PFN)],
  [/mmapLock of space 1 is held by nobody/, keepLock],
  [/an invalidation was never ended/, open],
];

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

describe("the checker", () => {
  it.each(WRONGS)("sees what is wrong: %s", (message, spoil) => {
    const built = build();
    spoil(built);
    expect(() => built.world.check()).toThrow(message);
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

  it("counts references that somebody is known to hold", () => {
    const { world, pages, frame } = build();
    pages.get(frame);
    world.check({ held: new Map([[frame, 1]]) });
    pages.put(frame);
    world.exit();
  });
});
