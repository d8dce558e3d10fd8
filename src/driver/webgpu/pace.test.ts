import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../../test/replay/replay.ts";
import { ALONE_MS, FIRST_LOAD, Pace } from "./pace.ts";

/** A GPU: passes that a lane makes in a millisecond, and how many lanes it has. */
interface Model {
  readonly speed: number;
  readonly lanes: number;
  /** Whether somebody waits for that round. */
  readonly isAwaited?: (round: number) => boolean;
}

interface Simulated {
  readonly isOver: boolean;
  readonly totalMs: number;
  readonly longestMs: number;
}

/** Runs invocations that need so many passes; those who got nowhere start over. */
function simulate(needs: readonly number[], model: Model, aloneMs = ALONE_MS): Simulated {
  const pace = new Pace({ load: FIRST_LOAD, widthMax: needs.length, aloneMs, calmMs });
  let waiting = [...needs];
  let totalMs = 0;
  let longestMs = 0;
  for (let rounds = 0; waiting.length > 0; rounds++) {
    expect(rounds).toBeLessThan(100_000);
    const { work, passes } = pace.load;
    const running = waiting.slice(0, Math.min(waiting.length, pace.width));
    const left: number[] = [];
    let milliseconds = 0;
    let unbegun = 0;
    let isLong = false;
    for (let at = 0, used = 0; at < running.length; at += model.lanes) {
      const together = running.slice(at, at + model.lanes);
      if (used >= work) {
        left.push(...together);
        unbegun += together.length;
        continue;
      }
      for (const need of together) {
        if (need > passes) left.push(need);
        isLong ||= need > passes;
        used += (1 + Math.min(need, passes)) / 64;
      }
      milliseconds += Math.min(passes, Math.max(...together)) / model.speed;
    }
    totalMs += milliseconds;
    longestMs = Math.max(longestMs, milliseconds);
    waiting = [...left, ...waiting.slice(running.length)];
    const finished = running.length - left.length;
    const isUseful = false;
    const isAwaited = model.isAwaited?.(rounds) === true;
    const taken = { ran: running.length, finished, unbegun, isLong, isUseful };
    const round = { ...taken, isAwaited, milliseconds };
    if (!pace.finishRound(round)) return { isOver: false, totalMs, longestMs };
  }
  return { isOver: true, totalMs, longestMs };
}

const calmMs = 600;
const ENDLESS = Number.POSITIVE_INFINITY;
const models = fc.record({
  speed: fc.integer({ min: 100, max: 1_000_000 }),
  lanes: fc.constantFrom(1, 8, 64, 4096),
  isAwaited: fc.constantFrom(
    () => false,
    () => true,
    (round: number) => round % 3 === 0,
  ),
});

