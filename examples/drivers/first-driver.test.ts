/** The first driver: each path, random schedules around it, and what its wrong versions cost. */

import { describe, expect, it } from "vitest";
import { EAGAIN, EFAULT, EINVAL, EPERM, PAGE_SIZE, virtAddr, vpnOf } from "../../src/base/index.ts";
import { checkWorld, tableShadow } from "../../src/check/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import { DmaDevice } from "../../src/dma/index.ts";
import { HMM_PFN_HUGE } from "../../src/hmm/index.ts";
import { buildWorld } from "../../src/machine/index.ts";
import {
  AddressSpace,
  mmap,
  mmput,
  munmap,
  PTE_NONE,
  ptePfn,
  VM_READ,
  VM_WRITE,
} from "../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../src/notifier/index.ts";
import { PG_DIRTY } from "../../src/phys/index.ts";
import { Completion, RandomStrategy, type Sleeps } from "../../src/sync/index.ts";
import type { EventName } from "../../src/trace/index.ts";
import {
  firstWord,
  HUGE,
  hugeFrames,
  pageAt,
  rangeAt,
  setFirstWord,
  type TestWorld,
  testWorld,
} from "../../test/engine/test-world.ts";
import { eachSeed } from "../../test/replay/replay.ts";
import { FirstDriver } from "./first-driver.ts";
import { type DriverClass, runDriverProgram } from "./first-driver-program.ts";
import {
  OwnMemory,
  PatientDriver,
  sendByDma,
  takeExclusive,
  tryServiceFault,
} from "./guide-samples.ts";
import { BareLoop, CheckBeforeLock, MovesPages, NoCheck, WithTlb } from "./wrong-versions.ts";
import { WRONG_VERSIONS, type WrongVersion } from "./wrong-versions-seen.ts";

const SCHEDULES = Number(process.env.SCHEDULES ?? 2_000);
/** In how many schedules a wrong version is found out at the latest. */
const SEEDS_MAX = 1_000;

/** What so many random schedules must have reached, or they prove little. */
const REACHED: readonly EventName[] = [
  "hmm:retry",
  "notifier:collide",
  "devmem:to-device",
  "devmem:to-ram",
  "mm:cow",
  "mm:fork",
  "mm:exit",
  "mm:swap-out",
  "mm:swap-in",
];

/** Two pages that begin with 1 and 2, and a driver that mirrors them. */
function build<T extends FirstDriver>(Driver: new (space: AddressSpace) => T) {
  const world = testWorld();
  world.map(0, 2);
  for (const page of [0, 1]) world.store(page, page + 1);
  const driver = new Driver(world.space);
  expect(world.run(driver.open())).toBe(0);
  world.shadows.push(tableShadow("driver", driver));
  return { world, driver };
}

/** What the driver's device reads at `page`, or the errno that it gets. */
function read(world: TestWorld, driver: FirstDriver, page: number): number {
  let word = 0;
  const use = (bytes: Uint8Array): void => {
    word = firstWord(bytes);
  };
  const result = world.run(driver.access(vpnOf(pageAt(page)), false, use));
  return result < 0 ? result : word;
}

function write(world: TestWorld, driver: FirstDriver, page: number, value: number): number {
  const use = (bytes: Uint8Array): void => setFirstWord(bytes, value);
  return world.run(driver.access(vpnOf(pageAt(page)), true, use));
}

/** A device, a CPU and the program meet in the order of `seed`. Throws what is wrong. */
function meet(Driver: DriverClass, seed: number): void {
  const { memory, scheduler } = buildWorld({ frames: 8, strategy: new RandomStrategy(seed) });
  const space = new AddressSpace(memory);
  const [cpu, driver] = [new SoftCpu(space), new Driver(space)];
  scheduler.runTask("open", driver.open());
  const bytes = 4 * PAGE_SIZE;
  const at = scheduler.runTask("map", mmap(space, { bytes, flags: VM_READ | VM_WRITE }));
  const part = { start: virtAddr(at), end: virtAddr(at + bytes) };
  const shadows = [cpu, tableShadow("driver", driver)];
  scheduler.afterStep = () => checkWorld(memory, { shadows, isQuiet: false });
  scheduler.spawn("device", driver.serviceFault(part, true));
  scheduler.spawn("cpu", cpu.store(part.start, 7));
  scheduler.spawn("program", munmap(space, part.start, bytes / 2));
  scheduler.run();
  scheduler.runTask("exit", mmput(space));
  scheduler.runTask("close", driver.close());
  cpu.dispose();
  checkWorld(memory, { shadows: [], isOver: true });
}

