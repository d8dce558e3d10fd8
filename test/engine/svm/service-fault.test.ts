import { describe, expect, it } from "vitest";
import {
  EAGAIN,
  EBUSY,
  EFAULT,
  EINVAL,
  EIO,
  ENODEV,
  ENOENT,
  ENOMEM,
  EOPNOTSUPP,
  EPERM,
  PAGE_SIZE,
} from "../../../src/base/index.ts";
import { Advice, isWritable, mmput, unpinPages, VM_READ } from "../../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR, MMU_NOTIFY_MIGRATE } from "../../../src/notifier/index.ts";
import { serviceFault } from "../../../src/svm/index.ts";
import { type Sleeps, YIELD } from "../../../src/sync/index.ts";
import { pageAt, rangeAt, TURNS, testWorld } from "../test-world.ts";
import { inProcess, type SvmTest, svmTest } from "./svm-device.ts";

function mapped(pages: number, options = {}, frames = 16) {
  const world = testWorld(options);
  const test = svmTest(world, frames);
  world.map(0, pages);
  return { world, test };
}

const places = (test: SvmTest, count = 4): string =>
  Array.from({ length: count }, (_, page) => (test.isAway(page) ? "d" : "r")).join("");

/** The ranges that there are, as first page and end. */
const ranges = (test: SvmTest): string[] => {
  const found = new Set<string>();
  for (let page = 0; page < 64; page++) {
    const range = test.svm.ranges.find(pageAt(page));
    if (range === undefined) continue;
    const [from, to] = [range.start, range.end].map((each) => (each - pageAt(0)) / PAGE_SIZE);
    found.add(`${from}..${to}`);
  }
  return [...found];
};

