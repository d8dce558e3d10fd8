/** The fault service: each path, and random schedules of two processes in a storm of changes. */

import { describe, expect, it } from "vitest";
import {
  assert,
  EFAULT,
  EINVAL,
  ENODEV,
  ENOENT,
  type VirtAddr,
  virtAddr,
  vpnOf,
} from "../../src/base/index.ts";
import { tableShadow } from "../../src/check/index.ts";
import {
  Advice,
  makePte,
  mmput,
  type PageTable,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  ptePfn,
  VM_READ,
} from "../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../src/notifier/index.ts";
import { PG_DIRTY } from "../../src/phys/index.ts";
import { type Sleeps, type Task, WaitQueue } from "../../src/sync/index.ts";
import type { EventName } from "../../src/trace/index.ts";
import {
  firstWord,
  pageAt,
  RW,
  rangeAt,
  setFirstWord,
  type TestWorld,
  type TestWorldOptions,
  testWorld,
} from "../../test/engine/test-world.ts";
import { eachSeed } from "../../test/replay/replay.ts";
import { SvmFaultService } from "./svm-fault-service.ts";
import {
  ACCESS_ATOMIC,
  ACCESS_PREFETCH,
  ACCESS_READ,
  ACCESS_WRITE,
  FaultingGpu,
  needsWrite,
} from "./svm-fault-service-hardware.ts";
import { NEIGHBOUR_PAGES, Neighbour } from "./test-program.ts";
import { addressOf, Storm, type Subject, Tally } from "./test-storm.ts";

const SCHEDULES = Number(process.env.SCHEDULES ?? 10_000);
const INSTANCE = 1;

/** Six pages that begin with 1, 2, 3, …, on the GPU. */
class Stage {
  readonly world: TestWorld;
  readonly gpu: FaultingGpu;
  readonly service: SvmFaultService;
  readonly table: PageTable;
  #nextClient = 0;

  constructor(options: TestWorldOptions & { holeAt?: number; ringSize?: number } = {}) {
    this.world = testWorld(options);
    this.world.map(0, 6);
    for (let page = 0; page < 6; page++) this.world.store(page, page + 1);
    this.gpu = new FaultingGpu(this.world.memory, options);
    this.service = new SvmFaultService(this.gpu);
    const unmanaged = options.holeAt === undefined ? undefined : rangeAt(options.holeAt, 1);
    const open = { instance: INSTANCE, ...(unmanaged && { unmanaged }) };
    expect(this.world.run(this.service.open(this.world.space, open))).toBe(0);
    this.table = this.service.tableOf(INSTANCE)!;
    if (unmanaged === undefined)
      this.world.shadows.push(
        tableShadow("driver", { space: this.world.space, table: this.table }),
      );
  }

  /** What a thread reads or overwrites, or the errno that ends it. Value 0: only look. */
  *access(page: number, access: number, value = 0, instance = INSTANCE): Sleeps<number> {
    let word = 0;
    const client = this.#nextClient++;
    const address: VirtAddr = virtAddr(pageAt(page) + 8);
    const result = yield* this.gpu.access({ instance, address, access, client }, (bytes) => {
      word = firstWord(bytes);
      if (value > 0) setFirstWord(bytes, value);
    });
    return result < 0 ? result : word;
  }

  read(page: number): number {
    return this.world.run(this.access(page, ACCESS_READ));
  }

  write(page: number, value: number): number {
    return this.world.run(this.access(page, ACCESS_WRITE, value));
  }

  /** Threads that run at the same time: their faults are one batch. */
  all(...bodies: Sleeps<number>[]): (number | undefined)[] {
    const tasks: Task<number>[] = bodies.map((each, i) => this.world.scheduler.spawn(`${i}`, each));
    this.world.scheduler.run();
    return tasks.map((task) => task.result);
  }

