import { describe, expect, it } from "vitest";
import { EFAULT } from "../../../src/base/index.ts";
import { isDevicePrivate, isWritable, unpinPages, VM_READ } from "../../../src/mm/index.ts";
import { PG_EXCLUSIVE } from "../../../src/phys/index.ts";
import { pageAt, RW, type TestProcess, type TestWorld, TURNS, testWorld } from "../test-world.ts";

/** Pages 0 to `count` - 1, written with 10, 11, …, and shared with a child. */
function shared(count: number, options = {}): { world: TestWorld; child: TestProcess } {
  const world = testWorld(options);
  world.map(0, count);
  for (let page = 0; page < count; page++) world.store(page, 10 + page);
  return { world, child: world.fork() };
}

const isAway = (process: TestProcess, page: number): boolean => isDevicePrivate(process.pte(page));

describe("a page that several spaces map", () => {
  it("moves to a device for all of them, as one page", () => {
    const { world, child } = shared(2);
    expect(world.toDevice(0, 2)).toBe(0);
    world.check();
    expect([isAway(world, 0), isAway(child, 0), child.frame(0)]).toEqual([
      true,
      true,
      world.frame(0),
    ]);
    expect([world.device.pagemap.zone.usedCount, world.memory.ram.usedCount]).toEqual([2, 0]);
    expect([world.space.rssPages, child.space.rssPages, world.memory.group.chargedPages]).toEqual([
      2, 2, 2,
    ]);
    expect(world.memory.pages.mapcount[world.frame(0)]).toBe(2);
  });

  it("comes home for all of them", () => {
    const { world, child } = shared(1);
    world.toDevice(0, 1);
    expect([child.toRam(0, 1), isAway(world, 0), isAway(child, 0)]).toEqual([0, false, false]);
    expect([world.load(0), child.load(0), world.frame(0)]).toEqual([10, 10, child.frame(0)]);
    expect(world.memory.pages.refs[world.frame(0)]).toBe(2);
  });

  it("stays write-protected on the way there and back", () => {
    const { world, child } = shared(1);
    world.toDevice(0, 1);
    expect([isWritable(world.pte(0)), isWritable(child.pte(0))]).toEqual([false, false]);
    world.load(0);
    expect([isWritable(world.pte(0)), isWritable(child.pte(0))]).toEqual([false, false]);
    world.store(0, 7);
    expect([world.load(0), child.load(0)]).toEqual([7, 10]);
  });

  it("cannot be written on the device, only read, by both", () => {
    const { world, child } = shared(1);
    world.toDevice(0, 1);
    expect([world.deviceLoad(0), child.deviceLoad(0)]).toEqual([10, 10]);
    expect([world.deviceStore(0, 1), child.deviceStore(0, 1)]).toEqual([-EFAULT, -EFAULT]);
    expect([world.load(0), child.load(0)]).toEqual([10, 10]);
  });

  it("is the last one's own, on the device too, when the other writes or goes", () => {
    const { world, child } = shared(2);
    world.toDevice(0, 2);
    child.leave();
    // Closing its mirror emptied the device.
    expect(world.toDevice(0, 2)).toBe(0);
    expect([world.store(0, 7), world.count("mm:cow")]).toEqual([0, 0]);
    expect(world.memory.pages.is(world.frame(0), PG_EXCLUSIVE)).toBe(true);
    expect([world.toDevice(0, 1), world.deviceStore(0, 8), world.load(0)]).toEqual([0, 0, 8]);
  });

  it("keeps what each may do with it", () => {
    const { world, child } = shared(1);
    child.protect(0, 1, 0);
    world.toDevice(0, 1);
    world.check();
    expect([isAway(child, 0), child.load(0), child.deviceLoad(0)]).toEqual([
      true,
      -EFAULT,
      -EFAULT,
    ]);
    expect(world.load(0)).toBe(10);
    expect([isAway(child, 0), child.protect(0, 1, RW), child.load(0)]).toEqual([false, 0, 10]);
  });

  it("does not move while one of them pins it", () => {
    const { world, child } = shared(1);
    child.protect(0, 1, VM_READ);
    const pinned = child.pin(0, 1, false);
    world.toDevice(0, 1);
    expect([isAway(world, 0), world.load(0)]).toEqual([false, 10]);
    unpinPages(pinned);
    expect([world.toDevice(0, 1), child.load(0)]).toEqual([0, 10]);
  });

  it("does not move while somebody references it", () => {
    const { world, child } = shared(1);
    const frame = world.frame(0);
    world.memory.pages.get(frame);
    world.toDevice(0, 1);
    world.check({ held: new Map([[frame, 1]]) });
    expect([isAway(world, 0), isAway(child, 0), child.load(0)]).toEqual([false, false, 10]);
    world.memory.pages.put(frame);
  });

  it("is not found in a space that has lost it, nor taken from there", () => {
    const { world, child } = shared(2);
    child.store(0, 7);
    child.unmap(1, 1);
    expect(world.toDevice(0, 2)).toBe(0);
    world.check();
    expect([isAway(child, 0), child.load(0), child.load(1), world.loads(0, 2)]).toEqual([
      false,
      7,
      -EFAULT,
      [10, 11],
    ]);
  });

  it("moves for three generations", () => {
    const { world, child } = shared(1);
    const grandchild = world.fork(child);
    expect(grandchild.toDevice(0, 1)).toBe(0);
    expect([world, child, grandchild].map((each) => isAway(each, 0))).toEqual([true, true, true]);
    child.store(0, 7);
    world.check();
    expect([world, child, grandchild].map((each) => each.load(0))).toEqual([10, 7, 10]);
  });

  it("that is unmapped on one side while it is away lives on for the other", () => {
    const { world, child } = shared(1);
    world.toDevice(0, 1);
    world.unmap(0, 1);
    expect([isAway(child, 0), child.deviceLoad(0), child.load(0)]).toEqual([true, 10, 10]);
    expect(child.store(0, 7)).toBe(0);
  });

  it("goes when both have unmapped it", () => {
    const { world, child } = shared(1);
    world.toDevice(0, 1);
    world.unmap(0, 1);
    child.unmap(0, 1);
    expect([world.device.pagemap.zone.usedCount, world.memory.group.chargedPages]).toEqual([0, 0]);
  });
});

