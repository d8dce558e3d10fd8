import { describe, expect, it } from "vitest";
import {
  EAGAIN,
  EBUSY,
  EFAULT,
  EINVAL,
  EPERM,
  type Pfn,
  type Result,
  virtAddr,
  vpn,
  vpnOf,
} from "../../../src/base/index.ts";
import { tableShadow } from "../../../src/check/index.ts";
import {
  EntryFormat,
  HMM_PFN_ERROR,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  HMM_RANGE_DEFAULT_TIMEOUT,
  Mirror,
  type MirrorOps,
  type MirrorRange,
  type RangeOptions,
} from "../../../src/hmm/index.ts";
import {
  asPte,
  mapSpecial,
  mmput,
  munmap,
  PageTable,
  PTE_NONE,
  poisonPage,
  releaseSpecial,
  SpecialKind,
} from "../../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../../src/notifier/index.ts";
import { Completion, Mutex, RandomStrategy, type Sleeps } from "../../../src/sync/index.ts";
import { eachSeed } from "../../replay/replay.ts";
import {
  bytesOf,
  HUGE,
  hugeFrames,
  pageAt,
  RW,
  rangeAt,
  type TestWorld,
  testWorld,
} from "../test-world.ts";

const SILENT: MirrorOps = {
  *syncCpuDevicePagetables() {
    return true;
  },
};

const register = (world: TestWorld, ops: MirrorOps = SILENT): Mirror =>
  world.run(Mirror.register(world.space, { ops })) as Mirror;

const rangeOf = (mirror: Mirror, options: RangeOptions): MirrorRange =>
  mirror.range(options) as MirrorRange;

/** A mirror and a range over pages 0 and 1, which are mapped. */
function build() {
  const world = testWorld();
  world.map(0, 2);
  const mirror = register(world);
  return { world, mirror, range: rangeOf(mirror, rangeAt(0, 2)) };
}

/** Opens an invalidation on page 0 and closes it when `gate` opens. */
function* openUntil(world: TestWorld, gate: Completion<void>): Sleeps<void> {
  const event = new Invalidation({ ...rangeAt(0, 1), event: MMU_NOTIFY_CLEAR });
  yield* world.space.notifiers.start(event);
  yield* gate.wait();
  world.space.notifiers.end(event);
}

