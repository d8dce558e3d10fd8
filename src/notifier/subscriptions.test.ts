import { describe, expect, it } from "vitest";
import { EAGAIN, EINVAL, ENOENT, type Result, virtAddr } from "../base/index.ts";
import { Completion, Mutex, Scheduler, type Sleeps, TaskState, YIELD } from "../sync/index.ts";
import { IntervalNotifier } from "./interval-notifier.ts";
import { Invalidation, MMU_NOTIFY_RELEASE, MMU_NOTIFY_UNMAP } from "./invalidation.ts";
import { type NotifierOps, NotifierSubscriptions } from "./subscriptions.ts";

const PAGE = 0x1000;

/** Pages `first` to `last` - 1. */
const range = (first: number, last: number) => ({
  start: virtAddr(first * PAGE),
  end: virtAddr(last * PAGE),
});

const eventOn = (first: number, last: number, blockable = true): Invalidation =>
  new Invalidation({ ...range(first, last), event: MMU_NOTIFY_UNMAP, blockable });

function build() {
  const scheduler = new Scheduler();
  const notifiers = new NotifierSubscriptions(scheduler, scheduler.tracer);
  const log: string[] = [];
  const run = <T>(body: Sleeps<T>): T => scheduler.runTask("test", body);
  /** A range subscription that notes its calls. */
  const interval = (name: string, first: number, last: number): IntervalNotifier => {
    const notifier = new IntervalNotifier(range(first, last), {
      *invalidate() {
        log.push(`${name} invalidate`);
        return true;
      },
    });
    expect(notifiers.insert(notifier)).toBe(0);
    return notifier;
  };
  /** A whole-space subscription that notes its calls and answers `result`. */
  const listener = (name: string, result: Result = 0): NotifierOps => {
    const ops: NotifierOps = {
      *invalidateRangeStart() {
        log.push(`${name} start`);
        return result;
      },
      invalidateRangeEnd() {
        log.push(`${name} end`);
      },
    };
    notifiers.register(ops);
    return ops;
  };
  return { scheduler, notifiers, log, run, interval, listener };
}

/** `event`, with `inside` between its start and its end. */
const bracket = (
  notifiers: NotifierSubscriptions,
  event: Invalidation,
  inside: () => void = () => {},
): Sleeps<Result> => notifiers.change(event, inside);

describe("an invalidation", () => {
  it("tells those whose range it overlaps, and nobody else", () => {
    const { notifiers, log, run, interval } = build();
    interval("below", 0, 4);
    interval("across", 3, 6);
    interval("above", 6, 9);
    run(bracket(notifiers, eventOn(4, 6)));
    expect(log).toEqual(["across invalidate"]);
  });

  it("tells whole-space subscribers of the start and of the end", () => {
    const { notifiers, log, run, listener } = build();
    listener("a");
    listener("b");
    run(bracket(notifiers, eventOn(0, 1), () => log.push("change")));
    expect(log).toEqual(["a start", "b start", "change", "a end", "b end"]);
  });

  it("makes readers collide before the first callback runs", () => {
    const { notifiers, run } = build();
    const seen: boolean[] = [];
    const reader = new IntervalNotifier(range(0, 8));
    const teller = new IntervalNotifier(range(0, 8), {
      *invalidate() {
        seen.push(reader.readRetry(seq));
        return true;
      },
    });
    notifiers.insert(teller);
    notifiers.insert(reader);
    const seq = run(notifiers.readBegin(reader))!;
    expect(reader.readRetry(seq)).toBe(false);
    run(bracket(notifiers, eventOn(2, 3)));
    expect([seen, reader.readRetry(seq)]).toEqual([[true], true]);
    expect(reader.readRetry(run(notifiers.readBegin(reader))!)).toBe(false);
  });

  it("leaves readers of other ranges alone", () => {
    const { notifiers, run, interval } = build();
    const reader = interval("far", 8, 9);
    const seq = run(notifiers.readBegin(reader))!;
    run(bracket(notifiers, eventOn(0, 8)));
    expect(reader.readRetry(seq)).toBe(false);
  });

  it("cannot be ended twice or without a start", () => {
    const { notifiers, run } = build();
    const event = eventOn(0, 1);
    expect(() => run(bracket(notifiers, event, () => notifiers.end(event)))).toThrow(/not open/);
  });

  it("may not be waited for with the driver's lock held", () => {
    const { scheduler, notifiers, run } = build();
    const lock = new Mutex(scheduler, "driver", "the device's lock");
    const reader = new IntervalNotifier(range(0, 1));
    notifiers.insert(reader);
    function* upsideDown(): Sleeps<void> {
      using _held = yield* lock.acquire();
      yield* notifiers.readBegin(reader);
    }
    expect(() => run(upsideDown())).toThrow(/lock order/);
  });
});