describe("a fault of the device", () => {
  it("lets device and CPU see each other's stores, in RAM and in device memory", () => {
    for (const options of [{}, { migrate: true }, { devmemOnly: true }, { allowMixed: true }]) {
      const { world, test } = mapped(4);
      world.store(0, 10);
      expect([test.load(0, options), test.store(1, 21, options)]).toEqual([10, 0]);
      expect([world.load(1), world.store(0, 11), test.load(0, options)]).toEqual([21, 0, 11]);
      expect([test.store(0, 12, options), world.load(0)]).toEqual([0, 12]);
    }
  });

  it("maps a whole chunk", () => {
    const { test } = mapped(8);
    expect([test.load(1), test.mirror.log]).toEqual([0, ["+0..4"]]);
    expect([test.load(3), test.store(5, 1), test.mirror.log]).toEqual([0, 0, ["+0..4", "+4..8"]]);
  });

  it("that somebody else has served is nothing", () => {
    const { world, test } = mapped(4);
    expect([test.fault(0), test.fault(3), test.mirror.log]).toEqual([0, 0, ["+0..4"]]);
    // Writing is more: the zero page is replaced by pages of its own.
    const more = ["+0..4", "-0..4", "+0..4"];
    expect([test.fault(0, { write: true }), test.mirror.log]).toEqual([0, more]);
    expect([test.fault(3, { write: true }), test.mirror.log]).toEqual([0, more]);
    expect(isWritable(world.pte(3))).toBe(true);
  });

  it("answers what is wrong with the address", () => {
    const { world, test } = mapped(4);
    world.protect(2, 1, VM_READ);
    world.protect(3, 1, 0);
    expect([test.fault(4), test.fault(5000), test.load(3)]).toEqual([-ENOENT, -EINVAL, -EPERM]);
    expect([test.store(2, 1), test.load(2)]).toEqual([-EPERM, 0]);
  });

  it("takes a smaller chunk when part of a large one has fewer rights", () => {
    const { world, test } = mapped(4);
    expect(test.store(0, 1)).toBe(0);
    world.protect(2, 1, VM_READ);
    expect([test.store(1, 5), test.load(2), world.load(1)]).toEqual([0, 0, 5]);
    expect(ranges(test)).toEqual(["1..2", "2..3"]);
  });

  it("takes a smaller chunk when a page of a large one cannot be had", () => {
    const { world, test } = mapped(4);
    expect(world.advise(2, 1, Advice.guardInstall)).toBe(0);
    expect([test.store(1, 5), test.store(3, 6), test.load(2)]).toEqual([0, 0, -EFAULT]);
    expect(world.advise(2, 1, Advice.guardRemove)).toBe(0);
    expect(test.load(2)).toBe(0);
  });

  it("takes a smaller chunk when there is no RAM for a large one", () => {
    const { test } = mapped(8, { limitPages: 5 });
    expect([test.store(0, 1), test.store(4, 1), test.store(5, 1)]).toEqual([0, 0, -ENOMEM]);
    expect(ranges(test)).toEqual(["0..4", "4..5", "5..6"]);
  });

  it("answers what bind answers, and drops what was bound until then", () => {
    const { world, test } = mapped(4);
    test.mirror.bindResult = -EIO;
    expect(test.fault(0)).toBe(-EIO);
    world.unmap(0, 4);
    expect(test.mirror.log).toEqual(["+0..4", "-0..4"]);
  });

  it("gives up after its time, with nothing held: -EBUSY", () => {
    const { world, test } = mapped(8);
    const { scheduler } = world;
    function* longEvent(): Sleeps<void> {
      const event = new Invalidation({ ...rangeAt(0, 4), event: MMU_NOTIFY_CLEAR });
      yield* world.space.notifiers.start(event);
      yield* world.memory.pages.waitForChange(5000);
      world.space.notifiers.end(event);
    }
    scheduler.spawn("event", longEvent());
    const first = scheduler.spawn("first", serviceFault(test.svm, pageAt(0), { timeoutMs: 300 }));
    const over = [-1, -1];
    first.onSettled = () => {
      over[0] = scheduler.nowMs;
    };
    const second = scheduler.spawn("second", serviceFault(test.svm, pageAt(4)));
    second.onSettled = () => {
      over[1] = scheduler.nowMs;
    };
    scheduler.run();
    expect([first.result, second.result, over]).toEqual([-EBUSY, 0, [300, 300]]);
  });

  it("gives up when somebody is always faster, and says why", () => {
    const { world, test } = mapped(4, { strategy: TURNS });
    let isOver = false;
    function* storm(): Sleeps<void> {
      while (!isOver) {
        const event = new Invalidation({ ...rangeAt(0, 1), event: MMU_NOTIFY_CLEAR });
        yield* world.space.notifiers.start(event);
        world.space.notifiers.end(event);
      }
    }
    world.scheduler.spawn("storm", storm());
    const fault = world.scheduler.spawn("fault", serviceFault(test.svm, pageAt(0)));
    fault.onSettled = () => {
      isOver = true;
    };
    world.scheduler.run();
    expect([fault.result, world.scheduler.nowMs]).toEqual([-EBUSY, 0]);
    expect(world.count("svm:again")).toBe(16);
    expect(test.fault(0)).toBe(0);
  });

  it("copies on write what a child shares", () => {
    const { world, test } = mapped(4);
    for (let page = 0; page < 4; page++) world.store(page, 10 + page);
    expect(test.fault(0, { migrate: true, timesliceMs: 1000 })).toBe(0);
    const child = world.fork();
    const other = inProcess(test, child);
    expect([test.store(1, 50), other.load(1), other.store(2, 60)]).toEqual([0, 11, 0]);
    expect([world.loads(0, 4), child.loads(0, 4)]).toEqual([
      [10, 50, 12, 13],
      [10, 11, 60, 13],
    ]);
  });
});

