/** Edges of the driver API that a review found wrong once. */
import { expect, it } from "vitest";
import { EBUSY, EINTR, EINVAL, virtAddr } from "../../src/base/index.ts";
import { DmaDevice } from "../../src/dma/index.ts";
import { EntryFormat, hmmDmaMapAlloc, Mirror, type MirrorRange } from "../../src/hmm/index.ts";
import { SwapArea } from "../../src/mm/index.ts";
import {
  CollisionRetry,
  IntervalNotifier,
  Invalidation,
  MMU_NOTIFY_CLEAR,
  NotifierSubscriptions,
} from "../../src/notifier/index.ts";
import { RwSemaphore, Scheduler, type Sleeps, YIELD } from "../../src/sync/index.ts";
import { rangeAt, type TestWorld, testWorld } from "../engine/test-world.ts";

const mirrorOf = (world: TestWorld, release?: () => void): Mirror =>
  world.run(
    Mirror.register(world.space, {
      ops: {
        *syncCpuDevicePagetables() {
          return true;
        },
        ...(release
          ? {
              *release() {
                release();
              },
            }
          : {}),
      },
    }),
  ) as Mirror;
function pure() {
  const scheduler = new Scheduler();
  const notifiers = new NotifierSubscriptions(scheduler, scheduler.tracer);
  const reader = new IntervalNotifier({ start: virtAddr(0), end: virtAddr(0x4000) });
  notifiers.insert(reader);
  return { scheduler, notifiers, reader, lock: new RwSemaphore(scheduler, "mmap", "mmapLock") };
}
it("a reader that is called off gives precedence back", () => {
  const { scheduler, notifiers, reader, lock } = pure();
  scheduler.runTask(
    "t",
    (function* (): Sleeps<void> {
      using read = new CollisionRetry(notifiers, reader, {
        lock,
        collisionsMax: 0,
        signal: AbortSignal.abort(),
      });
      expect(yield* read.begin()).toBe(-EINTR);
      expect(read.hasPrecedence).toBe(false);
      using _mmap = yield* lock.acquireRead();
    })(),
  );
});
it("a guard of precedence that is disposed twice takes it from nobody else", () => {
  const { scheduler, notifiers, reader } = pure();
  let first: Disposable | undefined;
  scheduler.runTask(
    "a",
    (function* (): Sleeps<void> {
      first = yield* notifiers.takePrecedence(reader, 0);
      first[Symbol.dispose]();
    })(),
  );
  scheduler.runTask(
    "b",
    (function* (): Sleeps<void> {
      using _s = yield* notifiers.takePrecedence(reader, 0);
      first![Symbol.dispose]();
    })(),
  );
});
it("a range maps no word for DMA that was read before an event", () => {
  const world = testWorld({ frames: 16 });
  const mirror = mirrorOf(world);
  world.map(0, 1);
  world.store(0, 1);
  const range = mirror.range(rangeAt(0, 1)) as MirrorRange;
  world.run(range.waitUntilValid());
  world.run(range.snapshot());
  const old = world.frame(0);
  world.unmap(0, 1);
  world.map(1, 16);
  let page = 1;
  do world.store(page, 7);
  while (world.frame(page) !== old && ++page < 17);
  expect(world.frame(page)).toBe(old);
  world.run(range.waitUntilValid());
  const dma = new DmaDevice({ name: "d", pages: world.memory.pages });
  const addresses = new Float64Array(1);
  const mapped = range.dmaMap(dma, addresses);
  const reach = mapped > 0 ? dma.translate(addresses[0]!, true) : -1;
  range.dmaUnmap(dma, addresses);
  range.unregister();
  expect([mapped, reach]).toEqual([-EBUSY, -1]);
});
for (const act of ["killed", "looked at"])
  it(`a fault that sleeps leaves results alone when its range is ${act}`, () => {
    const world = testWorld({ frames: 8, swap: new SwapArea(32) });
    const mirror = mirrorOf(world);
    world.map(0, 2);
    world.map(10, 8);
    for (let i = 0; i < 8; i++) world.store(10 + i, i);
    world.space.notifiers.register({
      *invalidateRangeStart() {
        for (let i = 0; i < 30; i++) yield YIELD;
        return 0;
      },
    });
    const range = mirror.range({ ...rangeAt(0, 2), pfnFlagsMask: 3 }) as MirrorRange;
    range.requests.fill(3);
    world.run(range.waitUntilValid());
    const task = world.scheduler.spawn("victim", range.fault());
    let seen: number[] = [];
    world.scheduler.spawn(
      "other",
      (function* (): Sleeps<void> {
        for (let i = 0; i < 10; i++) yield YIELD;
        if (act === "killed") world.scheduler.kill(task as never);
        else yield* range.snapshot();
        seen = [...range.pfns];
      })(),
    );
    world.scheduler.run();
    const end = [...range.pfns].map((word) => word & 3);
    range.unregister();
    expect(seen).toEqual([0, 0]);
    expect(end).toEqual(act === "killed" ? [0, 0] : [3, 3]);
  });
