/**
 * Where in the program's files a refused construct is. The stack says who made the kernel; if that
 * file is there and has the function's text in it, the place is exact. After a compiler it may not
 * be: then the place within the function is said, and where the kernel was made.
 */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { type HmmError, hmmError } from "../error.ts";
import type { Refusal } from "./refusal.ts";

interface CallSite {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** The error that the program sees, thrown by `machine.kernel` while its caller is on the stack. */
export function refused(name: string, refusal: Refusal): HmmError {
  const { source, offset } = refusal;
  const site = callSite(new Error("for its stack").stack ?? "");
  const exact = site && placeInFile(site, source.text, offset);
  if (exact !== undefined) {
    const { file, line, column } = exact;
    return saying(name, `${file}:${line}:${column}: ${refusal.message}`);
  }
  const { line, column } = placeIn(source.text, offset);
  const made = site === undefined ? "" : ` of ${shown(site)}`;
  const which = source.name === "main" ? "function" : `function ${source.name}`;
  const where = `line ${line}, column ${column} of its ${which}${made}`;
  return saying(name, `${where}: ${refusal.message}`);
}

const saying = (kernel: string, detail: string): HmmError =>
  hmmError({ code: "EINVAL", call: "kernel", detail, kernel });

const shown = ({ file, line }: CallSite): string => `${nearPath(file)}:${line}`;

/** The first caller that is not in this package's own folder of the machine. */
function callSite(stack: string): CallSite | undefined {
  const own = new URL("..", import.meta.url).href;
  for (const text of stack.split("\n").slice(1)) {
    const match = /(file:\/\/\S+?|\/\S+?|[A-Za-z]:\\\S+?):(\d+):(\d+)\)?$/.exec(text);
    if (match === null) continue;
    const [, given, line, column] = match;
    const file = pathOf(given!);
    const isOwn = file.startsWith(fileURLToPath(own)) && !/[.]test[.]/.test(file);
    if (!isOwn) return { file, line: Number(line), column: Number(column) };
  }
  return undefined;
}

const pathOf = (given: string): string =>
  given.startsWith("file:") ? fileURLToPath(given) : given.replace(/[?].*$/, "");

/** As people write it from where they are. */
function nearPath(file: string): string {
  const near = relative(process.cwd(), file);
  return near.startsWith("..") ? file : near;
}

function placeInFile(site: CallSite, text: string, offset: number): CallSite | undefined {
  let content: string;
  try {
    content = readFileSync(site.file, "utf8");
  } catch {
    return undefined;
  }
  // The same function may be there twice: the one that begins nearest to the call.
  let nearest: number | undefined;
  const distance = (at: number): number => Math.abs(placeIn(content, at).line - site.line);
  for (let at = content.indexOf(text); at >= 0; at = content.indexOf(text, at + 1)) {
    if (nearest === undefined || distance(at) < distance(nearest)) nearest = at;
  }
  if (nearest === undefined) return undefined;
  return { file: nearPath(site.file), ...placeIn(content, nearest + offset) };
}

/** Both from 1. */
function placeIn(text: string, offset: number): { readonly line: number; readonly column: number } {
  const lines = text.slice(0, offset).split(/\r\n|[\n\r\u2028\u2029]/);
  return { line: lines.length, column: lines[lines.length - 1]!.length + 1 };
}