describe("where a fault puts its pages", () => {
  it("is the device if it can be had, else where they are", () => {
    const { world, test } = mapped(8, {}, 4);
    expect([test.store(0, 1, { migrate: true }), places(test, 8)]).toEqual([0, "ddddrrrr"]);
    const [first] = test.device.memory.allocations;
    first!.expiryMs = 1000;
    expect([test.store(4, 2, { migrate: true }), places(test, 8)]).toEqual([0, "ddddrrrr"]);
    expect(world.loads(4, 1)).toEqual([2]);
  });

  it("is the device or nothing with devmemOnly: what the migration answers", () => {
    const { world, test } = mapped(4);
    const bare = svmTest(world, 1, { deviceMemory: undefined as never });
    expect(bare.fault(0, { devmemOnly: true })).toBe(-EOPNOTSUPP);
    test.device.isBroken = true;
    expect(test.fault(0, { devmemOnly: true })).toBe(-EIO);
    test.device.isBroken = false;
    const pinned = world.pin(2, 1, false);
    expect([test.fault(0, { devmemOnly: true }), places(test)]).toEqual([-EBUSY, "rrrr"]);
    world.run(
      (function* (): Sleeps<void> {
        unpinPages(pinned);
      })(),
    );
    expect([test.fault(0, { devmemOnly: true }), places(test)]).toEqual([0, "dddd"]);
  });

  it("is a smaller chunk of the device when a large one does not fit", () => {
    const { test } = mapped(8, {}, 3);
    const options = { devmemOnly: true, timesliceMs: 100 };
    const results = [0, 1, 4, 5].map((page) => test.store(page, 40 + page, options));
    expect([results, places(test, 8)]).toEqual([[0, 0, 0, -ENOMEM], "ddrrdrrr"]);
    test.pass(200);
    expect([test.store(5, 45, options), places(test, 8)]).toEqual([0, "rdrrddrr"]);
  });

  it("is a smaller chunk of the device when a large one is in two Vmas", () => {
    const { world, test } = mapped(4);
    expect(test.load(0)).toBe(0);
    world.protect(2, 1, VM_READ);
    expect([test.load(2, { devmemOnly: true }), places(test)]).toEqual([0, "rrdr"]);
  });

  it("is RAM first when they are mixed, and then the device for all", () => {
    for (const [options, result] of [
      [{}, "rrrr"],
      [{ allowMixed: true }, "rddr"],
      [{ migrate: true }, "dddd"],
      [{ devmemOnly: true }, "dddd"],
    ] as const) {
      const { world, test } = mapped(4);
      world.store(0, 7);
      world.store(3, 8);
      for (const page of [1, 2]) {
        const small = svmTest(world, 1, {
          chunkSizes: [PAGE_SIZE],
          deviceMemory: test.device.memory,
        });
        expect(small.migrate(small.range(page))).toBe(0);
      }
      expect([test.load(3, options), places(test)]).toEqual([8, result]);
    }
  });

  /** Faults page 0 in while a thief, who waits for no timeslice, takes the pages home again. */
  function faultWithThief(stealsMax: number) {
    const { world, test } = mapped(4, { strategy: TURNS });
    for (let page = 0; page < 4; page++) world.store(page, page);
    const options = { devmemOnly: true, timesliceMs: 10 };
    const fault = world.scheduler.spawn("fault", serviceFault(test.svm, pageAt(0), options));
    let steals = 0;
    function* steal(): Sleeps<void> {
      while (!fault.isSettled && steals < stealsMax) {
        const [allocation] = test.device.memory.allocations;
        if (allocation !== undefined && allocation.expiryMs > 0 && test.isAway(0)) {
          steals++;
          yield* test.device.memory.evict(allocation);
        }
        yield YIELD;
      }
    }
    world.scheduler.spawn("thief", steal());
    world.scheduler.run();
    return { test, steals, result: fault.result };
  }

  it("stays so for twice as long each time that it did not last", () => {
    const { test, steals, result } = faultWithThief(2);
    expect([result, steals]).toEqual([0, 2]);
    expect(test.device.memory.allocations.map(({ expiryMs }) => expiryMs)).toEqual([40]);
  });

  it("is tried three times for each size of chunk", () => {
    const { test, steals, result } = faultWithThief(100);
    expect([result, steals, places(test)]).toEqual([-EBUSY, 6, "rrrr"]);
  });
});

