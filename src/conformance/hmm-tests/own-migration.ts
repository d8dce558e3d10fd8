/** Our tests of migrations that meet somebody: two CPUs, whoever holds a page, a failing copy. */
import { EIO, ENOENT, type Pfn, vpnOf } from "../../base/index.ts";
import { SoftCpu } from "../../cpu/index.ts";
import {
  MIGRATE_VMA_SELECT_SYSTEM,
  type Migration,
  migratePfn,
  newMigration,
  runMigration,
} from "../../devmem/index.ts";
import { ptePfn } from "../../mm/index.ts";
import { Completion, RandomStrategy, type Sleeps, type Task } from "../../sync/index.ts";
import { expectDone, expectError, expectResult, expectSame, fail } from "./expect.ts";
import { holding } from "./own-events.ts";
import type { Buffer } from "./process.ts";
import { atEveryPause, type PauseAfter } from "./schedules.ts";
import type { HmmTest, Stage, StageOptions } from "./stage.ts";
import { loadPage } from "./whole-pages.ts";
import { counted, expectWords, PAGE_WORDS, WordBuffer } from "./words.ts";

const SEEDS = 20;
const SMALL = { frames: 128, deviceFrames: 16 };
const PAGES = 4;

export const MIGRATION_RACE_TEST: HmmTest = {
  name: "onespace.A-35",
  checks: "two CPUs fault one device page at once: it comes home once, both go on",
  skips: { coherent: "the CPU touches coherent pages where they are" },
  run(open) {
    for (let seed = 1; seed <= SEEDS; seed++) {
      faultTwice(open({ ...SMALL, strategy: new RandomStrategy(seed) }));
    }
  },
};

export const MIGRATION_FAILURE_TEST: HmmTest = {
  name: "onespace.A-36",
  checks: "a migration fails at each phase, or is killed: every page is in one place, books equal",
  run(open) {
    for (const injection of INJECTIONS) failOne(open({ ...SMALL, ...injection.stage }), injection);
    atEveryPause((strategy) => killMigration(open({ ...SMALL, strategy }), strategy));
  },
};

/**
 * The one who brings the page home has its lock and waits for the driver's, which a worker has:
 * whoever else wants the page must let that worker run.
 */
function faultTwice(stage: Stage): void {
  const { main, world, device } = stage;
  const { scheduler } = world;
  const buffer = main.map(1);
  buffer.store(counted);
  buffer.moveToDevice();
  const moved = world.tracer.count("devmem:to-ram");
  const released = new Completion<void>(scheduler, "the worker's work");
  const worker = scheduler.spawn("worker", holding(main.mirrors[0]!.lock, released));
  scheduler.run();
  const cpus = [main.cpu, new SoftCpu(main.space)];
  const readers = cpus.map((cpu) => scheduler.spawn("cpu", readPage(cpu, buffer)));
  scheduler.run();
  for (const reader of readers) expectSame("a CPU waits", reader.state, "blocked");
  released.complete();
  stage.runAll(worker, ...readers);
  expectSame("migrations home", world.tracer.count("devmem:to-ram") - moved, 1);
  expectSame("frames of the device in use", device.pagemap.zone.usedCount, 0);
  cpus[1]!.dispose();
}

function* readPage(cpu: SoftCpu, buffer: Buffer): Sleeps<void> {
  const words = yield* loadPage(cpu, buffer.at);
  if (typeof words === "number") expectResult("CPU reads", words, 0);
  else expectWords("CPU reads", words, counted, 0);
}

/** One way to make a migration of four pages fail, and how to undo it. */
interface Injection {
  readonly name: string;
  readonly stage?: StageOptions;
  /** Pages that stay where they are. */
  readonly left: number;
  /** Pages of the buffer that somebody has written. Default: all. */
  readonly written?: number;
  /** Tries to move `buffer` while something is in the way. */
  act(stage: Stage, buffer: Buffer): void;
}

/** The page that somebody holds. */
const HELD = 1;

const INJECTIONS: readonly Injection[] = [
  {
    name: "locked",
    left: 1,
    act(stage, buffer) {
      const { pages, scheduler } = stage.world.memory;
      const released = new Completion<void>(scheduler, "whoever locked the page");
      const holder = scheduler.spawn("holder", lockPage(stage, frameOf(buffer, HELD), released));
      scheduler.run();
      expectSame("locked", pages.isLocked(frameOf(buffer, HELD)), true);
      expectError("migrate", buffer.toDevice(new WordBuffer(PAGES)), ENOENT);
      released.complete();
      stage.runAll(holder);
    },
  },
  {
    name: "pinned",
    left: 1,
    act({ world }, buffer) {
      world.pages.pin(frameOf(buffer, HELD), false);
      expectError("migrate", buffer.toDevice(new WordBuffer(PAGES)), ENOENT);
      world.pages.unpin(frameOf(buffer, HELD), false);
    },
  },
  {
    name: "referenced",
    left: 1,
    act({ world }, buffer) {
      world.pages.get(frameOf(buffer, HELD));
      expectError("migrate", buffer.toDevice(new WordBuffer(PAGES)), ENOENT);
      world.pages.put(frameOf(buffer, HELD));
    },
  },
  {
    name: "no room on the device",
    stage: { deviceFrames: 2 },
    left: 2,
    act(_stage, buffer) {
      expectError("migrate", buffer.toDevice(new WordBuffer(PAGES)), ENOENT);
    },
  },
  {
    name: "the copy fails",
    left: PAGES,
    act(stage, buffer) {
      expectResult("migrate", stage.main.run(migrateWithoutCopy(stage, buffer)), -EIO);
    },
  },
  { name: "a CPU inserts a page", left: 1, written: PAGES - 1, act: insertMeanwhile },
  { name: "referenced during the copy", left: 1, act: referMeanwhile },
];

