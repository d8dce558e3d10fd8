/** On-demand paging: each path, and random schedules in a storm of changes. */

import { describe, expect, it } from "vitest";
import {
  assert,
  EFAULT,
  EINVAL,
  ENOMEM,
  EOPNOTSUPP,
  EPERM,
  PAGE_SIZE,
  type Pfn,
} from "../../src/base/index.ts";
import { DMA_TO_DEVICE, DmaDevice, type DmaDeviceOptions } from "../../src/dma/index.ts";
import {
  makePte,
  mmput,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  VM_READ,
} from "../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../src/notifier/index.ts";
import { PG_DIRTY } from "../../src/phys/index.ts";
import { type Sleeps, YIELD } from "../../src/sync/index.ts";
import type { EventName } from "../../src/trace/index.ts";
import {
  firstWord,
  HUGE,
  hugeFrames,
  RW,
  rangeAt,
  setFirstWord,
  type TestWorld,
  type TestWorldOptions,
  TURNS,
  testWorld,
} from "../../test/engine/test-world.ts";
import { eachSeed } from "../../test/replay/replay.ts";
import { ODP_HUGETLB, ODP_READ, ODP_WRITE, OdpRegion, type RegisterOptions } from "./rdma-odp.ts";
import { Nic } from "./rdma-odp-hardware.ts";
import { PAGES, pagesFrom, Storm, type Subject, Tally } from "./test-storm.ts";

const SCHEDULES = Number(process.env.SCHEDULES ?? 10_000);

/**
 * What the NIC reaches of a page of the program through `region`, as an entry of a page table.
 * Asserts that each entry of the NIC has a DMA mapping behind it.
 */
function entryAt(region: OdpRegion | undefined, page: number): Pte {
  if (region === undefined) return PTE_NONE;
  const { nic, key, start, end } = region;
  const address = pagesFrom(page, 1).start;
  if (address < start || address >= end) return PTE_NONE;
  const entry = nic.entryOf(key, (address - start) / PAGE_SIZE);
  if (entry.rights === 0) return PTE_NONE;
  const mayWrite = entry.rights === ODP_WRITE;
  const frame = nic.dma.translate(entry.address, mayWrite);
  assert(frame > 0, () => `page ${page}: the NIC may use an address that is not mapped`);
  return makePte(frame as Pfn, mayWrite ? PTE_VALID | PTE_WRITE : PTE_VALID);
}

/** Four pages that begin with 1, 2, 3, 4, and a NIC. */
class Stage {
  readonly world: TestWorld;
  readonly dma: DmaDevice;
  readonly nic: Nic;
  // addresses that are not the regions'
  readonly #others: number[] = [];

  constructor(options: Partial<DmaDeviceOptions> & TestWorldOptions = {}) {
    this.world = testWorld(options);
    this.world.map(0, 4);
    for (let page = 0; page < 4; page++) this.world.store(page, page + 1);
    this.dma = new DmaDevice({ name: "nic0", pages: this.world.memory.pages, ...options });
    this.nic = new Nic(this.world.memory, this.dma);
    let steps = 0;
    this.world.scheduler.afterStep = () => assert(++steps < 50_000, "this never ends");
  }

