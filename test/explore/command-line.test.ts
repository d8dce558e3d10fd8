/** `onespace explore` as people use it, and misuse it. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { explored, writeScenarios } from "./built.ts";

const LOST_UPDATE = `
  const sum = model.cell("sum", 0);
  for (const name of ["a", "b", "c"]) {
    let seen = 0;
    steps(model, name, () => 0, () => { seen = sum.value; }, () => 0, () => { sum.value = seen + 1; });
  }
  model.finally("lost-update", () => (sum.value === 3 ? undefined : "the sum is " + sum.value));`;
const FINE = `
  const sum = model.cell("sum", 0);
  for (const name of ["a", "b"]) steps(model, name, () => { sum.value++; });`;
const CHANCE = `
  const cell = model.cell("c", 0);
  for (let n = Math.floor(Math.random() * 1000); n >= 0; n--) steps(model, "t", () => cell.value);`;
const UNDECLARED = `
  let last = "";
  for (const name of ["a", "b"]) steps(model, name, () => { last = name; });
  model.fingerprint = () => last;`;

let folder = "";
let file = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "onespace-explore-"));
  file = writeScenarios(folder, "some.mjs", {
    "lost update": LOST_UPDATE,
    fine: FINE,
    chance: CHANCE,
    undeclared: UNDECLARED,
  });
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("onespace explore", () => {
  it.concurrent.each([
    { words: [], says: "one of --museum, --engine and a file" },
    { words: ["--engine", "--museum"], says: "one of --museum, --engine and a file" },
    { words: ["--engine", "x.mjs"], says: "one of --museum, --engine and a file" },
    { words: ["a.mjs", "b.mjs"], says: 'unexpected argument "b.mjs"' },
    { words: ["--engine", "--frob"], says: "unknown option --frob" },
    { words: ["--engine", "--strategy", "magic"], says: "--strategy must be dpor, dfs, pct" },
    { words: ["--engine", "--preemptions", "2"], says: "--preemptions goes with --strategy dfs" },
    { words: ["--engine", "--strategy", "dfs", "--preemptions", "x"], says: "--preemptions must" },
    { words: ["--engine", "--strategy", "dfs", "--depth", "3"], says: "--depth goes with" },
    { words: ["--engine", "--strategy", "pct", "--depth", "0"], says: "--depth must be" },
    { words: ["--engine", "--strategy", "pct"], says: "--strategy pct never ends" },
    { words: ["--engine", "--strategy", "random"], says: "--strategy random never ends" },
    { words: ["--engine", "--seed", "-1"], says: "--seed must be an integer in 0..4294967295" },
    {
      words: ["--engine", "--seed", ""],
      says: '--seed must be an integer in 0..4294967295, got ""',
    },
    { words: ["--engine", "--schedules", "0"], says: "--schedules must be an integer in 1.." },
    { words: ["--engine", "--seconds", "1.5"], says: "--seconds must be an integer in 1..86400" },
    { words: ["--engine", "--workers", "0"], says: "--workers must be an integer in 1..256" },
    { words: ["--engine", "--replay", "1"], says: "--replay needs --scenario" },
    {
      words: ["--engine", "--scenario", "evict", "--replay", "1..2"],
      says: "--replay: a schedule is",
    },
    { words: ["--engine", "--list", "--undeclared"], says: "--list, --replay and --undeclared" },
    { words: ["--engine", "--scenario", "nobody"], says: '--scenario: none is called "nobody"' },
    { words: ["--museum", "--scenario", "B-999"], says: '--scenario: none is called "B-999"' },
    {
      words: ["--engine", "--html", "/nonexistent/x.html"],
      says: "--html needs a file in a folder",
    },
  ])("exits with 2 and says what is wrong: $words", async ({ words, says }) => {
    const { status, stdout, stderr } = await explored(...words);
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toContain(says);
  });

  it("exits with 1 for a file that is not there or has no scenario, and names it", async () => {
    const missing = await explored(join(folder, "nothing.mjs"));
    expect(missing.status).toBe(1);
    expect(missing.stderr).toContain("nothing.mjs");
    const empty = await explored(writeScenarios(folder, "empty.mjs", {}));
    expect(empty.status).toBe(1);
    expect(empty.stderr).toContain("empty.mjs exports no scenario");
  });

  it("names the scenarios of a file", async () => {
    const { status, json } = await explored(file, "--list", "--json");
    expect(status).toBe(0);
    const names = ["lost update", "fine", "chance", "undeclared"];
    expect(json).toEqual({ scenarios: names.map((name) => ({ name, about: "made by a test" })) });
  });

  it("exits with 0 for what is fine, and says that it was explored whole", async () => {
    const { status, json } = await explored(file, "--scenario", "fine", "--json");
    expect(status).toBe(0);
    expect(json).toMatchObject({
      failures: 0,
      schedules: 2,
      scenarios: [{ scenario: "fine", schedules: 2, isExhaustive: true, failure: null }],
    });
    const { stdout } = await explored(file, "--scenario", "fine");
    expect(stdout).toMatch(/^whole {2}fine +2 schedules/);
    const part = await explored(file, "--scenario", "fine", "--schedules", "1");
    expect(part.stdout).toMatch(/^part {2}fine +1 schedules/);
  });
});

describe("the example of the document", () => {
  const EXAMPLE = fileURLToPath(
    new URL("../../examples/explore/first-driver.mjs", import.meta.url),
  );

  it("is found wrong and right, by the package's own names", async () => {
    const wrong = await explored(EXAMPLE, "--scenario", "check-before-lock", "--json");
    expect(wrong.status).toBe(1);
    expect(wrong.json).toMatchObject({ scenarios: [{ failure: { kind: "stale-access" } }] });
    const right = await explored(EXAMPLE, "--scenario", "check-under-lock", "--json");
    expect(right).toMatchObject({ status: 0, json: { scenarios: [{ isExhaustive: true }] } });
  });
});

interface Summary {
  readonly failures: number;
  readonly scenarios: readonly {
    readonly failure: {
      readonly kind: string;
      readonly message: string;
      readonly found: string;
      readonly shortest: string;
      readonly foundSteps: number;
      readonly shortestSteps: number;
    } | null;
  }[];
}

describe("a scenario that fails", () => {
  const SCENARIO = ["--scenario", "lost update"];
  const RANDOM = ["--strategy", "random", "--seed", "9", "--schedules", "100"];

  it("fails in the same way in another process, as found and at its shortest", async () => {
    const first = await explored(file, ...SCENARIO, ...RANDOM, "--json");
    expect(first.status).toBe(1);
    const { failure } = (first.json as unknown as Summary).scenarios[0]!;
    expect(failure).toMatchObject({ kind: "lost-update" });
    expect(failure!.shortestSteps).toBeLessThanOrEqual(failure!.foundSteps);
    expect(failure!.shortest.split(".").length).toBeLessThan(failure!.found.split(".").length);
    for (const schedule of [failure!.found, failure!.shortest]) {
      const again = await explored(file, ...SCENARIO, "--replay", schedule, "--json");
      expect(again.status).toBe(1);
      expect(again.json).toMatchObject({ scenario: "lost update", schedule, kind: "lost-update" });
    }
    const fine = await explored(file, ...SCENARIO, "--replay", "1x5.2x5.3x5", "--json");
    expect(fine).toMatchObject({ status: 0, json: { kind: null, message: null } });
  });

  it("prints its story and the command that replays it", async () => {
    const { status, stdout } = await explored(file, ...SCENARIO, ...RANDOM);
    expect(status).toBe(1);
    expect(stdout).toContain("FAILS  lost update");
    expect(stdout).toContain("lost-update: the sum is");
    const [, path, schedule] = /replay: onespace explore (\S+) .* --replay (\S+)$/m.exec(stdout)!;
    expect(path).toBe(file);
    const replayed = await explored(path!, ...SCENARIO, "--replay", schedule!);
    expect(replayed.status).toBe(1);
    expect(replayed.stdout).toContain("lost-update: the sum is");
    expect(replayed.stdout).toContain(`schedule ${schedule}`);
  });

  it("writes its story as a page", async () => {
    const html = join(folder, "page.html");
    const { status } = await explored(file, ...SCENARIO, "--html", html);
    expect(status).toBe(1);
    const page = readFileSync(html, "utf8");
    expect(page).toContain("<h2>lost update</h2>");
    expect(page).toContain("a write is gone");
  });

  it("refuses a schedule that is not its own", async () => {
    const { status, stderr } = await explored(file, ...SCENARIO, "--replay", "1x2.9");
    expect(status).toBe(1);
    expect(stderr).toContain("step 3 of the schedule is task 9, which cannot run then");
  });
});

describe("a scenario that breaks the rules of scenarios", () => {
  it("is refused with --twice when it uses chance", async () => {
    const { status, stderr } = await explored(file, "--scenario", "chance", "--twice");
    expect(status).toBe(1);
    expect(stderr).toContain('scenario "chance" differs from itself');
  });

  it("is found with --undeclared when tasks share what they do not declare", async () => {
    const done = await explored(file, "--undeclared", "--scenario", "undeclared", "--json");
    expect(done).toMatchObject({ status: 1, json: { undeclared: ["undeclared"] } });
    const { stdout } = await explored(file, "--undeclared", "--scenario", "undeclared");
    expect(stdout).toMatch(/undeclared: steps \d+ and \d+ share something/);
    const clean = await explored(file, "--undeclared", "--scenario", "fine", "--json");
    expect(clean).toMatchObject({ status: 0, json: { undeclared: [] } });
  });
});
