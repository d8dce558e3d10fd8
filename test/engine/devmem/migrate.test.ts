import { describe, expect, it } from "vitest";
import {
  EFAULT,
  EINVAL,
  ENOMEM,
  type Pfn,
  type Result,
  vpn,
  vpnOf,
} from "../../../src/base/index.ts";
import {
  isMigrating,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type Migration,
  type MigrationDriver,
  migrateFrame,
  migratePfn,
  migrateSetup,
  newMigration,
  runMigration,
  SkipReason,
} from "../../../src/devmem/index.ts";
import {
  isDevicePrivate,
  isMigration,
  PTE_DEVICE_PRIVATE,
  PTE_WRITE,
  ptePfn,
  VM_DONTEXPAND,
  VM_HUGETLB,
  VM_IO,
  VM_MIXEDMAP,
  VM_PFNMAP,
  VM_READ,
} from "../../../src/mm/index.ts";
import { PG_ANON, PG_DIRTY, PG_EXCLUSIVE, PG_LOCKED } from "../../../src/phys/index.ts";
import { type Sleeps, TaskState, YIELD } from "../../../src/sync/index.ts";
import { BASE, pageAt, type TestProcess, type TestWorld, TURNS, testWorld } from "../test-world.ts";

const FIRST = vpnOf(BASE);
const NOTHING: MigrationDriver = { copy: giveNothing, *commit() {} };

function* giveNothing(): Sleeps<Result> {
  return 0;
}

function migrationOf(world: TestWorld, page: number, count: number, select: number): Migration {
  return newMigration({
    space: world.space,
    vma: world.vma(page),
    start: vpn(FIRST + page),
    end: vpn(FIRST + page + count),
    select,
    owner: world.device,
  });
}

/** Runs the acts under mmapLock, as every caller does. */
function* locked(world: TestWorld, body: Sleeps<Result>): Sleeps<Result> {
  using _mmap = yield* world.space.mmapLock.acquireRead();
  return yield* body;
}

const migrate = (
  world: TestWorld,
  migration: Migration,
  driver: MigrationDriver = NOTHING,
): Result => world.run(locked(world, runMigration(migration, driver)));

const skips = (world: TestWorld): number[] =>
  world.world.tracer
    .last(1000)
    .filter(({ name }) => name === "devmem:skip")
    .map(({ c }) => c);

/** A world with pages 0 (written), 1 (read) and 2 (untouched). */
function build(): TestWorld {
  const world = testWorld();
  world.map(0, 3);
  world.store(0, 5);
  world.load(1);
  return world;
}