  /** Every second I/O address belongs to somebody else. */
  scatter(): void {
    const frame = this.world.frame(0);
    for (let i = 0; i < 31; i++) this.#others.push(this.dma.mapPage(frame, DMA_TO_DEVICE));
    this.#others.sort((a, b) => a - b);
    for (let i = 0; i < this.#others.length; i++) {
      this.dma.unmapPage(this.#others.splice(i, 1)[0]!, DMA_TO_DEVICE);
    }
  }

  /** DMA mappings of regions. */
  get mapped(): number {
    return this.dma.mappingCount - this.#others.length;
  }

  tryRegister(options: Partial<RegisterOptions> = {}): OdpRegion | number {
    return OdpRegion.register(this.nic, this.world.space, {
      ...rangeAt(0, 4),
      access: ODP_WRITE,
      ...options,
    });
  }

  register(options: Partial<RegisterOptions> = {}): OdpRegion {
    const region = this.tryRegister(options);
    if (typeof region === "number") throw new Error(`no region: ${region}`);
    return region;
  }

  *reading({ key }: OdpRegion, page: number): Sleeps<number> {
    let word = 0;
    const result = yield* this.nic.access(key, page * PAGE_SIZE, false, (bytes) => {
      word = firstWord(bytes);
    });
    return result < 0 ? result : word;
  }

  /** The other side reads the first word of a page, or gets an error. */
  read(region: OdpRegion, page: number): number {
    return this.world.run(this.reading(region, page));
  }

  write({ key }: OdpRegion, page: number, value: number): number {
    const arrive = (bytes: Uint8Array): void => setFirstWord(bytes, value);
    return this.world.run(this.nic.access(key, page * PAGE_SIZE, true, arrive));
  }

  prefetch(region: OdpRegion, page: number, count: number): number {
    return this.world.run(region.prefetch(rangeAt(page, count)));
  }

  /** Rights of the entries of the first four units. */
  rights({ key }: OdpRegion): number[] {
    return [0, 1, 2, 3].map((unit) => this.nic.entryOf(key, unit).rights);
  }

  close(...regions: readonly OdpRegion[]): void {
    for (const region of regions) this.world.run(region.deregister());
    for (const address of this.#others.splice(0)) this.dma.unmapPage(address, DMA_TO_DEVICE);
    expect([this.dma.mappingCount, this.dma.ioPagesTaken]).toEqual([0, 0]);
    expect(this.world.space.notifiers.intervalCount).toBeLessThanOrEqual(1);
  }
}

const clearOf = (page: number, blockable: boolean): Invalidation =>
  new Invalidation({ ...rangeAt(page, 1), event: MMU_NOTIFY_CLEAR, blockable });

describe.each([
  ["with direct addresses", {}],
  ["behind an IOMMU", { iommu: { pages: 16 } }],
  ["behind an IOMMU that has no two addresses in a row", { iommu: { pages: 31 } }],
] satisfies [string, Partial<DmaDeviceOptions>][])("a region of a NIC %s", (name, mode) => {
  const stageOf = (): Stage => {
    const stage = new Stage(mode);
    if (name.endsWith("in a row")) stage.scatter();
    return stage;
  };

  it("is read and written by others where the program has it, faulting once a page", () => {
    const stage = stageOf();
    const region = stage.register();
    expect([0, 1, 2, 3].map((page) => stage.read(region, page))).toEqual([1, 2, 3, 4]);
    expect([stage.write(region, 2, 77), stage.world.load(2)]).toEqual([0, 77]);
    expect([stage.nic.counts.faults, stage.mapped]).toEqual([4, 4]);
    stage.close(region);
  });

  it("follows the program when its pages move, are copied, or are replaced", () => {
    const stage = stageOf();
    const { world } = stage;
    const region = stage.register();
    for (let page = 0; page < 4; page++) stage.write(region, page, 10 + page);
    world.toDevice(0, 1);
    const child = world.fork();
    expect(stage.rights(region)).toEqual([0, 0, 0, 0]);
    expect([stage.read(region, 0), stage.write(region, 1, 50)]).toEqual([10, 0]);
    expect([child.load(1), world.load(1)]).toEqual([11, 50]);
    world.unmap(2, 1);
    world.map(2, 1);
    expect([stage.read(region, 2), stage.read(region, 3)]).toEqual([0, 13]);
    stage.close(region);
  });

  it("gets rights in place when a page that was only read is written", () => {
    const stage = stageOf();
    const region = stage.register();
    stage.world.map(10, 1);
    stage.world.unmap(0, 1);
    stage.world.map(0, 1);
    expect([stage.read(region, 0), stage.rights(region)]).toEqual([0, [ODP_READ, 0, 0, 0]]);
    expect([stage.write(region, 0, 5), stage.rights(region)]).toEqual([0, [ODP_WRITE, 0, 0, 0]]);
    expect(stage.world.load(0)).toBe(5);
    stage.close(region);
  });

  it("cannot be written when it is registered for reading, although the program may", () => {
    const stage = stageOf();
    const region = stage.register({ access: ODP_READ });
    expect([stage.write(region, 0, 5), stage.read(region, 0)]).toEqual([-EPERM, 1]);
    const { address, rights } = stage.nic.entryOf(region.key, 0);
    expect([rights, stage.dma.translate(address, true)]).toEqual([ODP_READ, -EFAULT]);
    stage.close(region);
  });

  it("may overlap another", () => {
    const stage = stageOf();
    const [all, part] = [stage.register({ ...rangeAt(0, 2) }), stage.register(rangeAt(1, 2))];
    expect([stage.write(all, 1, 5), stage.read(part, 0), stage.write(part, 0, 6)]).toEqual([
      0, 5, 0,
    ]);
    expect([stage.mapped, stage.read(all, 1)]).toEqual([2, 6]);
    stage.world.toDevice(1, 1);
    expect([stage.mapped, stage.read(all, 1), stage.read(part, 0)]).toEqual([0, 6, 6]);
    stage.close(all, part);
  });

  it("is prefetched where pages are present, and faults nothing in", () => {
    const stage = stageOf();
    const { world } = stage;
    const region = stage.register({ ...rangeAt(0, 6) });
    world.map(4, 1);
    world.toDevice(1, 1);
    const before = world.count("hmm:fault");
    expect(stage.prefetch(region, 0, 6)).toBe(3);
    expect([world.count("hmm:fault"), stage.rights(region)]).toEqual([
      before,
      [ODP_WRITE, 0, ODP_WRITE, ODP_WRITE],
    ]);
    expect([stage.read(region, 1), stage.read(region, 4), stage.read(region, 5)]).toEqual([
      2,
      0,
      -EFAULT,
    ]);
    expect([stage.prefetch(region, 0, 6), stage.nic.counts.faults]).toEqual([5, 3]);
    stage.close(region);
  });
});

describe("a region", () => {
  it("says what is wrong with an access", () => {
    const stage = new Stage();
    const { world } = stage;
    const region = stage.register({ ...rangeAt(0, 6) });
    expect([stage.read(region, 4), stage.read(region, 6), stage.read(region, -1)]).toEqual([
      -EFAULT,
      -EINVAL,
      -EINVAL,
    ]);
    world.protect(0, 1, VM_READ);
    expect([stage.write(region, 0, 5), stage.read(region, 0)]).toEqual([-EPERM, 1]);
    world.protect(0, 1, 0);
    expect(stage.read(region, 0)).toBe(-EFAULT);
    world.protect(0, 1, RW);
    expect(stage.prefetch(region, 5, 2)).toBe(-EFAULT);
    stage.close(region);
    expect([stage.read(region, 0), stage.prefetch(region, 0, 1)]).toEqual([-EINVAL, -EINVAL]);
  });

  it("is refused without access, without pages, on a device that cannot, in a space that ends", () => {
    const stage = new Stage({ iommu: { pages: 16 } });
    expect(stage.tryRegister({ access: 0 })).toBe(-EINVAL);
    expect(stage.tryRegister({ ...rangeAt(2, 0) })).toBe(-EINVAL);
    const bounces = new Stage({ needsBounce: true });
    expect(bounces.tryRegister()).toBe(-EOPNOTSUPP);
    stage.world.leave();
    expect(stage.tryRegister()).toBe(-EINVAL);
    stage.close();
  });

  it("reports that the device has no mapping left, and works when it has again", () => {
    const stage = new Stage({ mappingsMax: 2 });
    const region = stage.register();
    expect([stage.prefetch(region, 0, 4), stage.read(region, 3)]).toEqual([-ENOMEM, -ENOMEM]);
    stage.world.toDevice(0, 1);
    expect([stage.read(region, 3), stage.read(region, 1)]).toEqual([4, 2]);
    stage.close(region);
  });

  it("says what the NIC may have written before it lets a page go", () => {
    const stage = new Stage();
    const { world } = stage;
    const [writer, reader] = [
      stage.register({ ...rangeAt(0, 1) }),
      stage.register({ ...rangeAt(1, 1), access: ODP_READ }),
    ];
    stage.write(writer, 0, 5);
    stage.read(reader, 0);
    const frames = [world.frame(0), world.frame(1)];
    for (const frame of frames) world.memory.pages.clearFlag(frame, PG_DIRTY);
    world.protect(0, 2, VM_READ);
    expect(frames.map((frame) => world.memory.pages.is(frame, PG_DIRTY))).toEqual([true, false]);
    stage.close(writer, reader);
  });

  it("of huge pages has one entry for each, and no part of a huge page", () => {
    const options = { frames: hugeFrames(2), hugetlbPages: 1, iommu: { pages: 3 * HUGE } };
    const stage = new Stage(options);
    const { world } = stage;
    world.map(2 * HUGE, HUGE, RW, { isHugetlb: true });
    const access = ODP_WRITE | ODP_HUGETLB;
    const region = stage.register({ ...rangeAt(2 * HUGE + 7, 1), access });
    expect([stage.write(region, 9, 5), world.load(2 * HUGE + 9)]).toEqual([0, 5]);
    expect([stage.read(region, 9), stage.nic.counts.faults, stage.dma.mappingCount]).toEqual([
      5,
      1,
      HUGE,
    ]);
    world.protect(2 * HUGE, HUGE, VM_READ);
    expect([stage.dma.mappingCount, stage.prefetch(region, 2 * HUGE, 1)]).toEqual([0, HUGE]);
    const small = stage.register({ ...rangeAt(0, 1), access });
    world.map(4, HUGE - 4);
    expect([stage.read(small, 0), stage.prefetch(small, 0, 1)]).toEqual([-EINVAL, -EINVAL]);
    stage.close(region, small);
  });
});

describe("an event on a region", () => {
  it("waits for packets under way", () => {
    const stage = new Stage();
    const { world, nic } = stage;
    const region = stage.register();
    const order: string[] = [];
    function* event(): Sleeps<void> {
      while (!nic.isBusy(region.key, 0, 1)) yield YIELD;
      const cleared = clearOf(0, true);
      yield* world.space.notifiers.start(cleared);
      order.push("event");
      world.space.notifiers.end(cleared);
    }
    world.scheduler.spawn("event", event());
    world.run(nic.access(region.key, 0, false, () => order.push("arrived")));
    expect(order).toEqual(["arrived", "event"]);
    stage.close(region);
  });

  it("is refused when it cannot wait for a packet, and nothing changes", () => {
    const stage = new Stage({ strategy: TURNS });
    const { world, nic } = stage;
    const region = stage.register();
    stage.prefetch(region, 0, 4);
    const results: number[] = [];
    function* reap(page: number): Sleeps<void> {
      while (!nic.isBusy(region.key, 0, 1)) yield YIELD;
      const event = clearOf(page, false);
      results.push(yield* world.space.notifiers.start(event));
      if (results.at(-1) === 0) world.space.notifiers.end(event);
    }
    world.scheduler.spawn("reaper", reap(0));
    stage.read(region, 0);
    expect([results[0]! < 0, region.counts.refused, stage.rights(region)]).toEqual([
      true,
      1,
      [ODP_WRITE, ODP_WRITE, ODP_WRITE, ODP_WRITE],
    ]);
    // Packets to other pages are no hindrance.
    world.scheduler.spawn("reaper", reap(1));
    stage.read(region, 0);
    expect([results[1], stage.rights(region)[1]]).toEqual([0, 0]);
    stage.close(region);
  });

  it("after event cannot keep a fault from its end", () => {
    const stage = new Stage({ strategy: TURNS });
    const { world } = stage;
    const region = stage.register({ collisions: { collisionsMax: 5 } });
    let isOver = false;
    function* storm(): Sleeps<void> {
      while (!isOver) {
        const event = clearOf(0, true);
        yield* world.space.notifiers.start(event);
        yield YIELD;
        world.space.notifiers.end(event);
      }
    }
    for (let i = 0; i < 3; i++) world.scheduler.spawn("storm", storm());
    function* read(): Sleeps<number> {
      const result = yield* region.prefetch(rangeAt(0, 1));
      isOver = true;
      return result;
    }
    expect(world.run(read())).toBe(1);
    expect(world.count("notifier:precedence")).toBe(1);
    expect(region.counts.collisions).toBeLessThan(12);
    stage.close(region);
  });
});

describe("the end of a region", () => {
  it("waits for faults and packets, and comes while events go on", () => {
    const stage = new Stage({ strategy: TURNS, iommu: { pages: 16 } });
    const { world } = stage;
    const region = stage.register();
    const results: number[] = [];
    function* reads(page: number): Sleeps<void> {
      results.push(yield* stage.reading(region, page));
    }
    function* events(): Sleeps<void> {
      for (let i = 0; i < 8; i++) {
        const event = clearOf(i % 4, true);
        yield* world.space.notifiers.start(event);
        yield YIELD;
        world.space.notifiers.end(event);
      }
    }
    world.scheduler.spawn("events", events());
    for (let page = 0; page < 4; page++) world.scheduler.spawn("reader", reads(page));
    function* leave(): Sleeps<void> {
      for (let i = 0; i < 6; i++) yield YIELD;
      yield* region.deregister();
    }
    world.run(leave());
    expect(results.length).toBe(4);
    for (const result of results) expect([1, 2, 3, 4, -EINVAL]).toContain(result);
    stage.close();
  });

  it("may come after that of the program, also when a fault was its last user", () => {
    const stage = new Stage({ strategy: TURNS });
    const { world } = stage;
    const region = stage.register();
    function* exit(): Sleeps<void> {
      while (world.space.users.count < 2) yield YIELD;
      yield* mmput(world.space);
    }
    world.scheduler.spawn("exit", exit());
    expect(stage.read(region, 0)).toBe(1);
    expect([world.space.users.count, stage.dma.mappingCount]).toEqual([0, 0]);
    expect([stage.read(region, 0), stage.prefetch(region, 0, 1)]).toEqual([-EFAULT, -EFAULT]);
    stage.close(region);
  });
});

/** Two queue pairs, and somebody who prefetches and registers anew. */
class QueuePairs implements Subject {
  readonly storm: Storm;
  readonly nic: Nic;
  readonly tasks: readonly Sleeps<void>[];
  readonly tables: readonly ((page: number) => Pte)[];
  readonly counts = {
    reads: 0,
    writes: 0,
    faultErrors: 0,
    rightErrors: 0,
    stale: 0,
    prefetched: 0,
  };
  readonly regionCounts: OdpRegion["counts"][] = [];
  // the first may be written; the second overlaps it by a page, is read, and comes and goes
  readonly #regions: (OdpRegion | undefined)[] = [undefined, undefined];

  constructor(storm: Storm) {
    const iommu = storm.seed % 2 === 0 ? { iommu: { pages: 16 } } : {};
    const dma = new DmaDevice({ name: "nic0", pages: storm.memory.pages, ...iommu });
    this.storm = storm;
    this.nic = new Nic(storm.memory, dma);
    this.tables = [0, 1].map((i) => (page: number) => entryAt(this.#regions[i], page));
    this.#register(0);
    this.#register(1);
    this.tasks = [this.#queuePair(), this.#queuePair(), this.#owner()];
  }

  #register(index: number): void {
    const { storm } = this;
    const range = index === 0 ? pagesFrom(0, 4) : pagesFrom(3, 3);
    const access = index === 0 ? ODP_WRITE : ODP_READ;
    const collisions = storm.seed % 3 === 0 ? { collisionsMax: 1 } : {};
    const region = OdpRegion.register(this.nic, storm.space, { ...range, access, collisions });
    if (typeof region === "number") {
      assert(storm.space.notifiers.isReleased, () => `register: ${region}`);
      return;
    }
    this.#regions[index] = region;
    this.regionCounts.push(region.counts);
  }

  *#queuePair(): Sleeps<void> {
    for (let i = 0; i < 7; i++) {
      yield* this.#access(this.storm.random.below(2), this.storm.random.below(5));
      if (this.storm.random.below(3) === 0) yield* this.storm.nap();
    }
  }

  *#owner(): Sleeps<void> {
    for (let i = 0; i < 3; i++) {
      yield* this.#prefetch(this.storm.random.below(3));
      yield* this.storm.nap();
      const region = this.#regions[1];
      if (region === undefined || i === 1) continue;
      this.#regions[1] = undefined;
      yield* region.deregister();
      this.#register(1);
    }
  }

  *#prefetch(page: number): Sleeps<void> {
    const count = yield* this.#regions[0]!.prefetch(pagesFrom(page, 2));
    if (count > 0) this.counts.prefetched += count;
    const isGone = this.storm.space.users.count === 0;
    assert(count >= 0 || isGone, () => `prefetch of what is there: ${count}`);
  }

  *#access(index: number, at: number): Sleeps<number> {
    const { storm, counts } = this;
    const region = this.#regions[index];
    if (region === undefined) return 0;
    const unit = index === 0 ? at % 4 : at % 3;
    const page = index === 0 ? unit : 3 + unit;
    const write = index === 0 && storm.random.below(2) === 0;
    const offset = unit * PAGE_SIZE;
    const result = yield* this.nic.access(region.key, offset, write, (bytes, frame) => {
      storm.expect(page, bytes, frame);
      if (write) storm.store(page, bytes);
    });
    if (result === 0) counts[write ? "writes" : "reads"]++;
    else if (result === -EFAULT) counts.faultErrors++;
    else if (result === -EPERM) counts.rightErrors++;
    else if (result === -EINVAL) counts.stale++;
    const isStale = result === -EINVAL && region !== this.#regions[index];
    const isLost = (result === -EFAULT || result === -EPERM) && storm.mayFail(page, write);
    assert(result === 0 || isStale || isLost, () => `page ${page}: ${result} without a reason`);
    return result;
  }

