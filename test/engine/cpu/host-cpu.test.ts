/** The CPU with real page faults: what user threads see, and what the hardware maps. */
import { describe, expect, it } from "vitest";
import { EFAULT, ENOMEM, vpn } from "../../../src/base/index.ts";
import { whyNotHost } from "../../../src/cpu/index.ts";
import {
  MIGRATE_VMA_SELECT_SYSTEM,
  type MigrationDriver,
  newMigration,
  protectForCopies,
  runMigration,
} from "../../../src/devmem/index.ts";
import { VM_READ } from "../../../src/mm/index.ts";
import { type Sleeps, WaitQueue } from "../../../src/sync/index.ts";
import { RW } from "../test-world.ts";
import type { User } from "./host-user.ts";
import { ADD_IN_WASM } from "./host-window.ts";
import { at, FIRST, type HostWorld, hostWorld, pageOf } from "./host-world.ts";

const obstacle = whyNotHost();
const here = obstacle?.reason ?? "served here";

async function worldWithUser(
  options: Parameters<typeof hostWorld>[0] = {},
): Promise<[HostWorld, User]> {
  const world = hostWorld(options);
  return [world, await world.addUser()];
}

describe.skipIf(obstacle)(`an access without a mapping (${here})`, () => {
  it("that reads sees zeros, and the page stays read-only and without a frame", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 2);
    expect(world.load(user, 1)).toBe(0);
    expect([world.rights(0, 2), world.world.memory.ram.usedCount]).toEqual(["-r", 0]);
    world.check();
  });

  it("that writes gets a frame, which may be read and written from then on", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 1);
    world.store(user, 0, 7);
    expect([world.rights(0), world.word(0)]).toEqual(["w", 7]);
    const { install } = world.memory.calls;
    world.store(user, 0, 8);
    expect([world.load(user, 0), world.memory.calls.install]).toEqual([8, install]);
  });

  it("may come from WebAssembly", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 1);
    world.do(user, ADD_IN_WASM, [at(0), 5]);
    expect(world.do(user, ADD_IN_WASM, [at(0), 5])).toBe(5);
    expect(world.word(0)).toBe(10);
  });

  it("that writes after one that read takes two faults and one frame", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 1);
    world.load(user, 0);
    world.store(user, 0, 3);
    expect([world.rights(0), world.word(0), world.memory.calls.unprotect]).toEqual(["w", 3, 1]);
    expect(world.world.memory.ram.usedCount).toBe(1);
  });
});

describe.skipIf(obstacle)("an access that the program may not make", () => {
  it("is told to the owner, and its thread waits", async () => {
    const [world, user] = await worldWithUser();
    user.begin("return u32[a >>> 2]", at(0) + 40);
    world.serveUntil(() => world.bad.length > 0);
    const { thread } = user;
    const fault = { address: at(0) + 40, page: FIRST, write: false, thread };
    expect(world.bad).toEqual([{ ...fault, result: -EFAULT }]);
    world.expectStuck(user);
    expect([...world.cpu.waiting]).toMatchObject([{ page: FIRST, thread, write: false }]);
    expect(world.bad).toHaveLength(1);
  });

  it("is told apart from that of a reader of the same page", async () => {
    const [world, writer] = await worldWithUser();
    const reader = await world.addUser();
    world.map(0, 1, VM_READ);
    writer.begin("u32[a >>> 2] = 1", at(0));
    reader.begin("return u32[a >>> 2]", at(0));
    expect(world.end(reader)).toBe(0);
    world.serveUntil(() => world.bad.length > 0);
    expect(world.bad.map(({ thread, write }) => [thread, write])).toContainEqual([
      writer.thread,
      true,
    ]);
    expect(world.bad.some(({ thread }) => thread === reader.thread)).toBe(false);
    world.expectStuck(writer);
  });

  it("goes on when it becomes legal and the thread is woken", async () => {
    const [world, user] = await worldWithUser();
    user.begin("return u32[a >>> 2]", at(0));
    world.serveUntil(() => world.bad.length > 0);
    world.map(0, 1);
    world.memory.wake(FIRST, vpn(FIRST + 1));
    expect([world.end(user), [...world.cpu.waiting]]).toEqual([0, []]);
  });

  it("is also one for which there is no memory", async () => {
    const [world, user] = await worldWithUser({ limitPages: 2 });
    world.map(0, 3);
    world.store(user, 0, 1);
    world.store(user, 1, 1);
    user.begin("u32[a >>> 2] = 1", at(2));
    world.serveUntil(() => world.bad.length > 0);
    expect(world.bad[0]).toMatchObject({ page: pageOf(2), write: true, result: -ENOMEM });
  });
});