  /** An event is open on page 0 for `ms`, while whatever else goes on. */
  *openEvent(ms: number): Sleeps<number> {
    const { notifiers } = this.world.space;
    const event = new Invalidation({ ...rangeAt(0, 1), event: MMU_NOTIFY_CLEAR });
    yield* notifiers.start(event);
    yield* new WaitQueue(this.world.scheduler, "a nap").sleep(notifiers.nowMs + ms);
    notifiers.end(event);
    return 0;
  }

  stop(): void {
    this.world.run(this.service.stop());
    expect([this.table.usedCount, this.gpu.stalledCount]).toEqual([0, 0]);
  }
}

describe("a fault service", () => {
  it("lets GPU threads read and write the program's bytes where the program has them", () => {
    const stage = new Stage();
    expect([stage.read(0), stage.write(2, 30), stage.world.load(2)]).toEqual([1, 3, 30]);
    expect(stage.all(stage.access(1, ACCESS_ATOMIC, 20), stage.access(4, ACCESS_READ))).toEqual([
      2, 5,
    ]);
    expect([stage.world.load(1), stage.service.counts.cancelled]).toEqual([20, 0]);
    stage.stop();
  });

  it("serves a batch with one window and one replay, asks once for a page, strongest first", () => {
    const stage = new Stage();
    stage.world.fork();
    const kinds = [ACCESS_PREFETCH, ACCESS_READ, ACCESS_WRITE, ACCESS_ATOMIC];
    const bodies = kinds.map((kind) => stage.access(3, kind, needsWrite(kind) ? 40 : 0));
    expect(stage.all(stage.access(0, ACCESS_READ), ...bodies)).toHaveLength(5);
    const { batches, windows, duplicates, served, cancelled } = stage.service.counts;
    expect([batches, windows, duplicates, served, cancelled]).toEqual([1, 1, 3, 5, 0]);
    expect([stage.gpu.counts.replays, stage.world.load(3)]).toEqual([1, 40]);
    stage.stop();
  });

  it("enters what is there between the faults and brings nothing that nobody asked for", () => {
    const stage = new Stage();
    stage.world.advise(2, 1, Advice.dontNeed);
    stage.all(stage.access(0, ACCESS_READ), stage.access(5, ACCESS_READ));
    expect([stage.table.usedCount, stage.world.pte(2)]).toEqual([5, 0]);
    stage.stop();
  });

  it("cuts windows at the end of a Vma and in front of the hole, which it never touches", () => {
    const stage = new Stage({ holeAt: 4 });
    const { world, table, service } = stage;
    const buffer = makePte(world.frame(0), PTE_VALID | PTE_WRITE);
    table.set(vpnOf(pageAt(4)), buffer);
    world.unmap(1, 1);
    expect([stage.read(2), stage.read(5), stage.read(0)]).toEqual([3, 6, 1]);
    expect([service.counts.windows, table.usedCount]).toEqual([3, 5]);
    world.unmap(2, 4);
    expect([table.usedCount, table.get(vpnOf(pageAt(4)))]).toEqual([2, buffer]);
    table.set(vpnOf(pageAt(4)), 0 as typeof buffer);
    stage.stop();
  });

  it("cancels the thread that writes what may only be read, and serves those that read it", () => {
    const stage = new Stage();
    stage.world.protect(0, 6, VM_READ);
    const reads = [stage.access(1, ACCESS_READ), stage.access(2, ACCESS_READ)];
    expect(stage.all(...reads, stage.access(1, ACCESS_WRITE, 9))).toEqual([2, 3, -EFAULT]);
    expect([stage.gpu.counts.cancels, stage.gpu.counts.replays]).toEqual([1, 1]);
    expect(stage.world.load(1)).toBe(2);
    stage.world.protect(0, 6, RW);
    stage.stop();
  });

  it("cancels what is outside of all memory, in the hole, or of an instance that it lacks", () => {
    const stage = new Stage({ holeAt: 4 });
    const strange = stage.access(0, ACCESS_READ, 0, 99);
    const bodies = [stage.access(40, ACCESS_READ), stage.access(4, ACCESS_READ), strange];
    expect(stage.all(...bodies)).toEqual([-EFAULT, -EFAULT, -EFAULT]);
    expect(stage.gpu.counts.replays).toBe(0);
    stage.stop();
  });

  it("serves a window that fails page by page, so that one bad page costs one thread", () => {
    const stage = new Stage({ frames: 6 });
    const { world, service } = stage;
    world.map(10, 1);
    const bodies = [0, 3].map((page) => stage.access(page, ACCESS_READ));
    expect(stage.all(...bodies)).toEqual([1, 4]);
    world.unmap(5, 1);
    world.map(5, 3);
    // One frame is left for three pages.
    const wants = [5, 6, 7].map((page) => stage.access(page, ACCESS_WRITE, 50 + page));
    const results = stage.all(...wants, stage.access(1, ACCESS_READ));
    expect(results).toEqual([0, -EFAULT, -EFAULT, 2]);
    expect([service.counts.byPage, service.counts.noMemory]).toEqual([1, 2]);
    stage.stop();
  });

  it("loses no fault when there are more threads than entries in the ring", () => {
    const stage = new Stage({ ringSize: 3 });
    const pages = [0, 1, 2, 3, 4, 5, 0, 1, 2, 3];
    const bodies = pages.map((page) => stage.access(page, ACCESS_READ));
    expect(stage.all(...bodies)).toEqual(pages.map((page) => page + 1));
    stage.stop();
  });

  it("leaves what collides too long to a later batch, and cancels none of it", () => {
    const stage = new Stage();
    const [, word] = stage.all(stage.openEvent(3500), stage.access(0, ACCESS_READ));
    const { putOff, cancelled } = stage.service.counts;
    expect([word, putOff, cancelled, stage.gpu.counts.replays]).toEqual([1, 3, 0, 4]);
    stage.stop();
  });

  it("brings pages home from another device, and says what the GPU may have written", () => {
    const stage = new Stage();
    const { world } = stage;
    expect([world.toDevice(0, 2), stage.write(0, 10), stage.read(1)]).toEqual([0, 1, 2]);
    const frame = world.frame(0);
    world.memory.pages.clearFlag(frame, PG_DIRTY);
    world.protect(0, 1, VM_READ);
    expect(world.memory.pages.is(frame, PG_DIRTY)).toBe(true);
    world.protect(0, 1, RW);
    stage.stop();
  });

  it("forgets pages for an event that may not wait", () => {
    const stage = new Stage();
    stage.read(0);
    const { notifiers } = stage.world.space;
    const event = new Invalidation({ ...rangeAt(0, 1), event: MMU_NOTIFY_CLEAR, blockable: false });
    function* reap(): Sleeps<void> {
      expect(yield* notifiers.start(event)).toBe(0);
      expect(stage.table.usedCount).toBe(5);
      notifiers.end(event);
    }
    stage.world.run(reap());
    stage.stop();
  });
});

