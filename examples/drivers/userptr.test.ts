/** User pointers: each path, and random schedules in a storm of changes. */

import { describe, expect, it } from "vitest";
import { assert, EFAULT, EINVAL, ENODEV } from "../../src/base/index.ts";
import { tableShadow } from "../../src/check/index.ts";
import { Advice, madvise, munmap, VM_READ } from "../../src/mm/index.ts";
import { IntervalNotifier, Invalidation, MMU_NOTIFY_CLEAR } from "../../src/notifier/index.ts";
import { PG_DIRTY } from "../../src/phys/index.ts";
import { type Sleeps, WaitQueue, YIELD } from "../../src/sync/index.ts";
import type { EventName } from "../../src/trace/index.ts";
import {
  bytesOf,
  firstWord,
  pageAt,
  RW,
  rangeAt,
  setFirstWord,
  type TestWorld,
  type TestWorldOptions,
  TURNS,
  testWorld,
} from "../../test/engine/test-world.ts";
import { eachSeed } from "../../test/replay/replay.ts";
import { pagesFrom, Storm, type Subject, Tally, vpnAt } from "./test-storm.ts";
import { Userptr } from "./userptr.ts";
import type { UserBuffer } from "./userptr-buffer.ts";
import { Gpu } from "./userptr-hardware.ts";

const SCHEDULES = Number(process.env.SCHEDULES ?? 10_000);

/** Four pages that begin with 1, 2, 3, 4, and a process on the GPU. */
class Stage {
  readonly world: TestWorld;
  readonly gpu: Gpu;
  readonly driver: Userptr;

  constructor(options: TestWorldOptions = {}) {
    this.world = testWorld(options);
    this.world.map(0, 4);
    for (let page = 0; page < 4; page++) this.world.store(page, page + 1);
    this.gpu = new Gpu(this.world.memory);
    this.driver = new Userptr(this.gpu, this.world.space);
    this.world.shadows.push(tableShadow("gpu", { space: this.world.space, table: this.gpu.table }));
    let steps = 0;
    this.world.scheduler.afterStep = () => assert(++steps < 50_000, "the worker never ends");
  }

  /** Afterwards its pages are there, if they can be. */
  alloc(page: number, count: number, isWritable = true): UserBuffer {
    const buffer = this.world.run(this.driver.alloc(rangeAt(page, count), isWritable));
    if (typeof buffer === "number") throw new Error(`no buffer: ${buffer}`);
    return buffer;
  }

  /** What a job reads, or the errno that ends it. */
  *reading(page: number): Sleeps<number> {
    let word = 0;
    const result = yield* this.gpu.access(vpnAt(page), false, (bytes) => {
      word = firstWord(bytes);
    });
    return result < 0 ? result : word;
  }

  read(page: number): number {
    return this.world.run(this.reading(page));
  }

  write(page: number, value: number): number {
    const land = (bytes: Uint8Array): void => setFirstWord(bytes, value);
    return this.world.run(this.gpu.access(vpnAt(page), true, land));
  }

  close(): void {
    this.world.run(this.driver.close());
    expect(this.gpu.table.usedCount).toBe(0);
  }
}

const clearOf = (page: number, blockable: boolean): Invalidation =>
  new Invalidation({ ...rangeAt(page, 1), event: MMU_NOTIFY_CLEAR, blockable });

