/** Our tests of invalidations: refused ones, those that somebody waits for, the end of a space. */
import { EAGAIN, EFAULT, EINVAL, type Result } from "../../base/index.ts";
import { Mirror, type MirrorOps, MirrorRange } from "../../hmm/index.ts";
import { mmput } from "../../mm/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR, type NotifierOps } from "../../notifier/index.ts";
import {
  Completion,
  type Mutex,
  type Scheduler,
  type Sleeps,
  type Task,
  WaitQueue,
  YIELD,
} from "../../sync/index.ts";
import { expectDone, expectResult, expectSame, fail } from "./expect.ts";
import type { Buffer, Process } from "./process.ts";
import { atEveryPause, type PauseAfter } from "./schedules.ts";
import type { HmmTest, Stage } from "./stage.ts";
import { counted, negated, WordBuffer } from "./words.ts";

export const EVENT_TESTS: readonly HmmTest[] = [
  {
    name: "onespace.A-31",
    checks: "an event that may not sleep is refused while the driver has its lock; nothing leaks",
    run: (open) => refuseWhileLocked(open()),
  },
  {
    name: "onespace.A-32",
    checks: "who waits for a range is woken by the last overlapping event, or times out exactly",
    run: (open) => waitForEvents(open()),
  },
  {
    name: "onespace.A-33",
    checks: "a process ends in each phase of a populate; unregister races with release",
    run(open) {
      atEveryPause((strategy) => exitWhilePopulating(open({ strategy, ...SMALL }), strategy));
      for (const paused of ["exit", "unregister"] as const) {
        atEveryPause((strategy) => {
          unregisterWhileReleased(open({ strategy, ...SMALL }), strategy, paused);
        });
      }
    },
  },
];

const SMALL = { frames: 256, deviceFrames: 16 };

function refuseWhileLocked(stage: Stage): void {
  const { main, world } = stage;
  const { scheduler } = world;
  const buffer = main.map(4);
  buffer.store(counted);
  expectDone("read", buffer.read(new WordBuffer(4)), 4, 1);
  const log: string[] = [];
  const listener = noting(log);
  main.space.notifiers.register(listener);
  const released = new Completion<void>(scheduler, "the driver's work");
  const driver = scheduler.spawn("driver", holding(main.mirrors[0]!.lock, released));
  scheduler.run();
  expectResult("event", main.run(invalidate(buffer, false)), -EAGAIN);
  expectSame("open events", main.space.notifiers.activeCount, 0);
  released.complete();
  stage.runAll(driver);
  expectDone("read of what was kept", buffer.read(new WordBuffer(4)), 4, 0);
  expectSame("told of the refused event", log, []);
  expectResult("event", main.run(invalidate(buffer, false)), 0);
  expectSame("told of the next event", log, ["start", "end"]);
  expectDone("read of what was dropped", buffer.read(new WordBuffer(4)), 4, 1);
  refuseAfterOthers(main, buffer, log);
  main.run(main.space.notifiers.unregister(listener));
}

/** Whoever was told of the start of an event that is refused later is told of its end. */
function refuseAfterOthers(main: Process, buffer: Buffer, log: string[]): void {
  log.length = 0;
  const refusing: NotifierOps = {
    *invalidateRangeStart({ blockable }) {
      return blockable ? 0 : -EAGAIN;
    },
    invalidateRangeEnd: () => log.push("end of the one that refused"),
  };
  main.space.notifiers.register(refusing);
  expectResult("event", main.run(invalidate(buffer, false)), -EAGAIN);
  expectSame("told", log, ["start", "end"]);
  expectSame("open events", main.space.notifiers.activeCount, 0);
  expectDone("read", buffer.read(new WordBuffer(4)), 4);
  main.run(main.space.notifiers.unregister(refusing));
}

function noting(log: string[]): NotifierOps {
  return {
    *invalidateRangeStart() {
      log.push("start");
      return 0;
    },
    invalidateRangeEnd: () => log.push("end"),
  };
}

export function* holding(lock: Mutex, released: Completion<void>): Sleeps<void> {
  using _held = yield* lock.acquire();
  yield* released.wait();
}

function* invalidate({ process, at, end }: Buffer, blockable: boolean): Sleeps<Result> {
  const event = new Invalidation({ start: at, end, event: MMU_NOTIFY_CLEAR, blockable });
  return yield* process.space.notifiers.change(event, () => {});
}

