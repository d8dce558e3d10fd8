/**
 * Who may outlive whom: a device that faults and launches while its space exits, its mirror is
 * unregistered, its pages are unmapped and moved, and tasks are killed; in any order.
 */

import { describe, expect, it } from "vitest";
import {
  assert,
  EBUSY,
  ENODEV,
  PAGE_SIZE,
  type Result,
  type VirtAddr,
  virtAddr,
  vpn,
  vpnOf,
} from "../../src/base/index.ts";
import { checkWorld, tableShadow } from "../../src/check/index.ts";
import { SoftCpu } from "../../src/cpu/index.ts";
import { Dmirror, DmirrorDevice } from "../../src/driver/dmirror/index.ts";
import { Mirror, MirrorRange } from "../../src/hmm/index.ts";
import { buildWorld, type World } from "../../src/machine/index.ts";
import {
  AddressSpace,
  asPte,
  MapMode,
  mmap,
  mmput,
  munmap,
  PageTable,
  PTE_NONE,
  PTE_VALID,
  ptePfn,
  VM_READ,
  VM_WRITE,
} from "../../src/mm/index.ts";
import type { Invalidation } from "../../src/notifier/index.ts";
import {
  Mutex,
  Random,
  RandomStrategy,
  type Sleeps,
  type Task,
  TaskState,
  WaitQueue,
  YIELD,
} from "../../src/sync/index.ts";
import { eachSeed } from "../replay/replay.ts";

const RUNS = Number(process.env.SCHEDULES ?? 800);
const PAGES = 4;
const BASE = 0x1000_0000;
const RW = VM_READ | VM_WRITE;

const addressOf = (page: number): VirtAddr => virtAddr(BASE + page * PAGE_SIZE);

/** How often each ending was reached, over all schedules. */
const seen = new Map<string, number>();
const note = (what: string): unknown => seen.set(what, (seen.get(what) ?? 0) + 1);

/** A device that keeps a launch running until it is told to stop. */
class Device {
  readonly space: AddressSpace;
  readonly table = new PageTable();
  readonly lock: Mutex;
  readonly #drained: WaitQueue;
  readonly #memory: World["memory"];
  mirror!: Mirror;
  /** Its memory is given back: no callback may run any more. */
  isFreed = false;
  isStopped = false;
  releases = 0;
  #running = 0;

  constructor(world: World, space: AddressSpace) {
    this.space = space;
    this.#memory = world.memory;
    this.lock = new Mutex(world.scheduler, "driver", "the device's lock");
    this.#drained = new WaitQueue(world.scheduler, "running launches");
  }

  *syncCpuDevicePagetables(update: Invalidation): Sleeps<boolean> {
    this.#assertAlive();
    const held = update.blockable ? yield* this.lock.acquire() : this.lock.tryAcquire();
    if (held === undefined) return false;
    using _held = held;
    const end = vpnOf(update.end);
    for (let at = this.table.nextUsed(vpnOf(update.start), end); at < end; ) {
      this.table.set(at, PTE_NONE);
      yield YIELD;
      this.#assertAlive();
      at = this.table.nextUsed(vpn(at + 1), end);
    }
    return true;
  }

  *release(): Sleeps<void> {
    this.#assertAlive();
    this.releases++;
    this.isStopped = true;
    if (this.#running > 0) note("release waits for a launch");
    yield* this.#drained.until(() => this.#running === 0);
    this.#assertAlive();
  }

  #assertAlive(): void {
    assert(!this.isFreed, "a callback runs although the mirror was unregistered");
  }

  /** Touches page after page through its table, faulting in what is missing. */
  *launch(pages: readonly number[]): Sleeps<void> {
    if (this.isStopped) return;
    this.#running++;
    try {
      for (const page of pages) {
        if (this.isStopped) return;
        if (yield* this.#touch(page)) continue;
        const result = yield* this.#fault(page);
        if (result < 0) note(`fault ${result}`);
      }
    } finally {
      this.#running--;
      this.#drained.wakeAll();
    }
  }

  *#touch(page: number): Sleeps<boolean> {
    using _update = yield* this.lock.acquire();
    const entry = this.table.get(vpnOf(addressOf(page)));
    if ((entry & PTE_VALID) === 0) return false;
    const { pages } = this.#memory;
    assert(pages.refs[ptePfn(entry)]! > 0, "the device reaches a free frame");
    return true;
  }