describe.skipIf(obstacle)("rights that shrink", () => {
  it("leave pages readable when only writing is taken, and writers fault", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 4);
    for (let page = 0; page < 4; page++) world.store(user, page, 10 + page);
    const { calls } = world.memory;
    expect(world.protect(0, 3, VM_READ)).toBe(0);
    expect([world.rights(0, 4), calls.protect, calls.revoke]).toEqual(["rrrw", 1, 0]);
    world.check();
    expect(world.load(user, 1)).toBe(11);
    user.begin("u32[a >>> 2] = 9", at(1));
    world.serveUntil(() => world.bad.length > 0);
    expect(world.bad[0]).toMatchObject({ page: pageOf(1), write: true, result: -EFAULT });
    expect(world.word(1)).toBe(11);
    world.protect(0, 3, RW);
    world.memory.wake(pageOf(1), pageOf(2));
    world.end(user);
    expect([world.word(1), world.load(user, 2)]).toEqual([9, 12]);
  });

  it("cost one call for a run, and none for pages that are not installed", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 1000);
    const { calls } = world.memory;
    world.unmap(500, 500);
    expect(calls.revoke).toBe(0);
    for (const page of [1, 3, 4, 5, 400]) world.store(user, page, 1);
    world.unmap(0, 450);
    expect([calls.revoke, world.rights(0, 450)]).toEqual([1, "-".repeat(450)]);
    world.check();
  });

  it("end with the mapping: the page is zero when it comes again", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 2);
    world.store(user, 0, 5);
    world.store(user, 1, 6);
    expect(world.unmap(0, 1)).toBe(0);
    expect([world.rights(0, 2), world.load(user, 1)]).toEqual(["-w", 6]);
    user.begin("return u32[a >>> 2]", at(0));
    world.serveUntil(() => world.bad.length > 0);
    world.map(0, 1);
    world.memory.wake(FIRST, pageOf(1));
    expect(world.end(user)).toBe(0);
  });
});