describe("an instance", () => {
  it("has one space; others get none while it has, nor when they go away", () => {
    const stage = new Stage();
    const { world, service } = stage;
    const child = world.fork();
    child.store(0, 77);
    expect(world.run(service.open(child.space, { instance: INSTANCE }))).toBe(-EINVAL);
    expect(world.run(service.open(child.space, { instance: 2 }))).toBe(0);
    const both = [stage.access(0, ACCESS_READ), stage.access(0, ACCESS_READ, 0, 2)];
    expect([stage.all(...both), service.counts.batches]).toEqual([[1, 77], 1]);
    child.leave();
    expect(world.run(service.open(child.space, { instance: 3 }))).toBe(-EINVAL);
    stage.stop();
    expect(world.run(service.open(world.space, { instance: 3 }))).toBe(-EINVAL);
  });

  it("can be closed and opened again while its threads are stalled: they are cancelled", () => {
    const stage = new Stage();
    const { world, service } = stage;
    function* closing(): Sleeps<number> {
      yield* new WaitQueue(world.scheduler, "a nap").sleep(500);
      return yield* service.close(INSTANCE);
    }
    const bodies = [stage.openEvent(2000), stage.access(0, ACCESS_READ), closing()];
    expect(stage.all(...bodies)).toEqual([0, -EFAULT, 0]);
    expect([stage.read(0), world.run(service.close(INSTANCE))]).toEqual([-EFAULT, -ENOENT]);
    expect(world.run(service.open(world.space, { instance: INSTANCE }))).toBe(0);
    expect([stage.read(0), service.counts.putOff]).toEqual([1, 0]);
    stage.stop();
  });

  it("reaches nothing after the end of its program, and is closed after it", () => {
    const stage = new Stage();
    stage.read(0);
    const { world } = stage;
    function* exit(): Sleeps<number> {
      yield* mmput(world.space);
      return 0;
    }
    expect(stage.all(stage.openEvent(500), stage.access(1, ACCESS_READ), exit())[2]).toBe(0);
    expect([stage.table.usedCount, stage.read(1)]).toEqual([0, -EFAULT]);
    stage.stop();
  });

  it("is closed with the service, after which no access waits for anybody", () => {
    const stage = new Stage({ ringSize: 2 });
    const bodies = [0, 1, 2].map((page) => stage.access(page, ACCESS_READ));
    const results = stage.all(...bodies, stage.service.stop() as Sleeps<never>);
    for (const result of results.slice(0, 3)) expect([-EFAULT, -ENODEV]).toContain(result);
    expect(stage.read(0)).toBe(-ENODEV);
    expect([stage.table.usedCount, stage.gpu.stalledCount]).toEqual([0, 0]);
  });
});

