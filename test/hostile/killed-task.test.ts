import { describe, expect, it } from "vitest";
import { EFAULT, type Result, vpn, vpnOf } from "../../src/base/index.ts";
import { protectForCopies } from "../../src/devmem/index.ts";
import { Mirror } from "../../src/hmm/index.ts";
import {
  Advice,
  CachedFile,
  changeProtNuma,
  fork,
  MapMode,
  madvise,
  madviseDontNeed,
  mmap,
  mmput,
  mprotect,
  mremap,
  munmap,
  pinPages,
  poisonPage,
  unpinPages,
  VM_READ,
} from "../../src/mm/index.ts";
import type { Sleeps } from "../../src/sync/index.ts";
import { BASE, bytesOf, pageAt, RW, rangeAt, type TestWorld } from "../engine/test-world.ts";
import { killAtEveryStep, type Scenario } from "./kill-each-step.ts";

const SEEDS = 12;
const FIRST = vpnOf(BASE);

/** Pages 0 to 5: 0 and 1 written, 2 read, 3 written and on the device, 4 untouched, 5 written. */
function setUp(world: TestWorld): void {
  world.map(0, 6);
  for (const page of [0, 1, 3, 5]) world.store(page, 100 + page);
  world.load(2);
  world.toDevice(3, 1);
  world.deviceLoad(0);
}

const device = (world: TestWorld): Sleeps<unknown> => world.mirror.read(pageAt(0), 4, () => {});
const cpu = (world: TestWorld, page: number): Sleeps<unknown> => world.cpu.load(pageAt(page));

/** They keep the device's lock and the page locks busy, so that the victim has to wait. */
const rivals = (world: TestWorld): readonly Sleeps<unknown>[] => [
  device(world),
  cpu(world, 3),
  world.mirror.snapshot(pageAt(0), 6, new Uint8Array(6)),
];

function* pinAndUnpin(world: TestWorld): Sleeps<void> {
  const failure = { address: pageAt(0) };
  const pinned = yield* pinPages(world.space, rangeAt(0, 5), { write: true, failure });
  if (typeof pinned === "number") return;
  try {
    using _mmap = yield* world.space.mmapLock.acquireRead();
  } finally {
    unpinPages(pinned);
  }
}

function* protectCopies(world: TestWorld): Sleeps<Result> {
  using _mmap = yield* world.space.mmapLock.acquireRead();
  return yield* protectForCopies(world.space, FIRST, vpn(FIRST + 6), {});
}

function* mirrorLoop(world: TestWorld): Sleeps<Result> {
  const mirror = (yield* Mirror.register(world.space, {
    ops: {
      *syncCpuDevicePagetables() {
        using _update = yield* world.mirror.lock.acquire();
        return true;
      },
    },
  })) as Mirror;
  const range = mirror.range(rangeAt(0, 6));
  if (typeof range === "number") return range;
  using _registered = range;
  yield* range.waitUntilValid();
  return yield* range.fault({ write: true });
}

function* forkAndExit(world: TestWorld): Sleeps<void> {
  const child = yield* fork(world.space);
  if (typeof child !== "number") yield* mmput(child);
}

function* changeNuma(world: TestWorld): Sleeps<Result> {
  using _mmap = yield* world.space.mmapLock.acquireRead();
  return yield* changeProtNuma(world.space, rangeAt(0, 6));
}

/** A file of 4 pages, mapped shared at page 10, all of it touched by the victim itself. */
function* mapFile(world: TestWorld): Sleeps<CachedFile> {
  const file = new CachedFile(world.memory, { name: "victim's", bytes: bytesOf(4) });
  try {
    const options = { start: pageAt(10), bytes: bytesOf(4), flags: RW, file, isShared: true };
    yield* mmap(world.space, { ...options, mode: MapMode.noReplace });
    yield* world.cpu.store(pageAt(11), 5);
    yield* world.mirror.read(pageAt(10), 4, () => {});
  } finally {
    file.put();
  }
  return file;
}

function* cutFile(world: TestWorld): Sleeps<void> {
  const file = yield* mapFile(world);
  yield* file.truncate(bytesOf(1));
}

function* punchHole(world: TestWorld): Sleeps<void> {
  yield* mapFile(world);
  yield* madvise(world.space, pageAt(10), bytesOf(3), Advice.remove);
}

const VICTIMS: Readonly<Record<string, (world: TestWorld) => Sleeps<unknown>>> = {
  "stores to the zero page": (world) => world.cpu.store(pageAt(2), 1),
  "stores to an untouched page": (world) => world.cpu.store(pageAt(4), 1),
  "stores to a page on the device": (world) => world.cpu.store(pageAt(3), 1),
  mmap: (world) => mmap(world.space, { bytes: bytesOf(4), flags: RW }),
  madvise: (world) => madviseDontNeed(world.space, pageAt(0), bytesOf(5)),
  "mprotect in the middle": (world) => mprotect(world.space, pageAt(1), bytesOf(3), VM_READ),
  "mprotect to nothing": (world) => mprotect(world.space, pageAt(0), bytesOf(6), 0),
  "migrates to the device": (world) => world.mirror.migrateToDevice(pageAt(0), 6, () => {}),
  "migrates to RAM": (world) => world.mirror.migrateToRam(pageAt(0), 6),
  "reads by the device": device,
  "writes by the device": (world) =>
    world.mirror.write(pageAt(0), 6, (_page, bytes) => bytes.fill(1)),
  "takes a snapshot": (world) => world.mirror.snapshot(pageAt(0), 6, new Uint8Array(6)),
  pins: pinAndUnpin,
  "protects for copies": protectCopies,
  "uses a mirror": mirrorLoop,
  "mremap elsewhere": (world) =>
    mremap(world.space, {
      start: pageAt(0),
      bytes: bytesOf(5),
      newBytes: bytesOf(6),
      newStart: pageAt(20),
    }),
  "mremap to less": (world) =>
    mremap(world.space, { start: pageAt(0), bytes: bytesOf(6), newBytes: bytesOf(2) }),
  forks: forkAndExit,
  "takes pages for the device alone": (world) => world.mirror.exclusive(pageAt(0), 6, () => {}),
  "evicts the device": (world) => world.device.evictAll(),
  "locks out for NUMA balancing": changeNuma,
  "installs guards": (world) => madvise(world.space, pageAt(0), bytesOf(5), Advice.guardInstall),
  "sends pages to swap": (world) => madvise(world.space, pageAt(0), bytesOf(6), Advice.pageOut),
  "populates for writing": (world) =>
    madvise(world.space, pageAt(0), bytesOf(6), Advice.populateWrite),
  "cuts a file": cutFile,
  "punches a hole": punchHole,
  "poisons a page": (world) => poisonPage(world.space, pageAt(0)),
};