describe("user pointers", () => {
  it("let jobs read and write the program's bytes where the program has them", () => {
    const stage = new Stage();
    stage.alloc(0, 4);
    expect([0, 1, 2, 3].map((page) => stage.read(page))).toEqual([1, 2, 3, 4]);
    expect([stage.write(2, 77), stage.world.load(2), stage.driver.counts.restores]).toEqual([
      0, 77, 1,
    ]);
    stage.close();
  });

  it("stop the queues when memory goes away, and start them when it is back", () => {
    const stage = new Stage();
    stage.alloc(0, 4);
    const { world, driver } = stage;
    expect(world.toDevice(1, 2)).toBe(0);
    expect([driver.counts.stops > 1, driver.isRestored]).toEqual([true, true]);
    expect([stage.read(1), stage.read(2), world.special(1)]).toEqual([2, 3, 0]);
    // Bringing pages home is an event by itself: that round ends, and the next one finds them.
    expect(driver.counts.again).toBeGreaterThan(0);
    stage.close();
  });

  it("follow the program through fork, swap and reuse", () => {
    const stage = new Stage();
    stage.alloc(0, 4);
    const { world } = stage;
    const child = world.fork();
    stage.write(0, 50);
    expect([child.load(0), world.load(0)]).toEqual([1, 50]);
    world.advise(1, 1, Advice.dontNeed);
    expect([stage.read(1), stage.write(1, 60), world.load(1)]).toEqual([0, 0, 60]);
    stage.close();
  });

  it("count a buffer whose memory is gone as done, so that other jobs go on", () => {
    const stage = new Stage();
    const [lost, kept] = [stage.alloc(0, 2), stage.alloc(2, 2)];
    const { world, driver } = stage;
    world.unmap(1, 1);
    expect([lost.isGone, kept.isGone, driver.isRestored]).toEqual([true, false, true]);
    expect([stage.read(0), stage.read(1), stage.read(2)]).toEqual([-EFAULT, -EFAULT, 3]);
    expect(stage.gpu.table.usedCount).toBe(2);
    world.map(1, 1);
    world.run(driver.free(lost));
    expect(stage.alloc(0, 2).isGone).toBe(false);
    expect([stage.read(0), stage.read(1)]).toEqual([1, 0]);
    stage.close();
  });

  it("fail jobs that write what may only be read, and let others read it", () => {
    const stage = new Stage();
    const [reader, writer] = [stage.alloc(0, 2, false), stage.alloc(2, 2)];
    expect([stage.write(0, 9), stage.read(0)]).toEqual([-EFAULT, 1]);
    stage.world.protect(0, 4, VM_READ);
    expect([reader.isGone, stage.read(1), writer.isGone]).toEqual([false, 2, true]);
    expect(stage.read(3)).toBe(-EFAULT);
    stage.world.protect(0, 4, RW);
    stage.close();
  });

  it("refuse what is no buffer, and one over another", () => {
    const stage = new Stage();
    const { world, driver } = stage;
    stage.alloc(1, 2);
    const bad = [
      rangeAt(0, 2),
      rangeAt(2, 1),
      rangeAt(0, 0),
      { ...rangeAt(0, 1), start: pageAt(3) },
    ];
    for (const range of bad) expect(world.run(driver.alloc(range, true))).toBe(-EINVAL);
    stage.close();
  });

  it("say what jobs may have written before they let a page go", () => {
    const stage = new Stage();
    const { world } = stage;
    stage.alloc(0, 1);
    stage.alloc(1, 1, false);
    const frames = [world.frame(0), world.frame(1)];
    for (const frame of frames) world.memory.pages.clearFlag(frame, PG_DIRTY);
    world.protect(0, 2, VM_READ);
    expect(frames.map((frame) => world.memory.pages.is(frame, PG_DIRTY))).toEqual([true, false]);
    stage.close();
  });
});

