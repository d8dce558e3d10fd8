/** The same program with page faults and without: it runs, and says on what and why. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { whyNotHost } from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";

const MAIN = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** As on a system for which koffi has no native part. */
const NO_KOFFI = `
  const Module = require("node:module");
  const load = Module._load;
  Module._load = (name, ...rest) => {
    if (name === "koffi") throw new Error("no native part for this system");
    return load(name, ...rest);
  };`;

let folder = "";
let noDevice: string | undefined;
beforeAll(async () => {
  noDevice = await whyNoDevice();
  folder = mkdtempSync(join(tmpdir(), "onespace-fallback-"));
  writeFileSync(join(folder, "no-koffi.cjs"), NO_KOFFI);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function onespace(before: readonly string[], ...words: string[]): Promise<string> {
  const args = [...before, MAIN, ...words, "--json"];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 100_000 });
  return stdout.trimEnd().split("\n").at(-1)!;
}

describe("without page faults", () => {
  const without = () => ["--require", join(folder, "no-koffi.cjs")];

  it("the dragon is the same, and the report says why", async (context) => {
    if (noDevice !== undefined) return context.skip(noDevice);
    const draw = async (name: string, before: readonly string[]) => {
      const out = join(folder, name);
      const report = await onespace(before, "demo", "dragon", "--size", "48", "--out", out);
      return { report: JSON.parse(report), picture: out };
    };
    const portable = await draw("portable.png", without());
    expect(portable.report.cpu).toBe("scoped");
    expect(portable.report.cpuWhy).toMatch(/^access brackets, because .*koffi/);
    const best = await draw("best.png", []);
    expect(best.report.cpu).toBe(whyNotHost() === undefined ? "host" : "scoped");
    expect(readFileSync(best.picture).equals(readFileSync(portable.picture))).toBe(true);
  });

  it("doctor says what would help, and nothing has failed", async () => {
    const report = JSON.parse(await onespace(without(), "doctor"));
    expect(report.cpu.backend).toBe("scoped");
    const check = report.checks.find(({ name }: { name: string }) => name === "page faults");
    expect(check).toMatchObject({ ok: true, found: expect.stringContaining("koffi") });
    expect(check.cure.length).toBeGreaterThan(10);
  });

  it("who insists on page faults is told what to do", async () => {
    const failing = onespace(without(), "demo", "dragon", "--size", "16", "--cpu", "host");
    await expect(failing).rejects.toThrow(/create: no page faults here: .*koffi.*\(EOPNOTSUPP\)/);
  });
});
