import { describe, expect, it } from "vitest";
import {
  EBUSY,
  EFAULT,
  EINVAL,
  EIO,
  ENODEV,
  ENOMEM,
  EPERM,
  vpnOf,
} from "../../../src/base/index.ts";
import { type Block, serve } from "../../../src/device/index.ts";
import { Advice, isWritable, mmput, unpinPages, VM_READ } from "../../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../../src/notifier/index.ts";
import type { Sleeps, Task } from "../../../src/sync/index.ts";
import { pageAt, RW, rangeAt, type TestWorld, TURNS, testWorld } from "../test-world.ts";
import { deviceTest, inProcess, type TestDeviceOptions } from "./test-device.ts";

const COPIES: TestDeviceOptions = { reachesRam: false };

function mapped(pages: number, device: TestDeviceOptions = {}, options = {}) {
  const world = testWorld(options);
  const test = deviceTest(world, device);
  world.map(0, pages);
  return { world, test };
}

/** Events on page `page`, one after the other, until `task` is over: how many. */
function storm(world: TestWorld, page: number, task: Task<unknown>): () => number {
  let events = 0;
  function* run(): Sleeps<void> {
    while (!task.isSettled && events < 5000) {
      const event = new Invalidation({ ...rangeAt(page, 1), event: MMU_NOTIFY_CLEAR });
      events++;
      yield* world.space.notifiers.start(event);
      world.space.notifiers.end(event);
    }
  }
  world.scheduler.spawn("storm", run());
  return () => events;
}

const WAYS = [
  ["that reaches RAM", {}, {}],
  ["that reaches RAM and has its pages moved", {}, { how: "move" }],
  ["that cannot reach RAM", COPIES, {}],
] as const;

describe.each(WAYS)("a device %s", (_name, device, options) => {
  it("and the CPU see each other's stores", () => {
    const { world, test } = mapped(4, device);
    world.store(0, 10);
    expect([test.load(0, options), test.store(1, 21, options)]).toEqual([10, 0]);
    expect([world.load(1), world.store(0, 11), test.load(0, options)]).toEqual([21, 0, 11]);
    expect([test.store(0, 12, options), world.load(0)]).toEqual([0, 12]);
    expect([test.load(2, options), test.store(2, 5, options), world.load(2)]).toEqual([0, 0, 5]);
  });

  it("shares what a child shares until one of them writes", () => {
    const { world, test } = mapped(4, device);
    for (let page = 0; page < 4; page++) world.store(page, 10 + page);
    expect([0, 1, 2].map((page) => test.load(page, options))).toEqual([10, 11, 12]);
    const child = world.fork();
    const other = inProcess(test, child);
    expect([test.store(1, 50, options), other.load(1, options)]).toEqual([0, 11]);
    expect(other.store(2, 60, options)).toBe(0);
    expect([world.loads(0, 4), child.loads(0, 4)]).toEqual([
      [10, 50, 12, 13],
      [10, 11, 60, 13],
    ]);
  });

  it("gets no more than the program has: -EFAULT, -EPERM", () => {
    const { world, test } = mapped(4, device);
    world.protect(2, 1, VM_READ);
    world.protect(3, 1, 0);
    expect([test.load(4, options), test.load(3, options)]).toEqual([-EFAULT, -EFAULT]);
    expect([test.store(2, 1, options), test.load(2, options)]).toEqual([-EPERM, 0]);
    world.advise(0, 1, Advice.guardInstall);
    expect(test.load(0, options)).toBe(-EFAULT);
    world.leave();
    expect(test.serve(1, options)).toBe(-EFAULT);
  });

  it("is served in a storm of events, which costs time and never fails", () => {
    for (const write of [false, true]) {
      const { world, test } = mapped(4, device, { strategy: TURNS });
      world.store(0, 7);
      const access = { write, deadlineMs: 0, ...options };
      const fault = world.scheduler.spawn("fault", test.mirror.serve(0, access));
      const events = storm(world, 0, fault);
      world.scheduler.run();
      expect([fault.result, events() < 5000]).toEqual([0, true]);
      expect([world.scheduler.nowMs, test.load(0, options)]).toEqual([0, 7]);
    }
  });

  it("answers why a copy failed, and has no entry of it", () => {
    const { world, test } = mapped(4, device);
    world.store(0, 1);
    test.device.isBroken = true;
    const copies = device === COPIES || "how" in options;
    expect(test.serve(0, options)).toBe(copies ? -EIO : 0);
    if (copies) expect([test.mirror.table.usedCount, test.device.framesUsed]).toEqual([0, 0]);
    test.device.isBroken = false;
    expect([test.load(0, options), world.load(0)]).toEqual([1, 1]);
  });

  it("that is closed is served no more, and leaves pages where they are", () => {
    const { world, test } = mapped(4, device);
    expect([test.store(0, 5, options), test.load(1, options)]).toEqual([0, 0]);
    const places = test.places();
    test.run(test.shadow.close());
    test.run(test.shadow.close());
    expect([test.mirror.table.usedCount, test.places()]).toEqual([0, places]);
    world.store(2, 1);
    expect([test.serve(2, options), world.load(0)]).toEqual([-ENODEV, 5]);
  });

  it("is closed before, while and after its space goes away", () => {
    for (const order of ["close first", "both", "exit first"]) {
      const { world, test } = mapped(8, device, { strategy: TURNS });
      expect([test.store(0, 1, options), test.load(4, options)]).toEqual([0, 0]);
      const { scheduler } = world;
      if (order === "close first") test.run(test.shadow.close());
      const tasks: Task<unknown>[] = [scheduler.spawn("exit", mmput(world.space))];
      if (order === "both") tasks.push(scheduler.spawn("close", test.shadow.close()));
      tasks.push(scheduler.spawn("fault", test.mirror.serve(0, options)));
      scheduler.run();
      test.run(test.shadow.close());
      expect(tasks.map(({ state }) => state)).toEqual(tasks.map(() => "done"));
      expect([test.device.framesUsed, test.mirror.table.usedCount]).toEqual([0, 0]);
    }
  });
});

