/** The command line. Exit codes: 0 ok, 1 failure, 2 usage. */
import { readFileSync } from "node:fs";
import { runCommand, showUsage } from "citty";
import pc from "picocolors";
import { root } from "./index.ts";
import { UsageError } from "./usage.ts";

async function main(): Promise<number> {
  const rawArgs = process.argv.slice(2);
  if (rawArgs.includes("--help") || rawArgs.includes("-h") || rawArgs.length === 0) {
    await showUsage(...(await commandFor(rawArgs)));
    return rawArgs.length === 0 ? 2 : 0;
  }
  if (rawArgs[0] === "--version" || rawArgs[0] === "-v") {
    console.log(versionOfPackage());
    return 0;
  }
  try {
    await runCommand(root, { rawArgs });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    console.error(`${pc.red("onespace:")} ${message}`);
    if (process.env.ONESPACE_DEBUG !== undefined) console.error(error);
    return isUsage(error) ? 2 : 1;
  }
}

/** It lies two folders up, of the sources and of what is built from them. */
function versionOfPackage(): string {
  const text = readFileSync(new URL("../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { readonly version: string }).version;
}

/** The innermost command that the words name, for its help. */
async function commandFor(words: readonly string[]) {
  let command = root;
  let parent: typeof root | undefined;
  for (const word of words) {
    const commands = command.subCommands as Record<string, typeof root> | undefined;
    const next = commands?.[word];
    if (next === undefined) break;
    parent = command;
    command = next;
  }
  return [command, parent] as const;
}

const isUsage = (error: unknown): boolean =>
  error instanceof UsageError || (error instanceof Error && error.name === "CLIError");

// A GPU keeps threads and promises of its own; when the command is done, so is the process.
process.exit(await main());
