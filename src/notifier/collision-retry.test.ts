import { describe, expect, it } from "vitest";
import { EAGAIN, EINTR, type Result, virtAddr } from "../base/index.ts";
import { RwSemaphore, Scheduler, type Sleeps, TaskState, WaitQueue, YIELD } from "../sync/index.ts";
import { CollisionRetry, type CollisionRetryOptions } from "./collision-retry.ts";
import { IntervalNotifier } from "./interval-notifier.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "./invalidation.ts";
import { NotifierSubscriptions } from "./subscriptions.ts";

const PAGE = 0x1000;
const range = (first: number, last: number) => ({
  start: virtAddr(first * PAGE),
  end: virtAddr(last * PAGE),
});

class Setup {
  readonly scheduler = new Scheduler();
  readonly notifiers = new NotifierSubscriptions(this.scheduler, this.scheduler.tracer);
  readonly lock = new RwSemaphore(this.scheduler, "mmap", "mmapLock");
  readonly reader = new IntervalNotifier(range(0, 4));
  readonly log: string[] = [];

  constructor() {
    this.notifiers.insert(this.reader);
  }

  read(options: Partial<CollisionRetryOptions> = {}): CollisionRetry {
    return new CollisionRetry(this.notifiers, this.reader, { lock: this.lock, ...options });
  }

  /** An event over pages `first` to `last` - 1, open for `turns` turns. */
  *event(first: number, last: number, turns = 0, blockable = true): Sleeps<Result> {
    const options = { ...range(first, last), event: MMU_NOTIFY_CLEAR, blockable };
    const event = new Invalidation(options);
    const started = yield* this.notifiers.start(event);
    if (started < 0) return started;
    for (let i = 0; i < turns; i++) yield YIELD;
    this.notifiers.end(event);
    this.log.push("event");
    return 0;
  }

  run<T>(body: Sleeps<T>): T {
    return this.scheduler.runTask("test", body);
  }
}

describe("the collision-retry lock", () => {
  it("holds mmapLock for reading from begin to end, and says whether to retry", () => {
    const setup = new Setup();
    const read = setup.read();
    setup.run(
      (function* (): Sleeps<void> {
        expect(yield* read.begin()).toBe(0);
        setup.lock.assertHeld();
        expect([read.seq, read.retry(), read.attempts]).toEqual([setup.reader.seq, false, 1]);
        yield* setup.event(4, 5);
        expect(read.retry()).toBe(false);
        yield* setup.event(3, 4);
        expect(read.retry()).toBe(true);
        yield* read.begin();
        expect([read.retry(), read.attempts, read.hasPrecedence]).toEqual([false, 2, false]);
        read.end();
        expect(setup.lock.isLocked).toBe(false);
        read.end();
      })(),
    );
    expect(() => read.retry()).toThrow(/between begin and end/);
    expect(() => setup.run(read.begin())).toThrow(/after its end/);
  });

  it("waits without mmapLock while an event is open", () => {
    const setup = new Setup();
    function* reader(): Sleeps<number> {
      using read = setup.read();
      yield* read.begin();
      return read.attempts;
    }
    setup.scheduler.spawn("event", setup.event(0, 1, 5));
    const task = setup.scheduler.spawn("reader", reader());
    setup.scheduler.spawn(
      "other",
      (function* (): Sleeps<void> {
        yield YIELD;
        expect([task.state, setup.lock.isLocked]).toEqual([TaskState.blocked, false]);
      })(),
    );
    setup.scheduler.run();
    expect(task.result).toBe(1);
  });

  it("is called off by its signal, holding nothing", () => {
    const setup = new Setup();
    const abort = new AbortController();
    setup.scheduler.spawn("event", setup.event(0, 1, 20));
    const reader = setup.scheduler.spawn(
      "reader",
      (function* (): Sleeps<Result> {
        using read = setup.read({ signal: abort.signal });
        return yield* read.begin();
      })(),
    );
    setup.scheduler.spawn(
      "aborter",
      (function* (): Sleeps<void> {
        yield YIELD;
        abort.abort();
      })(),
    );
    setup.scheduler.run();
    expect([reader.result, setup.lock.isLocked]).toEqual([-EINTR, false]);
    using late = setup.read({ signal: abort.signal });
    expect(setup.run(late.begin())).toBe(-EINTR);
  });
});

/** Sleeps until the virtual clock says `ms`. */
function* sleepUntil(setup: Setup, ms: number): Sleeps<void> {
  yield* new WaitQueue(setup.scheduler, "the clock").sleep(ms);
}