/** Two processes, three threads of the GPU, and in some schedules somebody who closes. */
class Threads implements Subject {
  readonly storm: Storm;
  readonly neighbour: Neighbour;
  readonly gpu: FaultingGpu;
  readonly service: SvmFaultService;
  readonly tasks: readonly Sleeps<void>[];
  readonly tables = [
    (page: number) => this.service.tableOf(1)?.get(vpnOf(addressOf(page))) ?? PTE_NONE,
  ];
  readonly counts = { reads: 0, writes: 0, failed: 0, closed: 0 };
  #clients = 0;

  constructor(storm: Storm) {
    this.storm = storm;
    this.neighbour = new Neighbour(storm);
    this.gpu = new FaultingGpu(storm.memory, { ringSize: 3 });
    this.service = new SvmFaultService(this.gpu);
    storm.run("open", this.service.open(storm.space, { instance: 1 }));
    storm.run("open", this.service.open(this.neighbour.space, { instance: 2 }));
    const closing = storm.random.below(4) === 0 ? [this.#close()] : [];
    const threads = [this.#thread(), this.#thread(), this.#neighboursThread()];
    this.tasks = [...threads, this.neighbour.live(), ...closing];
  }

  /** The neighbour's table is within its page table; the storm looks at the other one. */
  #checkNeighbour(): void {
    const { space } = this.neighbour;
    const table = this.service.tableOf(2);
    for (let page = 0; table !== undefined && page < NEIGHBOUR_PAGES; page++) {
      const entry = table.get(vpnOf(addressOf(page)));
      const range = { start: addressOf(page), end: addressOf(page + 1) };
      if (entry === 0 || space.notifiers.isInvalidating(range)) continue;
      const fact = space.pageTable.get(vpnOf(addressOf(page)));
      const isWithin = (fact & entry) === entry && ptePfn(fact) === ptePfn(entry);
      assert(isWithin, () => `neighbour's ${page} is not within its page table`);
    }
  }

  *#thread(): Sleeps<void> {
    const { random } = this.storm;
    const client = this.#clients++;
    for (let i = 0; i < 4; i++) {
      const access = random.below(4);
      yield* this.#access(random.below(6), access, client);
      if (random.below(3) === 0) yield* this.storm.nap();
    }
  }

