/**
 * Does the explorer find what it should? Each mutant of `mutant-list.mjs` is a copy of the built
 * engine with one mistake in it; `onespace explore --engine` must fail on every one of them, the
 * schedule that it prints must fail again in the same way, and must not fail without the mistake.
 *
 *   npm run mutants                    all of them
 *   npm run mutants -- --only NAME     only this one (may be given more than once)
 *   npm run mutants -- --list          name them, having checked that all still apply
 *
 * The last line is {"mutants":N,"found":N,"seconds":N}; status 1 unless all are found, 2 when the
 * list does not fit the sources or `dist` is not built from them.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import ts from "typescript";
import { MUTANTS } from "./mutant-list.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
/** A mutant that is not found within it is missed. */
const LIMIT_MS = 60_000;
/** What the explorer says of a schedule that another version of the engine cannot follow. */
const DOES_NOT_FIT = /it belongs to another scenario or version/;

const seconds = (begin) => Math.round((performance.now() - begin) / 100) / 10;

/** The list or the build is not what it should be: nothing can be said about the explorer. */
class Unusable extends Error {}

function fail(message) {
  throw new Unusable(message);
}

/** The mutants that the command line asks for. */
function choose() {
  const options = { only: { type: "string", multiple: true }, list: { type: "boolean" } };
  const { values } = parseArgs({ options });
  const { only } = values;
  const unknown = only?.find((name) => MUTANTS.every((mutant) => mutant.name !== name));
  if (unknown !== undefined) fail(`no mutant is called ${unknown}`);
  const chosen = MUTANTS.filter(({ name }) => only === undefined || only.includes(name));
  return { chosen, isList: values.list === true };
}

/** The source of a mutant's file before and after. */
function mutate({ name, file, find, replace }) {
  const before = readFileSync(join(root, file), "utf8");
  const at = before.indexOf(find);
  if (at < 0) fail(`${name}: ${file} no longer contains what is to be replaced:\n${find}`);
  if (before.indexOf(find, at + 1) >= 0) fail(`${name}: ${file} contains this twice:\n${find}`);
  if (find === replace) fail(`${name}: changes nothing`);
  return { before, after: before.slice(0, at) + replace + before.slice(at + find.length) };
}

/** As the build compiles. */
function compilerOptions() {
  const { config, error } = ts.readConfigFile(join(root, "tsconfig.build.json"), ts.sys.readFile);
  if (error !== undefined) fail(ts.flattenDiagnosticMessageText(error.messageText, "\n"));
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, root);
  // A single file has no package.json beside it that says so.
  const { ESNext: module } = ts.ModuleKind;
  return { ...options, module, moduleResolution: ts.ModuleResolutionKind.Bundler };
}

function transpile(file, source, options) {
  const out = ts.transpileModule(source, {
    fileName: join(root, file),
    compilerOptions: options,
    reportDiagnostics: true,
  });
  const [first] = out.diagnostics ?? [];
  if (first !== undefined) {
    fail(`${file}: ${ts.flattenDiagnosticMessageText(first.messageText, "\n")}`);
  }
  return out.outputText;
}

/** Runs the command line of the copy in `folder`; gives its status and its last line's object. */
function onespace(folder, words) {
  const args = [join(folder, "cli", "main.js"), ...words, "--json"];
  const run = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: "utf8",
    timeout: LIMIT_MS,
    killSignal: "SIGKILL",
  });
  const isLate = run.error?.code === "ETIMEDOUT";
  const last = run.stdout.trimEnd().split("\n").at(-1);
  const answer = !isLate && last.startsWith("{") ? JSON.parse(last) : undefined;
  return { status: run.status, isLate, answer, stderr: run.stderr };
}

