/** What fails says how to see it again, and that is what one then sees. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterEach, describe, expect, it, vi } from "vitest";
import { whyNotHost } from "../../src/cpu/index.ts";
import { listFiles, readText } from "../style/tree.ts";
import { EVERY, eachSeed, PROGRAMS, replayable } from "./replay.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const SCRIPT = "scripts/replay.mjs";

afterEach(() => vi.unstubAllEnvs());

/** Runs `act`, which must throw; the words after `npm run replay --` in what it says. */
function lineOf(act: () => unknown): string[] {
  try {
    act();
  } catch (error) {
    return /npm run replay -- (\S+) (\S+)$/.exec((error as Error).message)?.slice(1) ?? [];
  }
  return [];
}

describe("a program of a seed", () => {
  const runs = (seeds: number[], wrong: number) => () =>
    eachSeed("schedule", 10, (seed) => {
      seeds.push(seed);
      if (seed === wrong) throw new Error("planted");
    });

  it("says its seed when it fails, why, and how to see it again", () => {
    const seeds: number[] = [];
    expect(runs(seeds, 3)).toThrow("seed 3: planted");
    expect(seeds).toEqual([1, 2, 3]);
    expect(lineOf(runs([], 3))).toEqual(["schedule", "3"]);
  });

  it("runs all seeds when nobody asks, and then says so", () => {
    const seeds: number[] = [];
    expect(runs(seeds, 11)()).toBe(true);
    expect(seeds.length).toBe(10);
  });

  it("runs only the seed that is asked for, and not when another program is meant", () => {
    vi.stubEnv("ONESPACE_REPLAY", "schedule 700");
    const seeds: number[] = [];
    expect(lineOf(runs(seeds, 700))).toEqual(["schedule", "700"]);
    expect(seeds).toEqual([700]);
    vi.stubEnv("ONESPACE_REPLAY", "heap 700");
    expect(runs(seeds, 0)()).toBe(true);
  });

  it("needs a name that the list has", () => {
    expect(() => eachSeed("no such", 1, () => {})).toThrow("programs.json has no no such");
  });
});

describe("a property", () => {
  const check = (seen: number[]) => () =>
    fc.assert(
      fc.property(fc.nat(100_000), (value) => {
        seen.push(value);
        if (value > 1000) throw new Error("planted");
      }),
      replayable("heap", { numRuns: 200 }),
    );

  it("says how to see what failed, made smaller; that is then the first to run", () => {
    expect(check([])).toThrow("planted");
    const line = lineOf(check([]));
    expect(line).toEqual(["heap", expect.stringMatching(/^-?\d+\/[\d:]+$/)]);
    vi.stubEnv("ONESPACE_REPLAY", line.join(" "));
    const seen: number[] = [];
    expect(check(seen)).toThrow("planted");
    // The smallest that fails.
    expect(seen).toEqual([1001]);
    expect(lineOf(check([]))).toEqual(line);
  });

  it("is silent while all is well, also when it waits", async () => {
    const run = (act: (value: number) => void) =>
      fc.assert(
        fc.asyncProperty(fc.nat(), async (value) => act(value)),
        replayable("heap"),
      );
    await expect(run(() => {})).resolves.toBeUndefined();
    await expect(run((value) => expect(value).toBe(-1))).rejects.toThrow(
      /npm run replay -- heap -?\d+\/0/,
    );
  });
});

describe("npm run replay", () => {
  const replay = (...words: string[]) =>
    spawnSync(process.execPath, [SCRIPT, ...words], {
      cwd: ROOT,
      encoding: "utf8",
      env: { ...process.env, FUZZ_PROGRAMS: "20" },
    });

  it("runs every program of the list by its name", { timeout: 600_000 }, () => {
    const { stdout, stderr, status } = replay(EVERY, "3");
    expect([stdout + stderr, status]).toEqual([expect.any(String), 0]);
    const missing = Object.keys(PROGRAMS).filter(
      (name) => !stdout.includes(`replaying ${name} with 3\n`),
    );
    expect(missing).toEqual(whyNotHost() === undefined ? [] : ["host-cpu"]);
  });

  it("has every program that is random in its list", () => {
    for (const [name, { file, test }] of Object.entries(PROGRAMS)) {
      const text = readFileSync(`${ROOT}/${file}`, "utf8");
      expect([name, text.includes(`"${name}"`), text.includes(test)]).toEqual([name, true, true]);
    }
    const isTest = (path: string): boolean => /^(src|test|examples)\/.*[.]test[.]ts$/.test(path);
    for (const path of listFiles("").filter(isTest)) {
      const text = readText(path) ?? "";
      const properties = [...text.matchAll(/\bfc\.(assert|check)\(/g)].length;
      const named = [...text.matchAll(/\breplayable(<.*?>)?\("/g)].length;
      expect([path, named]).toEqual([path, properties]);
    }
  });

  it("tells the names to who asks for another", () => {
    const { stderr, status } = replay("no-such", "1");
    expect([status, stderr]).toEqual([2, expect.stringContaining("\n  schedule\n")]);
    expect(replay("heap").status).toBe(2);
  });
});
