/** `npm run stress`, short: four workers and the device, nothing lost, nothing stale. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { whyNotHost } from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";

const STRESS = fileURLToPath(new URL("../../scripts/stress.mjs", import.meta.url));

it.for([
  { title: "data that fits on the device", words: ["--memory", "2", "--device", "4"] },
  { title: "four times as much", words: ["--memory", "16", "--device", "4"] },
])("loses no update and reads nothing stale: $title", async ({ words }, context) => {
  const reason = whyNotHost()?.reason ?? (await whyNoDevice());
  if (reason !== undefined) return context.skip(reason);
  const args = [STRESS, "--seconds", "6", ...words];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 90_000 });
  const report = JSON.parse(stdout.trimEnd().split("\n").at(-1)!);
  expect(report.failures).toEqual([]);
  expect(report.workers).toBe(4);
  for (const count of [report.writes, report.reads, report.launches, report.mebibytesHome]) {
    expect(count).toBeGreaterThan(0);
  }
});
