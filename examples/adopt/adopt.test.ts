/** Runs the examples as a reader would, on both CPU backends where there are both. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, it } from "vitest";
import { whyNotHost } from "../../src/cpu/index.ts";
import { whyNoDevice } from "../../test/driver/webgpu-machine.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
  if (!existsSync(`${root}/dist/machine/index.js`)) throw new Error("run npm run build first");
});

function run(example: string, ...args: string[]): string {
  const argv = [`${root}/examples/adopt/${example}`, ...args];
  const { stdout, stderr, status } = spawnSync(process.execPath, argv, {
    encoding: "utf8",
    timeout: 100_000,
  });
  expect([stderr, status]).toEqual(["", 0]);
  return stdout;
}

const cell = (table: string, name: string): string =>
  table
    .split("\n")
    .find((line) => line.startsWith(name))
    ?.slice(name.length)
    .trim() ?? "missing";

it.for(["scoped", "host"])("SQLite's B-tree is read in place: %s", (backend, ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  if (backend === "host" && whyNotHost() !== undefined) return ctx.skip("no page faults here");
  const table = run("sqlite.mjs", "30000", backend);
  expect(cell(table, "CPU backend; device")).toMatch(backend);
  // Every sixteenth row, by its own rule.
  expect(cell(table, "rows of the region; sum, by SQL and by the kernel")).toMatch(/^1875; \d+$/);
  const changed = cell(table, "the same after SQLite's UPDATE");
  expect(changed).toMatch(/^1875; \d+$/);
  expect(changed).not.toBe(cell(table, "rows of the region; sum, by SQL and by the kernel"));
});

it.for(["scoped", "host"])("QuickJS's objects are read in place: %s", (backend, ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  if (backend === "host" && whyNotHost() !== undefined) return ctx.skip("no page faults here");
  const table = run("quickjs.mjs", "60000", backend);
  const found = cell(table, "found; sum of values, by QuickJS and by the kernel");
  const [count, sum] = found.split("; ").map(Number);
  expect(count).toBe(3334);
  // Each value is one more: every query that was found says so.
  const after = cell(table, "the same after QuickJS has changed every value");
  expect(after).toBe(`${count}; ${sum! + count!}`);
  expect(cell(table, "QuickJS's memory, at first and now")).toMatch(/^16777216 -> \d{8,}$/);
});
