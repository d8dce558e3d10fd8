/**
 * `npm run bench`: ratios of ours to a hand-written peer, taken side by side in one run, medians
 * of several rounds; each bench in a process of its own.
 *
 *   npm run bench -- NAME…    only those
 *   npm run bench -- --json   a row is a line of JSON; what else is said goes to stderr
 */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BENCHES } from "./benches.ts";
import { lineOf, type Row } from "./ratio.ts";

const { values: flags, positionals: wanted } = parseArgs({
  allowPositionals: true,
  options: { json: { type: "boolean", default: false } },
});
const known = Object.keys(BENCHES);
const unknown = wanted.filter((name) => !known.includes(name));
if (unknown.length > 0) {
  console.error(`unknown bench ${unknown.join(", ")} (known: ${known.join(", ")})`);
  process.exit(2);
}
const say = flags.json ? console.error : console.log;
say(`node ${process.version}, ${process.platform} ${process.arch}`);
for (const name of wanted.length > 0 ? wanted : known) {
  const rows = await runAlone(name);
  if (rows === undefined) {
    console.error(`${name}: FAILED, see above`);
    process.exitCode = 1;
  }
  for (const row of rows ?? []) {
    console.log(flags.json ? JSON.stringify({ bench: name, ...row }) : lineOf(row));
  }
}

/** The rows of a bench, or undefined when it failed. */
function runAlone(name: string): Promise<Row[] | undefined> {
  const program = fileURLToPath(new URL("./alone.js", import.meta.url));
  const stdout = flags.json ? process.stderr : "inherit";
  const child = fork(program, [name], { stdio: ["ignore", stdout, "inherit", "ipc"] });
  let rows: Row[] | undefined;
  child.on("message", (message) => {
    rows = message as Row[];
  });
  return new Promise((resolve) => {
    child.on("close", (status) => resolve(status === 0 ? rows : undefined));
  });
}