describe("Pace", () => {
  it("finishes whatever finishes in time by itself, in rounds that are short enough", () => {
    const shares = fc.array(fc.double({ min: 0, max: 0.7, noNaN: true }), { minLength: 1 });
    fc.assert(
      fc.property(shares, models, (parts, model) => {
        const needs = parts.map((part) => part * ALONE_MS * model.speed);
        const { isOver, longestMs } = simulate(needs, model);
        expect(isOver).toBe(true);
        expect(longestMs).toBeLessThanOrEqual(ALONE_MS + 1);
      }),
      replayable("pace"),
    );
  });

  it("gives an endless one up after a few seconds, however many run beside it", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), models, (count, model) => {
        const needs = new Array<number>(count).fill(ENDLESS);
        const { isOver, totalMs, longestMs } = simulate(needs, model);
        expect(isOver).toBe(false);
        expect(totalMs).toBeLessThan(6 * ALONE_MS);
        expect(longestMs).toBeLessThanOrEqual(ALONE_MS + 1);
      }),
      replayable("pace-endless"),
    );
  });

  it("lets one take longer when somebody says so", () => {
    const model = { speed: 1000, lanes: 1 };
    const need = 10_000 * model.speed;
    expect(simulate([need], model).isOver).toBe(false);
    expect(simulate([need], model, 20_000).isOver).toBe(true);
  });

  it("loses little time with many long ones", () => {
    const model = { speed: 10_000, lanes: 8 };
    const needs = new Array<number>(200).fill(100 * model.speed);
    const { isOver, totalMs } = simulate(needs, model);
    expect(isOver).toBe(true);
    expect(totalMs).toBeLessThan(4 * 200 * 100);
  });

  it("does less at once when units turn out to be heavy, although nobody ran out of them", () => {
    const load = { work: 1000, passes: 100, width: 1 << 20 };
    const pace = new Pace({ load, widthMax: 1 << 20, aloneMs: ALONE_MS, calmMs });
    const { width } = pace;
    const taken = {
      ran: width,
      finished: width,
      unbegun: 0,
      isLong: false,
      isUseful: false,
      isAwaited: true,
    };
    expect(pace.finishRound({ ...taken, milliseconds: 1500 })).toBe(true);
    expect([pace.load, pace.width]).toEqual([{ work: 150, passes: 100 }, 125 * 64]);
  });

  it("runs about as many as can begin, and more where all is there and time is left", () => {
    const load = { work: 1000, passes: 100, width: 10_000 };
    const pace = new Pace({ load, widthMax: 1 << 20, aloneMs: ALONE_MS, calmMs });
    const round = { ran: 10_000, finished: 1000, isLong: false, isUseful: false, isAwaited: true };
    pace.finishRound({ ...round, unbegun: 9000, milliseconds: 150 });
    expect(pace.width).toBe(1000);
    pace.finishRound({ ...round, ran: 1000, unbegun: 0, milliseconds: 50 });
    expect(pace.width).toBe(3000);
    const missing = { finished: 100, isLong: false, isUseful: true, isAwaited: true };
    pace.finishRound({ ...missing, ran: 3000, unbegun: 0, milliseconds: 50 });
    expect(pace.width).toBe(3000);
    pace.finishRound({ ...round, ran: 1000, unbegun: 0, milliseconds: 150 });
    expect(pace.width).toBe(3000);
  });

  it("makes rounds longer while nobody waits for them, and short again at once", () => {
    const load = { work: 1 << 20, passes: 100, width: 1000 };
    const pace = new Pace({ load, widthMax: 1 << 20, aloneMs: ALONE_MS, calmMs });
    const run = (isAwaited: boolean): number => {
      const ran = pace.width;
      const taken = { ran, finished: ran, unbegun: 0, isLong: false, isUseful: false };
      // 1000 in 150 ms.
      pace.finishRound({ ...taken, isAwaited, milliseconds: (ran * 150) / 1000 });
      return pace.width;
    };
    expect([true, false, false, false, true, false].map(run)).toEqual([
      1000, 2000, 4000, 4000, 1000, 2000,
    ]);
    expect(pace.firstLoad.width).toBe(1000);
  });

  it("leaves the passes of an invocation as they are while they are enough", () => {
    let load = FIRST_LOAD;
    for (let launch = 0; launch < 20; launch++) {
      const pace = new Pace({ load, widthMax: 1 << 20, aloneMs: ALONE_MS, calmMs });
      for (let round = 0; round < 4; round++) {
        const ran = pace.width;
        const taken = { ran, finished: ran, unbegun: 0, isLong: false, isUseful: false };
        pace.finishRound({ ...taken, isAwaited: false, milliseconds: 20 });
      }
      load = pace.firstLoad;
    }
    expect(load.passes).toBe(FIRST_LOAD.passes);
  });

  it("begins the next launch with short rounds, also when the last one had long ones", () => {
    const pace = new Pace({ load: FIRST_LOAD, widthMax: 1, aloneMs: ALONE_MS, calmMs });
    const taken = {
      ran: 1,
      finished: 0,
      unbegun: 0,
      isLong: true,
      isUseful: false,
      isAwaited: true,
    };
    pace.finishRound({ ...taken, milliseconds: 150 });
    expect(pace.load.passes).toBe(4 * 1024);
    expect(pace.firstLoad).toEqual(FIRST_LOAD);
  });
});
