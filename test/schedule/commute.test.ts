import { describe, expect, it } from "vitest";
import { findUndeclared } from "../../src/explore/index.ts";
import { RACES } from "../../src/races/index.ts";

const SCHEDULES = Number(process.env.COMMUTE_SCHEDULES ?? 12);

describe("steps of the engine that declare nothing in common", () => {
  it.each(RACES.map((scenario) => [scenario.name, scenario] as const))(
    "may trade places: %s",
    (_name, scenario) => {
      const report = findUndeclared(scenario, { seed: 1, schedules: SCHEDULES });
      expect(report.found).toBeUndefined();
      expect(report.pairs).toBeGreaterThan(SCHEDULES / 2);
    },
  );
});