describe("an event on a buffer", () => {
  it("waits until accesses under way have landed", () => {
    const stage = new Stage();
    stage.alloc(0, 4);
    const { world, gpu } = stage;
    const order: string[] = [];
    function* event(): Sleeps<void> {
      while (!gpu.isBusy) yield YIELD;
      const cleared = clearOf(0, true);
      yield* world.space.notifiers.start(cleared);
      order.push("event");
      world.space.notifiers.end(cleared);
    }
    world.scheduler.spawn("event", event());
    world.run(gpu.access(vpnAt(0), false, () => order.push("landed")));
    expect(order).toEqual(["landed", "event"]);
    stage.close();
  });

  it("is refused when it cannot wait for an access or for the lock, and nothing changes", () => {
    const stage = new Stage({ strategy: TURNS });
    const buffer = stage.alloc(0, 4);
    const { world, gpu, driver } = stage;
    const results: number[] = [];
    function* reap(): Sleeps<void> {
      while (!gpu.isBusy) yield YIELD;
      results.push(yield* world.space.notifiers.start(clearOf(0, false)));
    }
    world.scheduler.spawn("reaper", reap());
    world.run(stage.reading(0));
    expect([results.length, results[0]! < 0, driver.counts.refused]).toEqual([1, true, 1]);
    expect([buffer.invalid, gpu.isStopped, gpu.table.usedCount]).toEqual([0, false, 4]);
    // Nobody is under way now.
    const event = clearOf(0, false);
    function* quiet(): Sleeps<boolean> {
      const started = yield* world.space.notifiers.start(event);
      const isStopped = gpu.isStopped && gpu.table.usedCount === 3;
      if (started === 0) world.space.notifiers.end(event);
      return isStopped;
    }
    expect([world.run(quiet()), driver.isRestored, gpu.table.usedCount]).toEqual([true, true, 4]);
    stage.close();
  });

  it("keeps the queues stopped while it is open, although its callback is still to come", () => {
    const stage = new Stage();
    const { world, gpu, driver } = stage;
    const { notifiers } = world.space;
    const naps = new WaitQueue(world.scheduler, "a nap");
    const nap = (ms: number): Sleeps<boolean> => naps.sleep(world.scheduler.nowMs + ms);
    // Hears of events on page 3 before the driver does, and takes its time.
    const slow = new IntervalNotifier(rangeAt(0, 4), {
      *invalidate({ start }) {
        if (start === pageAt(3)) yield* nap(5);
        return true;
      },
    });
    notifiers.insert(slow);
    stage.alloc(0, 2);
    const second = stage.alloc(2, 2);
    function* event(page: number): Sleeps<void> {
      const each = clearOf(page, true);
      yield* notifiers.start(each);
      notifiers.end(each);
    }
    function* look(): Sleeps<unknown> {
      yield* event(0);
      world.scheduler.spawn("second event", event(3));
      yield* nap(3);
      // The worker had its turn, and the callback of the second event had none yet.
      return [driver.counts.again, second.invalid, gpu.isStopped];
    }
    const before = driver.counts.again;
    expect(world.run(look())).toEqual([before + 1, 1, true]);
    expect([driver.isRestored, stage.read(3)]).toEqual([true, 4]);
    stage.close();
    world.run(notifiers.remove(slow));
  });

  it("during a round leaves the queues stopped, whatever the round has found since", () => {
    const stage = new Stage();
    const { world, driver } = stage;
    const { notifiers } = world.space;
    const naps = new WaitQueue(world.scheduler, "a nap");
    stage.alloc(0, 1);
    stage.alloc(2, 2);
    // Holds up the first buffer of the round.
    const slow = clearOf(0, true);
    function* second(): Sleeps<void> {
      const event = clearOf(2, true);
      yield* notifiers.start(event);
      notifiers.end(event);
    }
    function* events(): Sleeps<number> {
      yield* notifiers.start(slow);
      yield* naps.sleep(world.scheduler.nowMs + 3);
      const { again } = driver.counts;
      world.scheduler.spawn("second event", second());
      yield* naps.sleep(world.scheduler.nowMs + 3);
      notifiers.end(slow);
      return again;
    }
    const again = world.run(events());
    expect([driver.counts.again - again, driver.isRestored, stage.read(2)]).toEqual([1, true, 3]);
    stage.close();
  });

  it("that stays open for long ends the round, and others begin until it is over", () => {
    const stage = new Stage();
    const { world, driver, gpu } = stage;
    const naps = new WaitQueue(world.scheduler, "a nap");
    stage.alloc(0, 4);
    const event = clearOf(1, true);
    function* long(): Sleeps<unknown> {
      yield* world.space.notifiers.start(event);
      yield* naps.sleep(world.scheduler.nowMs + 2500);
      const during = [driver.counts.busy, gpu.isStopped];
      world.space.notifiers.end(event);
      return during;
    }
    expect(world.run(long())).toEqual([2, true]);
    expect([driver.isRestored, stage.read(1)]).toEqual([true, 2]);
    stage.close();
  });

  it("makes the worker try again after a while, not without pause, when there is no memory", () => {
    const stage = new Stage({ frames: 8 });
    const { world, driver } = stage;
    const { cpu, space, scheduler } = world;
    const naps = new WaitQueue(scheduler, "a nap");
    const buffer = stage.alloc(0, 4);
    world.map(10, 8);
    function* starve(): Sleeps<void> {
      yield* madvise(space, pageAt(0), bytesOf(4), Advice.dontNeed);
      for (let page = 10; page < 18; page++) expect(yield* cpu.store(pageAt(page), page)).toBe(0);
      yield* naps.sleep(scheduler.nowMs + 10);
      expect([driver.isRestored, stage.gpu.isStopped]).toEqual([false, true]);
      expect(driver.counts.busy).toBeGreaterThan(3);
      expect(driver.counts.busy).toBeLessThanOrEqual(10);
      yield* munmap(space, pageAt(10), bytesOf(8));
    }
    world.run(starve());
    expect([driver.isRestored, buffer.isGone, stage.read(0)]).toEqual([true, false, 0]);
    stage.close();
  });
});