describe("two spaces that act at once on a shared page", () => {
  it("fault it home together, by one migration", () => {
    const { world, child } = shared(1, { strategy: TURNS });
    world.toDevice(0, 1);
    for (const each of [world, child]) each.scheduler.spawn("load", each.cpu.load(pageAt(0)));
    world.scheduler.run();
    world.check();
    expect([world.count("devmem:to-ram"), world.load(0), child.load(0)]).toEqual([1, 10, 10]);
  });

  it("one writes while the other moves it: each has its own in the end", () => {
    const { world, child } = shared(1, { strategy: TURNS });
    world.scheduler.spawn(
      "move",
      world.mirror.migrateToDevice(pageAt(0), 1, () => {}),
    );
    world.scheduler.spawn("store", child.cpu.store(pageAt(0), 7));
    world.scheduler.run();
    world.check();
    expect([world.load(0), child.load(0)]).toEqual([10, 7]);
  });

  it("both move it: one does, nothing is lost", () => {
    const { world, child } = shared(2, { strategy: TURNS });
    for (const each of [world, child]) {
      each.scheduler.spawn(
        "move",
        each.mirror.migrateToDevice(pageAt(0), 2, () => {}),
      );
    }
    world.scheduler.run();
    world.check();
    expect([world.loads(0, 2), child.loads(0, 2)]).toEqual([
      [10, 11],
      [10, 11],
    ]);
  });

  it("one moves it while the other unmaps: it goes where it was sent", () => {
    const { world, child } = shared(1);
    child.during(0, () => world.mirror.migrateToDevice(pageAt(0), 1, () => {}));
    expect(child.unmap(0, 1)).toBe(0);
    world.check();
    expect([isAway(world, 0), child.pte(0), world.load(0)]).toEqual([true, 0, 10]);
  });
});