describe("events that overlap in time", () => {
  it("hold a reader until the last one on its range is over, and no reader of other ranges", () => {
    const { scheduler, notifiers, run } = build();
    const near = new IntervalNotifier(range(0, 4));
    const far = new IntervalNotifier(range(6, 8));
    for (const each of [near, far]) notifiers.insert(each);
    const [first, second, elsewhere] = [eventOn(0, 2), eventOn(1, 5), eventOn(8, 9)];
    function* work(): Sleeps<void> {
      for (const event of [first, second, elsewhere]) yield* notifiers.start(event, "the test");
      const reader = scheduler.spawn("reader", notifiers.readBegin(near));
      const other = scheduler.spawn("other", notifiers.readBegin(far));
      for (let i = 0; i < 3; i++) yield YIELD;
      expect([reader.state, other.state]).toEqual([TaskState.blocked, TaskState.done]);
      notifiers.end(first);
      for (let i = 0; i < 3; i++) yield YIELD;
      expect([reader.state, notifiers.activeCount]).toEqual([TaskState.blocked, 2]);
      notifiers.end(second);
      for (let i = 0; i < 3; i++) yield YIELD;
      expect([reader.state, notifiers.activeCount]).toEqual([TaskState.done, 1]);
      notifiers.end(elsewhere);
    }
    run(work());
    expect(notifiers.activeCount).toBe(0);
  });

  it("do not let readers begin while callbacks of another one still run", () => {
    const { scheduler, notifiers, run } = build();
    const gate = new Completion<void>(scheduler, "the gate");
    const slow = new IntervalNotifier(range(0, 2), {
      *invalidate() {
        yield* gate.wait();
        return true;
      },
    });
    notifiers.insert(slow);
    const seq = slow.tryReadBegin()!;
    const event = scheduler.spawn("slow", bracket(notifiers, eventOn(0, 1)));
    scheduler.run();
    run(bracket(notifiers, eventOn(4, 5)));
    expect([event.state, slow.tryReadBegin()]).toEqual([TaskState.blocked, undefined]);
    gate.complete();
    scheduler.run();
    expect([event.state, slow.readRetry(seq), slow.active]).toEqual([TaskState.done, true, 0]);
  });
});

describe("the callbacks of an event", () => {
  it("run one after another", () => {
    const { notifiers, log, run } = build();
    for (const name of ["a", "b"]) {
      const ops = {
        *invalidate(): Sleeps<boolean> {
          log.push(`${name} begins`);
          for (let i = 0; i < 3; i++) yield YIELD;
          log.push(`${name} ends`);
          return true;
        },
      };
      notifiers.insert(new IntervalNotifier(range(0, 1), ops));
    }
    run(bracket(notifiers, eventOn(0, 1), () => log.push("change")));
    expect(log).toEqual(["a begins", "a ends", "b begins", "b ends", "change"]);
  });

  it("cost an event nothing when there are none: it does not sleep", () => {
    const { scheduler, notifiers, run } = build();
    notifiers.insert(new IntervalNotifier(range(0, 1)));
    function* atomically(): Sleeps<Result> {
      return scheduler.runAtomic(bracket(notifiers, eventOn(0, 1)));
    }
    expect(run(atomically())).toBe(0);
  });
});