describe.skipIf(obstacle)("a page on a device", () => {
  it("comes home when a thread touches it", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 2);
    world.store(user, 0, 7);
    world.store(user, 1, 8);
    expect(world.toDevice(0, 2)).toBe(0);
    expect([world.rights(0, 2), world.word(0)]).toEqual(["--", 0]);
    expect(world.load(user, 1)).toBe(8);
    world.store(user, 0, 9);
    expect([world.word(0), world.word(1)]).toEqual([9, 8]);
  });

  it("may leave again before the thread gets it: then the thread faults again", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 1);
    world.store(user, 0, 7);
    const mover = moveTwice(world);
    user.begin("return u32[a >>> 2]", at(0));
    world.serveUntil(() => [...world.cpu.waiting].length > 0);
    world.expectStuck(user);
    mover.release();
    expect(world.end(user)).toBe(7);
  });

  it("is waited for by a task that says who waits", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 1);
    world.store(user, 0, 7);
    world.toDevice(0);
    const holder = holdMmapLock(world);
    user.begin("return u32[a >>> 2]", at(0));
    world.serveUntil(() => [...world.cpu.waiting].length > 0);
    world.expectStuck(user);
    const name = `page fault at 0x${at(0).toString(16)} of thread ${user.thread}`;
    const waits = world.world.scheduler.describeWaits();
    expect(waits).toContain(`"${name}" blocked on mmapLock`);
    expect(world.cpu.oldestWaitMs(world.world.scheduler.nowMs + 50)).toBe(50);
    holder.release();
    expect([world.end(user), world.cpu.oldestWaitMs(1e9)]).toEqual([7, 0]);
  });

  it("is served again when the task that was to do it is killed", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 1);
    const holder = holdMmapLock(world);
    user.begin("return u32[a >>> 2]", at(0));
    world.serveUntil(() => [...world.cpu.waiting].length > 0);
    for (const task of world.world.scheduler.liveTasks) {
      if (task.name.startsWith("page fault")) world.world.scheduler.kill(task);
    }
    expect([...world.cpu.waiting]).toEqual([]);
    world.serveUntil(() => [...world.cpu.waiting].length > 0);
    holder.release();
    expect(world.end(user)).toBe(0);
  });

  it("is forgotten by its task when the window is closed meanwhile", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 1);
    const holder = holdMmapLock(world);
    user.begin("return u32[a >>> 2]", at(0));
    world.serveUntil(() => [...world.cpu.waiting].length > 0);
    world.memory.close();
    holder.release();
    world.world.scheduler.run();
    expect([[...world.cpu.waiting], world.world.scheduler.liveTasks.size]).toEqual([[], 0]);
  });

  it("that is copied there is written by nobody before the device has forgotten it", async () => {
    const [world, user] = await worldWithUser();
    world.map(0, 1);
    world.store(user, 0, 7);
    const { space } = world;
    function* protect(): Sleeps<number> {
      using _mmap = yield* space.mmapLock.acquireRead();
      return yield* protectForCopies(space, FIRST, pageOf(1), world);
    }
    expect([world.run(protect()), world.rights(0)]).toEqual([0, "r"]);
    world.check();
    world.store(user, 0, 8);
    expect([world.rights(0), world.word(0)]).toEqual(["w", 8]);
  });
});

interface Holder {
  release(): void;
}

/** Runs `body`, which may sleep until the test releases it. */
function holdIn({ world }: HostWorld, body: (untilReleased: () => Sleeps<void>) => Sleeps<void>) {
  const { scheduler } = world;
  const sleepers = new WaitQueue(scheduler, "the test");
  let isReleased = false;
  function* untilReleased(): Sleeps<void> {
    while (!isReleased) yield* sleepers.sleep();
  }
  scheduler.spawn("holder", body(untilReleased));
  scheduler.run();
  const release = (): void => {
    isReleased = true;
    sleepers.wakeAll();
  };
  return { release } satisfies Holder;
}

/** Somebody changes mappings for as long as a test likes. */
function holdMmapLock(world: HostWorld): Holder {
  return holdIn(world, function* (untilReleased) {
    using _mmap = yield* world.space.mmapLock.acquireWrite();
    yield* untilReleased();
  });
}

/**
 * Page 0 is on its way for as long as a test likes, stays where it was after all, and goes to
 * the device before anybody else runs.
 */
function moveTwice(world: HostWorld): Holder {
  const { space, mirror } = world;
  return holdIn(world, function* (untilReleased) {
    function* move(): Sleeps<void> {
      using _mmap = yield* space.mmapLock.acquireRead();
      const vma = space.vmas.find(at(0))!;
      const [start, end] = [FIRST, pageOf(1)];
      const select = MIGRATE_VMA_SELECT_SYSTEM;
      const migration = newMigration({ space, vma, start, end, select, owner: world });
      const driver: MigrationDriver = {
        *copy() {
          yield* untilReleased();
          return 0;
        },
        *commit() {},
      };
      yield* runMigration(migration, driver);
    }
    yield* move();
    yield* mirror.migrateToDevice(at(0), 1, () => {});
  });
}