  *#access(page: number, access: number, client: number): Sleeps<void> {
    const { storm, counts, service } = this;
    const write = needsWrite(access);
    const record = { instance: 1, address: addressOf(page), access, client };
    const result = yield* this.gpu.access(record, (bytes, frame) => {
      storm.expect(page, bytes, frame);
      if (access !== ACCESS_WRITE) counts.reads++;
      if (!write) return;
      storm.store(page, bytes);
      counts.writes++;
    });
    if (result === 0) return;
    counts.failed++;
    const isExcused = counts.closed > 0 || service.counts.noMemory > 0;
    const mayFail = isExcused || storm.mayFail(page, write);
    assert(result === -EFAULT && mayFail, () => `access ${access} of page ${page}: ${result}`);
  }

  *#neighboursThread(): Sleeps<void> {
    const { neighbour, storm, service } = this;
    const client = this.#clients++;
    for (let i = 0; i < 4; i++) {
      this.#checkNeighbour();
      const page = storm.random.below(NEIGHBOUR_PAGES);
      const access = storm.random.below(2);
      const record = { instance: 2, address: addressOf(page), access, client };
      const result = yield* this.gpu.access(record, (bytes, frame) => {
        neighbour.expect(page, bytes, frame);
        if (access === ACCESS_WRITE) neighbour.store(page, bytes);
      });
      const mayFail = neighbour.mayFail(page) || service.counts.noMemory > 0;
      assert(result === 0 || mayFail, () => `the neighbour's access: ${result}`);
    }
  }

  /** Also while faults are served; what comes then is cancelled, until it is open again. */
  *#close(): Sleeps<void> {
    const { storm, service, counts } = this;
    for (let i = 0; i < 4; i++) yield* storm.nap();
    counts.closed++;
    assert((yield* service.close(1)) === 0, "it was open");
    const opened = yield* service.open(storm.space, { instance: 1 });
    assert(opened === 0 || storm.space.users.count === 0, () => `open: ${opened}`);
  }

  *finish(): Sleeps<void> {
    const { storm, service, gpu } = this;
    assert(gpu.stalledCount === 0 && gpu.ring.isEmpty, "a thread is stalled for ever");
    if (storm.space.users.count > 0) {
      for (let page = 0; page < 6; page++) {
        yield* this.#access(page, ACCESS_WRITE, this.#clients);
        yield* storm.load(page);
      }
    }
    yield* service.stop();
    yield* this.neighbour.exit();
  }

  checkEnd(): void {
    assert(this.service.tableOf(1) === undefined, "an instance is left");
  }
}

describe("a fault service in a storm", () => {
  it(`brings every thread the right bytes in ${SCHEDULES} random schedules`, () => {
    const events: EventName[] = ["hmm:retry", "notifier:collide", "mm:fork", "mm:exit"];
    events.push("devmem:to-device", "devmem:to-ram", "mm:swap-in", "mm:make-exclusive");
    const tally = new Tally();
    const isAll = eachSeed("svm-fault-service", SCHEDULES, (seed) => {
      const storm = new Storm(seed);
      const threads = new Threads(storm);
      storm.rage(threads);
      tally.addAll(threads.counts);
      tally.addAll(threads.service.counts);
      tally.addAll(threads.gpu.counts);
      tally.addEvents(storm, events);
    });
    if (!isAll) return;
    const own = ["reads", "writes", "failed", "closed", "duplicates", "collisions", "byPage"];
    own.push("putOff", "cancels", "replays", "served");
    expect([tally.missing([...own, ...events]), `${tally}`]).toEqual([[], `${tally}`]);
  }, 900_000);
});
