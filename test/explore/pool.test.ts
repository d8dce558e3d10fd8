/** Worker threads that throw, die, and answer out of order. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { explored, writeScenarios } from "./built.ts";

/** n tasks that write one cell: n! schedules. */
const writers = (n: number): string => `
  const cell = model.cell("c", 0);
  for (let i = 0; i < ${n}; i++) steps(model, "t" + i, () => { cell.value = i; });`;

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "onespace-pool-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("the pool of workers", () => {
  it.each(["1", "4"])("answers in the order of the jobs, with --workers %s", async (workers) => {
    const counts = [6, 1, 5, 2, 4, 3];
    const names = counts.map((n) => `${n} writers`);
    const builds = Object.fromEntries(counts.map((n, i) => [names[i]!, writers(n)]));
    const file = writeScenarios(folder, `order-${workers}.mjs`, builds);
    const { status, json } = await explored(file, "--workers", workers, "--json");
    expect(status).toBe(0);
    const scenarios = json.scenarios as readonly { scenario: string; schedules: number }[];
    expect(scenarios.map(({ scenario }) => scenario)).toEqual(names);
    expect(scenarios.map(({ schedules }) => schedules)).toEqual([720, 1, 120, 2, 24, 6]);
    expect(json.schedules).toBe(720 + 1 + 120 + 2 + 24 + 6);
  });

  it("says which job threw, and why", async () => {
    const file = writeScenarios(folder, "throws.mjs", {
      fine: writers(3),
      thrower: 'throw new Error("no world today");',
    });
    const { status, stderr } = await explored(file);
    expect(status).toBe(1);
    expect(stderr).toContain("thrower: no world today");
  });

  it("says which job's worker died, and how", async () => {
    const file = writeScenarios(folder, "dies.mjs", {
      fine: writers(3),
      dying: "process.exit(7);",
    });
    const { status, stderr } = await explored(file);
    expect(status).toBe(1);
    expect(stderr).toContain("dying: its worker ended with status 7");
  });

  it("ends when one job fails, although another would go on for ever", async () => {
    const file = writeScenarios(folder, "endless.mjs", {
      endless: writers(20),
      failing: 'steps(model, "t", () => model.fail("contract", "as expected"));',
    });
    const { status, json } = await explored(file, "--workers", "2", "--json");
    expect(status).toBe(1);
    expect(json).toMatchObject({ failures: 1, scenarios: [{ scenario: "failing" }] });
  });

  it("keeps to --seconds, and goes on with pct until then", async () => {
    const file = writeScenarios(folder, "small.mjs", { small: writers(2) });
    const begin = performance.now();
    const { status, json } = await explored(file, "--seconds", "5", "--json");
    expect(performance.now() - begin).toBeLessThan(60_000);
    expect(status).toBe(0);
    const scenarios = json.scenarios as readonly { isExhaustive: boolean; chance?: number }[];
    expect(scenarios[0]).toMatchObject({ isExhaustive: true });
    expect(scenarios.length).toBeGreaterThan(1);
    expect(scenarios[1]!.chance).toBeGreaterThan(0);
  });
});
