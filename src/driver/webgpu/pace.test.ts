import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../../test/replay/replay.ts";
import { ALONE_MS, Pace, WORK_MIN } from "./pace.ts";

/** A GPU: units of work in a millisecond, and how many invocations it runs at once. */
interface Model {
  readonly speed: number;
  readonly lanes: number;
}

interface Simulated {
  readonly isOver: boolean;
  readonly totalMs: number;
  readonly longestMs: number;
}

/** Runs invocations that need so many units; those who got nowhere start over. */
function simulate(needs: readonly number[], model: Model, aloneMs = ALONE_MS): Simulated {
  const pace = new Pace({ work: WORK_MIN, widthMax: needs.length, aloneMs });
  let waiting = [...needs];
  let totalMs = 0;
  let longestMs = 0;
  for (let rounds = 0; waiting.length > 0; rounds++) {
    expect(rounds).toBeLessThan(100_000);
    const { work } = pace;
    const running = waiting.slice(0, Math.min(waiting.length, pace.width));
    let used = 0;
    const left: number[] = [];
    for (let at = 0; at < running.length; at += model.lanes) {
      const together = running.slice(at, at + model.lanes);
      const each = Math.max(0, work - used) / together.length;
      for (const need of together) if (need > each) left.push(need);
      used += together.reduce((sum, need) => sum + Math.min(need, each), 0);
    }
    const milliseconds = used / model.speed;
    totalMs += milliseconds;
    longestMs = Math.max(longestMs, milliseconds);
    waiting = [...left, ...waiting.slice(running.length)];
    const isSpent = left.length > 0;
    const finished = running.length - left.length;
    const round = { ran: running.length, finished, isSpent, isUseful: false, milliseconds };
    if (!pace.finishRound(round)) return { isOver: false, totalMs, longestMs };
  }
  return { isOver: true, totalMs, longestMs };
}

const ENDLESS = Number.POSITIVE_INFINITY;
const models = fc.record({
  speed: fc.integer({ min: 100, max: 1_000_000 }),
  lanes: fc.constantFrom(1, 8, 64, 4096),
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
    const pace = new Pace({ work: 1000, widthMax: 1 << 20, aloneMs: ALONE_MS });
    const { width } = pace;
    const taken = { ran: width, finished: width, isSpent: false, isUseful: false };
    expect(pace.finishRound({ ...taken, milliseconds: 1500 })).toBe(true);
    expect([pace.work, pace.width]).toEqual([125, 125 * 64]);
  });
});