describe("a storm that outlasts 64 collisions", () => {
  it("makes a reader go first, whether it copies or moves", () => {
    for (const write of [false, true]) {
      const { world, test } = mapped(4, COPIES, { strategy: TURNS });
      world.store(0, 7);
      const deadlineMs = world.scheduler.nowMs + 1000;
      let collisions = 0;
      const task = world.scheduler.spawn(
        "fault",
        (function* (): Sleeps<number> {
          for (; collisions < 65; collisions++) {
            const result = yield* test.mirror.serve(0, { write, deadlineMs });
            if (result < 0) return result;
          }
          return 0;
        })(),
      );
      storm(world, 0, task);
      world.scheduler.run();
      expect([task.result, collisions]).toEqual([0, 65]);
      expect(world.count("notifier:precedence")).toBeGreaterThan(0);
    }
  });
});

describe("a page that somebody holds", () => {
  it("does not move, and is waited for until the deadline, with nothing held: -EBUSY", () => {
    const { world, test } = mapped(8, COPIES);
    const pinned = world.pin(0, 1, false);
    const { scheduler } = world;
    const over = [-1, -1, -1];
    const start = (at: number, body: Sleeps<number>): Task<number> => {
      const task = scheduler.spawn(`${at}`, body);
      task.onSettled = () => {
        over[at] = scheduler.nowMs;
      };
      return task;
    };
    function* change(): Sleeps<number> {
      using _mmap = yield* world.space.mmapLock.acquireWrite();
      return 0;
    }
    const held = start(0, test.mirror.serve(0, { write: true, deadlineMs: 300 }));
    const other = start(1, test.mirror.serve(4, { write: true, deadlineMs: 300 }));
    const changed = start(2, change());
    scheduler.run();
    expect([held.result, other.result, changed.result]).toEqual([-EBUSY, 0, 0]);
    expect(over).toEqual([300, 0, 0]);
    unpinPages(pinned);
    expect([test.store(0, 5), world.load(0)]).toEqual([0, 5]);
  });

  it("is served as soon as it is let go", () => {
    const { world, test } = mapped(4, COPIES);
    const pinned = world.pin(0, 1, true);
    const { scheduler } = world;
    const [read, write] = [false, true].map((each) =>
      scheduler.spawn(`${each}`, test.mirror.serve(0, { write: each, deadlineMs: 300 })),
    );
    scheduler.spawn(
      "release",
      (function* (): Sleeps<void> {
        while (scheduler.nowMs < 100) yield* world.memory.pages.waitForChange(100);
        unpinPages(pinned);
      })(),
    );
    scheduler.run();
    expect([read!.result, write!.result, scheduler.nowMs]).toEqual([0, 0, 100]);
  });

  it("can be copied when nobody writes it, and is no obstacle to its neighbours", () => {
    const { world, test } = mapped(4, COPIES);
    world.store(0, 3);
    const reads = world.pin(0, 1, false);
    expect([test.load(0), test.serve(0, { write: true })]).toEqual([3, -EBUSY]);
    const writes = world.pin(1, 1, true);
    expect([test.serve(1), test.load(2), test.store(3, 9)]).toEqual([-EBUSY, 0, 0]);
    expect(test.serve(2, { around: 4 })).toBe(-EBUSY);
    unpinPages(reads);
    unpinPages(writes);
    expect(test.serve(2, { around: 4 })).toBe(0);
  });

  it("may be locked or referenced for a moment, which is waited out as well", () => {
    const { world, test } = mapped(4, COPIES);
    world.store(0, 1);
    const { pages } = world.memory;
    const frame = world.frame(0);
    pages.get(frame);
    expect(world.run(test.mirror.serve(0, { write: true, deadlineMs: 50 }))).toBe(-EBUSY);
    const fault = world.scheduler.spawn(
      "fault",
      test.mirror.serve(0, { write: true, deadlineMs: world.scheduler.nowMs + 300 }),
    );
    world.scheduler.spawn(
      "holder",
      (function* (): Sleeps<void> {
        yield* pages.waitForChange(world.scheduler.nowMs + 20);
        pages.put(frame);
      })(),
    );
    world.scheduler.run();
    expect([fault.result, test.places()]).toEqual([0, "drrr"]);
  });
});