function waitForEvents(stage: Stage): void {
  const { main, world } = stage;
  const { scheduler } = world;
  const buffer = main.map(8);
  const mirror = registered(main.run(Mirror.register(main.space, { ops: DEAF })));
  const range = mirror.range({ start: buffer.at, end: buffer.part(0, 4).end });
  if (!(range instanceof MirrorRange)) fail(`range: ${range}`);
  const isWaiting = (timeoutMs: number): [boolean, number] => {
    const start = scheduler.nowMs;
    const waiter = scheduler.spawn("waiter", waiting(scheduler, range, timeoutMs));
    stage.runAll(waiter);
    return [waiter.result!.isValid, waiter.result!.at - start];
  };
  scheduler.spawn("first", openFor(buffer.part(0, 1), 30));
  scheduler.spawn("last", openFor(buffer.part(3, 2), 50));
  scheduler.spawn("elsewhere", openFor(buffer.part(4, 4), 500));
  expectSame("woken by the last event", isWaiting(100), [true, 50]);
  expectSame("valid", range.valid, true);
  scheduler.spawn("slow", openFor(buffer.part(0, 8), 200));
  expectSame("timed out", isWaiting(100), [false, 100]);
  expectSame("valid after the time-out", range.valid, false);
  expectSame("at rest", isWaiting(100), [true, 0]);
  range.unregister();
  main.run(mirror.unregister());
  expectSame("subscriptions", main.space.notifiers.intervalCount, 1);
  expectSame("users of the space", main.space.users.count, 1);
}

const DEAF = {
  *syncCpuDevicePagetables() {
    return true;
  },
};

const registered = (mirror: Mirror | Result): Mirror =>
  mirror instanceof Mirror ? mirror : fail(`register: ${mirror}`);

interface Woken {
  readonly isValid: boolean;
  /** On the scheduler's clock. */
  readonly at: number;
}

function* waiting(scheduler: Scheduler, range: MirrorRange, timeoutMs: number): Sleeps<Woken> {
  const isValid = yield* range.waitUntilValid({ timeoutMs });
  return { isValid, at: scheduler.nowMs };
}

/** An event over `buffer` that is open for so many milliseconds. */
function* openFor({ process, at, end }: Buffer, ms: number): Sleeps<void> {
  const { notifiers, memory } = process.space;
  const { scheduler } = memory;
  const event = new Invalidation({ start: at, end, event: MMU_NOTIFY_CLEAR });
  yield* notifiers.start(event);
  yield* new WaitQueue(scheduler, "time").sleep(scheduler.nowMs + ms);
  notifiers.end(event);
}

/** 66 pages: two chunks of the device. */
const POPULATED = 66;

function exitWhilePopulating(stage: Stage, schedule: PauseAfter): void {
  const { main, world } = stage;
  const buffer = main.map(POPULATED);
  buffer.part(0, 8).store(counted);
  const mirror = new WordBuffer(POPULATED, negated);
  const populate = world.scheduler.spawn("populate", buffer.reading(mirror));
  schedule.watch(populate as Task);
  stage.runAll(populate, world.scheduler.spawn("exit", mmput(main.space)));
  const { result, pages } = populate.result!;
  if (result >= 0) expectSame("pages read", pages, POPULATED);
  else if (result !== -EFAULT && result !== -EINVAL) expectResult("read", result, -EFAULT);
  expectSame("what the device still has", main.mirrors[0]!.table.usedCount, 0);
  expectSame("who may look at the space", main.space.users.count, 0);
}

function unregisterWhileReleased(
  stage: Stage,
  schedule: PauseAfter,
  paused: "exit" | "unregister",
): void {
  const { main, world } = stage;
  const { scheduler } = world;
  const buffer = main.map(4);
  buffer.store(counted);
  const log: string[] = [];
  const ops = slowRelease(log);
  const mirror = registered(main.run(Mirror.register(main.space, { ops })));
  const exit = scheduler.spawn("exit", mmput(main.space));
  const unregister = scheduler.spawn("unregister", unregistering(mirror, log));
  schedule.watch((paused === "exit" ? exit : unregister) as Task);
  stage.runAll(exit, unregister);
  // The callback has run whole before the end of the subscription, or not at all.
  const isTold = log.length > 1;
  expectSame("order", log, isTold ? ["release", "released", "unregistered"] : ["unregistered"]);
  expectSame("subscriptions", main.space.notifiers.listCount, 0);
}

const slowRelease = (log: string[]): MirrorOps => ({
  *syncCpuDevicePagetables() {
    yield YIELD;
    return true;
  },
  *release() {
    log.push("release");
    for (let i = 0; i < 3; i++) yield YIELD;
    log.push("released");
  },
});

function* unregistering(mirror: Mirror, log: string[]): Sleeps<void> {
  yield* mirror.unregister();
  log.push("unregistered");
}
