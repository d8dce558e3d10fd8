/**
 * Whatever tells devices may end in the middle, because its task is killed or because a device
 * throws: no event stays open, nothing stays locked, and the same can be done again.
 */
import { describe, expect, it } from "vitest";
import { type Result, vpn, vpnOf } from "../../../src/base/index.ts";
import { evictPagemap, protectForCopies } from "../../../src/devmem/index.ts";
import {
  type AddressSpace,
  Advice,
  changeProtNuma,
  fork,
  madvise,
  mmput,
  mprotect,
  mremap,
  munmap,
  poisonPage,
  SwapArea,
  VM_READ,
} from "../../../src/mm/index.ts";
import { type Sleeps, TaskState, YIELD } from "../../../src/sync/index.ts";
import {
  BASE,
  bytesOf,
  HUGE,
  hugeFrames,
  pageAt,
  RW,
  rangeAt,
  TestBacking,
  type TestWorld,
  testWorld,
} from "../test-world.ts";

interface Case {
  readonly build?: () => TestWorld;
  /** Pages 0 to 3 are there and written when it begins. */
  readonly prepare?: (world: TestWorld) => void;
  readonly act: (world: TestWorld) => Sleeps<unknown>;
}

function* locked<T>(space: AddressSpace, body: Sleeps<T>): Sleeps<T> {
  using _mmap = yield* space.mmapLock.acquireRead();
  return yield* body;
}

const protectAll = ({ space }: TestWorld): Sleeps<Result> =>
  locked(space, protectForCopies(space, vpnOf(BASE), vpn(vpnOf(BASE) + 4), {}));

function* forkAndLeave(space: AddressSpace): Sleeps<void> {
  const child = yield* fork(space);
  if (typeof child !== "number") yield* mmput(child);
}

const away = (world: TestWorld): unknown => world.toDevice(0, 4);
const hugeWorld = (): TestWorld => testWorld({ frames: hugeFrames(3), hugePages: "always" });
const poolWorld = (): TestWorld => testWorld({ frames: hugeFrames(4), hugetlbPages: 3 });
const mapHuge = (world: TestWorld): unknown => {
  world.map(HUGE, HUGE);
  return world.store(HUGE, 1);
};
const mapFile = (world: TestWorld, backing?: TestBacking): void => {
  const file = world.file(4, backing);
  world.map(8, 4, RW, { file, isShared: true });
  for (let page = 8; page < 12; page++) world.store(page, page);
};
const fileOf = (world: TestWorld) => world.vma(8).file!;
const copyAll = function* (): Sleeps<Result> {
  return 0;
};

