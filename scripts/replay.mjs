/**
 * Runs one random program again, by the line that a failing test prints:
 *
 *   npm run replay -- NAME SEED       a program of test/replay/programs.json
 *   npm run replay -- stress SEED     four workers and a device; the threads' order is not the seed's
 *   npm run replay -- engine/SCENARIO SCHEDULE    a schedule of `onespace explore --engine`
 *   npm run replay                    the names
 *
 * The status is that of what ran.
 */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const programs = JSON.parse(readFileSync(join(root, "test/replay/programs.json"), "utf8"));
const VITEST = join(root, "node_modules/vitest/vitest.mjs");
const [name, seed] = process.argv.slice(2);

/** What is run for `name`: words for node. */
function commandOf(name) {
  const exactly = (text) => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
  if (name === "stress") return ["scripts/stress.mjs", "--seed", seed];
  if (name.startsWith("engine/")) {
    const words = ["--scenario", name.slice("engine/".length), "--replay", seed];
    return ["dist/cli/main.js", "explore", "--engine", ...words];
  }
  // For the test of this registry: all of them, in one run.
  const chosen = name === "every" ? Object.values(programs) : [programs[name]];
  const tests = chosen.map(({ test }) => exactly(test)).join("|");
  return [VITEST, "run", ...new Set(chosen.map(({ file }) => file)), "-t", tests];
}

const names = [...Object.keys(programs), "stress", "engine/SCENARIO"];
const isKnown = name === "every" || name?.startsWith("engine/") || names.includes(name);
if (!isKnown || seed === undefined) {
  console.error(`npm run replay -- NAME SEED, where NAME is one of\n  ${names.join("\n  ")}`);
  process.exit(2);
}
// A report belongs to the run that asked for it, which may be the one that runs this.
const { ONESPACE_TEST_REPORT: _, ...rest } = process.env;
const env = { ...rest, ONESPACE_REPLAY: `${name} ${seed}` };
const run = spawnSync(process.execPath, commandOf(name), { cwd: root, env, stdio: "inherit" });
process.exit(run.status ?? 1);
