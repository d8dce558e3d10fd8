/** What the words of the command line ask for; what makes no sense is refused before anything runs. */
import { parseArgs } from "node:util";
import { BENCHES } from "./benches.ts";

export interface Wanted {
  readonly names: readonly string[];
  readonly json: boolean;
  readonly readme: boolean;
}

const KNOWN = Object.keys(BENCHES);

export const HELP = `npm run bench: ratios of ours to a hand-written peer, taken side by side in one
run, medians of several rounds, each with its goal; each bench in a process of its own.

  npm run bench -- NAME…      only those
  npm run bench -- --json     a row is a line of JSON; what else is said goes to stderr
  npm run bench -- --readme   writes README's table; with names, only their rows of it
  npm run bench -- --help     this

${Object.entries(BENCHES)
  .map(([name, { about }]) => `  ${name.padEnd(16)} ${about}`)
  .join("\n")}`;

const OPTIONS = {
  json: { type: "boolean", default: false },
  readme: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const;

/** What is wanted, "help", or what is wrong with the words. */
export function wantedOf(args: readonly string[]): Wanted | "help" | { readonly wrong: string } {
  const { values, positionals, tokens } = parseArgs({
    args: [...args],
    allowPositionals: true,
    strict: false,
    tokens: true,
    options: OPTIONS,
  });
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    if (!(token.name in OPTIONS)) {
      const known = Object.keys(OPTIONS).map((name) => `--${name}`);
      return { wrong: `unknown option ${token.rawName} (known: ${known.join(", ")})` };
    }
    if (token.value !== undefined) return { wrong: `${token.rawName} takes no value` };
  }
  if (values.help === true) return "help";
  const unknown = positionals.filter((name) => !KNOWN.includes(name));
  if (unknown.length > 0) {
    return { wrong: `unknown bench ${unknown.join(", ")} (known: ${KNOWN.join(", ")})` };
  }
  const readme = values.readme === true;
  if (readme && values.json === true) return { wrong: "--readme and --json exclude each other" };
  const names = positionals.length > 0 ? [...new Set(positionals)] : KNOWN;
  return { names, json: values.json === true, readme };
}