describe("a non-blockable invalidation", () => {
  it("is refused when a driver would have to wait, and nothing has happened", () => {
    const { scheduler, notifiers } = build();
    const lock = new Mutex(scheduler, "driver", "the device's lock");
    const notifier = new IntervalNotifier(range(0, 4), {
      *invalidate(event) {
        using held = event.blockable ? yield* lock.acquire() : lock.tryAcquire();
        return held !== undefined;
      },
    });
    notifiers.insert(notifier);
    function* holder(): Sleeps<void> {
      using _held = yield* lock.acquire();
      for (let i = 0; i < 5; i++) yield YIELD;
    }
    scheduler.spawn("holder", holder());
    const refused = scheduler.spawn("refused", bracket(notifiers, eventOn(0, 1, false)));
    const waits = scheduler.spawn("waits", bracket(notifiers, eventOn(0, 1, true)));
    scheduler.run();
    expect([refused.result, waits.result]).toEqual([-EAGAIN, 0]);
    expect([notifiers.activeCount, notifier.active]).toEqual([0, 0]);
    expect(scheduler.tracer.count("notifier:refused")).toBe(1);
  });

  it("tells those who had started that it is over, not the one who refused", () => {
    const { notifiers, log, run, listener } = build();
    listener("a");
    listener("b", -EAGAIN);
    listener("c");
    const reader = new IntervalNotifier(range(0, 4));
    notifiers.insert(reader);
    expect(run(bracket(notifiers, eventOn(0, 1, false)))).toBe(-EAGAIN);
    expect(log).toEqual(["a start", "b start", "a end"]);
    expect([notifiers.activeCount, reader.active]).toEqual([0, 0]);
  });

  it("may be refused by nobody when it is blockable", () => {
    const { notifiers, run, listener } = build();
    listener("stubborn", -EAGAIN);
    expect(() => run(bracket(notifiers, eventOn(0, 1)))).toThrow(/refused an event/);
  });
});

describe("an invalidation whose task is killed", () => {
  it("is over, also for whole-space subscribers that had been told", () => {
    const { scheduler, notifiers, log, listener } = build();
    const stuck = new Mutex(scheduler, "driver", "a lock that is never given back");
    listener("a");
    notifiers.register({
      *invalidateRangeStart() {
        using _held = yield* stuck.acquire();
        return 0;
      },
    });
    const reader = new IntervalNotifier(range(0, 4));
    notifiers.insert(reader);
    scheduler.spawn("keeper", keep(stuck));
    const victim = scheduler.spawn("victim", bracket(notifiers, eventOn(0, 1)));
    scheduler.run();
    expect(victim.state).toBe(TaskState.blocked);
    scheduler.kill(victim);
    expect(log).toEqual(["a start", "a end"]);
    expect([notifiers.activeCount, reader.active]).toEqual([0, 0]);
    expect([...victim.held].every((count) => count === 0)).toBe(true);
  });
});

/** Holds `lock` and waits for ever. */
function* keep(lock: Mutex): Sleeps<void> {
  using _held = yield* lock.acquire();
  yield* lock.acquire({ nested: "for ever" });
}