it("a mirror is not told of release when its unregistering was killed", () => {
  const world = testWorld();
  let released = 0;
  const mirror = mirrorOf(world, () => {
    released++;
  });
  world.map(0, 1);
  const event = new Invalidation({ ...rangeAt(0, 1), event: MMU_NOTIFY_CLEAR });
  const task = world.scheduler.spawn(
    "un",
    (function* (): Sleeps<void> {
      yield YIELD;
      yield* mirror.unregister();
    })(),
  );
  world.scheduler.spawn(
    "w",
    (function* (): Sleeps<void> {
      yield* world.space.notifiers.start(event);
      for (let i = 0; i < 10; i++) yield YIELD;
      world.scheduler.kill(task as never);
      world.space.notifiers.end(event);
    })(),
  );
  world.scheduler.run();
  expect([task.state, mirror.isRegistered]).toEqual(["killed", false]);
  world.leave();
  expect(released).toBe(0);
});
it("a range that throws holds no space", () => {
  const world = testWorld();
  const format = EntryFormat.of64({
    flags: { valid: 1n, write: 2n },
    values: { none: 0n, error: 4n, special: 4n },
    pfnShift: 12,
  });
  const before = world.space.users.count;
  expect(() => mirrorOf(world).range({ ...rangeAt(0, 1), format, defaultFlags: 1.5 })).toThrow(
    RangeError,
  );
  expect(world.space.users.count).toBe(before);
});
it("nothing may not look like a request", () => {
  const flags = { valid: 1n, write: 2n };
  const values = { none: 2n, error: 4n, special: 4n };
  expect(() => EntryFormat.of32({ flags, values, pfnShift: 8 })).toThrow(/it may have no flag/);
});

it("a range that waits again is valid only when it is read again", () => {
  const world = testWorld();
  const mirror = mirrorOf(world);
  world.map(0, 1);
  const range = mirror.range(rangeAt(0, 1)) as MirrorRange;
  world.run(range.waitUntilValid());
  expect([range.valid, world.run(range.fault({ write: true })), range.valid]).toEqual([
    true,
    1,
    true,
  ]);
  world.unmap(0, 1);
  world.map(0, 1);
  expect([world.run(range.waitUntilValid()), range.valid]).toEqual([true, false]);
  expect([world.run(range.fault({ write: true })), range.valid]).toEqual([1, true]);
  range.unregister();
});

it("a reader lets those go on who hold the page that it waits for", () => {
  const world = testWorld();
  const mirror = mirrorOf(world);
  world.map(0, 1);
  world.store(0, 5);
  world.toDevice(0, 1);
  const frame = world.frame(0);
  world.memory.pages.get(frame);
  let attempts = 0;
  function* reader(): Sleeps<number> {
    using range = mirror.range({ ...rangeAt(0, 1), defaultFlags: 1 }) as MirrorRange;
    for (;;) {
      attempts++;
      yield* range.waitUntilValid();
      const result = yield* range.fault();
      if (result !== -EBUSY || attempts > 1000) return result;
    }
  }
  function* holder(): Sleeps<void> {
    yield YIELD;
    yield YIELD;
    world.memory.pages.put(frame);
  }
  const task = world.scheduler.spawn("reader", reader());
  world.scheduler.spawn("holder", holder());
  world.scheduler.run();
  expect([task.result, attempts < 10]).toEqual([1, true]);
});

it("a range is not mapped for DMA after it was unregistered", () => {
  const world = testWorld();
  world.map(0, 1);
  const range = mirrorOf(world).range(rangeAt(0, 1)) as MirrorRange;
  range.unregister();
  expect(() =>
    range.dmaMap(new DmaDevice({ name: "d", pages: world.memory.pages }), new Float64Array(1)),
  ).toThrow(/unregistered/);
});
it("a DMA map larger than a space is refused", () => {
  const world = testWorld();
  expect(hmmDmaMapAlloc(new DmaDevice({ name: "d", pages: world.memory.pages }), 2 ** 45)).toBe(
    -EINVAL,
  );
});
it("a format writes all entries of a buffer that has grown", () => {
  const format = EntryFormat.of64({
    flags: { valid: 1n << 63n, write: 1n << 62n },
    values: { none: 0n, error: 4n, special: 4n },
    pfnShift: 12,
  });
  const context = { isPrivate: () => false, isSpecial: () => false };
  // Resizable buffers are newer than the language level that this is compiled for.
  const Resizable = ArrayBuffer as unknown as new (
    bytes: number,
    options: { maxByteLength: number },
  ) => ArrayBuffer & { resize(bytes: number): void };
  const buffer = new Resizable(16, { maxByteLength: 64 });
  const entries = new BigUint64Array(buffer);
  const words = new Uint32Array([0x101, 0x201, 0x301, 0x401]);
  format.encode(words, entries, 2, context);
  buffer.resize(64);
  format.encode(words, entries, 4, context);
  expect([...entries.subarray(0, 4)].map((entry) => format.frameOf(entry))).toEqual([1, 2, 3, 4]);
});
it("a timeout that is no number is refused", () => {
  const { scheduler, notifiers, reader } = pure();
  const event = new Invalidation({
    start: virtAddr(0),
    end: virtAddr(0x1000),
    event: MMU_NOTIFY_CLEAR,
  });
  scheduler.spawn(
    "w",
    (function* (): Sleeps<void> {
      yield* notifiers.start(event);
      for (let i = 0; i < 9; i++) yield YIELD;
      notifiers.end(event);
    })(),
  );
  const task = scheduler.spawn("r", notifiers.readBegin(reader, Number.NaN));
  task.observed = true;
  scheduler.run();
  expect(task.state).toBe("failed");
});