describe("the smallest test of a driver", () => {
  it("finds nothing wrong with the first driver", () => {
    for (let seed = 1; seed <= 200; seed++) meet(FirstDriver, seed);
  });

  it("finds six of its wrong versions out", () => {
    const found = WRONG_VERSIONS.filter(({ Driver }) => {
      for (let seed = 1; seed <= 200; seed++) {
        try {
          meet(Driver, seed);
        } catch {
          return true;
        }
      }
      return false;
    });
    const names = found.map(({ Driver }) => Driver.name).sort();
    expect(names).toEqual([
      "CheckBeforeLock",
      "KeepsAtRelease",
      "LockTakenTwice",
      "NoCheck",
      "UnregistersInCallback",
      "WaitsWithLock",
    ]);
  });
});

describe("the first driver", () => {
  it("lets its device read and write the program's bytes where the program has them", () => {
    const { world, driver } = build(FirstDriver);
    expect([read(world, driver, 0), read(world, driver, 1)]).toEqual([1, 2]);
    expect([write(world, driver, 1, 20), world.load(1)]).toEqual([0, 20]);
    world.run(driver.close());
  });

  it("forgets what changes, and finds it again", () => {
    const { world, driver } = build(FirstDriver);
    read(world, driver, 0);
    expect(driver.table.usedCount).toBe(1);
    expect(world.toDevice(0, 2)).toBe(0);
    expect(driver.table.usedCount).toBe(0);
    expect([read(world, driver, 0), read(world, driver, 1)]).toEqual([1, 2]);
    world.unmap(0, 1);
    expect([driver.table.usedCount, read(world, driver, 0)]).toEqual([1, -EFAULT]);
    world.run(driver.close());
  });

  it("gives its device no more than the program has", () => {
    const { world, driver } = build(FirstDriver);
    write(world, driver, 0, 5);
    world.protect(0, 2, VM_READ);
    expect([read(world, driver, 0), write(world, driver, 0, 6)]).toEqual([5, -EPERM]);
    world.protect(0, 2, VM_READ | VM_WRITE);
    expect([write(world, driver, 0, 7), world.load(0)]).toEqual([0, 7]);
    world.run(driver.close());
  });

  it("refuses an event that cannot wait for its lock, and nothing has changed then", () => {
    const { world, driver } = build(FirstDriver);
    read(world, driver, 0);
    const { notifiers } = world.space;
    function* reap(): Sleeps<number> {
      const options = { ...rangeAt(0, 1), event: MMU_NOTIFY_CLEAR, blockable: false };
      const event = new Invalidation(options);
      const result = yield* notifiers.start(event);
      if (result === 0) notifiers.end(event);
      return result;
    }
    const gate = new Completion<void>(world.scheduler, "the gate");
    world.scheduler.spawn("holder", holdLock(driver, gate));
    world.scheduler.run();
    expect([world.run(reap()), driver.table.usedCount]).toEqual([-EAGAIN, 1]);
    gate.complete();
    world.scheduler.run();
    expect([world.run(reap()), driver.table.usedCount]).toEqual([0, 0]);
    world.run(driver.close());
  });

  it("says what its device may have written before it lets a page go", () => {
    const { world, driver } = build(FirstDriver);
    const frames = [world.frame(0), world.frame(1)];
    for (const frame of frames) world.memory.pages.clearFlag(frame, PG_DIRTY);
    write(world, driver, 0, 9);
    read(world, driver, 1);
    world.protect(0, 2, VM_READ);
    const dirty = frames.map((frame) => world.memory.pages.is(frame, PG_DIRTY));
    // What is read now may be written later without another fault.
    expect([dirty[0], driver.table.usedCount]).toEqual([true, 0]);
    world.run(driver.close());
  });

  it("enters the pages of a huge page one by one", () => {
    const world = testWorld({ frames: hugeFrames(2), hugePages: "always" });
    world.map(0, HUGE);
    world.store(0, 1);
    const driver = new FirstDriver(world.space);
    expect([world.run(driver.open()), world.isHuge(0)]).toEqual([0, true]);
    expect(world.run(driver.serviceFault(rangeAt(0, 2), true))).toBe(0);
    const entries = [0, 1].map((page) => driver.table.get(vpnOf(pageAt(page))));
    expect(entries.map((entry) => entry & HMM_PFN_HUGE)).toEqual([0, 0]);
    expect(entries.map(ptePfn)).toEqual([world.frame(0), world.frame(1)]);
    world.run(driver.close());
  });

  it("closes before or after the end of the process, and reaches nothing either way", () => {
    for (const isFirst of [true, false]) {
      const { world, driver } = build(FirstDriver);
      write(world, driver, 0, 9);
      if (isFirst) world.run(driver.close());
      expect(driver.table.usedCount).toBe(isFirst ? 0 : 1);
      world.exit();
      expect([driver.table.usedCount, read(world, driver, 0)]).toEqual([
        0,
        isFirst ? -EINVAL : -EFAULT,
      ]);
      if (!isFirst) world.run(driver.close());
      expect(world.run(new FirstDriver(world.space).open())).toBe(-EINVAL);
    }
  });

  it(`is never wrong in ${SCHEDULES} random schedules`, () => {
    const events = new Map<EventName, number>();
    const done = { reads: 0, writes: 0, late: 0 };
    const isAll = eachSeed("first-driver", SCHEDULES, (seed) => {
      const { world, counts } = runDriverProgram({ seed, Driver: FirstDriver, isWatched: true });
      for (const name of REACHED) {
        events.set(name, (events.get(name) ?? 0) + world.tracer.count(name));
      }
      done.reads += counts.reads;
      done.writes += counts.writes;
      done.late += counts.late;
    });
    if (!isAll) return;
    for (const name of REACHED) expect([name, events.get(name)! > 0]).toEqual([name, true]);
    expect(Object.entries(done).filter(([, count]) => count === 0)).toEqual([]);
  }, 900_000);
});

