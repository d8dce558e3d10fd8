import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { replayTrace } from "../../src/cli/conformance/replay.ts";
import { listTraces, readTrace, type Trace } from "../../src/cli/conformance/trace-file.ts";

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

const tracesOf = (family: string): Trace[] =>
  listTraces(FOLDER)
    .filter((path) => basename(path).startsWith(`${family}-`))
    .map(readTrace);

describe.each(FAMILIES)("family %s: %s", (family, _adds, ops) => {
  it("answers every operation as Linux did, and adds up after each", () => {
    const traces = tracesOf(family);
    const results = traces.map(replayTrace);
    expect(results.flatMap((result) => result.mismatches)).toEqual([]);
    expect(traces.length).toBe(85);
    expect(results.reduce((sum, result) => sum + result.matched, 0)).toBe(ops);
  }, 600_000);
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
