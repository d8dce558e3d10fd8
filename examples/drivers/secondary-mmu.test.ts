/** The secondary MMU: each path, and random schedules of a guest in a storm of changes. */

import { describe, expect, it } from "vitest";
import {
  assert,
  EAGAIN,
  EFAULT,
  EINVAL,
  ENODEV,
  ENOENT,
  EPERM,
  virtAddr,
  vpnOf,
} from "../../src/base/index.ts";
import { PTE_NONE, PTE_WRITE, VM_READ } from "../../src/mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR, type NotifierOps } from "../../src/notifier/index.ts";
import { PG_DIRTY } from "../../src/phys/index.ts";
import { type Sleeps, WaitQueue, YIELD } from "../../src/sync/index.ts";
import type { EventName } from "../../src/trace/index.ts";
import {
  firstWord,
  hugeFrames,
  pageAt,
  RW,
  rangeAt,
  setFirstWord,
  type TestWorld,
  type TestWorldOptions,
  testWorld,
} from "../../test/engine/test-world.ts";
import { eachSeed } from "../../test/replay/replay.ts";
import type { Slot } from "./guest-slots.ts";
import { FIXED, RETRY, VirtualMachine } from "./secondary-mmu.ts";
import { GuestMmu, LARGE_PAGES, type Vcpu } from "./secondary-mmu-hardware.ts";
import { addressOf, Storm, type Subject, Tally } from "./test-storm.ts";

const SCHEDULES = Number(process.env.SCHEDULES ?? 10_000);

const slotOf = (gfn: number, page: number, pages: number): Slot => ({
  gfn,
  pages,
  address: pageAt(page),
});

/** Six pages that begin with 1, 2, 3, …; the guest has them from gfn 100 on. */
class Stage {
  readonly world: TestWorld;
  readonly mmu: GuestMmu;
  readonly vm: VirtualMachine;
  readonly vcpu: Vcpu;

  constructor(options: TestWorldOptions = {}) {
    this.world = testWorld(options);
    this.world.map(0, 6);
    for (let page = 0; page < 6; page++) this.world.store(page, page + 1);
    this.mmu = new GuestMmu(this.world.memory);
    this.vm = this.world.run(VirtualMachine.create(this.world.space, this.mmu)) as VirtualMachine;
    this.vcpu = this.vm.addVcpu();
    expect(this.world.run(this.vm.addSlot(slotOf(100, 0, 6)))).toBe(0);
  }

  read(gfn: number): number {
    let word = 0;
    const land = (bytes: Uint8Array): void => {
      word = firstWord(bytes);
    };
    const result = this.world.run(this.vcpu.access(gfn, false, land));
    return result < 0 ? result : word;
  }

  write(gfn: number, value: number): number {
    const land = (bytes: Uint8Array): void => setFirstWord(bytes, value);
    return this.world.run(this.vcpu.access(gfn, true, land));
  }

  fault(gfn: number, write = false): number {
    return this.world.run(this.vm.fault(gfn, write));
  }

  /** Runs `during` while an event on `count` pages from `page` is open. */
  *event(page: number, count: number, during: () => Sleeps<unknown>): Sleeps<void> {
    const { notifiers } = this.world.space;
    const event = new Invalidation({ ...rangeAt(page, count), event: MMU_NOTIFY_CLEAR });
    yield* notifiers.start(event);
    yield* during();
    notifiers.end(event);
  }

  /** Another task does it while the running one waits in the middle of something. */
  *meanwhile(body: Sleeps<unknown>): Sleeps<void> {
    const task = this.world.scheduler.spawn("meanwhile", body);
    while (!task.isSettled) yield YIELD;
  }

  destroy(): void {
    this.world.run(this.vm.destroy());
    expect([this.mmu.smallCount, this.mmu.largeCount]).toEqual([0, 0]);
  }
}

