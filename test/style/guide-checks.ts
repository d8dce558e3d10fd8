/**
 * What keeps the documents true: what they quote is in the file that they name, their code
 * compiles, and their links lead somewhere. Each check takes the text and returns what it finds.
 *
 * **Conventions of a document.** A comment right before a fence says what the fence is:
 * `<!-- path/of/file.ts -->` a quotation of that file; `<!-- given` lines `-->` code that a
 * `ts` block needs and does not show. Every `ts` block that quotes nothing is compiled.
 */
import { posix } from "node:path";
import ts from "typescript";
import type { Finding } from "./text-checks.ts";
import type { SourceFile } from "./tree.ts";

export interface Block {
  /** What the document calls its language; "" for none. */
  readonly language: string;
  /** Of the opening fence, from 1. */
  readonly line: number;
  readonly lines: readonly string[];
  /** The file that it quotes. */
  readonly quotes: string | undefined;
  /** Code that belongs before it. */
  readonly given: readonly string[];
}

/** The fenced blocks of a document, with what is said right before each. */
export function blocksOf(text: string): Block[] {
  const lines = text.split("\n");
  const blocks: Block[] = [];
  for (let at = 0; at < lines.length; at++) {
    const fence = /^```(\w*)/.exec(lines[at]!);
    if (fence === null) continue;
    const end = lines.indexOf("```", at + 1);
    const stop = end < 0 ? lines.length : end;
    const before = commentBefore(lines, at);
    blocks.push({
      language: fence[1]!,
      line: at + 1,
      lines: lines.slice(at + 1, stop),
      quotes: before.length === 1 ? /^[\w./-]+[.]\w+$/.exec(before[0]!)?.[0] : undefined,
      given: before[0] === "given" ? before.slice(1) : [],
    });
    at = stop;
  }
  return blocks;
}

/** The lines of the comment that ends right before line `at`. */
function commentBefore(lines: readonly string[], at: number): string[] {
  if (at === 0 || !lines[at - 1]!.endsWith("-->")) return [];
  let start = at - 1;
  while (start > 0 && !lines[start]!.startsWith("<!--")) start--;
  const text = lines.slice(start, at).join("\n");
  return text.replace("<!--", "").replace("-->", "").trim().split("\n");
}

/** A quotation is in its file line by line, at whatever depth. */
export function checkQuotes(
  file: SourceFile,
  read: (path: string) => string | undefined,
): Finding[] {
  return blocksOf(file.text).flatMap(({ quotes, line, lines }) => {
    if (quotes === undefined) return [];
    const text = read(quotes);
    if (text !== undefined && contains(text.split("\n"), lines)) return [];
    const detail = `line ${line}: ${text === undefined ? "there is no" : "not in"} ${quotes}`;
    return [{ rule: "quote", subject: file.path, detail }];
  });
}

function contains(lines: readonly string[], quoted: readonly string[]): boolean {
  if (quoted.length === 0) return false;
  return lines.some((line, at) => {
    const depth = line.length - quoted[0]!.length;
    const indent = line.slice(0, depth);
    if (indent.trim() !== "") return false;
    return quoted.every((each, i) => lines[at + i] === (each === "" ? "" : indent + each));
  });
}

/** Code that is not quoted compiles as a module of the project, all blocks in one go. */
export function checkCode(files: readonly SourceFile[], root: string): Finding[] {
  const modules = new Map<string, { file: SourceFile; line: number; text: string }>();
  for (const file of files) {
    for (const { language, quotes, line, given, lines } of blocksOf(file.text)) {
      if (language !== "ts" || quotes !== undefined) continue;
      const text = [...given, ...lines, "export {};"].join("\n");
      const name = `${root}/docs/block-${modules.size}.ts`;
      // Line 1 of the block is the one after its fence.
      modules.set(name, { file, line: line - given.length, text });
    }
  }
  return compile(root, new Map([...modules].map(([name, { text }]) => [name, text]))).map(
    ({ name, line, message }) => {
      const { file, line: first } = modules.get(name)!;
      return { rule: "code", subject: file.path, detail: `line ${first + line}: ${message}` };
    },
  );
}

interface Complaint {
  readonly name: string;
  /** From 1. */
  readonly line: number;
  readonly message: string;
}

/** What the compiler says of `modules`, which exist only here. */
function compile(root: string, modules: ReadonlyMap<string, string>): Complaint[] {
  const options = optionsOf(root);
  const host = ts.createCompilerHost(options);
  const { fileExists, readFile } = host;
  host.fileExists = (name) => modules.has(name) || fileExists(name);
  host.readFile = (name) => modules.get(name) ?? readFile(name);
  host.getCurrentDirectory = () => root;
  const { getSourceFile } = host;
  host.getSourceFile = (name, ...rest) => {
    const text = modules.get(name);
    const format = { languageVersion: ts.ScriptTarget.ES2022, impliedNodeFormat: ESM } as const;
    return text === undefined
      ? getSourceFile(name, ...rest)
      : ts.createSourceFile(name, text, format);
  };
  const program = ts.createProgram([...modules.keys()], options, host);
  return [...modules.keys()].flatMap((name) => {
    const source = program.getSourceFile(name)!;
    return ts.getPreEmitDiagnostics(program, source).map(({ start, messageText }) => ({
      name,
      line: source.getLineAndCharacterOfPosition(start ?? 0).line + 1,
      message: ts.flattenDiagnosticMessageText(messageText, " "),
    }));
  });
}

const ESM = ts.ModuleKind.ESNext;

/** The project's own, but code that is only shown need not be used. */
function optionsOf(root: string): ts.CompilerOptions {
  const { config } = ts.readConfigFile(`${root}/tsconfig.json`, ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root);
  const paths = {
    ...options.paths,
    onespace: ["./src/machine/index.ts"],
    "onespace/engine": ["./src/engine.ts"],
  };
  const shown = {
    noUnusedLocals: false,
    noUnusedParameters: false,
    noUncheckedIndexedAccess: false,
  };
  return { ...options, ...shown, paths };
}

/** A relative link leads to a file or folder, and one into a document to a heading of it. */
export function checkLinks(
  file: SourceFile,
  exists: (path: string) => boolean,
  read: (path: string) => string | undefined,
): Finding[] {
  return proseOf(file.text).flatMap(({ text, line }) =>
    [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target]) => {
      if (target === undefined || /^[a-z]+:/.test(target)) return [];
      const [path, anchor] = target.split("#");
      const to = path ? posix.join(posix.dirname(file.path), path) : file.path;
      const wrong = exists(to) ? missingHeading(to, anchor, read) : `no ${to}`;
      return wrong ? [{ rule: "link", subject: file.path, detail: `line ${line}: ${wrong}` }] : [];
    }),
  );
}

function missingHeading(
  path: string,
  anchor: string | undefined,
  read: (path: string) => string | undefined,
): string | undefined {
  if (!anchor || !path.endsWith(".md")) return undefined;
  const headings = proseOf(read(path) ?? "").filter(({ text }) => /^#+ /.test(text));
  const isThere = headings.some(({ text }) => slugOf(text.replace(/^#+ /, "")) === anchor);
  return isThere ? undefined : `no heading #${anchor} in ${path}`;
}

/** How GitHub makes an anchor of a heading. */
const slugOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\w\- ]/g, "")
    .replaceAll(" ", "-");

/** The lines outside of fences. */
function proseOf(text: string): { readonly text: string; readonly line: number }[] {
  let isCode = false;
  return text.split("\n").flatMap((line, i) => {
    if (line.startsWith("```")) isCode = !isCode;
    return isCode ? [] : [{ text: line, line: i + 1 }];
  });
}
