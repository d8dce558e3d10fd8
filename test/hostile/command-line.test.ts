import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { whyNotHost } from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";

const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));
const TRACES = fileURLToPath(new URL("../conformance/traces", import.meta.url));

/** What a machine takes here by itself. */
const backend = whyNotHost() === undefined ? "host" : "scoped";

function onespace(...words: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...words], {
    encoding: "utf8",
  });
  return { status, stdout, stderr, last: stdout.trimEnd().split("\n").at(-1) ?? "" };
}

describe("the command line", () => {
  it("explains itself", () => {
    expect(onespace("--help")).toMatchObject({ status: 0 });
    expect(onespace("--help").stdout).toContain("conformance");
    expect(onespace("demo", "dragon", "--help").stdout).toContain("--size");
  });

  it("says its version", () => {
    const file = fileURLToPath(new URL("../../package.json", import.meta.url));
    const { version } = JSON.parse(readFileSync(file, "utf8"));
    for (const word of ["--version", "-v"]) {
      expect(onespace(word)).toMatchObject({ status: 0, stdout: `${version}\n` });
    }
  });

  it("exits with 2 for words that it does not know, and names them", () => {
    const unknown = onespace("doctor", "--jsno");
    expect(unknown).toMatchObject({ status: 2 });
    expect(unknown.stderr).toContain("unknown option --jsno");
    expect(onespace("demo", "dragon", "--size", "3").stderr).toContain("--size must be an integer");
    expect(onespace("demo", "dragon", "--device", "toaster").status).toBe(2);
    expect(onespace("frobnicate").status).toBe(2);
    expect(onespace("conformance").status).toBe(2);
  });

  it("exits with 1 when there is nothing to replay, and names the folder", () => {
    const missing = onespace("conformance", "--traces", "/nonexistent");
    expect(missing).toMatchObject({ status: 1 });
    expect(missing.stderr).toContain("no such folder: /nonexistent");
    const none = onespace("conformance", "--traces", TRACES, "--family", "Z");
    expect(none).toMatchObject({ status: 1 });
  });

  it("conformance --json prints the sums last and exits with 0 when all match", () => {
    const done = onespace("conformance", "--traces", TRACES, "--family", "A", "--json");
    const expected = { traces: 85, ops: 18_498, matched: 18_498, firstMismatches: [] };
    expect(JSON.parse(done.last)).toEqual(expected);
    expect(done.status).toBe(0);
  });

  it("doctor --json says what will be used", () => {
    const report = JSON.parse(onespace("doctor", "--json").last);
    expect(report).toMatchObject({ cpu: { backend } });
    expect(report.checks.map((check: { name: string }) => check.name)).toContain("page faults");
  });

  it("demo dragon writes a picture with a lit dragon on it, and a report", async (ctx) => {
    const reason = await whyNoDevice();
    if (reason !== undefined) return ctx.skip(reason);
    const folder = mkdtempSync(join(tmpdir(), "onespace-dragon-"));
    try {
      const out = join(folder, "sub", "dragon.png");
      const done = onespace("demo", "dragon", "--size", "60", "--out", out, "--json");
      expect(done).toMatchObject({ status: 0 });
      const report = JSON.parse(done.last);
      expect(report).toMatchObject({ cpu: backend, triangles: 871_414, width: 60 });
      for (const name of ["faults", "rounds", "bytesToDevice", "bytesHome"]) {
        expect(report[name]).toBeGreaterThan(0);
      }
      expect(report.device).toMatchObject({
        kind: expect.any(String),
        adapter: expect.any(String),
      });
      const { decode } = await import("fast-png");
      const { data, width, channels } = decode(readFileSync(out));
      expect(width).toBe(60);
      // The dragon is green; it covers a good part of the middle.
      let green = 0;
      for (let i = 0; i < data.length; i += channels) {
        if (data[i + 1]! > data[i]! + 25) green++;
      }
      expect(green / (60 * 60)).toBeGreaterThan(0.15);
      expect(green / (60 * 60)).toBeLessThan(0.6);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