describe("a guest", () => {
  it("reads and writes the program's bytes, also where two slots show the same", () => {
    const stage = new Stage();
    expect(stage.world.run(stage.vm.addSlot(slotOf(7, 2, 2)))).toBe(0);
    expect([stage.read(100), stage.write(102, 30), stage.read(7)]).toEqual([1, 0, 30]);
    expect([stage.world.load(2), stage.read(8)]).toEqual([30, 4]);
    stage.world.store(3, 40);
    expect([stage.read(103), stage.read(8)]).toEqual([40, 40]);
    stage.destroy();
  });

  it("follows the program through fork, swap, unmapping and other devices", () => {
    const stage = new Stage();
    const { world } = stage;
    for (let gfn = 100; gfn < 106; gfn++) stage.read(gfn);
    const child = world.fork();
    expect([stage.write(100, 10), child.load(0), world.load(0)]).toEqual([0, 1, 10]);
    expect([world.toDevice(1, 1), stage.read(101), stage.write(101, 20)]).toEqual([0, 2, 0]);
    world.unmap(2, 1);
    expect(stage.read(102)).toBe(-EFAULT);
    world.map(2, 1);
    expect([stage.read(102), stage.write(102, 33), world.load(2)]).toEqual([0, 0, 33]);
    stage.destroy();
  });

  it("faults outside its slots, and where the slot or the program forbids to write", () => {
    const stage = new Stage();
    const { world, vm } = stage;
    const rom = { ...slotOf(50, 0, 2), isReadOnly: true };
    expect([stage.read(99), stage.read(106)]).toEqual([-EFAULT, -EFAULT]);
    expect([world.run(vm.addSlot(rom)), stage.read(50), stage.write(50, 9)]).toEqual([
      0,
      1,
      -EPERM,
    ]);
    expect(stage.mmu.get(50) & PTE_WRITE).toBe(0);
    world.protect(0, 6, VM_READ);
    expect([stage.read(101), stage.write(101, 9)]).toEqual([2, -EPERM]);
    world.protect(0, 6, RW);
    stage.destroy();
  });

  it("has large entries where the program has huge pages and the slot agrees", () => {
    const stage = new Stage({ frames: hugeFrames(3), hugePages: "always" });
    const { world, vm, mmu } = stage;
    world.map(LARGE_PAGES, 2 * LARGE_PAGES);
    world.store(LARGE_PAGES + 5, 55);
    world.store(LARGE_PAGES + 9, 99);
    world.run(vm.addSlot(slotOf(1024, LARGE_PAGES, 2 * LARGE_PAGES)));
    world.run(vm.addSlot(slotOf(4097, LARGE_PAGES, LARGE_PAGES)));
    expect([stage.read(1024 + 5), stage.read(1024 + 9), stage.read(4097 + 5)]).toEqual([
      55, 99, 55,
    ]);
    expect([vm.counts.large, mmu.largeCount, mmu.smallCount]).toEqual([1, 1, 1]);
    // Read before it was written: the huge zero page is one frame, and has no large entry.
    expect([stage.read(1024 + LARGE_PAGES + 1), mmu.largeCount]).toEqual([0, 1]);
    const other = stage.event(LARGE_PAGES + 7, 1, () => stage.meanwhile(vm.fault(1024 + 5, false)));
    world.run(other);
    // Somebody changes another page of it.
    expect([vm.counts.retries, mmu.largeCount, stage.read(1024 + 5)]).toEqual([1, 0, 55]);
    const frame = world.frame(LARGE_PAGES + 300);
    world.memory.pages.clearFlag(frame, PG_DIRTY);
    world.protect(LARGE_PAGES + 7, 1, VM_READ);
    expect([mmu.largeCount, world.memory.pages.is(frame, PG_DIRTY)]).toEqual([0, true]);
    expect([stage.read(1024 + 5), mmu.largeCount, stage.write(1024 + 7, 1)]).toEqual([
      55,
      0,
      -EPERM,
    ]);
    stage.destroy();
  });
});