describe("a migration to the device", () => {
  it("moves pages with what they hold, and fills in what nobody has touched", () => {
    const world = build();
    const before = ptePfn(world.pte(0));
    const { flags } = world.memory.pages;
    const kept = flags[before]! & (PG_ANON | PG_EXCLUSIVE | PG_DIRTY);
    expect(world.toDevice(0, 3)).toBe(0);
    world.check();
    for (const page of [0, 1, 2]) {
      expect(world.pte(page) & 0xff).toBe(PTE_DEVICE_PRIVATE | PTE_WRITE);
    }
    expect(flags[ptePfn(world.pte(0))]! & (PG_ANON | PG_EXCLUSIVE | PG_DIRTY)).toBe(kept);
    expect([world.memory.ram.usedCount, world.device.pagemap.zone.usedCount]).toEqual([0, 3]);
    expect([0, 1, 2].map((page) => world.deviceLoad(page))).toEqual([5, 0, 0]);
    expect([0, 1, 2].map((page) => world.load(page))).toEqual([5, 0, 0]);
  });

  it("changes neither charge nor rss of pages that exist", () => {
    const world = testWorld();
    world.map(0, 2);
    for (const page of [0, 1]) world.store(page, 1);
    const books = () => [world.space.rssPages, world.memory.group.chargedPages];
    expect([books(), world.toDevice(0, 2), books(), world.toRam(0, 2), books()]).toEqual([
      [2, 2],
      0,
      [2, 2],
      0,
      [2, 2],
    ]);
  });

  it("needs no second charge at the group's limit, and inserts nothing beyond it", () => {
    const world = testWorld({ limitPages: 1 });
    world.map(0, 2);
    world.store(0, 5);
    expect(world.toDevice(0, 2)).toBe(-2);
    world.check();
    expect([isDevicePrivate(world.pte(0)), world.pte(1)]).toEqual([true, 0]);
    expect([skips(world), world.load(0)]).toEqual([[SkipReason.taken], 5]);
  });

  it("raises one invalidation to collect, and one more where it inserts", () => {
    const world = build();
    const log = world.watch();
    world.toDevice(0, 1);
    expect(log).toEqual(["start 6 0..1", "end 6 0..1"]);
    world.toDevice(1, 2);
    expect(log.slice(2)).toEqual(["start 6 1..3", "end 6 1..3", "start 6 1..3", "end 6 1..3"]);
  });

  it("keeps read-only pages read-only", () => {
    const world = testWorld();
    world.map(0, 1, VM_READ);
    world.load(0);
    expect([world.toDevice(0, 1), world.pte(0) & 0xff]).toEqual([0, PTE_DEVICE_PRIVATE]);
    expect([world.deviceStore(0, 1), world.load(0)]).toEqual([-EFAULT, 0]);
  });

  it("stops when the device is full and leaves the rest where it is", () => {
    const world = testWorld({ deviceFrames: 1 });
    world.map(0, 2);
    for (const page of [0, 1]) world.store(page, page + 1);
    expect(world.toDevice(0, 2)).toBe(-2);
    world.check();
    expect([isDevicePrivate(world.pte(0)), isDevicePrivate(world.pte(1))]).toEqual([true, false]);
    expect([world.store(1, 9), world.load(0)]).toEqual([0, 1]);
  });
});

describe("a migration home", () => {
  it("takes what the device wrote along and forgets it there", () => {
    const world = build();
    world.toDevice(0, 1);
    world.deviceStore(0, 6);
    expect(world.toRam(0, 3)).toBe(0);
    world.check();
    expect([world.deviceEntry(0), world.device.pagemap.zone.usedCount]).toEqual([0, 0]);
    expect([world.load(0), world.count("devmem:to-ram")]).toEqual([6, 1]);
  });

  it("leaves what there is no room for on the device", () => {
    const world = testWorld({ frames: 2 });
    world.map(0, 4);
    for (const page of [0, 1]) world.store(page, page + 1);
    world.toDevice(0, 2);
    world.store(2, 3);
    expect(world.run(world.mirror.migrateToRam(pageAt(0), 2))).toMatchObject({ pages: 1 });
    world.check();
    expect([world.load(0), world.load(1), world.deviceLoad(1)]).toEqual([1, -ENOMEM, 2]);
  });

  it("does not touch pages of another owner", () => {
    const world = build();
    world.toDevice(0, 1);
    const migration = migrationOf(world, 0, 1, MIGRATE_VMA_SELECT_DEVICE_PRIVATE);
    expect(migrate(world, { ...migration, owner: {} })).toBe(0);
    expect(isDevicePrivate(world.pte(0))).toBe(true);
  });
});