describe("a change", () => {
  const log: string[] = [];
  const doIt = () => log.push("do");
  const undo = () => log.push("undo");

  it("is done once everybody has been told, and is not taken back", () => {
    const { notifiers, run, listener } = build();
    listener("a");
    expect([run(notifiers.change(eventOn(0, 1), doIt, undo)), log.splice(0)]).toEqual([0, ["do"]]);
  });

  it("is taken back, and not done, when it is refused", () => {
    const { notifiers, run, listener } = build();
    listener("a", -EAGAIN);
    expect(run(notifiers.change(eventOn(0, 1, false), doIt, undo))).toBe(-EAGAIN);
    expect([log.splice(0), notifiers.activeCount]).toEqual([["undo"], 0]);
  });

  it("is taken back when a callback throws, or its task is killed", () => {
    const { scheduler, notifiers, run } = build();
    const callback = {
      *invalidateRangeStart(): Sleeps<Result> {
        yield YIELD;
        throw new Error("a driver's own");
      },
    };
    notifiers.register(callback);
    expect(() => run(notifiers.change(eventOn(0, 1), doIt, undo))).toThrow("a driver's own");
    const victim = scheduler.spawn("victim", notifiers.change(eventOn(0, 1), doIt, undo));
    const killer = function* (): Sleeps<void> {
      scheduler.kill(victim);
    };
    run(killer());
    expect([victim.state, log.splice(0)]).toEqual([TaskState.killed, ["undo", "undo"]]);
    expect(notifiers.activeCount).toBe(0);
  });

  it("leaves no event open that throws, nor does a listener at its end", () => {
    const { notifiers, run, listener, log: told } = build();
    const reader = new IntervalNotifier(range(0, 4));
    notifiers.insert(reader);
    listener("a");
    const thrown = () => {
      throw new Error("half done");
    };
    expect(() => run(notifiers.change(eventOn(0, 1), thrown, undo))).toThrow("half done");
    expect([told.splice(0), notifiers.activeCount, reader.active]).toEqual([
      ["a start", "a end"],
      0,
      0,
    ]);
    notifiers.register({ invalidateRangeEnd: thrown });
    expect(() => run(notifiers.change(eventOn(0, 1), doIt, undo))).toThrow("half done");
    expect([log.splice(0), notifiers.activeCount, reader.active]).toEqual([["do"], 0, 0]);
  });
});

describe("a subscription", () => {
  it("that is made during an event collides with it, and is told nothing", () => {
    const { notifiers, run } = build();
    const late = new IntervalNotifier(range(0, 4));
    const far = new IntervalNotifier(range(4, 8));
    run(
      bracket(notifiers, eventOn(0, 4), () => {
        notifiers.insert(late);
        notifiers.insert(far);
        expect([late.active, far.active]).toEqual([1, 0]);
        expect([late.readRetry(late.seq), far.readRetry(far.seq)]).toEqual([true, false]);
      }),
    );
    expect([late.active, late.readRetry(late.seq)]).toEqual([0, false]);
  });

  it("is removed only after the events that it collides with", () => {
    const { scheduler, notifiers, log, interval } = build();
    const notifier = interval("it", 0, 4);
    const event = eventOn(0, 1);
    scheduler.runTask(
      "starter",
      (function* (): Sleeps<void> {
        yield* notifiers.start(event);
        scheduler.spawn(
          "remover",
          (function* (): Sleeps<void> {
            yield* notifiers.remove(notifier);
            log.push("removed");
          })(),
        );
        for (let i = 0; i < 5; i++) yield YIELD;
        log.push("end");
        notifiers.end(event);
      })(),
    );
    scheduler.run();
    expect(log).toEqual(["it invalidate", "end", "removed"]);
    expect(notifiers.intervalCount).toBe(0);
  });

  it("is made and removed once", () => {
    const { notifiers, run, interval } = build();
    const notifier = interval("it", 0, 4);
    expect(() => notifiers.insert(notifier)).toThrow(/inserted twice/);
    expect(() => notifiers.removeSilent(notifier)).toThrow(/use remove/);
    run(notifiers.remove(notifier));
    expect(() => run(notifiers.remove(notifier))).toThrow(/removed twice/);
    const silent = new IntervalNotifier(range(0, 4));
    notifiers.insert(silent);
    notifiers.removeSilent(silent);
    expect(() => notifiers.removeSilent(silent)).toThrow(/removed twice/);
  });

  it("is not ended with the driver's lock held, which the callbacks need", () => {
    const { scheduler, notifiers, run, interval } = build();
    const lock = new Mutex(scheduler, "driver", "the device's lock");
    const notifier = interval("it", 0, 4);
    function* upsideDown(): Sleeps<void> {
      using _held = yield* lock.acquire();
      yield* notifiers.remove(notifier);
    }
    expect(() => run(upsideDown())).toThrow(/lock order/);
    expect(notifier.isRegistered).toBe(true);
  });

  it("needs whole pages of the space", () => {
    const { notifiers } = build();
    const odd = { start: virtAddr(1), end: virtAddr(PAGE) };
    expect(notifiers.insert(new IntervalNotifier(odd))).toBe(-EINVAL);
  });

  it("to the whole space ends when its callbacks have left", () => {
    const { scheduler, notifiers, run } = build();
    const lock = new Mutex(scheduler, "driver", "the device's lock");
    const ops: NotifierOps = {
      *invalidateRangeStart() {
        using _held = yield* lock.acquire();
        return 0;
      },
    };
    notifiers.register(ops);
    expect(() => notifiers.register(ops)).toThrow(/registered twice/);
    const holder = scheduler.spawn("holder", keep(lock));
    const event = scheduler.spawn("event", bracket(notifiers, eventOn(0, 1)));
    const remover = scheduler.spawn("remover", notifiers.unregister(ops));
    scheduler.run();
    expect([event.state, remover.state]).toEqual([TaskState.blocked, TaskState.blocked]);
    scheduler.kill(holder);
    scheduler.run();
    expect([event.state, remover.result]).toEqual([TaskState.done, 0]);
    expect([run(notifiers.unregister(ops)), notifiers.listCount]).toEqual([-ENOENT, 0]);
  });
});