describe("a fault", () => {
  it("enters nothing when an event came while the page was resolved", () => {
    const stage = new Stage();
    expect(stage.world.toDevice(3, 1)).toBe(0);
    // Its page comes home, which is an event by itself.
    expect([stage.fault(103), stage.mmu.smallCount]).toEqual([RETRY, 0]);
    expect([stage.fault(103), stage.mmu.smallCount]).toEqual([FIXED, 1]);
    stage.destroy();
  });

  it("is put off where running events are, which for two is also all between them", () => {
    const stage = new Stage();
    const { world, vm } = stage;
    const answers: number[][] = [];
    /** Four faults by somebody who is in no event. */
    function* faults(): Sleeps<void> {
      const got: number[] = [];
      for (const gfn of [100, 102, 104, 105]) got.push(yield* vm.fault(gfn, false));
      answers.push(got);
    }
    const second = (): Sleeps<void> => stage.event(4, 1, () => stage.meanwhile(faults()));
    function* first(): Sleeps<void> {
      yield* stage.meanwhile(faults());
      yield* stage.meanwhile(second());
      yield* stage.meanwhile(faults());
    }
    world.run(stage.event(0, 1, first));
    world.run(faults());
    const allBut = (...gfns: number[]): number[] =>
      [100, 102, 104, 105].map((gfn) => (gfns.includes(gfn) ? RETRY : FIXED));
    // The second event has ended; what it widened stays covered until no event is left.
    const both = allBut(100, 102, 104);
    expect(answers).toEqual([allBut(100), both, both, allBut()]);
    expect([vm.counts.widened, vm.counts.early]).toEqual([1, 7]);
    stage.destroy();
  });

  it("is not disturbed by an event that somebody else refused", () => {
    const stage = new Stage();
    const { notifiers } = stage.world.space;
    const refusing: NotifierOps = {
      *invalidateRangeStart({ blockable }) {
        return blockable ? 0 : -EAGAIN;
      },
    };
    notifiers.register(refusing);
    stage.read(100);
    const event = new Invalidation({ ...rangeAt(0, 1), event: MMU_NOTIFY_CLEAR, blockable: false });
    expect([stage.world.run(notifiers.start(event)), stage.mmu.smallCount]).toEqual([-EAGAIN, 0]);
    expect([stage.fault(100), stage.read(100)]).toEqual([FIXED, 1]);
    stage.world.run(notifiers.unregister(refusing));
    stage.destroy();
  });
});

describe("a change of slots", () => {
  it("refuses what is no slot, guest pages that are taken, and a slot that is not there", () => {
    const { world, vm } = new Stage();
    const bad = [slotOf(105, 0, 1), slotOf(95, 0, 6), slotOf(7, 0, 0), slotOf(-1, 0, 1)];
    bad.push({ gfn: 7, pages: 1, address: virtAddr(pageAt(0) + 1) });
    for (const slot of bad) expect(world.run(vm.addSlot(slot))).toBe(-EINVAL);
    expect(world.run(vm.removeSlot(101))).toBe(-ENOENT);
    world.run(vm.destroy());
    expect(world.run(vm.addSlot(slotOf(7, 0, 1)))).toBe(-ENODEV);
  });

  it("waits for running events, and then the guest reaches nothing of the slot", () => {
    const stage = new Stage();
    const { world, vm } = stage;
    stage.read(101);
    const log: string[] = [];
    function* remove(): Sleeps<void> {
      log.push(`removed ${yield* vm.removeSlot(100)}`);
    }
    function* during(): Sleeps<void> {
      world.scheduler.spawn("remove", remove());
      for (let i = 0; i < 20; i++) yield YIELD;
      log.push("end");
    }
    world.run(stage.event(0, 1, during));
    expect([log, stage.read(101)]).toEqual([["end", "removed 0"], -EFAULT]);
    expect(world.run(vm.addSlot(slotOf(100, 3, 2)))).toBe(0);
    expect([stage.read(101), stage.fault(100)]).toEqual([5, FIXED]);
    stage.destroy();
  });
});