describe("pages of all kinds beside each other", () => {
  it("each go the way of their kind, there and back, over the border of a leaf", () => {
    const world = testWorld({ deviceFrames: 24 });
    const first = 500;
    world.map(first, 24);
    for (let page = first; page < first + 24; page++) {
      if (page % 4 === 0) world.load(page);
      else if (page % 4 !== 1) world.store(page, page);
    }
    const child = world.fork();
    for (let page = first; page < first + 24; page++) {
      if (page % 8 === 2) world.store(page, page + 1000);
    }
    const pinned = ptePfn(world.pte(first + 6));
    world.memory.pages.pin(pinned, false);
    expect(world.toDevice(first, 24)).toBe(-2);
    world.check();
    const seen = (process: TestProcess) =>
      Array.from({ length: 24 }, (_, i) => process.load(first + i));
    const isHere = Array.from({ length: 24 }, (_, i) => isDevicePrivate(world.pte(first + i)));
    expect(isHere.map((here, i) => (here ? -1 : i)).filter((i) => i >= 0)).toEqual([6]);
    const wrote = (page: number): number => (page % 4 < 2 ? 0 : page);
    const expected = (own: boolean) =>
      Array.from({ length: 24 }, (_, i) => first + i).map((page) =>
        own && page % 8 === 2 ? page + 1000 : wrote(page),
      );
    expect(world.toRam(first, 24)).toBe(0);
    world.check();
    expect([seen(world), seen(child)]).toEqual([expected(true), expected(false)]);
    world.memory.pages.unpin(pinned, false);
  });
});

describe("a page that somebody holds", () => {
  it("stays when it is pinned", () => {
    const world = build();
    const frame = ptePfn(world.pte(0));
    world.memory.pages.pin(frame, false);
    world.toDevice(0, 1);
    world.check();
    expect([ptePfn(world.pte(0)), skips(world)]).toEqual([frame, [SkipReason.pinned]]);
    expect(world.store(0, 6)).toBe(0);
    world.memory.pages.unpin(frame, false);
  });

  it("stays when it is referenced, and may be written again", () => {
    const world = build();
    const frame = ptePfn(world.pte(0));
    world.memory.pages.get(frame);
    world.toDevice(0, 1);
    world.check({ held: new Map([[frame, 1]]) });
    expect([ptePfn(world.pte(0)), skips(world)]).toEqual([frame, [SkipReason.referenced]]);
    expect([world.store(0, 6), world.load(0)]).toEqual([0, 6]);
    world.memory.pages.put(frame);
  });

  it("stays when it is locked: migrations never wait for each other", () => {
    const world = build();
    const { pages } = world.memory;
    const frame = ptePfn(world.pte(0));
    const inTask = (act: () => void): void =>
      world.run(
        (function* (): Sleeps<void> {
          act();
        })(),
      );
    const holder = world.scheduler.spawn(
      "holder",
      (function* (): Sleeps<void> {
        expect(pages.tryLock(frame)).toBe(true);
        for (let i = 0; i < 50; i++) yield YIELD;
        expect(skips(world)).toEqual([SkipReason.locked]);
        pages.unlock(frame);
      })(),
    );
    const body = world.mirror.migrateToDevice(pageAt(0), 1, () => {});
    const mover = world.scheduler.spawn("mover", body);
    world.scheduler.run();
    expect([holder.state, mover.result?.result]).toEqual([TaskState.done, -2]);
    inTask(() => expect(pages.is(frame, PG_LOCKED)).toBe(false));
    expect(ptePfn(world.pte(0))).toBe(frame);
  });
});

