/**
 * The house style, checked on every file. The limits are guidance with a ratchet: what is over
 * one needs a line and a reason in `exceptions.json`, and that list may only shrink.
 */
import { describe, expect, it } from "vitest";
import { type Exception, judge } from "./ratchet.ts";
import * as syntax from "./syntax-checks.ts";
import * as text from "./text-checks.ts";
import { listFiles, readSources, readText, type SourceFile } from "./tree.ts";

const SOURCE_CHECKS: readonly ((file: SourceFile) => text.Finding[])[] = [
  text.checkLineLength,
  text.checkFileLength,
  text.checkFileComment,
  text.checkDoorLength,
  text.checkUnfinished,
  text.checkCompilerOff,
  syntax.checkFunctionLength,
  syntax.checkParameters,
  syntax.checkEnum,
  syntax.checkAny,
  syntax.checkCoreIsPlain,
];

describe("the house", () => {
  it("keeps its style, except where exceptions.json says why", () => {
    const sources = readSources();
    expect(sources.length).toBeGreaterThan(0);
    const paths = listFiles("src");
    const findings = [
      ...sources.flatMap((file) => SOURCE_CHECKS.flatMap((check) => check(file))),
      ...text.checkNames(paths),
      ...text.checkFolders(paths),
    ];
    const exceptions: Exception[] = JSON.parse(readText("test/style/exceptions.json") ?? "");
    expect(judge(findings, exceptions)).toEqual([]);
  });

  it("names no file or folder that is not there", () => {
    const paths = listFiles("");
    // The checks' own tests name files that nobody has.
    const files = paths.filter(
      (path) => /[.](ts|mjs|cjs|md)$/.test(path) && !path.startsWith("test/style/"),
    );
    const texts = files.map((path) => ({ path, text: readText(path) ?? "" }));
    expect(texts.flatMap((file) => text.checkPaths(file, paths))).toEqual([]);
  });

  it("says nothing about the place where it was built", () => {
    const files = listFiles("").map((path) => ({ path, text: readText(path) ?? "" }));
    expect(files.flatMap(text.checkPrivateWords)).toEqual([]);
  });
});