function failOne(stage: Stage, { name, act, left, written = PAGES }: Injection): void {
  const { main, device, world } = stage;
  const buffer = main.map(PAGES);
  buffer.part(0, written).store(counted);
  const before = booksOf(stage);
  act(stage, buffer);
  stage.check();
  const { zone } = device.pagemap;
  expectSame(`${name}: pages on the device`, zone.usedCount, PAGES - left);
  expectSame(`${name}: pages charged`, world.memory.group.chargedPages, PAGES);
  expectDone("home", buffer.toSystem(), PAGES - left);
  buffer.expect(name, counted);
  const grown = PAGES - written;
  const after = before.map((count) => count + grown);
  expectSame(`${name}: books`, booksOf(stage), after);
  expectSame(`${name}: pages on the device at last`, zone.usedCount, 0);
}

/** Mapped, charged, and frames of RAM in use. */
const booksOf = ({ main, world }: Stage): number[] => [
  main.space.rssPages,
  world.memory.group.chargedPages,
  world.memory.ram.usedCount,
];

const frameOf = (buffer: Buffer, page: number): Pfn =>
  ptePfn(buffer.process.space.pageTable.get(vpnOf(buffer.addressOf(page))));

function* lockPage({ world }: Stage, frame: Pfn, released: Completion<void>): Sleeps<void> {
  if (!world.pages.tryLock(frame)) fail("the page is locked already");
  yield* released.wait();
  world.pages.unlock(frame);
}

/** A driver that finds room for every page and then cannot copy. */
function* migrateWithoutCopy({ device, main }: Stage, buffer: Buffer): Sleeps<number> {
  using _mmap = yield* main.space.mmapLock.acquireRead();
  const migration = newMigration({
    space: main.space,
    vma: main.space.vmas.find(buffer.at)!,
    start: vpnOf(buffer.at),
    end: vpnOf(buffer.end),
    select: MIGRATE_VMA_SELECT_SYSTEM,
    owner: device,
  });
  return yield* runMigration(migration, {
    *copy({ src, dst }: Migration) {
      for (let slot = 0; slot < src.length; slot++) {
        const frame = device.pagemap.allocLocked();
        if (frame !== 0) dst[slot] = migratePfn(frame);
      }
      return -EIO;
    },
    *commit() {},
  });
}

/** While the device waits for its lock to copy, a CPU writes the page that had nothing. */
function insertMeanwhile(stage: Stage, buffer: Buffer): void {
  const last = PAGES - 1;
  const mirror = moveWhile(stage, buffer, () => buffer.part(last, 1).store(counted));
  expectSame("read up to the page", mirror.words[last * PAGE_WORDS - 1], last * PAGE_WORDS - 1);
}

/** While the device waits for its lock to copy, somebody takes a reference to the still page. */
function referMeanwhile(stage: Stage, buffer: Buffer): void {
  const { pages } = stage.world;
  const frame = frameOf(buffer, HELD);
  moveWhile(stage, buffer, () => pages.get(frame));
  expectSame("the page that stays", frameOf(buffer, HELD), frame);
  pages.put(frame);
}

/** Not all pages of `buffer` can move because of what `act` does before the copy. */
function moveWhile({ main, world }: Stage, buffer: Buffer, act: () => void): WordBuffer {
  const { scheduler } = world;
  const released = new Completion<void>(scheduler, "the driver's work");
  const driver = scheduler.spawn("driver", holding(main.mirrors[0]!.lock, released));
  scheduler.run();
  const mirror = new WordBuffer(PAGES);
  const moving = scheduler.spawn("migrate", buffer.movingToDevice(mirror));
  scheduler.run();
  expectSame("the migration waits", moving.state, "blocked");
  act();
  released.complete();
  scheduler.run();
  for (const task of [driver, moving]) expectSame(task.name, task.state, "done");
  expectError("migrate", moving.result!, ENOENT);
  return mirror;
}

/** Shared with a child, so that the migration has to tell others, too. */
function killMigration(stage: Stage, schedule: PauseAfter): void {
  const { main, world } = stage;
  const { scheduler } = world;
  const buffer = main.map(PAGES);
  buffer.store(counted);
  const child = stage.fork();
  const before = booksOf(stage);
  const moving = scheduler.spawn("migrate", buffer.movingToDevice(new WordBuffer(PAGES)));
  schedule.watch(moving as Task);
  scheduler.afterStep = () => {
    if (schedule.isPaused) scheduler.kill(moving as Task);
  };
  if (schedule.isPaused) scheduler.kill(moving as Task);
  scheduler.run();
  scheduler.afterStep = undefined;
  stage.check();
  buffer.toSystem();
  for (const each of [buffer, buffer.in(child)]) each.expect("after the kill", counted);
  expectSame("books after the kill", booksOf(stage), before);
  stage.exit(child);
}