/** A line apart from a wrong version, or more of a driver. */
const RIGHT_VERSIONS: readonly { readonly name: string; readonly Driver: DriverClass }[] = [
  { name: "WithTlb", Driver: WithTlb },
  { name: "BareLoop", Driver: BareLoop },
  { name: "MovesPages", Driver: MovesPages },
  { name: "PatientDriver", Driver: PatientDriver },
  { name: "OwnMemory", Driver: OwnMemory },
];

describe("the versions that are right", () => {
  it.each(RIGHT_VERSIONS)(
    "pass, as does $name",
    ({ Driver }) => {
      let done = 0;
      const isAll = eachSeed("right-drivers", SCHEDULES / 4, (seed) => {
        const { counts } = runDriverProgram({ seed, Driver, isWatched: true });
        done += Driver === WithTlb ? counts.refused : counts.moves + counts.reads;
      });
      if (!isAll) return;
      expect(done).toBeGreaterThan(0);
    },
    900_000,
  );
});

/** The first schedule in which `version` fails, and what is seen then. */
function findOut(version: WrongVersion, isWatched: boolean) {
  const { Driver } = version;
  for (let seed = 1; seed <= SEEDS_MAX; seed++) {
    try {
      runDriverProgram({ seed, Driver, isWatched });
    } catch (error) {
      return { seed, message: (error as Error).message };
    }
  }
  return undefined;
}

describe("the versions that are wrong", () => {
  const named = WRONG_VERSIONS.map((version) => ({ ...version, name: version.Driver.name }));

  it.each(named)(
    "are found out, as is $name",
    (version) => {
      const found = findOut(version, true);
      const isKnown = version.seen.some((text) => found?.message.includes(text));
      expect([found?.message, isKnown]).toEqual([found?.message, true]);
      for (let seed = 1; seed <= found!.seed; seed++) {
        runDriverProgram({ seed, Driver: version.Right, isWatched: true });
      }
    },
    300_000,
  );

  const noticed = named.filter(({ unwatched }) => unwatched !== undefined);
  it.each(noticed)(
    "cost somebody his data, as does $name",
    (version) => {
      const found = findOut(version, false);
      const isKnown = version.unwatched!.some((text) => found?.message.includes(text));
      expect([found?.message, isKnown]).toEqual([found?.message, true]);
    },
    300_000,
  );

  it("are the same without a check and with one before the lock", () => {
    const found = [NoCheck, CheckBeforeLock].map((Driver) => {
      const version = WRONG_VERSIONS.find((each) => each.Driver === Driver)!;
      return findOut(version, true);
    });
    expect(found[1]).toEqual(found[0]);
  }, 300_000);
});