describe("a range", () => {
  it("is not valid before the first wait", () => {
    const { world, range } = build();
    expect([range.valid, world.run(range.snapshot()), world.run(range.fault())]).toEqual([
      false,
      -EBUSY,
      -EBUSY,
    ]);
    range.unregister();
  });

  it("is valid after a wait, gives a snapshot, and faults in what is asked for", () => {
    const { world, range } = build();
    world.store(0, 1);
    expect([world.run(range.waitUntilValid()), range.valid]).toEqual([true, true]);
    expect([world.run(range.snapshot()), range.pfns[1]]).toEqual([2, 0]);
    expect(range.pfns[0]! & 0xff).toBe(HMM_PFN_VALID | HMM_PFN_WRITE);
    expect(world.run(range.fault({ write: false }))).toBe(2);
    expect(range.pfns[1]! & 0xff).toBe(HMM_PFN_VALID);
    range.unregister();
  });

  it("faults for its default flags, and to write when told to", () => {
    const { world, mirror, range } = build();
    world.run(range.waitUntilValid());
    expect([world.run(range.fault()), world.pte(0)]).toEqual([2, 0]);
    const eager = rangeOf(mirror, { ...rangeAt(0, 1), defaultFlags: HMM_PFN_REQ_FAULT });
    world.run(eager.waitUntilValid());
    expect([world.run(eager.fault()), eager.pfns[0]! & 0xff]).toEqual([1, HMM_PFN_VALID]);
    expect([world.run(eager.fault({ write: true })), eager.valid]).toEqual([-EBUSY, false]);
    world.run(eager.waitUntilValid());
    expect(world.run(eager.fault({ write: true }))).toBe(1);
    expect(eager.pfns[0]! & 0xff).toBe(HMM_PFN_VALID | HMM_PFN_WRITE);
    eager.unregister();
    range.unregister();
  });

  it("never turns valid again for what was read before", () => {
    const { world, range } = build();
    world.store(0, 1);
    world.run(range.waitUntilValid());
    world.run(munmap(world.space, pageAt(1), bytesOf(1)));
    expect([range.valid, world.run(range.snapshot())]).toEqual([false, -EBUSY]);
    expect(range.valid).toBe(false);
    expect([world.run(range.waitUntilValid()), range.valid, range.unregister()]).toEqual([
      true,
      true,
      true,
    ]);
  });

  it("does not care for what happens elsewhere", () => {
    const { world, range } = build();
    world.map(8, 1);
    world.run(range.waitUntilValid());
    world.run(munmap(world.space, pageAt(8), bytesOf(1)));
    expect(range.unregister()).toBe(true);
  });

  it("waits for the end of an invalidation, or for its timeout", () => {
    const { world, range } = build();
    const gate = new Completion<void>(world.scheduler, "the gate");
    world.scheduler.spawn("invalidation", openUntil(world, gate));
    world.scheduler.run();
    const { nowMs } = world.scheduler;
    expect(world.run(range.waitUntilValid({ timeoutMs: 50 }))).toBe(false);
    expect([world.scheduler.nowMs - nowMs, range.valid]).toEqual([50, false]);
    expect(world.run(range.waitUntilValid())).toBe(false);
    expect(world.scheduler.nowMs - nowMs).toBe(50 + HMM_RANGE_DEFAULT_TIMEOUT);
    const wait = world.scheduler.spawn("wait", range.waitUntilValid({ timeoutMs: 50 }));
    world.scheduler.timer(world.scheduler.nowMs + 10, () => gate.complete());
    world.scheduler.run();
    expect([wait.result, range.valid, range.unregister()]).toEqual([true, true, true]);
  });

  it("is over when it is unregistered, once", () => {
    const { world, range } = build();
    const users = world.space.users.count;
    expect([range.unregister(), world.space.users.count]).toEqual([false, users - 1]);
    expect(() => range.unregister()).toThrow(/after it was unregistered/);
    expect(() => range.valid).toThrow(/after it was unregistered/);
    expect(() => world.run(range.waitUntilValid())).toThrow(/after it was unregistered/);
    range[Symbol.dispose]();
    expect(world.space.users.count).toBe(users - 1);
  });

  it("holds the space until it is unregistered", () => {
    const { world, range } = build();
    world.store(0, 1);
    world.run(mmput(world.space));
    expect([world.count("mm:exit"), world.load(0)]).toEqual([0, 1]);
    world.run(
      (function* (): Sleeps<void> {
        range.unregister();
      })(),
    );
    expect(world.count("mm:exit")).toBe(1);
  });

  it("needs whole pages of a space that is alive", () => {
    const { world, mirror, range } = build();
    range.unregister();
    expect(mirror.range({ start: virtAddr(1), end: pageAt(1) })).toBe(-EINVAL);
    expect(mirror.range({ start: pageAt(1), end: pageAt(1) })).toBe(-EINVAL);
    world.exit();
    expect(mirror.range(rangeAt(0, 1))).toBe(-EFAULT);
    expect(world.run(Mirror.register(world.space, { ops: SILENT }))).toBe(-EINVAL);
  });
});

describe("a range that may not sleep", () => {
  it("is filled where no wait is needed, and says -EAGAIN where one is", () => {
    const { world, range } = build();
    const tryAll = (): Result[] =>
      world.run(
        (function* (): Sleeps<Result[]> {
          return [Number(range.tryUntilValid()), range.tryFault({ write: true })];
        })(),
      );
    expect(tryAll()).toEqual([1, 2]);
    expect(Array.from(range.pfns, (word) => word & 3)).toEqual([3, 3]);
    expect(world.toDevice(1, 1)).toBe(0);
    expect(tryAll()).toEqual([1, -EAGAIN]);
    expect(world.memory.isPrivate(world.frame(1))).toBe(true);
    const gate = new Completion<void>(world.scheduler, "a slow event");
    world.scheduler.spawn("event", openUntil(world, gate));
    world.scheduler.run();
    expect(tryAll()).toEqual([0, -EBUSY]);
    gate.complete();
    world.scheduler.run();
    range.unregister();
  });

  it("does not wait for mmapLock", () => {
    const { world, range } = build();
    function* held(): Sleeps<Result> {
      expect(range.tryUntilValid()).toBe(true);
      using _mmap = yield* world.space.mmapLock.acquireWrite();
      return range.tryFault({ write: false });
    }
    expect(world.run(held())).toBe(-EAGAIN);
  });
});