describe("blocks", () => {
  it("may lie in several Vmas: each part moves on its own", () => {
    const { world, test } = mapped(4, COPIES);
    world.protect(1, 1, VM_READ);
    const page = (at: number) => vpnOf(pageAt(at));
    const wanted = [0, 2, 3].map((at) => ({ page: page(at), write: true }));
    const block: Block = { start: page(0), end: page(4), how: "move", wanted };
    expect([test.run(serve(test.shadow, [block])), test.places()]).toEqual([0, "dddd"]);
    expect([test.store(1, 1), test.load(1)]).toEqual([-EPERM, 0]);
  });

  it("of which too many are wanted at once are -ENOMEM; then nothing was evicted", () => {
    const { test } = mapped(8, { ...COPIES, frames: 4 });
    expect([test.store(0, 1), test.store(1, 2)]).toEqual([0, 0]);
    expect([test.serve(4, { around: 4 }), test.places(2)]).toEqual([-ENOMEM, "dd"]);
    expect([test.store(4, 1), test.store(5, 1), test.places(8)]).toEqual([0, 0, "rdrrddrr"]);
  });

  it("of files cannot move, and can be used where they are: -EBUSY", () => {
    const { world, test } = mapped(1);
    world.map(4, 2, RW, { isShared: true });
    expect(test.serve(4, { how: "move", write: true })).toBe(-EBUSY);
    expect([test.store(4, 3), world.load(4), test.places(8)]).toEqual([0, 3, "rrrrrrrr"]);
    // What is written of a private mapping is no page of the file any more.
    world.map(8, 2, RW, { file: world.file(2) });
    expect([test.serve(8, { how: "move", write: true }), test.isAway(8)]).toEqual([0, true]);
  });

  it("of files cannot be copied either: -EINVAL; what is written of a private one can", () => {
    const { world, test } = mapped(1, COPIES);
    world.map(4, 2, RW, { isShared: true });
    world.map(8, 2, RW, { file: world.file(2) });
    expect([test.serve(4), test.serve(8), test.device.framesUsed]).toEqual([-EINVAL, -EINVAL, 0]);
    expect([world.store(8, 5), test.load(8)]).toEqual([0, 5]);
  });

  it("with neighbours get what is there, and bring nothing that nobody asked for", () => {
    const { world, test } = mapped(4, COPIES);
    world.store(0, 1);
    world.store(3, 4);
    expect([test.serve(1, { around: 4 }), test.mirror.table.usedCount]).toEqual([0, 3]);
    expect([test.load(3), world.pte(2)]).toEqual([4, 0]);
  });
});

describe("a copy", () => {
  it("becomes the page when the device writes it, without a byte moved", () => {
    const { world, test } = mapped(4, COPIES);
    world.store(0, 7);
    expect([test.load(0), isWritable(world.pte(0)), test.device.framesUsed]).toEqual([7, false, 1]);
    const { pagesToDevice } = test.device.memory.counters;
    expect([test.store(0, 8), test.device.framesUsed, world.load(0)]).toEqual([0, 1, 8]);
    expect(test.device.memory.counters.pagesToDevice).toBe(pagesToDevice);
  });

  it("of a page that was shared is gone before the last one who has it writes it", () => {
    const { world, test } = mapped(4, COPIES);
    world.store(0, 7);
    const child = world.fork();
    expect(test.load(0)).toBe(7);
    child.unmap(0, 4);
    expect([world.store(0, 8), test.load(0)]).toEqual([0, 8]);
  });

  it("is gone before a CPU writes the page", () => {
    const { world, test } = mapped(4, COPIES);
    world.store(0, 7);
    expect([test.load(0), world.store(0, 8), test.device.framesUsed]).toEqual([7, 0, 0]);
    expect(test.load(0)).toBe(8);
  });
});