const CASES: Readonly<Record<string, Case>> = {
  munmap: { act: ({ space }) => munmap(space, pageAt(1), bytesOf(2)) },
  mprotect: { act: ({ space }) => mprotect(space, pageAt(1), bytesOf(2), VM_READ) },
  mremap: {
    act: ({ space }) =>
      mremap(space, {
        start: pageAt(1),
        bytes: bytesOf(2),
        newBytes: bytesOf(3),
        newStart: pageAt(20),
      }),
  },
  "madvise dontneed": { act: ({ space }) => madvise(space, BASE, bytesOf(4), Advice.dontNeed) },
  fork: { act: ({ space }) => forkAndLeave(space) },
  "copy on write": {
    prepare: (world) => {
      world.map(8, 1);
      world.load(8);
    },
    act: (world) => world.cpu.store(pageAt(8), 1),
  },
  "a write to what devices have copies of": {
    prepare: (world) => world.run(protectAll(world)),
    act: (world) => world.cpu.store(pageAt(1), 1),
  },
  "protection for copies": { act: protectAll },
  "migration to a device": { act: ({ mirror }) => mirror.migrateToDevice(BASE, 4, () => {}) },
  "migration of what children share": {
    prepare: (world) => world.fork(),
    act: ({ mirror }) => mirror.migrateToDevice(BASE, 4, () => {}),
  },
  "migration of what is not there yet": {
    prepare: (world) => {
      world.map(8, 2);
      world.load(8);
    },
    act: ({ mirror }) => mirror.migrateToDevice(pageAt(8), 2, () => {}),
  },
  "migration home": { prepare: away, act: ({ mirror }) => mirror.migrateToRam(BASE, 4) },
  "a fault on a page that is away": { prepare: away, act: ({ cpu }) => cpu.load(pageAt(2)) },
  "emptying a device": {
    prepare: away,
    act: ({ memory, device }) => evictPagemap(memory, device.pagemap, copyAll),
  },
  "exclusive access": { act: ({ mirror }) => mirror.exclusive(BASE, 4, () => {}) },
  "a fault on an exclusive page": {
    prepare: (world) => world.exclusive(0, 4),
    act: ({ cpu }) => cpu.load(pageAt(2)),
  },
  swapping: {
    build: () => testWorld({ swap: new SwapArea(16) }),
    act: ({ space }) => madvise(space, BASE, bytesOf(4), Advice.pageOut),
  },
  "locking out": { act: ({ space }) => locked(space, changeProtNuma(space, rangeAt(0, 4))) },
  "a broken page": {
    prepare: (world) => world.fork(),
    act: ({ space }) => poisonPage(space, pageAt(1)),
  },
  "a file that gets shorter": {
    prepare: mapFile,
    act: (world) => fileOf(world).truncate(bytesOf(2)),
  },
  "a hole in a file": {
    prepare: mapFile,
    act: (world) => fileOf(world).punchHole(bytesOf(1), bytesOf(3)),
  },
  "writing a file back": {
    prepare: (world) => mapFile(world, new TestBacking(4)),
    act: (world) => fileOf(world).sync(),
  },
  "cutting a huge entry": {
    build: hugeWorld,
    prepare: mapHuge,
    act: ({ space }) => munmap(space, pageAt(HUGE + 8), bytesOf(8)),
  },
  "splitting a large page": {
    build: hugeWorld,
    prepare: mapHuge,
    act: ({ mirror }) => mirror.migrateToDevice(pageAt(HUGE + 8), 4, () => {}),
  },
  "a copy from the pool": {
    build: poolWorld,
    prepare: (world) => {
      world.map(HUGE, HUGE, RW, { isHugetlb: true });
      world.store(HUGE, 1);
      world.fork();
    },
    act: ({ cpu }) => cpu.store(pageAt(HUGE), 2),
  },
};

const MORE_EVENTS_THAN_ANY = 50;

const isOpen = (world: TestWorld): boolean =>
  [...world.memory.spaces].some(({ notifiers }) => notifiers.activeCount > 0);

/** Runs a case up to its event number `wanted`, and `strike`s there; false: it has no so many. */
function reaches(
  { build = testWorld, prepare, act }: Case,
  wanted: number,
  strike: "kill" | "throw",
): boolean {
  const world = build();
  world.map(0, 4);
  for (let page = 0; page < 4; page++) world.store(page, 10 + page);
  prepare?.(world);
  let events = 0;
  const listener = {
    *invalidateRangeStart(): Sleeps<Result> {
      if (events++ !== wanted) return 0;
      if (strike === "throw") throw new Error("a driver's own");
      for (let i = 0; i < 9; i++) yield YIELD;
      throw new Error("it was to be killed");
    },
  };
  const { scheduler } = world;
  for (const { notifiers } of world.memory.spaces) notifiers.register(listener);
  const task = scheduler.spawn("victim", act(world));
  task.observed = true;
  scheduler.afterStep = () => {
    if (strike === "kill" && events > wanted && !task.isSettled) scheduler.kill(task);
  };
  scheduler.run();
  scheduler.afterStep = undefined;
  const isHit = events > wanted;
  const ending = strike === "kill" ? TaskState.killed : TaskState.failed;
  expect(task.state).toBe(isHit ? ending : TaskState.done);
  expect(isOpen(world)).toBe(false);
  world.check();
  for (const { notifiers } of world.memory.spaces) world.run(notifiers.unregister(listener));
  if (isHit && world.space.users.count > 0) {
    world.run(act(world));
    world.check();
  }
  return isHit;
}

describe.each(Object.entries(CASES))("%s", (_name, each) => {
  it.each(["kill", "throw"] as const)(
    "leaves nothing open, whichever event a %s hits",
    (strike) => {
      let hits = 0;
      while (hits < MORE_EVENTS_THAN_ANY && reaches(each, hits, strike)) hits++;
      expect(hits).toBeGreaterThan(0);
      expect(hits).toBeLessThan(MORE_EVENTS_THAN_ANY);
    },
  );
});
