/**
 * docs/ledger.md and docs/linux-map.md against the tree: every feature has a row, every row that
 * works names tests that are there, every name of Linux has a place here.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { checkLedger, checkMap, checkMapCovers, type Flaw, idsOf, type Tree } from "./ledger.ts";
import { REPO_ROOT, readText } from "./tree.ts";

/** The features of the documents, by section. */
const FEATURES = idsOf([
  [1, 25],
  [30, 44],
  [50, 66],
  [70, 84],
  [90, 99],
  [110, 120],
  [130, 149],
  [160, 169],
  [180, 192],
  [200, 204],
  [210, 226],
]);

const HERE: Tree = {
  exists: (path) => existsSync(join(REPO_ROOT, path)),
  read: (path) => (existsSync(join(REPO_ROOT, path)) ? readText(path) : undefined),
};

const told = (flaws: readonly Flaw[]): string[] =>
  flaws.map(({ line, row, what }) => `line ${line}: ${row} ${what}`);

describe("the feature ledger", () => {
  const text = HERE.read("docs/ledger.md") ?? "";

  it("has a row for every feature, whose module and tests are there", () => {
    expect(told(checkLedger(text, FEATURES, HERE))).toEqual([]);
  });
});

describe("the map of Linux names", () => {
  const text = HERE.read("docs/linux-map.md") ?? "";

  it("names files that are there, and what is in them", () => {
    expect(told(checkMap(text, HERE))).toEqual([]);
  });

  it("has every name of the ledger", () => {
    expect(told(checkMapCovers(HERE.read("docs/ledger.md") ?? "", text))).toEqual([]);
  });
});

const TOY: Tree = {
  exists: (path) => ["src/a.ts", "src/a.test.ts"].includes(path),
  read: (path) =>
    ({
      "src/a.ts": "export class Space {\n  users = 0;\n}\n",
      "src/a.test.ts": `// only said here\nit(\`holds in \${RUNS} runs\`, () => {});\nmore("x", told, "y");\n`,
    })[path],
};

const HEAD = "| id | item | rule | form | state | module | test |\n|---|---|---|---|---|---|---|\n";
const TEST = "src/a.test.ts › holds in";

/** A row that is right, except for what a test changes. */
const rowOf = (
  changes: Partial<Record<"id" | "state" | "module" | "test", string>> = {},
): string => {
  const { id, state, module, test } = {
    ...{ id: "S-001", state: "works", module: "`src/a.ts`", test: TEST },
    ...changes,
  };
  return `| ${id} | \`struct hmm\` | a \\| b | ours | ${state} | ${module} | ${test} |\n`;
};

const flawsOf = (rows: string, ids = ["S-001"]): string[] =>
  checkLedger(`# A title\n\n${HEAD}${rows}\nText.\n`, ids, TOY).map(({ what }) => what);