describe("a range of huge device pages", () => {
  const HUGE_SHIFT = 21;
  const huge = { ...rangeAt(0, HUGE), pageShift: HUGE_SHIFT };

  it("has one entry for each page of a hugetlb mapping", () => {
    const world = testWorld({ frames: hugeFrames(2), hugetlbPages: 1 });
    world.map(0, HUGE, RW, { isHugetlb: true });
    const mirror = register(world);
    const range = rangeOf(mirror, { ...huge, pfnFlagsMask: 3 });
    range.requests[0] = HMM_PFN_REQ_FAULT | HMM_PFN_WRITE;
    expect(world.run(range.waitUntilValid())).toBe(true);
    expect(world.run(range.fault())).toBe(HUGE);
    expect([range.pfns.length, range.pfns[0]! & 3]).toEqual([1, 3]);
    expect(range.pfns[0]! >>> 8).toBe(world.frame(0));
    range.unregister();
  });

  it("is refused where the memory has other pages, or the range is not whole ones", () => {
    const world = testWorld();
    world.map(0, HUGE);
    const mirror = register(world);
    const range = rangeOf(mirror, huge);
    expect(world.run(range.waitUntilValid())).toBe(true);
    expect(world.run(range.fault({ write: true }))).toBe(-EINVAL);
    expect(world.count("mm:fault")).toBe(0);
    range.unregister();
    expect(mirror.range({ ...rangeAt(0, HUGE + 1), pageShift: HUGE_SHIFT })).toBe(-EINVAL);
    expect(mirror.range({ ...rangeAt(1, HUGE), pageShift: HUGE_SHIFT })).toBe(-EINVAL);
    expect(mirror.range({ ...rangeAt(0, HUGE), pageShift: 16 })).toBe(-EINVAL);
  });
});

describe("what a range answers", () => {
  it("is an error before anything is faulted in where there is no memory for a device", () => {
    const world = testWorld();
    world.map(0, 1);
    world.map(2, 1, 0);
    const mirror = register(world);
    const ask = (page: number, count: number): [Result, number[]] => {
      const range = rangeOf(mirror, rangeAt(page, count));
      world.run(range.waitUntilValid());
      const result = world.run(range.fault({ write: false }));
      range.unregister();
      return [result, [...range.pfns]];
    };
    expect(ask(0, 2)).toEqual([-EFAULT, [0, 0]]);
    expect(ask(2, 1)).toEqual([-EPERM, [0]]);
    expect(world.count("mm:fault")).toBe(0);
  });

  it("marks memory that no device may map, in the device's own way", () => {
    const world = testWorld();
    const frame = world.memory.allocFrame();
    const raw = { start: pageAt(1), kind: SpecialKind.raw, frames: [frame as Pfn], flags: RW };
    world.map(0, 1);
    expect(world.run(mapSpecial(world.space, raw))).toBe(pageAt(1));
    const mirror = register(world);
    const values = { none: 0n, error: 1n, special: 2n };
    const flags = { valid: 1n << 63n, write: 1n << 62n };
    const format = EntryFormat.of64({ flags, values, pfnShift: 12 });
    const range = mirror.range({ ...rangeAt(0, 2), format }) as MirrorRange<BigUint64Array>;
    world.run(range.waitUntilValid());
    expect(world.run(range.snapshot())).toBe(-EFAULT);
    expect([...range.entries]).toEqual([0n, 2n]);
    range.unregister();
    world.unmap(1, 1);
    releaseSpecial(world.space, raw.frames);
    world.memory.pages.put(raw.frames[0]!);
  });

  it("says which page could not be had, and nothing of those behind it", () => {
    const world = testWorld();
    world.map(0, 3);
    world.store(1, 1);
    expect(world.run(poisonPage(world.space, pageAt(1)))).toBe(0);
    const mirror = register(world);
    const range = rangeOf(mirror, rangeAt(0, 3));
    world.run(range.waitUntilValid());
    expect(world.run(range.fault({ write: false }))).toBe(-EFAULT);
    expect(Array.from(range.pfns, (word) => word & 7)).toEqual([HMM_PFN_VALID, HMM_PFN_ERROR, 0]);
    range.unregister();
  });

  it("asks for the same again after a retry: requests are not overwritten", () => {
    const { world, mirror } = build();
    const range = rangeOf(mirror, { ...rangeAt(0, 2), pfnFlagsMask: 3 });
    range.requests[1] = HMM_PFN_REQ_FAULT | HMM_PFN_WRITE;
    for (let turn = 0; turn < 2; turn++) {
      world.run(range.waitUntilValid());
      expect(world.run(range.fault())).toBe(2);
      expect(Array.from(range.pfns, (word) => word & 3)).toEqual([0, 3]);
      world.unmap(0, 2);
      world.map(0, 2);
      expect(world.run(range.fault())).toBe(-EBUSY);
    }
    range.unregister();
  });
});