function exploreIn(folder) {
  const run = onespace(folder, ["explore", "--engine"]);
  if (run.isLate) return { why: `nothing failed within ${LIMIT_MS / 1000} s` };
  if (run.answer === undefined) return { why: `status ${run.status}: ${run.stderr.trim()}` };
  const found = run.answer.scenarios.find(({ failure }) => failure !== null);
  if (run.status !== 1 || found === undefined) return { why: "every scenario is clean" };
  // A slip of the list, such as a name that the file does not import.
  if (found.failure.kind === "error") return { why: `the code throws: ${found.failure.message}` };
  return { scenario: found.scenario, schedules: run.answer.schedules, ...found.failure };
}

/**
 * Replays the schedule with the mistake and without it: `wrong` says why it does not show this
 * mistake and no other, else `without` says how the engine as it is takes it.
 */
function replayBoth(found, folder, plain) {
  const words = ["explore", "--engine", "--scenario", found.scenario, "--replay", found.shortest];
  const again = onespace(folder, words);
  const isSame = again.answer?.kind === found.kind && again.answer.message === found.message;
  if (again.status !== 1 || !isSame) return { wrong: "its schedule does not fail again like that" };
  const plainly = onespace(plain, words);
  if (plainly.status === 0 && plainly.answer?.kind === null) return { without: "passes" };
  const message = plainly.answer?.message ?? plainly.stderr.trim();
  if (DOES_NOT_FIT.test(message)) return { without: "takes another way" };
  return { wrong: `its schedule fails without it, too: ${message}` };
}

function main() {
  const { chosen, isList } = choose();
  const begin = performance.now();
  const sources = chosen.map(mutate);
  if (isList) {
    for (const { name, file, why } of chosen) console.log(`${name} (${file}): ${why}`);
    console.log(JSON.stringify({ mutants: chosen.length }));
    return;
  }
  const options = compilerOptions();
  mkdirSync(join(root, ".cache", "mutants"), { recursive: true });
  const temporary = mkdtempSync(join(root, ".cache", "mutants", "run-"));
  const [plain, folder] = [join(temporary, "plain"), join(temporary, "mutant")];
  let found = 0;
  try {
    for (const copy of [plain, folder]) cpSync(join(root, "dist"), copy, { recursive: true });
    for (const [i, mutant] of chosen.entries()) {
      if (tryMutant(mutant, sources[i], { plain, folder, options })) found++;
    }
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  console.log(JSON.stringify({ mutants: chosen.length, found, seconds: seconds(begin) }));
  process.exitCode = found === chosen.length ? 0 : 1;
}

/** True when the explorer finds it; prints what it found. */
function tryMutant({ name, file, why }, { before, after }, { plain, folder, options }) {
  const begin = performance.now();
  const path = file.replace(/^src\//, "").replace(/\.ts$/, ".js");
  const built = readFileSync(join(plain, path), "utf8");
  if (transpile(file, before, options) !== built) {
    fail(`${name}: dist/${path} is not what ${file} compiles to: build first`);
  }
  const mutated = transpile(file, after, options);
  if (mutated === built) fail(`${name}: the mistake is not in the compiled code`);
  writeFileSync(join(folder, path), mutated);
  try {
    const result = exploreIn(folder);
    const { wrong, without } =
      result.why === undefined ? replayBoth(result, folder, plain) : { wrong: result.why };
    if (wrong !== undefined) {
      console.log(`MISSED ${name}: ${wrong} (${seconds(begin)} s)\n  ${file}: ${why}`);
      return false;
    }
    const { scenario, kind, message, shortest, shortestSteps, schedules } = result;
    console.log(`found  ${name}: ${scenario}, ${kind}: ${message}`);
    console.log(`  ${shortestSteps} steps: ${shortest} (without the mistake it ${without})`);
    console.log(`  ${schedules} schedules, ${seconds(begin)} s`);
    return true;
  } finally {
    writeFileSync(join(folder, path), built);
  }
}

try {
  main();
} catch (error) {
  if (!(error instanceof Unusable)) throw error;
  process.stderr.write(`mutants: ${error.message}\n`);
  process.exitCode = 2;
}
