/**
 * Builds `dist`: compiles `src`, removes what no source makes any more, and makes the command
 * executable. `prepare` runs it, so that an install leaves a working `onespace`.
 * It never empties `dist` first: a program that runs from there keeps its files.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, readdirSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const EMITTED = "TSFILE: ";
const root = fileURLToPath(new URL("..", import.meta.url));
const dist = join(root, "dist");

/** The compiler, or undefined in an install without the development dependencies. */
function findCompiler() {
  try {
    return createRequire(import.meta.url).resolve("typescript/lib/tsc.js");
  } catch {
    return undefined;
  }
}

/** Runs the compiler and answers the files that it wrote; ends this process if it found errors. */
function compile(compiler) {
  const args = [compiler, "-p", join(root, "tsconfig.build.json"), "--listEmittedFiles"];
  const run = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" });
  const lines = `${run.stdout}${run.stderr}`.split(/\r?\n/);
  const errors = lines.filter((line) => line !== "" && !line.startsWith(EMITTED));
  if (run.status !== 0) {
    process.stderr.write(`${errors.join("\n")}\nonespace: the build failed\n`);
    process.exit(1);
  }
  const emitted = lines.filter((line) => line.startsWith(EMITTED));
  return new Set(emitted.map((line) => resolve(root, line.slice(EMITTED.length))));
}

function removeStale(emitted) {
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !emitted.has(path)) rmSync(path);
  }
}

const compiler = findCompiler();
if (compiler === undefined) {
  const state = existsSync(dist) ? "keeping the dist that is here" : "dist is not built";
  process.stderr.write(
    `onespace: no typescript here (development dependencies left out): ${state}\n`,
  );
} else {
  removeStale(compile(compiler));
  const command = join(dist, "cli", "main.js");
  if (existsSync(command)) chmodSync(command, 0o755);
}
