import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../test/replay/replay.ts";
import { formatSchedule, parseSchedule, ScheduleError, segmentsOf, stepsOf } from "./schedule.ts";

const schedules = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 999_999 }), fc.integer({ min: 1, max: 30 })))
  .map((runs) => runs.flatMap(([task, steps]) => new Array<number>(steps).fill(task)));

describe("a schedule as text", () => {
  it("is runs of steps with dots between", () => {
    expect(formatSchedule([1, 1, 1, 2, 1])).toBe("1x3.2.1");
    expect(parseSchedule("1x3.2.1")).toEqual([1, 1, 1, 2, 1]);
    expect(formatSchedule([])).toBe("-");
    expect(parseSchedule("-")).toEqual([]);
  });

  it("comes back as it was", () => {
    fc.assert(
      fc.property(schedules, (schedule) => {
        expect(parseSchedule(formatSchedule(schedule))).toEqual(schedule);
        expect(stepsOf(segmentsOf(schedule))).toEqual(schedule);
      }),
      replayable("schedule-text"),
    );
  });

  it("has one shortest form, whatever was written", () => {
    expect(formatSchedule(parseSchedule("1.1x2.2x1"))).toBe("1x3.2");
  });

  it.each(["", ".", "1.", ".1", "1..2", "0", "0x3", "1x0", "x2", "1x", "a", "1x-2", "1 2", "1,2"])(
    "is refused when it says nothing: %j",
    (text) => {
      expect(() => parseSchedule(text)).toThrow(ScheduleError);
      expect(() => parseSchedule(text)).toThrow("a schedule is words like 3 or 3x12 with dots");
    },
  );

  it("names the word that it does not understand", () => {
    expect(() => parseSchedule("1x3.2y.1")).toThrow('got "2y" in "1x3.2y.1"');
  });

  it("is refused when nobody could run it", () => {
    for (const text of ["1x9999999", "1x1000000.1", "1234567", "1x600000.2x600000"]) {
      expect(() => parseSchedule(text), text).toThrow(ScheduleError);
    }
    expect(parseSchedule("1x1000000").length).toBe(1_000_000);
  });

  it("never throws anything but a ScheduleError", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."0123x.-") }), (text) => {
        let schedule: number[];
        try {
          schedule = parseSchedule(text);
        } catch (error) {
          return error instanceof ScheduleError;
        }
        return schedule.every((task) => task > 0);
      }),
      replayable("schedule-words", { numRuns: 500 }),
    );
  });
});