describe("what was unmapped", () => {
  it("is dropped and marked by the event, and removed by the next fault", () => {
    const { world, test } = mapped(16);
    for (const page of [0, 4, 8]) expect(test.store(page, page)).toBe(0);
    test.mirror.log.length = 0;
    expect(world.unmap(0, 8)).toBe(0);
    expect([test.mirror.log, test.svm.ranges.count]).toEqual([["-0..4", "-4..8"], 3]);
    expect([test.svm.ranges.unmapped.length, test.svm.ranges.find(pageAt(1))?.isPartial]).toEqual([
      2,
      false,
    ]);
    expect([test.fault(12), ranges(test)]).toEqual([0, ["8..12", "12..16"]]);
  });

  it("in part comes home, and is found again in smaller chunks", () => {
    const { world, test } = mapped(8);
    for (const page of [0, 1, 2, 3]) expect(test.store(page, page, { migrate: true })).toBe(0);
    expect(world.unmap(1, 1)).toBe(0);
    expect([test.svm.ranges.find(pageAt(0))?.isPartial, places(test)]).toEqual([true, "drdd"]);
    expect([test.fault(4), ranges(test), places(test)]).toEqual([0, ["4..8"], "rrrr"]);
    expect([test.load(0), test.load(1), test.load(3)]).toEqual([0, -ENOENT, 3]);
    expect(ranges(test)).toEqual(["0..1", "3..4", "4..8"]);
  });

  it("in two parts is partial, too", () => {
    const { world, test } = mapped(4);
    expect(test.fault(0)).toBe(0);
    world.unmap(0, 2);
    world.unmap(2, 2);
    expect([test.svm.ranges.unmapped.length, test.fault(0)]).toEqual([1, -ENOENT]);
    expect(test.svm.ranges.count).toBe(0);
  });

  it("and mapped again is other memory", () => {
    const { world, test } = mapped(4);
    expect(test.store(1, 5, { migrate: true })).toBe(0);
    world.unmap(0, 4);
    world.map(0, 4);
    expect([test.load(1), test.store(1, 6), world.load(1)]).toEqual([0, 0, 6]);
  });

  it("by moving it away is found at its new place, with its pages where they are", () => {
    const { world, test } = mapped(4);
    expect(test.store(1, 5, { migrate: true })).toBe(0);
    expect(world.move(0, 4, 20)).toBe(20);
    expect([test.load(1), test.load(21), test.isAway(21)]).toEqual([-ENOENT, 5, true]);
  });

  it("while a fault looks at it makes the fault start over", () => {
    const { world, test } = mapped(4, { strategy: TURNS });
    for (let page = 0; page < 4; page++) world.store(page, page);
    const fault = world.scheduler.spawn("fault", serviceFault(test.svm, pageAt(1)));
    function* unmapSoon(): Sleeps<void> {
      while (test.svm.ranges.count === 0) yield YIELD;
      const event = new Invalidation({ ...rangeAt(0, 4), event: 0 });
      yield* world.space.notifiers.start(event);
      world.space.notifiers.end(event);
    }
    world.scheduler.spawn("unmap", unmapSoon());
    world.scheduler.run();
    expect([fault.result, world.count("svm:again"), test.load(1)]).toEqual([0, 1, 1]);
    expect(test.svm.ranges.find(pageAt(1))?.isUnmapped).toBe(false);
  });
});

