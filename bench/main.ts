/** `npm run bench`: `words.ts` has what it understands. Exit codes: 0 ok, 1 failure, 2 usage. */
import { fork } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { openAdapter } from "../src/driver/webgpu/adapter.ts";
import { type Figure, figureOf, lineOf, type Row } from "./ratio.ts";
import { figuresIn, type Run, tableOf, tableWith, withFigures } from "./readme.ts";
import { declarationOf, ROWS } from "./rows.ts";
import { HELP, type Wanted, wantedOf } from "./words.ts";

// Compiled, this file is .cache/bench/bench/main.js.
const README = new URL("../../../README.md", import.meta.url);

async function main(): Promise<number> {
  const wanted = wantedOf(process.argv.slice(2));
  if (wanted === "help") {
    console.log(HELP);
    return 0;
  }
  if ("wrong" in wanted) {
    console.error(`bench: ${wanted.wrong}`);
    return 2;
  }
  return (await runAll(wanted)) ? 0 : 1;
}

/** Whether every bench ran and said what it declares. */
async function runAll({ names, json, readme }: Wanted): Promise<boolean> {
  const say = json ? console.error : console.log;
  say(`node ${process.version}, ${process.platform} ${process.arch}`);
  const all: Figure[] = [];
  let isGood = true;
  for (const name of names) {
    const begin = performance.now();
    const rows = await runAlone(name, json);
    const seconds = ((performance.now() - begin) / 1000).toFixed(0);
    if (rows === undefined) console.error(`${name}: FAILED after ${seconds} s, see above`);
    const figures = rows === undefined ? undefined : figuresOf(name, rows);
    isGood &&= figures !== undefined;
    for (const each of figures ?? []) console.log(json ? JSON.stringify(each) : lineOf(each));
    say(`${name}: ${seconds} s`);
    all.push(...(figures ?? []));
  }
  if (!readme) return isGood;
  const missing = names.flatMap((name) => ROWS[name] ?? []).length - all.length;
  if (!isGood || missing > 0) {
    console.error(`README.md stays as it is: ${missing} rows were not measured`);
    return false;
  }
  const text = readFileSync(README, "utf8");
  const run = await describeRun();
  const isWhole = names.length === Object.keys(ROWS).length;
  const table = isWhole ? tableOf(all, run) : tableWith(figuresIn(text), all, run);
  writeFileSync(README, withFigures(text, table));
  return true;
}

/** What the rows say, and what was wanted of them; undefined if one is not declared. */
function figuresOf(bench: string, rows: readonly Row[]): Figure[] | undefined {
  const figures: Figure[] = [];
  for (const row of rows) {
    const declared = declarationOf(bench, row);
    if (declared === undefined) {
      console.error(`${bench}: not in bench/rows.ts: "${row.name}" against "${row.versus}"`);
      return undefined;
    }
    figures.push(figureOf(bench, declared, row));
  }
  for (const { name, versus } of ROWS[bench] ?? []) {
    const isThere = figures.some((each) => each.name === name && each.versus === versus);
    if (!isThere) console.error(`${bench}: not measured: ${name} against ${versus}`);
  }
  return figures;
}

/** The rows of a bench, or undefined when it failed. */
function runAlone(name: string, json: boolean): Promise<Row[] | undefined> {
  const program = fileURLToPath(new URL("./alone.js", import.meta.url));
  const stdout = json ? process.stderr : "inherit";
  const child = fork(program, [name], { stdio: ["ignore", stdout, "inherit", "ipc"] });
  let rows: Row[] | undefined;
  child.on("message", (message) => {
    rows = message as Row[];
  });
  return new Promise((resolve) => {
    child.on("close", (status) => resolve(status === 0 ? rows : undefined));
  });
}

async function describeRun(): Promise<Run> {
  const { info } = await openAdapter("auto");
  const date = new Date().toLocaleDateString("en-GB", { dateStyle: "long" });
  const device = `${info.adapter} (${info.kind})`;
  return { date, cores: availableParallelism(), node: process.versions.node, device };
}

// A GPU keeps threads and promises of its own; when the command is done, so is the process.
process.exit(await main());