describe("the checker of the ledger", () => {
  it("is content with rows that are right", () => {
    const retired = "retired: mainline removed it. Instead: `start`";
    const absent = rowOf({ id: "M-01", state: "absent: nobody needs it", module: "–", test: "–" });
    expect(flawsOf(rowOf() + absent)).toEqual([]);
    expect(flawsOf(rowOf({ state: retired, test: "–" }))).toEqual([]);
    expect(flawsOf(rowOf({ test: `${TEST}<br>src/a.test.ts › runs` }))).toEqual([]);
  });

  it.each<[string, Parameters<typeof rowOf>[0], string]>([
    ["a module that is not there", { module: "`src/b.ts`" }, "module src/b.ts does not exist"],
    ["a second module", { module: "`src/a.ts`<br>`src/c/d.ts`" }, "module src/c/d.ts does not"],
    ["a row that works without module", { module: "–" }, "no module is named"],
    ["a row that works without test", { test: "–" }, "no test is named"],
    [
      "a test file that is not there",
      { test: "src/b.test.ts › x" },
      "src/b.test.ts does not exist",
    ],
    ["a file that is no test", { test: "src/a.ts › Space" }, "src/a.ts is no test file"],
    ["a title that is not there", { test: "src/a.test.ts › hols" }, 'has no "hols"'],
    ["a title that is no string", { test: "src/a.test.ts › only said" }, 'has no "only said"'],
    ["a title before strings", { test: "src/a.test.ts › more(" }, 'has no "more("'],
    ["a title between strings", { test: "src/a.test.ts › told" }, 'has no "told"'],
    ["a title that says nothing", { test: "src/a.test.ts › in" }, 'has no "in"'],
    ["the second of two tests", { test: `${TEST}<br>src/a.test.ts › nope` }, 'has no "nope"'],
    ["another state", { state: "mostly" }, '"mostly" is no state'],
    ["retired without reason", { state: "retired" }, "reason. Instead: replacement"],
    ["retired without replacement", { state: "retired: it is old" }, "Instead: replacement"],
    ["absent among the features", { state: "absent: no" }, '"absent: no" is no state'],
  ])("sees %s", (_what, changes, message) => {
    const flaws = flawsOf(rowOf(changes));
    expect(flaws.join("\n")).toContain(message);
    expect(flaws).toHaveLength(1);
  });

  it("sees ids that are missing, there twice, unknown, or none, and rows of another size", () => {
    expect(flawsOf(rowOf(), ["S-001", "S-002"])).toEqual(["is missing"]);
    expect(flawsOf(rowOf() + rowOf())).toEqual(["is there twice"]);
    expect(flawsOf(rowOf() + rowOf({ id: "S-003" }))).toEqual(["is unknown"]);
    expect(flawsOf(rowOf() + rowOf({ id: "third" }))).toEqual(["is no id"]);
    expect(flawsOf(rowOf() + rowOf({ id: "M-02" }))).toEqual(["does not follow"]);
    expect(flawsOf(`${rowOf()}| S-002 | x |\n`)).toEqual(["2 cells, 7 asked"]);
    expect(flawsOf("")).toEqual(["is missing"]);
  });

  it("knows ranges of ids", () => {
    expect(
      idsOf([
        [9, 11],
        [200, 200],
      ]),
    ).toEqual(["S-009", "S-010", "S-011", "S-200"]);
    expect(FEATURES).toHaveLength(158);
  });
});

describe("the checker of the map", () => {
  const MAP = "| Linux name | here | mainline today |\n|---|---|---|\n";
  const flawsOfMap = (here: string, today = "gone"): string[] =>
    checkMap(`${MAP}| \`mm_users\` | ${here} | ${today} |\n`, TOY).map(({ what }) => what);

  it("is content with names that are in their files, and with words", () => {
    expect(flawsOfMap("`Space`, `Space.users` in `src/a.ts`")).toEqual([]);
    expect(flawsOfMap("nothing: memory is collected")).toEqual([]);
  });

  it.each([
    ["a file that is not there", "`Space` in `src/b.ts`", "src/b.ts does not exist"],
    ["a name that is not there", "`Spaces` in `src/a.ts`", "src/a.ts has no Spaces"],
    ["part of a name", "`use` in `src/a.ts`", "src/a.ts has no use"],
    ["a member that is not there", "`Space.count` in `src/a.ts`", "has no Space.count"],
    ["a name without a file", "`Space`", "names no file"],
    ["the second place", "`Space` in `src/a.ts`<br>`it` in `src/c.ts`", "src/c.ts does not exist"],
  ])("sees %s", (_what, here, message) => {
    expect(flawsOfMap(here)).toHaveLength(1);
    expect(flawsOfMap(here)[0]).toContain(message);
  });

  it("sees empty cells, rows of another size, and names that it lacks", () => {
    expect(flawsOfMap("")).toEqual(["has an empty cell"]);
    expect(flawsOfMap("words | more")).toEqual(["4 cells"]);
    const ledger = HEAD + rowOf();
    expect(checkMapCovers(ledger, `${MAP}| \`struct hmm\` | x | y |\n`)).toEqual([]);
    expect(checkMapCovers(ledger, MAP).map(({ what }) => what)).toEqual([
      "struct hmm is not in the map",
    ]);
  });
});