  *#fault(page: number): Sleeps<Result> {
    const range = this.mirror.range({ start: addressOf(page), end: addressOf(page + 1) });
    if (!(range instanceof MirrorRange)) return range;
    using _registered = range;
    for (let attempt = 0; attempt < 20; attempt++) {
      if (!(yield* range.waitUntilValid())) continue;
      const result = yield* range.fault({ write: true });
      if (result === -EBUSY) continue;
      if (result < 0) return result;
      using _update = yield* this.lock.acquire();
      if (this.isStopped) return -ENODEV;
      if (!range.valid) continue;
      this.table.set(vpnOf(range.start), asPte(range.pfns[0]!));
      return 0;
    }
    return -EBUSY;
  }

  /** Stops the device, then ends the subscription; nothing of it is called any more after that. */
  *close(): Sleeps<void> {
    this.isStopped = true;
    {
      using _update = yield* this.lock.acquire();
      for (let page = 0; page < PAGES; page++) this.table.set(vpnOf(addressOf(page)), PTE_NONE);
    }
    yield* this.mirror.unregister();
    this.isFreed = true;
  }
}

class Program {
  readonly #world: World;
  readonly #random: Random;
  readonly #space: AddressSpace;
  readonly #cpu: SoftCpu;
  readonly #device: Device;
  readonly #other: Dmirror;

  constructor(seed: number) {
    this.#random = new Random(seed ^ 0x3c6ef372);
    this.#world = buildWorld({ frames: 16, strategy: new RandomStrategy(seed) });
    const { memory } = this.#world;
    this.#space = new AddressSpace(memory);
    this.#cpu = new SoftCpu(this.#space);
    this.#device = new Device(this.#world, this.#space);
    const other = new DmirrorDevice(memory, { name: "dmirror0", frames: 4 });
    this.#other = Dmirror.open(other, this.#space) as Dmirror;
  }