describe("a migration", () => {
  it("of nothing, of a driver's memory or outside its Vma does nothing", () => {
    const world = build();
    const select = MIGRATE_VMA_SELECT_SYSTEM;
    const good = migrationOf(world, 0, 1, select);
    const setUp = (migration: Migration) => world.run(locked(world, migrateSetup(migration)));
    expect(setUp({ ...good, end: good.start })).toBe(-EINVAL);
    expect(setUp({ ...good, end: vpn(FIRST + 4) })).toBe(-EINVAL);
    expect(setUp({ ...good, start: vpn(FIRST - 1) })).toBe(-EINVAL);
    for (const flag of [VM_PFNMAP, VM_MIXEDMAP, VM_IO, VM_DONTEXPAND, VM_HUGETLB]) {
      world.vma(0).flags |= flag;
      expect([setUp({ ...good }), isMigration(world.pte(0))]).toEqual([-EINVAL, false]);
      world.vma(0).flags &= ~flag;
    }
    expect(() => world.run(migrateSetup(good))).toThrow(/needs mmapLock/);
  });

  it("unmaps and locks pages while the driver copies", () => {
    const world = build();
    const frame = ptePfn(world.pte(0));
    let seen: unknown[] = [];
    const result = migrate(world, migrationOf(world, 0, 1, MIGRATE_VMA_SELECT_SYSTEM), {
      *copy(migration) {
        const { pages } = world.memory;
        seen = [isMigration(world.pte(0)), pages.is(frame, PG_LOCKED), world.cpu.tlb.size];
        expect(migrateFrame(migration.src[0]!)).toBe(frame);
        return 0;
      },
      *commit() {},
    });
    expect(seen).toEqual([true, true, 1]);
    expect([result, ptePfn(world.pte(0))]).toEqual([0, frame]);
  });

  it("that the driver calls off leaves all as it was, and frees what it had taken", () => {
    const world = build();
    const frame = ptePfn(world.pte(0));
    const result = migrate(world, migrationOf(world, 0, 3, MIGRATE_VMA_SELECT_SYSTEM), {
      *copy(migration) {
        for (const slot of [0, 1, 2]) {
          migration.dst[slot] = migratePfn(world.device.pagemap.allocLocked() as Pfn);
        }
        return -ENOMEM;
      },
      *commit() {
        throw new Error("called off");
      },
    });
    world.check();
    expect([result, ptePfn(world.pte(0)), world.pte(2)]).toEqual([-ENOMEM, frame, 0]);
    expect([world.count("devmem:to-device"), world.store(0, 6), world.load(0)]).toEqual([0, 0, 6]);
    expect(world.device.pagemap.zone.usedCount).toBe(0);
  });

  it("makes a CPU wait that touches the page meanwhile", () => {
    const world = testWorld({ strategy: TURNS });
    world.map(0, 1);
    world.store(0, 5);
    const log: string[] = [];
    const driver: MigrationDriver = {
      *copy(migration) {
        world.scheduler.spawn("cpu", touch(world, log));
        for (let i = 0; i < 20; i++) yield YIELD;
        log.push("copied");
        expect(isMigrating(migration.src[0]!)).toBe(true);
        return 0;
      },
      *commit() {},
    };
    migrate(world, migrationOf(world, 0, 1, MIGRATE_VMA_SELECT_SYSTEM), driver);
    expect(log).toEqual(["copied", "cpu 5"]);
  });

  it("gives way to a CPU that fills an empty place meanwhile", () => {
    const world = testWorld({ strategy: TURNS });
    world.map(0, 1);
    const migration = migrationOf(world, 0, 1, MIGRATE_VMA_SELECT_SYSTEM);
    const result = migrate(world, migration, {
      *copy({ dst }) {
        dst[0] = migratePfn(world.device.pagemap.allocLocked() as Pfn);
        const cpu = world.scheduler.spawn("cpu", world.cpu.store(pageAt(0), 7));
        while (!cpu.isSettled) yield YIELD;
        return 0;
      },
      *commit() {},
    });
    world.check();
    expect([result, world.load(0), skips(world)]).toEqual([0, 7, [SkipReason.taken]]);
  });
});

function* touch(world: TestWorld, log: string[]): Sleeps<void> {
  const loaded = yield* world.cpu.load(pageAt(0));
  log.push(`cpu ${typeof loaded === "number" ? loaded : loaded.value}`);
}

describe("two CPUs that touch a page on the device at once", () => {
  it("both get it, by one migration", () => {
    const world = testWorld({ strategy: TURNS });
    world.map(0, 1);
    world.store(0, 5);
    world.toDevice(0, 1);
    const log: string[] = [];
    for (const name of ["a", "b"]) world.scheduler.spawn(name, touch(world, log));
    world.scheduler.run();
    expect([log, world.count("devmem:to-ram")]).toEqual([["cpu 5", "cpu 5"], 1]);
  });
});
