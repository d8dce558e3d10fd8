import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { replayTrace } from "../../src/conformance/replay.ts";
import { listTraces, readTrace, type Trace } from "../../src/conformance/trace-file.ts";

const FOLDER = fileURLToPath(new URL("./traces/", import.meta.url));

/** What each family adds, and how many operations were recorded of it. */
const FAMILIES = [
  ["A", "one process, anonymous memory, two devices", 18_498],
  ["B", "shared memory, files, madvise, mremap", 19_060],
  ["C", "migration to two devices and back", 18_527],
  ["D", "fork and exit", 19_271],
  ["E", "exclusive access", 18_389],
  ["F", "huge pages", 18_826],
] as const;

/** Traces of each family that are replayed from source; the built command replays all. */
const SAMPLE = 12;

const tracesOf = (family: string): Trace[] =>
  listTraces(FOLDER)
    .filter((path) => basename(path).startsWith(`${family}-`))
    .map(readTrace);

const OPERATIONS = FAMILIES.reduce((sum, [, , ops]) => sum + ops, 0);

describe("onespace conformance", () => {
  // The command itself, as it was built: three times faster than the same code under the test
  // runner, which wraps every import.
  it("answers every recorded operation as Linux did, and adds up after each", async () => {
    const main = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
    const command = [main, "conformance", "--traces", FOLDER, "--json"];
    const { stdout } = await promisify(execFile)(process.execPath, command);
    const report = JSON.parse(stdout.trim().split("\n").at(-1)!);
    expect(report.firstMismatches).toEqual([]);
    expect(report).toMatchObject({ traces: 510, ops: OPERATIONS, matched: OPERATIONS });
  }, 1_200_000);
});

describe.each(FAMILIES)("family %s: %s", (family) => {
  it("is matched by this source, too", () => {
    const results = tracesOf(family).slice(0, SAMPLE).map(replayTrace);
    expect(results.length).toBe(SAMPLE);
    expect(results.flatMap((result) => result.mismatches)).toEqual([]);
  }, 120_000);
});

describe("a replay", () => {
  it("notices an answer that differs", () => {
    const trace = tracesOf("A")[0]!;
    const ops = trace.ops.map((op, index) => (index === 3 ? { ...op, res: { r: "EIO" } } : op));
    const result = replayTrace({ ...trace, ops });
    expect(result.mismatches.map((each) => each.line)).toEqual([ops[3]!.line]);
  });
});

describe("trace files", () => {
  it("are refused with file and line when they are not traces", () => {
    const folder = mkdtempSync(join(tmpdir(), "onespace-trace-"));
    try {
      const path = join(folder, "bad.jsonl");
      writeFileSync(path, '{"family":"A"}\n{"op":"load"}\n');
      expect(() => readTrace(path)).toThrow('bad.jsonl:2: an operation needs "op" and "args"');
      writeFileSync(path, "nonsense\n");
      expect(() => readTrace(path)).toThrow("bad.jsonl:1: not JSON");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