  *finish(): Sleeps<void> {
    if (this.storm.space.users.count > 0) {
      yield* this.#prefetch(0);
      for (let page = 0; page < PAGES; page++) {
        const result = yield* this.#access(page < 4 ? 0 : 1, page < 4 ? page : page - 3);
        assert(result === 0, () => `page ${page} is there and remote access gets ${result}`);
        yield* this.storm.load(page);
      }
    }
    for (const region of this.#regions.splice(0)) {
      if (region !== undefined) yield* region.deregister();
    }
  }

  checkEnd(): void {
    const { mappingCount, ioPagesTaken } = this.nic.dma;
    assert(mappingCount === 0 && ioPagesTaken === 0, "DMA mappings or I/O addresses are left");
  }
}

describe("on-demand paging in a storm", () => {
  it(`lets the NIC reach the right pages only in ${SCHEDULES} random schedules`, () => {
    const events: EventName[] = ["hmm:retry", "notifier:collide", "notifier:refused", "mm:fork"];
    events.push("notifier:precedence", "devmem:to-device", "devmem:to-ram", "mm:swap-in");
    events.push("mm:make-exclusive", "mm:exit");
    const tally = new Tally();
    const isAll = eachSeed("rdma-odp", SCHEDULES, (seed) => {
      const storm = new Storm(seed);
      const pairs = new QueuePairs(storm);
      storm.rage(pairs);
      tally.addAll(pairs.counts);
      tally.addAll(pairs.nic.counts);
      for (const counts of pairs.regionCounts) tally.addAll(counts);
      tally.addEvents(storm, events);
    });
    if (!isAll) return;
    const own = ["reads", "writes", "faultErrors", "rightErrors", "stale", "prefetched", "resends"];
    own.push("mapped", "collisions", "zapped", "refused");
    expect(tally.missing([...own, ...events])).toEqual([]);
  }, 900_000);
});
