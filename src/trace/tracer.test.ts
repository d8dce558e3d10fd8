import { describe, expect, it } from "vitest";
import { EVENTS, eventId } from "./event.ts";
import { Tracer } from "./tracer.ts";

const FAULT = eventId("mm:fault");
const RETRY = eventId("hmm:retry");

describe("a tracer", () => {
  it("keeps the last events, oldest first, and counts all of them", () => {
    const tracer = new Tracer({ events: 4 });
    tracer.task = 9;
    for (let i = 0; i < 6; i++) tracer.emit(i % 2 === 0 ? FAULT : RETRY, i, 10 * i, -i);
    expect(tracer.last(2)).toEqual([
      { index: 4, name: "mm:fault", task: 9, a: 4, b: 40, c: -4 },
      { index: 5, name: "hmm:retry", task: 9, a: 5, b: 50, c: -5 },
    ]);
    expect(tracer.last(100).map(({ index }) => index)).toEqual([2, 3, 4, 5]);
    expect([tracer.count("mm:fault"), tracer.count("mm:cow")]).toEqual([3, 0]);
  });

  it("has one name for each event", () => {
    expect(new Set(EVENTS.map(({ name }) => name)).size).toBe(EVENTS.length);
    expect(EVENTS[eventId("mm:cow")]!.name).toBe("mm:cow");
  });

  it("refuses a ring whose size is not a power of two", () => {
    expect(() => new Tracer({ events: 12 })).toThrow(/power of two/);
  });
});