describe("the samples of the guide", () => {
  it("serve a fault without sleeping, where nothing has to be waited for", () => {
    const { world, driver } = build(FirstDriver);
    function* attempt(): Sleeps<boolean> {
      return tryServiceFault(driver, rangeAt(0, 2), true);
    }
    expect([world.run(attempt()), driver.table.usedCount]).toEqual([true, 2]);
    world.toDevice(1, 1);
    expect([world.run(attempt()), driver.table.usedCount]).toEqual([false, 1]);
    expect([write(world, driver, 1, 5), world.run(attempt())]).toEqual([0, true]);
    const gate = new Completion<void>(world.scheduler, "the gate");
    world.scheduler.spawn("holder", holdLock(driver, gate));
    const fault = world.scheduler.spawn("fault", attempt());
    world.scheduler.run();
    expect(fault.result).toBe(false);
    gate.complete();
    world.scheduler.run();
    world.run(driver.close());
  });

  it("map pages for DMA for one use, and unmap them", () => {
    const { world, driver } = build(FirstDriver);
    const iommu = { pages: 8 };
    const dma = new DmaDevice({ name: "nic0", pages: world.memory.pages, iommu });
    const frames: number[] = [];
    const transfer = (addresses: Float64Array): void => {
      for (const address of addresses) frames.push(dma.translate(address, false));
    };
    expect(world.run(sendByDma(driver, rangeAt(0, 2), dma, transfer))).toBe(2);
    expect([frames, dma.mappingCount]).toEqual([[world.frame(0), world.frame(1)], 0]);
    world.unmap(1, 1);
    expect(world.run(sendByDma(driver, rangeAt(0, 2), dma, transfer))).toBe(-EFAULT);
    world.run(driver.close());
  });

  it("take a page for the device alone, until somebody touches it", () => {
    const { world, driver } = build(FirstDriver);
    expect(world.run(takeExclusive(driver, vpnOf(pageAt(0))))).toBe(0);
    expect([write(world, driver, 0, 8), driver.table.usedCount]).toEqual([0, 1]);
    expect([world.load(0), driver.table.usedCount]).toEqual([8, 0]);
    world.run(driver.close());
  });

  it("keep a page in memory that only the device can touch, until a CPU does", () => {
    const { world, driver } = build(OwnMemory);
    expect(world.run(driver.move(vpnOf(pageAt(0))))).toBe(1);
    expect([world.memory.isPrivate(world.frame(0)), write(world, driver, 0, 9)]).toEqual([true, 0]);
    expect([world.load(0), driver.table.usedCount]).toEqual([9, 0]);
    world.run(driver.close());
  });
});

describe("a driver that passes over the events of its own moves", () => {
  it("still starts over when one comes in the middle of a fault", () => {
    const { world, driver } = build(MovesPages);
    const before = world.frame(0);
    const gate = new Completion<void>(world.scheduler, "the gate");
    world.scheduler.spawn("holder", holdLock(driver, gate));
    const fault = world.scheduler.spawn("fault", driver.serviceFault(rangeAt(0, 1), true));
    const move = world.scheduler.spawn("move", driver.move(vpnOf(pageAt(0))));
    world.scheduler.run();
    // The fault has read the old frame and waits for the lock; the move has had its event.
    expect([fault.state, move.state, driver.table.usedCount]).toEqual(["blocked", "blocked", 0]);
    gate.complete();
    world.scheduler.run();
    expect([fault.result, move.result, world.frame(0) === before]).toEqual([0, 1, false]);
    expect(ptePfn(driver.table.get(vpnOf(pageAt(0))))).toBe(world.frame(0));
    expect(driver.table.get(vpnOf(pageAt(1)))).toBe(PTE_NONE);
    world.run(driver.close());
  });
});

function* holdLock(driver: FirstDriver, gate: Completion<void>): Sleeps<void> {
  using _update = yield* driver.lock.acquire();
  yield* gate.wait();
}