describe("a virtual machine", () => {
  it("does not begin to listen while an event runs whose start it has missed", () => {
    const stage = new Stage();
    const { world } = stage;
    const log: string[] = [];
    function* create(): Sleeps<void> {
      const vm = yield* VirtualMachine.create(world.space, stage.mmu);
      log.push(typeof vm);
      if (typeof vm !== "number") yield* vm.destroy();
    }
    function* during(): Sleeps<void> {
      world.scheduler.spawn("create", create());
      for (let i = 0; i < 20; i++) yield YIELD;
      log.push("end");
    }
    world.run(stage.event(0, 1, during));
    expect(log).toEqual(["end", "object"]);
    stage.destroy();
    world.leave();
    expect(world.run(VirtualMachine.create(world.space, stage.mmu))).toBe(-EINVAL);
  });

  it("may be destroyed between the start of an event and its end, with somebody waiting", () => {
    const stage = new Stage();
    const { world, vm } = stage;
    stage.read(103);
    const log: (string | number)[] = [];
    const nap = (ms: number): Sleeps<boolean> =>
      new WaitQueue(world.scheduler, "a nap").sleep(world.scheduler.nowMs + ms);
    function* remove(): Sleeps<void> {
      yield* nap(1);
      log.push(yield* vm.removeSlot(100));
    }
    function* destroy(): Sleeps<void> {
      yield* nap(2);
      yield* vm.destroy();
      log.push("destroyed");
    }
    function* event(): Sleeps<void> {
      yield* stage.event(0, 1, () => nap(5));
      log.push("end");
    }
    for (const body of [event(), remove(), destroy()]) world.scheduler.spawn("task", body);
    world.scheduler.run();
    expect([log, stage.mmu.smallCount]).toEqual([["destroyed", -ENODEV, "end"], 0]);
    expect([stage.read(103), stage.fault(103)]).toEqual([-ENODEV, -ENODEV]);
  });

  it("reaches nothing after the end of its program, and is destroyed after it", () => {
    const stage = new Stage();
    stage.read(100);
    stage.world.leave();
    expect([stage.mmu.smallCount, stage.read(100)]).toEqual([0, -EFAULT]);
    stage.destroy();
  });
});