/** Begins with precedence, lets others run for `turns` turns, and ends. */
function* goFirst(setup: Setup, turns: number): Sleeps<void> {
  using read = setup.read({ collisionsMax: 0 });
  yield* read.begin();
  expect(read.hasPrecedence).toBe(true);
  for (let i = 0; i < turns; i++) yield YIELD;
  setup.log.push(read.retry() ? "collided" : "commit");
}

describe("a reader that goes first", () => {
  it("does so after its collisions, or when its time is over", () => {
    const setup = new Setup();
    function* collide(options: Partial<CollisionRetryOptions>): Sleeps<number> {
      using read = setup.read(options);
      for (;;) {
        yield* read.begin();
        if (read.hasPrecedence) return read.attempts;
        yield* setup.event(0, 1);
        expect(read.retry()).toBe(true);
      }
    }
    expect(setup.run(collide({ collisionsMax: 3 }))).toBe(4);
    expect(setup.run(collide({ timeoutMs: 0 }))).toBe(1);
    expect(setup.scheduler.tracer.count("notifier:precedence")).toBe(2);
  });

  it("takes precedence while it waits for an event that lasts longer than its time", () => {
    const setup = new Setup();
    const event = new Invalidation({ ...range(0, 1), event: MMU_NOTIFY_CLEAR });
    function* reader(): Sleeps<boolean> {
      using read = setup.read({ timeoutMs: 10 });
      yield* read.begin();
      return read.hasPrecedence;
    }
    function* writer(): Sleeps<void> {
      yield* setup.notifiers.start(event);
      yield* sleepUntil(setup, 50);
      setup.notifiers.end(event);
    }
    setup.scheduler.spawn("writer", writer());
    const task = setup.scheduler.spawn("reader", reader());
    setup.scheduler.run();
    expect(task.result).toBe(true);
  });

  it("is let pass by writers of its range, and only of its range", () => {
    const setup = new Setup();
    setup.scheduler.spawn("reader", goFirst(setup, 6));
    setup.scheduler.spawn("near", setup.event(3, 5));
    setup.scheduler.spawn("far", setup.event(4, 5));
    setup.scheduler.run();
    expect(setup.log).toEqual(["event", "commit", "event"]);
    expect(setup.scheduler.tracer.count("notifier:give-way")).toBe(1);
  });

  it("refuses events that may not wait, which have done nothing then", () => {
    const setup = new Setup();
    setup.scheduler.spawn("reader", goFirst(setup, 6));
    const refused = setup.scheduler.spawn("refused", setup.event(0, 1, 0, false));
    setup.scheduler.run();
    expect([refused.result, setup.log]).toEqual([-EAGAIN, ["commit"]]);
    expect([setup.notifiers.activeCount, setup.reader.active]).toEqual([0, 0]);
  });

  it("does not stop who is inside an event already", () => {
    const setup = new Setup();
    const outer = new Invalidation({ ...range(4, 5), event: MMU_NOTIFY_CLEAR });
    const inner = new Invalidation({ ...range(0, 1), event: MMU_NOTIFY_CLEAR });
    setup.scheduler.spawn(
      "writer",
      (function* (): Sleeps<void> {
        yield* setup.notifiers.start(outer);
        yield YIELD;
        yield* setup.notifiers.start(inner, "the test nests");
        setup.notifiers.end(inner);
        setup.notifiers.end(outer);
        setup.log.push("event");
      })(),
    );
    setup.scheduler.spawn("reader", goFirst(setup, 6));
    setup.scheduler.run();
    expect(setup.log).toEqual(["event", "collided"]);
  });

  it("stops nobody for more than a second", () => {
    const setup = new Setup();
    function* stuck(): Sleeps<void> {
      using read = setup.read({ collisionsMax: 0 });
      yield* read.begin();
      yield* sleepUntil(setup, 5000);
      setup.log.push("reader");
    }
    setup.scheduler.spawn("stuck", stuck());
    setup.scheduler.spawn("writer", setup.event(0, 1));
    setup.scheduler.run();
    expect(setup.log).toEqual(["event", "reader"]);
  });

  it("gives way to the next when it is killed", () => {
    const setup = new Setup();
    const victim = setup.scheduler.spawn("victim", goFirst(setup, Number.POSITIVE_INFINITY));
    const next = setup.scheduler.spawn("next", goFirst(setup, 0));
    setup.scheduler.spawn(
      "killer",
      (function* (): Sleeps<void> {
        for (let i = 0; i < 5; i++) yield YIELD;
        expect(next.state).toBe(TaskState.blocked);
        setup.scheduler.kill(victim);
      })(),
    );
    setup.scheduler.run();
    expect([victim.state, next.state, setup.log]).toEqual(["killed", "done", ["commit"]]);
    expect(setup.lock.isLocked).toBe(false);
  });
});
