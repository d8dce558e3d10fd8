/** The list of mistakes that the explorer must find does not rot; two of them are tried. */
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";

function mutants(...words: readonly string[]) {
  const args = ["scripts/mutants.mjs", ...words];
  const run = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 110_000 });
  if (run.error !== undefined) throw run.error;
  const lines = run.stdout.trim().split("\n");
  return { ...run, lines, last: JSON.parse(lines.at(-1) || "null") as unknown };
}

describe("the mutants of the engine", () => {
  it("apply to the sources as they are, each with a reason", () => {
    const { status, stderr, lines, last } = mutants("--list");
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(last).toEqual({ mutants: lines.length - 1 });
    expect(lines.length).toBeGreaterThan(10);
    for (const line of lines.slice(0, -1))
      expect(line).toMatch(/^[a-z-]+ \(src\/\S+\.ts\): .{20,}/);
  });

  it("are found by the explorer, and their schedules fail again", () => {
    const { stdout, stderr, status, lines, last } = mutants(
      ...["--only", "copies-before-dropping"],
      ...["--only", "copy-tells-late"],
    );
    expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: "" });
    expect(lines[0]).toMatch(/^found {2}copies-before-dropping: own-write, stale-access: /);
    expect(lines[3]).toMatch(/^found {2}copy-tells-late: fault-munmap, assertion: /);
    expect(last).toMatchObject({ mutants: 2, found: 2 });
  });

  it("are refused when they are not known", () => {
    const { status, stderr } = mutants("--only", "nobody");
    expect(status).toBe(2);
    expect(stderr).toMatch(/no mutant is called nobody/);
  });
});