/** Two virtual CPUs; slots over the same memory, one of which comes and goes; sometimes the end. */
class Guest implements Subject {
  readonly storm: Storm;
  readonly mmu: GuestMmu;
  readonly vm: VirtualMachine;
  readonly tasks: readonly Sleeps<void>[];
  readonly tables = [0, 1].map((index) => (page: number) => {
    const slot = this.vm.slots[index];
    const at = slot === undefined ? -1 : vpnOf(addressOf(page)) - vpnOf(slot.address);
    return slot !== undefined && at >= 0 && at < slot.pages
      ? this.mmu.get(slot.gfn + at)
      : PTE_NONE;
  });
  readonly counts = { reads: 0, writes: 0, failed: 0, moved: 0, destroyed: 0, refused: 0 };
  /** Somebody who is told after the guest, takes time, and refuses what may not wait. */
  readonly #slow: NotifierOps = {
    invalidateRangeStart: ({ blockable }) => this.#hear(blockable),
  };

  constructor(storm: Storm) {
    this.storm = storm;
    this.mmu = new GuestMmu(storm.memory);
    this.vm = storm.run("create", VirtualMachine.create(storm.space, this.mmu)) as VirtualMachine;
    storm.run("slot", this.vm.addSlot({ gfn: 0, pages: 5, address: addressOf(0) }));
    storm.run("slot", this.vm.addSlot({ gfn: 8, pages: 4, address: addressOf(2) }));
    storm.space.notifiers.register(this.#slow);
    const ends = storm.random.below(4) === 0 ? [this.#destroy()] : [];
    this.tasks = [this.#run(), this.#run(), this.#run(), this.#moveSlot(), ...ends];
  }

  *#run(): Sleeps<void> {
    const { random } = this.storm;
    const vcpu = this.vm.addVcpu();
    for (let i = 0; i < 5; i++) {
      const gfn = random.below(3) === 0 ? 8 + random.below(4) : random.below(5);
      yield* this.#access(vcpu, gfn, random.below(2) === 0);
      if (random.below(3) === 0) yield* this.storm.nap();
    }
  }

  *#hear(blockable: boolean): Sleeps<number> {
    const { random } = this.storm;
    if (!blockable && random.below(2) === 0) {
      this.counts.refused++;
      return -EAGAIN;
    }
    for (let turns = blockable ? random.below(6) : 0; turns > 0; turns--) yield YIELD;
    return 0;
  }

  /** The page of the program that the guest sees at `gfn`; -1 for none. */
  #pageAt(gfn: number): number {
    const slot = this.vm.slots.find((each) => gfn >= each.gfn && gfn < each.gfn + each.pages);
    return slot === undefined ? -1 : vpnOf(slot.address) - vpnOf(addressOf(0)) + gfn - slot.gfn;
  }

  *#access(vcpu: Vcpu, gfn: number, write: boolean): Sleeps<number> {
    const { storm, counts } = this;
    const result = yield* vcpu.access(gfn, write, (bytes, frame) => {
      const page = this.#pageAt(gfn);
      assert(page >= 0, () => `the guest reaches gfn ${gfn}, which is in no slot`);
      storm.expect(page, bytes, frame);
      if (write) storm.store(page, bytes);
      counts[write ? "writes" : "reads"]++;
    });
    if (result === 0) return 0;
    counts.failed++;
    const hasMoved = counts.destroyed > 0 || (gfn >= 8 && counts.moved > 0);
    assert(hasMoved || storm.mayFail(this.#pageAt(gfn), write), () => `gfn ${gfn}: ${result}`);
    return result;
  }

  /** Shows other pages at the same place. */
  *#moveSlot(): Sleeps<void> {
    const { storm, vm, counts } = this;
    for (let i = 0; i < 3; i++) {
      yield* storm.nap();
      counts.moved++;
      const removed = yield* vm.removeSlot(8);
      const address = addressOf(storm.random.below(3));
      const added = yield* vm.addSlot({ gfn: 8, pages: 4, address });
      const isRight = (removed === 0 && added === 0) || counts.destroyed > 0;
      assert(isRight, () => `slots: ${removed}, ${added}`);
    }
  }

  *#destroy(): Sleeps<void> {
    for (let i = 0; i < 4; i++) yield* this.storm.nap();
    this.counts.destroyed++;
    yield* this.vm.destroy();
  }

  *finish(): Sleeps<void> {
    const { storm, vm, counts } = this;
    const vcpu = vm.addVcpu();
    for (let gfn = 0; gfn < 12; gfn++) {
      if (counts.destroyed > 0 || storm.space.users.count === 0 || this.#pageAt(gfn) < 0) continue;
      const result = yield* this.#access(vcpu, gfn, true);
      assert(result === 0, () => `gfn ${gfn} is there and the guest gets ${result}`);
      yield* storm.load(this.#pageAt(gfn));
    }
    if (counts.destroyed === 0) yield* vm.destroy();
    yield* storm.space.notifiers.unregister(this.#slow);
  }

  checkEnd(): void {
    assert(this.mmu.smallCount === 0, "entries are left");
  }
}

describe("a guest in a storm", () => {
  it(`reads and writes what its program does in ${SCHEDULES} random schedules`, () => {
    const events: EventName[] = ["mm:fork", "mm:exit", "mm:swap-in", "mm:make-exclusive"];
    events.push("devmem:to-device", "devmem:to-ram", "mm:cow");
    const tally = new Tally();
    const isAll = eachSeed("secondary-mmu", SCHEDULES, (seed) => {
      const storm = new Storm(seed);
      const guest = new Guest(storm);
      storm.rage(guest);
      tally.addAll(guest.counts);
      tally.addAll(guest.vm.counts);
      tally.addEvents(storm, events);
    });
    if (!isAll) return;
    const own = ["reads", "writes", "failed", "moved", "destroyed", "fixed", "retries", "early"];
    own.push("zaps", "widened", "waits", "refused");
    expect([tally.missing([...own, ...events]), `${tally}`]).toEqual([[], `${tally}`]);
  }, 900_000);
});
