/** Every text check sees a planted violation and leaves good text alone. */
import { describe, expect, it } from "vitest";
import * as check from "./text-checks.ts";
import type { SourceFile } from "./tree.ts";

const file = (text: string, path = "src/mm/fault.ts"): SourceFile => ({ path, text });
const lines = (count: number): string => "x\n".repeat(count);
const rules = (findings: check.Finding[]): string[] => findings.map(({ rule }) => rule);

describe("the text checks", () => {
  it("measure lines", () => {
    expect(check.checkLineLength(file(`${"x".repeat(100)}\n`))).toEqual([]);
    const [finding] = check.checkLineLength(file(`short\n${"x".repeat(101)}\n`));
    expect(finding?.detail).toBe("line 2: 101 columns");
  });

  it("measure files: over 400 lines is excusable, over 600 is not", () => {
    expect(check.checkFileLength(file(lines(400)))).toEqual([]);
    expect(rules(check.checkFileLength(file(lines(401))))).toEqual(["file-length"]);
    expect(rules(check.checkFileLength(file(lines(600))))).toEqual(["file-length"]);
    expect(rules(check.checkFileLength(file(lines(601))))).toEqual(["file-too-long"]);
  });

  it("ask for a doc comment with words at the top, after a #! line if there is one", () => {
    expect(check.checkFileComment(file("/** What it holds. */\n"))).toEqual([]);
    expect(check.checkFileComment(file("/**\n * What it holds.\n */\n"))).toEqual([]);
    expect(check.checkFileComment(file("#!/usr/bin/env node\n/** The command. */\n"))).toEqual([]);
    for (const bad of [
      "",
      "const x = 1;\n/** Late. */\n",
      "/* Not doc. */\n",
      "/** */\n",
      "// x\n",
    ]) {
      expect(rules(check.checkFileComment(file(bad)))).toEqual(["file-comment"]);
    }
  });

  it("measure doors, and only doors", () => {
    expect(check.checkDoorLength(file(lines(150), "src/mm/index.ts"))).toEqual([]);
    expect(check.checkDoorLength(file(lines(151), "src/mm/fault.ts"))).toEqual([]);
    expect(rules(check.checkDoorLength(file(lines(151), "src/mm/index.ts")))).toEqual([
      "door-length",
    ]);
  });

  it("see unfinished work", () => {
    expect(check.checkUnfinished(file("// A mastodon is not a reminder.\n"))).toEqual([]);
    for (const word of ["TO" + "DO", "FIX" + "ME"]) {
      expect(rules(check.checkUnfinished(file(`// ${word}: later\n`)))).toEqual(["unfinished"]);
    }
  });

  it("see the compiler switched off", () => {
    expect(check.checkCompilerOff(file("// @ts-expect-error: a Pfn is not a Vpn\n"))).toEqual([]);
    for (const word of ["ignore", "nocheck"]) {
      expect(rules(check.checkCompilerOff(file(`// @ts-${word}\n`)))).toEqual(["compiler-off"]);
    }
  });

  it("see private words", () => {
    expect(check.checkPrivateWords(file("a platform-wide worker shared by all\n"))).toEqual([]);
    const words = ["/wo" + "rk/x", "Far" + "m-1", "see ../sha" + "red/docs", "verda" + "ccio"];
    for (const word of words) {
      expect(rules(check.checkPrivateWords(file(`see ${word}\n`)))).toEqual(["private-word"]);
    }
  });

  it("see files and folders that are not there, from wherever they are named", () => {
    const paths = ["src/mm/fault/huge.ts", "docs/a.md"];
    const see = (name: string) => rules(check.checkPaths(file(`see \`${name}\`\n`), paths));
    for (const name of ["huge.ts", "fault/huge.ts", "src/mm/", "mm/fault/", "a.md", "x.y()"]) {
      expect([name, see(name)]).toEqual([name, []]);
    }
    for (const name of ["mm/huge.ts", "uge.ts", "mm/fault.ts", "m/", "export/"]) {
      expect([name, see(name)]).toEqual([name, ["path"]]);
    }
  });

  it("see names that say nothing, of files and of folders", () => {
    expect(check.checkNames(["src/mm/types-of-fault.ts", "src/mm/commonality/a.ts"])).toEqual([]);
    const bad = ["src/util/a.ts", "src/util/b.ts", "src/mm/helpers.ts", "src/mm/types.test.ts"];
    const subjects = check.checkNames(bad).map(({ subject }) => subject);
    expect(subjects).toEqual(["src/util", "src/mm/helpers.ts", "src/mm/types.test.ts"]);
  });

  it("ask every folder but src itself for a door", () => {
    expect(check.checkFolders(["src/engine.ts", "src/mm/index.ts", "src/mm/a.ts"])).toEqual([]);
    const findings = check.checkFolders(["src/cpu/index.ts", "src/cpu/soft/mmu.ts"]);
    expect(findings.map(({ rule, subject }) => [rule, subject])).toEqual([
      ["no-door", "src/cpu/soft"],
    ]);
  });

  it("count the files of a folder, without its tests", () => {
    const room = ["src/mm/index.ts", ...Array.from({ length: 19 }, (_, i) => `src/mm/f${i}.ts`)];
    expect(check.checkFolders([...room, "src/mm/f0.test.ts"])).toEqual([]);
    expect(rules(check.checkFolders([...room, "src/mm/more.ts"]))).toEqual(["folder-size"]);
  });
});
