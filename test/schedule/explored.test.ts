import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import type { StrategyOptions } from "../../src/explore/index.ts";
import { RACES } from "../../src/races/index.ts";

interface Summary {
  readonly failures: number;
  readonly schedules: number;
  readonly scenarios: readonly {
    readonly scenario: string;
    readonly isExhaustive: boolean;
    readonly schedules: number;
    readonly states: number;
  }[];
}

/** The built command: ten times as fast as the sources under the test runner, and all cores. */
function exploreEngine(): { status: number | null; summary: Summary } {
  const args = ["dist/cli/main.js", "explore", "--engine", "--json"];
  const run = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 540_000 });
  if (run.error !== undefined) throw run.error;
  const last = run.stdout.trim().split("\n").at(-1)!;
  return { status: run.status, summary: JSON.parse(last) as Summary };
}

describe("the engine's races", () => {
  it("hold in every schedule within their bounds", () => {
    const { status, summary } = exploreEngine();
    expect(summary.failures).toBe(0);
    expect(summary.scenarios.map(({ scenario }) => scenario).sort()).toEqual(
      RACES.map(({ name }) => name).sort(),
    );
    for (const { scenario, isExhaustive, schedules, states } of summary.scenarios) {
      expect({ scenario, isExhaustive }).toEqual({ scenario, isExhaustive: true });
      // A scenario with one order would prove nothing.
      expect(schedules).toBeGreaterThan(50);
      expect(states).toBeGreaterThan(100);
    }
    expect(status).toBe(0);
  }, 600_000);

  it("are bounded by three preemptions at least", () => {
    const preemptionsOf = (bound: StrategyOptions): number =>
      bound.strategy === "dfs" ? (bound.preemptionsMax ?? Number.POSITIVE_INFINITY) : 0;
    const bounds = RACES.map(({ bound }) => preemptionsOf(bound));
    expect(Math.min(...bounds)).toBeGreaterThanOrEqual(3);
    // Most of them have no bound at all.
    const whole = bounds.filter((bound) => bound === Number.POSITIVE_INFINITY);
    expect(whole.length).toBeGreaterThan(bounds.length / 2);
  });
});