describe("the end of the program", () => {
  it("ends the jobs, and the driver may be closed after it", () => {
    const stage = new Stage();
    const { world, driver } = stage;
    stage.alloc(0, 4);
    world.leave();
    expect([stage.read(0), stage.gpu.table.usedCount]).toEqual([-ENODEV, 0]);
    expect(world.run(driver.alloc(rangeAt(5, 1), true))).toBe(-EINVAL);
    stage.close();
  });

  it("may come after that of the driver, whose jobs fail then", () => {
    const stage = new Stage();
    stage.alloc(0, 4);
    stage.close();
    expect(stage.read(0)).toBe(-ENODEV);
    stage.world.store(0, 5);
  });
});

/** Two queues, and somebody who frees and allocates; each access is checked when it lands. */
class Queues implements Subject {
  readonly storm: Storm;
  readonly gpu: Gpu;
  readonly driver: Userptr;
  readonly tasks: readonly Sleeps<void>[];
  readonly tables;
  readonly counts = { reads: 0, writes: 0, faults: 0, dead: 0 };
  // page -> its buffer now
  readonly #buffers: (UserBuffer | undefined)[] = [];

  constructor(storm: Storm) {
    this.storm = storm;
    this.gpu = new Gpu(storm.memory);
    this.driver = new Userptr(this.gpu, storm.space);
    this.tables = [(page: number) => this.gpu.table.get(vpnAt(page))];
    storm.run("buffers", this.#allocAll());
    this.tasks = [this.#queue(), this.#queue(), this.#owner()];
  }

  *#allocAll(): Sleeps<void> {
    yield* this.#alloc(0, 3, true);
    yield* this.#alloc(3, 2, false);
    yield* this.#alloc(5, 1, true);
  }

  *#alloc(page: number, count: number, isWritable: boolean): Sleeps<void> {
    const buffer = yield* this.driver.alloc(pagesFrom(page, count), isWritable);
    if (typeof buffer === "number") {
      assert(this.storm.space.users.count === 0, () => `alloc: ${buffer}`);
      return;
    }
    this.#buffers.fill(buffer, page, page + count);
    for (let each = page; each < page + count; each++) this.#buffers[each] = buffer;
  }