  run(): void {
    const { scheduler, memory } = this.#world;
    scheduler.runTask("set up", this.#setUp());
    scheduler.afterStep = () => this.#check();
    const tasks: Task<unknown>[] = [
      scheduler.spawn("launch 0", this.#device.launch([0, 1, 2, 3, 0])),
      scheduler.spawn("launch 1", this.#device.launch([3, 2, 1, 0])),
      scheduler.spawn("program", this.#useMemory()),
      scheduler.spawn("closer", this.#close()),
      scheduler.spawn("exit", this.#exit()),
    ];
    if (this.#random.below(4) === 0) scheduler.spawn("killer", this.#kill(tasks[0]!));
    scheduler.run();
    for (const task of tasks) {
      assert(task.isSettled, () => `never ends: ${scheduler.describeWaits()}`);
    }
    scheduler.afterStep = undefined;
    assert(this.#device.releases <= 1, "release runs at most once");
    note(this.#device.releases === 1 ? "the space ended first" : "the mirror ended first");
    this.#cpu.dispose();
    scheduler.runTask("other", this.#other.close());
    checkWorld(memory, { shadows: [], isOver: true });
  }

  *#setUp(): Sleeps<void> {
    yield* this.#map(0, PAGES);
    const ops = this.#device;
    this.#device.mirror = (yield* Mirror.register(this.#space, { ops })) as Mirror;
  }

  *#map(page: number, count: number): Sleeps<Result> {
    const where = { start: addressOf(page), bytes: count * PAGE_SIZE, mode: MapMode.noReplace };
    return yield* mmap(this.#space, { ...where, flags: RW });
  }

  /** As threads of the program do: each call holds the space, and the last to leave ends it. */
  *#useMemory(): Sleeps<void> {
    for (let i = 0; i < 8; i++) {
      const page = this.#random.below(PAGES);
      if (!this.#space.users.getUnlessZero()) return;
      try {
        if (i % 3 === 0) yield* this.#cpu.store(addressOf(page), i);
        else if (i % 3 === 1) yield* this.#other.migrateToDevice(addressOf(page), 1, () => {});
        else {
          yield* munmap(this.#space, addressOf(page), PAGE_SIZE);
          yield* this.#map(page, 1);
        }
      } finally {
        yield* mmput(this.#space);
      }
    }
  }

  *#close(): Sleeps<void> {
    yield* this.#pause(60);
    if (this.#space.notifiers.activeCount > 0) note("unregistered during an invalidation");
    yield* this.#device.close();
  }

  *#exit(): Sleeps<void> {
    yield* this.#pause(60);
    yield* mmput(this.#space);
  }

  *#kill(task: Task<unknown>): Sleeps<void> {
    yield* this.#pause(40);
    if (task.isSettled) return;
    this.#world.scheduler.kill(task as Task);
    note("killed");
  }

  *#pause(steps: number): Sleeps<void> {
    for (let i = this.#random.below(steps); i > 0; i--) yield YIELD;
  }

  #check(): void {
    const devices = this.#device.isFreed ? [this.#other] : [this.#device, this.#other];
    const shadows = devices.map((each) => tableShadow("device", each));
    checkWorld(this.#world.memory, { shadows: [this.#cpu, ...shadows], isQuiet: false });
  }
}

describe("a mirror and its space", () => {
  it(`end in any order, in ${RUNS} random schedules`, () => {
    if (!eachSeed("lifetimes", RUNS, (seed) => new Program(seed).run())) return;
    const reached = [
      "the space ended first",
      "the mirror ended first",
      "unregistered during an invalidation",
      "release waits for a launch",
      "killed",
      "fault -14",
    ];
    expect(reached.filter((what) => (seen.get(what) ?? 0) === 0)).toEqual([]);
  }, 900_000);

  /** A mirror of a mapped page whose callback or release does `act`. */
  function build(act: (mirror: () => Mirror) => Sleeps<unknown>, inRelease = false) {
    const world = buildWorld({ frames: 16 });
    const space = new AddressSpace(world.memory);
    let mirror: Mirror | undefined;
    const ops = {
      *syncCpuDevicePagetables(): Sleeps<boolean> {
        if (!inRelease) yield* act(() => mirror!);
        return true;
      },
      *release(): Sleeps<void> {
        if (inRelease) yield* act(() => mirror!);
      },
    };
    const run = <T>(body: Sleeps<T>): T => world.scheduler.runTask("test", body);
    run(mmap(space, { start: addressOf(0), bytes: PAGE_SIZE, flags: RW }));
    const registered = run(Mirror.register(space, { ops }));
    assert(registered instanceof Mirror, "a live space takes a mirror");
    mirror = registered;
    return { world, space, mirror: registered, run };
  }

  it.each([
    ["a callback", false],
    ["its release", true],
  ])("refuses to be unregistered from %s, and stays registered", (_where, inRelease) => {
    const refusals: unknown[] = [];
    const { space, mirror, run } = build(function* (self) {
      try {
        yield* self().unregister();
      } catch (error) {
        refusals.push(error);
      }
    }, inRelease);
    if (inRelease) run(mmput(space));
    else run(munmap(space, addressOf(0), PAGE_SIZE));
    expect(String(refusals[0])).toMatch(/unregistered from a callback/);
    expect(mirror.isRegistered).toBe(true);
    if (!inRelease) run(mmput(space));
    run(mirror.unregister());
    expect([mirror.isRegistered, space.notifiers.intervalCount]).toEqual([false, 0]);
  });

  it("refuses to be unregistered twice, also after its space", () => {
    const { space, mirror, run } = build(function* () {});
    run(mmput(space));
    run(mirror.unregister());
    expect(() => run(mirror.unregister())).toThrow(/unregistered twice/);
  });

  it("leaves ranges that outlive it invalid for good", () => {
    const { space, mirror, run } = build(function* () {});
    const range = mirror.range({ start: addressOf(0), end: addressOf(1) });
    assert(range instanceof MirrorRange, "a range of a live space");
    expect(run(range.waitUntilValid())).toBe(true);
    run(mirror.unregister());
    expect([range.valid, run(range.waitUntilValid()), run(range.snapshot())]).toEqual([
      false,
      false,
      -EBUSY,
    ]);
    expect(range.unregister()).toBe(false);
    expect(() => range.valid).toThrow(/range 0x10000000..0x10001000 is used after/);
    run(mmput(space));
  });

  it("waits for a callback that runs before it is gone", () => {
    const order: string[] = [];
    const { world, space, mirror, run } = build(function* () {
      for (let i = 0; i < 5; i++) yield YIELD;
      order.push("callback");
    });
    const unmap = world.scheduler.spawn("unmap", munmap(space, addressOf(0), PAGE_SIZE));
    world.scheduler.spawn(
      "unregister",
      (function* (): Sleeps<void> {
        yield YIELD;
        yield* mirror.unregister();
        order.push("gone");
      })(),
    );
    world.scheduler.run();
    expect([unmap.state, order]).toEqual([TaskState.done, ["callback", "gone"]]);
    run(mmput(space));
  });
});