describe("a wait", () => {
  it("ends when its signal aborts", () => {
    const { world, range } = build();
    const gate = new Completion<void>(world.scheduler, "a slow event");
    const abort = new AbortController();
    world.scheduler.spawn("event", openUntil(world, gate));
    const wait = world.scheduler.spawn("wait", range.waitUntilValid({ signal: abort.signal }));
    world.scheduler.spawn(
      "aborter",
      (function* (): Sleeps<void> {
        expect(wait.state).toBe("blocked");
        abort.abort();
        gate.complete();
      })(),
    );
    world.scheduler.run();
    expect([wait.result, range.valid]).toEqual([false, false]);
    range.unregister();
  });
});

describe("a mirror", () => {
  it("is told to forget what changes, until it is unregistered, once", () => {
    const world = testWorld();
    world.map(0, 4);
    world.store(0, 1);
    const told: number[] = [];
    const mirror = register(world, {
      *syncCpuDevicePagetables(update) {
        told.push(update.start);
        return true;
      },
    });
    world.run(munmap(world.space, pageAt(2), bytesOf(1)));
    expect(told).toEqual([pageAt(2)]);
    world.run(mirror.unregister());
    world.run(munmap(world.space, pageAt(0), bytesOf(1)));
    expect(told).toEqual([pageAt(2)]);
    expect(() => world.run(mirror.unregister())).toThrow(/unregistered twice/);
    expect(mirror.range(rangeAt(0, 1))).toBe(-EINVAL);
  });

  it("is told once when the space goes away", () => {
    const world = testWorld();
    let releases = 0;
    const mirror = register(world, {
      ...SILENT,
      *release() {
        releases++;
      },
    });
    world.exit();
    expect(releases).toBe(1);
    world.run(mirror.unregister());
  });
});

/** The smallest driver: a table, a lock, and the loop of `hmm/index.ts`. */
class SmallDevice {
  readonly table = new PageTable();
  readonly lock: Mutex;
  readonly space: TestWorld["space"];
  mirror!: Mirror;
  retries = 0;

  constructor(world: TestWorld) {
    this.space = world.space;
    this.lock = new Mutex(world.scheduler, "driver", "the small device's lock");
  }

  *syncCpuDevicePagetables(update: Invalidation): Sleeps<boolean> {
    const held = update.blockable ? yield* this.lock.acquire() : this.lock.tryAcquire();
    if (held === undefined) return false;
    using _held = held;
    const end = vpnOf(update.end);
    for (let at = this.table.nextUsed(vpnOf(update.start), end); at < end; ) {
      this.table.set(at, PTE_NONE);
      at = this.table.nextUsed(vpn(at + 1), end);
    }
    return true;
  }

  *serviceFault(page: number, count: number): Sleeps<Result> {
    const range = this.mirror.range(rangeAt(page, count));
    if (typeof range === "number") return range;
    using _registered = range;
    for (let attempt = 0; attempt < 1000; attempt++) {
      if (!(yield* range.waitUntilValid())) return -EBUSY;
      const result = yield* range.fault({ write: true });
      if (result === -EBUSY) continue;
      if (result < 0) return result;
      using _update = yield* this.lock.acquire();
      if (range.valid) return this.#program(range);
      this.retries++;
    }
    return -EBUSY;
  }

  #program(range: MirrorRange): Result {
    const first = vpnOf(range.start);
    for (const [i, word] of range.pfns.entries()) this.table.set(vpn(first + i), asPte(word));
    return 0;
  }
}

describe("the loop that every driver needs", () => {
  it("commits what is true, whatever happens around it", () => {
    let retries = 0;
    const isAll = eachSeed("mirror", 150, (seed) => {
      const world = testWorld({ strategy: new RandomStrategy(seed) });
      world.map(0, 4);
      const device = new SmallDevice(world);
      device.mirror = register(world, device);
      world.shadows.push(tableShadow("device", device));
      world.scheduler.afterStep = () => world.check({ isQuiet: false });
      for (let turn = 0; turn < 3; turn++) {
        world.scheduler.spawn("device", device.serviceFault(turn, 2));
        world.scheduler.spawn("cpu", world.cpu.store(pageAt(turn), turn));
        world.scheduler.spawn("unmapper", munmap(world.space, pageAt(turn + 1), bytesOf(1)));
      }
      world.scheduler.run();
      world.scheduler.afterStep = undefined;
      retries += device.retries;
    });
    if (!isAll) return;
    expect(retries).toBeGreaterThan(0);
  });
});