  *#free(page: number): Sleeps<void> {
    const buffer = this.#buffers[page];
    if (buffer === undefined) return;
    this.#buffers.forEach((each, i) => {
      if (each === buffer) this.#buffers[i] = undefined;
    });
    yield* this.driver.free(buffer);
  }

  *#queue(): Sleeps<void> {
    for (let i = 0; i < 8; i++) {
      yield* this.#access(this.storm.random.below(6));
      if (this.storm.random.below(2) === 0) yield* this.storm.nap();
    }
  }

  *#owner(): Sleeps<void> {
    for (let i = 0; i < 2; i++) {
      yield* this.storm.nap();
      yield* this.#free(5);
      yield* this.#alloc(5, 1, true);
    }
  }

  *#access(page: number): Sleeps<number> {
    const { storm, counts } = this;
    const write = page !== 3 && page !== 4 && storm.random.below(2) === 0;
    const result = yield* this.gpu.access(vpnAt(page), write, (bytes, frame) => {
      storm.expect(page, bytes, frame);
      if (write) storm.store(page, bytes);
    });
    if (result === 0) counts[write ? "writes" : "reads"]++;
    else if (result === -EFAULT) {
      counts.faults++;
      assert(this.#mayFault(page), () => `a job fails at page ${page}, which is there`);
    } else {
      counts.dead++;
      assert(storm.space.users.count === 0, () => `a job ends with ${result}, the process lives`);
    }
    return result;
  }

  /** Its buffer is none, or gone, and there is a reason for that. */
  #mayFault(page: number): boolean {
    const buffer = this.#buffers[page];
    if (buffer === undefined || this.storm.space.users.count === 0) return true;
    const isExcused = this.#buffers.some(
      (each, i) => each === buffer && this.storm.mayFail(i, buffer.isWritable),
    );
    return buffer.isGone && isExcused;
  }

  *finish(): Sleeps<void> {
    const { storm, driver } = this;
    if (storm.space.users.count > 0) {
      assert(driver.isRestored, "nobody does anything, and the queues are stopped");
      this.#checkGone();
      for (const page of [0, 3, 5]) yield* this.#free(page);
      yield* this.#allocAll();
      for (let page = 0; page < 6; page++) {
        const result = yield* this.#access(page);
        assert(result === 0, () => `page ${page} is there and a job gets ${result}`);
        yield* storm.load(page);
      }
    }
    yield* driver.close();
  }

  /** Whatever gives rights back raises an event: only what was unmapped stays gone. */
  #checkGone(): void {
    this.#buffers.forEach((buffer, page) => {
      if (buffer?.isGone !== true) return;
      const isReason = this.#buffers.some(
        (each, i) => each === buffer && this.storm.unmapped[i]! > 0,
      );
      assert(isReason, () => `the buffer of page ${page} is gone, its memory is not`);
    });
  }

  checkEnd(): void {
    assert(this.gpu.table.usedCount === 0, "entries are left");
  }
}

describe("user pointers in a storm", () => {
  it(`keep jobs right and let them go on in ${SCHEDULES} random schedules`, () => {
    const events: EventName[] = ["hmm:retry", "notifier:collide", "notifier:refused", "mm:fork"];
    events.push("devmem:to-device", "devmem:to-ram", "mm:swap-in", "mm:make-exclusive", "mm:exit");
    const tally = new Tally();
    const isAll = eachSeed("userptr", SCHEDULES, (seed) => {
      const storm = new Storm(seed);
      const queues = new Queues(storm);
      storm.rage(queues);
      tally.addAll(queues.counts);
      tally.addAll(queues.driver.counts);
      tally.addEvents(storm, events);
    });
    if (!isAll) return;
    const own = [
      "reads",
      "writes",
      "faults",
      "dead",
      "restores",
      "again",
      "busy",
      "gone",
      "refused",
    ];
    expect(tally.missing([...own, ...events])).toEqual([]);
  }, 900_000);
});