describe("a task that is killed, at whatever step, while it", () => {
  it.each(Object.entries(VICTIMS))("%s leaves a world that adds up", (_name, victim) => {
    const scenario: Scenario = { setUp, victim, rivals };
    expect(killAtEveryStep(scenario, SEEDS).kills).toBeGreaterThan(SEEDS);
  });

  it("unmaps has unmapped all or nothing", () => {
    let undone = 0;
    const scenario: Scenario = {
      setUp,
      rivals,
      victim: (world) => munmap(world.space, pageAt(0), bytesOf(4)),
      afterwards(world, isKilled) {
        const found = [0, 1, 2, 3, 4, 5].map((page) => world.load(page));
        const before = [100, 101, 0, 103, 0, 105];
        const after = [-EFAULT, -EFAULT, -EFAULT, -EFAULT, 0, 105];
        expect(found).toEqual(found[0] === 100 ? before : after);
        if (!isKilled) expect(found).toEqual(after);
        if (found[0] === 100) {
          undone++;
          expect(world.space.vmas.all.length).toBe(1);
        }
      },
    };
    expect(killAtEveryStep(scenario, SEEDS).kills).toBeGreaterThan(SEEDS);
    expect(undone).toBeGreaterThan(SEEDS);
  });

  it("protects has changed all of a Vma or nothing", () => {
    const scenario: Scenario = {
      setUp,
      rivals,
      victim: (world) => mprotect(world.space, pageAt(1), bytesOf(3), VM_READ),
      afterwards(world, isKilled) {
        const stored = [0, 1, 2, 3, 4, 5].map((page) => world.store(page, 1));
        const isDone = stored[1] !== 0;
        expect(stored).toEqual(isDone ? [0, -EFAULT, -EFAULT, -EFAULT, 0, 0] : [0, 0, 0, 0, 0, 0]);
        expect(world.space.vmas.all.length).toBe(isDone ? 3 : 1);
        if (!isKilled) expect(isDone).toBe(true);
      },
    };
    expect(killAtEveryStep(scenario, SEEDS).kills).toBeGreaterThan(SEEDS);
  });

  it("replaces a mapping has the old one or the new one or none", () => {
    const scenario: Scenario = {
      setUp,
      rivals,
      victim: (world) =>
        mmap(world.space, {
          start: pageAt(0),
          bytes: bytesOf(2),
          flags: VM_READ,
          mode: MapMode.fixed,
        }),
      afterwards(world) {
        const found = [0, 1].map((page) => world.load(page));
        expect([
          [100, 101],
          [0, 0],
          [-EFAULT, -EFAULT],
        ]).toContainEqual(found);
      },
    };
    expect(killAtEveryStep(scenario, SEEDS).kills).toBeGreaterThan(SEEDS);
  });

  it("stores has stored or not, and no other page has changed", () => {
    for (const page of [0, 2, 3]) {
      const before = [100, 101, 0, 103, 0, 105];
      const scenario: Scenario = {
        setUp,
        rivals,
        victim: (world) => world.cpu.store(pageAt(page), 7),
        afterwards(world) {
          const found = before.map((_, each) => world.load(each));
          expect([before[page], 7]).toContain(found[page]);
          found[page] = before[page]!;
          expect(found).toEqual(before);
        },
      };
      killAtEveryStep(scenario, SEEDS);
    }
  });

  it("migrates loses no byte", () => {
    for (const move of ["migrateToDevice", "migrateToRam"] as const) {
      const scenario: Scenario = {
        setUp,
        rivals,
        victim: (world) =>
          move === "migrateToRam"
            ? world.mirror.migrateToRam(pageAt(0), 6)
            : world.mirror.migrateToDevice(pageAt(0), 6, () => {}),
        afterwards(world) {
          const found = [0, 1, 2, 3, 4, 5].map((page) => world.deviceLoad(page));
          expect(found).toEqual([100, 101, 0, 103, 0, 105]);
        },
      };
      expect(killAtEveryStep(scenario, SEEDS).kills).toBeGreaterThan(SEEDS);
    }
  });

  it("waits for the end of the space does not keep it from ending", () => {
    const scenario: Scenario = {
      setUp,
      victim: (world) => mmput(world.space),
      rivals: (world) => [device(world)],
      afterwards(world) {
        // Killed before it gave its use back, somebody else has to.
        expect(world.count("mm:exit")).toBe(world.space.users.count === 0 ? 1 : 0);
      },
    };
    expect(killAtEveryStep(scenario, SEEDS).kills).toBeGreaterThan(SEEDS);
  });
});
