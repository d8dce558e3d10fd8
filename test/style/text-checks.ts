/**
 * Style checks that need only a file's path or lines. Each takes what it judges and returns what
 * it finds; none reads the disk.
 */
import type { SourceFile } from "./tree.ts";

/** One thing that is wrong. `subject` is what an exception would name. */
export interface Finding {
  readonly rule: string;
  readonly subject: string;
  readonly detail: string;
}

const LINE_COLUMNS_MAX = 100;
const FILE_LINES_MAX = 400;
const FILE_LINES_HARD_MAX = 600;
const DOOR_LINES_MAX = 150;
const FOLDER_FILES_MAX = 20;

const FORBIDDEN_NAME = /^(utils?|common|misc|helpers?|types)$/;
/** Joined from parts, so that this file does not contain what it forbids. */
const UNFINISHED = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME"].join("|")})\\b`);
const COMPILER_OFF = new RegExp(`@ts-${"(ignore|nocheck)"}`);
const PRIVATE_WORDS = ["/wo" + "rk/", "far" + "m-", "../sha" + "red", "verda" + "ccio"];

export function checkLineLength({ path, text }: SourceFile): Finding[] {
  return findLines("line-length", { path, text }, (line) =>
    line.length > LINE_COLUMNS_MAX ? `${line.length} columns` : undefined,
  );
}

/** Over the guidance a file needs an exception with a reason; over the hard limit, a split. */
export function checkFileLength({ path, text }: SourceFile): Finding[] {
  const count = countLines(text);
  if (count > FILE_LINES_HARD_MAX) {
    return [{ rule: "file-too-long", subject: path, detail: `${count} lines: split it` }];
  }
  if (count <= FILE_LINES_MAX) return [];
  return [
    { rule: "file-length", subject: path, detail: `${count} lines, ${FILE_LINES_MAX} asked` },
  ];
}

export function checkFileComment({ path, text }: SourceFile): Finding[] {
  const body = text.startsWith("#!") ? text.slice(text.indexOf("\n") + 1) : text;
  if (/^\/\*\*[\s*]*[^\s*/]/.test(body)) return [];
  return [{ rule: "file-comment", subject: path, detail: "does not begin with a doc comment" }];
}

export function checkDoorLength({ path, text }: SourceFile): Finding[] {
  const count = countLines(text);
  if (!isDoor(path) || count <= DOOR_LINES_MAX) return [];
  return [{ rule: "door-length", subject: path, detail: `${count} lines` }];
}

export function checkUnfinished(file: SourceFile): Finding[] {
  return findLines("unfinished", file, (line) => UNFINISHED.exec(line)?.[0]);
}

export function checkCompilerOff(file: SourceFile): Finding[] {
  return findLines("compiler-off", file, (line) => COMPILER_OFF.exec(line)?.[0]);
}

/** Words of the place where this was written, which mean nothing to a reader elsewhere. */
export function checkPrivateWords(file: SourceFile): Finding[] {
  return findLines("private-word", file, (line) =>
    PRIVATE_WORDS.find((word) => line.toLowerCase().includes(word)),
  );
}

/** `paths` and their folders, as somebody may write them: from the root or from further in. */
const PATH_IN_TEXT = /`((?:[\w.-]+\/)*[\w.-]+[.](?:ts|mjs)|(?:[\w-]+\/)+)`/g;

/** A file or folder that is named in backticks is there, below whatever folder. */
export function checkPaths(file: SourceFile, paths: readonly string[]): Finding[] {
  const isThere = (name: string): boolean =>
    paths.some(
      (path) => `/${path}`.includes(`/${name}`) && (name.endsWith("/") || isEnd(path, name)),
    );
  return findLines("path", file, (line) => {
    const missing = [...line.matchAll(PATH_IN_TEXT)].find(([, name]) => !isThere(name!));
    return missing === undefined ? undefined : `there is no ${missing[1]}`;
  });
}

const isEnd = (path: string, name: string): boolean => `/${path}`.endsWith(`/${name}`);

/** Names that say nothing about what is inside. */
export function checkNames(paths: readonly string[]): Finding[] {
  const findings = new Map<string, Finding>();
  for (const path of paths) {
    const parts = path.split("/");
    for (const [i, part] of parts.entries()) {
      if (!FORBIDDEN_NAME.test(part.split(".")[0] ?? "")) continue;
      const subject = parts.slice(0, i + 1).join("/");
      findings.set(subject, { rule: "empty-name", subject, detail: `"${part}" says nothing` });
    }
  }
  return [...findings.values()];
}

/** Each folder below the first has a door, and no folder is crowded (tests do not count). */
export function checkFolders(paths: readonly string[]): Finding[] {
  const counts = new Map<string, number>();
  const own = paths.filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts"));
  for (const path of own) counts.set(folderOf(path), (counts.get(folderOf(path)) ?? 0) + 1);
  const findings: Finding[] = [];
  for (const [subject, count] of counts) {
    if (subject.includes("/") && !own.includes(`${subject}/index.ts`)) {
      findings.push({ rule: "no-door", subject, detail: "has no index.ts" });
    }
    if (count > FOLDER_FILES_MAX) {
      findings.push({ rule: "folder-size", subject, detail: `${count} files` });
    }
  }
  return findings;
}

function isDoor(path: string): boolean {
  return path.endsWith("/index.ts");
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}

function countLines(text: string): number {
  return text.replace(/\n$/, "").split("\n").length;
}

function findLines(
  rule: string,
  file: SourceFile,
  judge: (line: string) => string | undefined,
): Finding[] {
  return file.text.split("\n").flatMap((line, i) => {
    const detail = judge(line);
    if (detail === undefined) return [];
    return [{ rule, subject: file.path, detail: `line ${i + 1}: ${detail}` }];
  });
}