describe("events", () => {
  it("that must not sleep are refused while somebody holds the notifier lock", () => {
    const { world, test } = mapped(4);
    expect(test.store(0, 1)).toBe(0);
    const started: number[] = [];
    function* tryEvent(): Sleeps<void> {
      const event = new Invalidation({
        ...rangeAt(0, 1),
        event: MMU_NOTIFY_CLEAR,
        blockable: false,
      });
      const result = yield* world.space.notifiers.start(event);
      started.push(result);
      if (result === 0) world.space.notifiers.end(event);
    }
    function* hold(): Sleeps<void> {
      using _notifier = yield* test.svm.notifierLock.acquire();
      world.scheduler.spawn("event", tryEvent());
      for (let i = 0; i < 5; i++) yield YIELD;
    }
    test.run(hold());
    const range = test.svm.ranges.find(pageAt(0))!;
    expect([started, range.pagesValid, range.isBound]).toEqual([[-EAGAIN], true, true]);
    test.run(tryEvent());
    expect([started, range.pagesValid, range.isBound]).toEqual([[-EAGAIN, 0], false, false]);
  });

  it("of the device's own migrations drop what it has, like all others", () => {
    const { world, test } = mapped(4);
    expect(test.store(0, 1)).toBe(0);
    const owner = test.device.memory.pagemap.owner;
    const event = new Invalidation({ ...rangeAt(1, 1), event: MMU_NOTIFY_MIGRATE, owner });
    test.run(
      (function* (): Sleeps<void> {
        yield* world.space.notifiers.start(event);
        world.space.notifiers.end(event);
      })(),
    );
    expect(test.mirror.log).toEqual(["+0..4", "-0..4"]);
  });
});

describe("closing", () => {
  it("takes everything from the device, and leaves pages where they are", () => {
    const { world, test } = mapped(24);
    for (const page of [0, 8, 20]) expect(test.store(page, page, { migrate: true })).toBe(0);
    const before = world.space.notifiers.intervalCount;
    test.run(test.svm.close());
    world.check();
    expect([test.svm.ranges.count, before - world.space.notifiers.intervalCount]).toEqual([0, 2]);
    expect([test.fault(0), places(test)]).toEqual([-ENODEV, "dddd"]);
    test.run(test.svm.close());
    expect([world.load(0), world.load(8), world.load(20)]).toEqual([0, 8, 20]);
  });

  it("waits for events that run, and drops everything before they are heard no more", () => {
    const { world, test } = mapped(8, { strategy: TURNS });
    expect([test.store(0, 1), test.store(4, 1)]).toEqual([0, 0]);
    const close = world.scheduler.spawn("close", test.svm.close());
    expect([world.unmap(0, 8), close.state]).toEqual([0, "done"]);
    world.check();
    expect(test.svm.ranges.intervalCount).toBe(0);
  });

  it("is for spaces that go away, too, before, while and after they do", () => {
    for (const order of ["close first", "both", "exit first"]) {
      const { world, test } = mapped(8, { strategy: TURNS });
      expect([test.store(0, 1), test.store(4, 1, { migrate: true })]).toEqual([0, 0]);
      const { scheduler } = world;
      if (order === "close first") test.run(test.svm.close());
      const tasks = [scheduler.spawn("exit", mmput(world.space))];
      if (order === "both") tasks.push(scheduler.spawn("close", test.svm.close()));
      tasks.push(scheduler.spawn("fault", serviceFault(test.svm, pageAt(0)) as Sleeps<never>));
      scheduler.run();
      test.run(test.svm.close());
      expect(tasks.map(({ state }) => state)).toEqual(tasks.map(() => "done"));
      world.check();
      expect([test.device.framesUsed, test.svm.ranges.intervalCount]).toEqual([0, 0]);
    }
  });

  it("while a fault is served lets it end first", () => {
    const { world, test } = mapped(4, { strategy: TURNS });
    const { scheduler } = world;
    const fault = scheduler.spawn("fault", serviceFault(test.svm, pageAt(0), { write: true }));
    const close = scheduler.spawn("close", test.svm.close());
    const late = scheduler.spawn("late", serviceFault(test.svm, pageAt(0)));
    scheduler.run();
    expect([fault.result, close.state, late.result]).toEqual([0, "done", -ENODEV]);
    expect(test.mirror.log).toEqual(["+0..4", "-0..4"]);
  });
});
