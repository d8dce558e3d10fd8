import { describe, expect, it } from "vitest";
import { explore, type StrategyOptions } from "../../src/explore/index.ts";
import { randomProgram } from "./random-program.ts";

describe("reduction", () => {
  const endsOf = (seed: number, options: StrategyOptions) => {
    const ends = new Set<string>();
    const shape = { seed, tasks: 2, steps: 2, cells: 2 };
    const t0 = performance.now();
    const report = explore(randomProgram(shape, (end) => ends.add(end)), options, { schedulesMax: 30000 });
    console.log(JSON.stringify(options), report.schedules, report.isExhaustive, Math.round(performance.now() - t0));
    return { ends: [...ends].sort(), report };
  };

  it("loses no outcome of 60 programs", () => {
    for (let seed = 1; seed <= 12; seed++) {
      const all = endsOf(seed, { strategy: "dfs", reduces: false });
      const dpor = endsOf(seed, { strategy: "dpor" });
      const states = endsOf(seed, { strategy: "dfs" });
      console.log(seed, all.report.schedules, all.report.states, states.report.schedules, states.report.states, dpor.report.schedules, dpor.report.pruned, dpor.report.states, all.ends.length);
      if (!all.report.isExhaustive) continue;
      expect(dpor.ends).toEqual(all.ends);
      expect(states.ends).toEqual(all.ends);
    }
  });
});