describe("readBegin", () => {
  it("sleeps until the event is over, or until its deadline", () => {
    const { scheduler, notifiers } = build();
    const reader = new IntervalNotifier(range(0, 4));
    notifiers.insert(reader);
    const event = eventOn(0, 1);
    const gate = new Completion<void>(scheduler, "the clock");
    scheduler.timer(20, () => gate.complete());
    function* holdOpen(): Sleeps<void> {
      yield* notifiers.start(event);
      yield* gate.wait();
      expect([hasty.state, hasty.result]).toEqual([TaskState.done, undefined]);
      expect(patient.state).toBe(TaskState.blocked);
      notifiers.end(event);
    }
    const starter = scheduler.spawn("starter", holdOpen());
    const patient = scheduler.spawn("patient", notifiers.readBegin(reader));
    const hasty = scheduler.spawn("hasty", notifiers.readBegin(reader, 10));
    scheduler.runUntil(starter);
    expect(patient.result).toBe(reader.seq);
    expect(scheduler.tracer.count("notifier:collide")).toBe(2);
  });
});

describe("the release of a space", () => {
  it("happens once, tells everybody, and lets nobody in any more", () => {
    const { notifiers, log, run, interval } = build();
    interval("it", 0, 4);
    let events: readonly number[] = [];
    notifiers.register({
      *invalidateRangeStart(event) {
        events = [...events, event.event];
        return 0;
      },
      *release() {
        log.push("release");
      },
    });
    run(notifiers.release());
    expect([log, events]).toEqual([["it invalidate", "release"], [MMU_NOTIFY_RELEASE]]);
    expect(() => run(notifiers.release())).toThrow(/released twice/);
    expect(notifiers.insert(new IntervalNotifier(range(0, 1)))).toBe(-EINVAL);
    expect([notifiers.isReleased, notifiers.listCount]).toEqual([true, 0]);
  });

  it("is waited for by those who unregister meanwhile", () => {
    const { scheduler, notifiers } = build();
    const lock = new Mutex(scheduler, "driver", "the device's lock");
    const ops: NotifierOps = {
      *release() {
        using _held = yield* lock.acquire();
      },
    };
    notifiers.register(ops);
    const holder = scheduler.spawn("holder", keep(lock));
    const release = scheduler.spawn("release", notifiers.release());
    scheduler.run();
    const remover = scheduler.spawn("remover", notifiers.unregister(ops));
    scheduler.run();
    expect([release.state, remover.state]).toEqual([TaskState.blocked, TaskState.blocked]);
    scheduler.kill(holder);
    scheduler.run();
    expect([release.state, remover.result]).toEqual([TaskState.done, -ENOENT]);
  });
});
