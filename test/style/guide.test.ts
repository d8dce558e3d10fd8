/** The documents say what is so: quotations, code, links; and the checks notice what is not. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { WRONG_VERSIONS } from "../../examples/drivers/wrong-versions-seen.ts";
import { explore, parseSchedule, type Scenario, tell, textOf } from "../../src/explore/index.ts";
import { blocksOf, checkCode, checkLinks, checkQuotes } from "./guide-checks.ts";
import { listFiles, REPO_ROOT, readText, type SourceFile } from "./tree.ts";

const GUIDE = "docs/driver-guide.md";
const EXPLORING = "docs/explore.md";
const EXPLORED = "examples/explore/first-driver.mjs";
const ROOT = REPO_ROOT.replace(/[/]$/, "");

const readDocument = (path: string): SourceFile => ({ path, text: readText(path) ?? "" });
const exists = (path: string): boolean => existsSync(join(REPO_ROOT, path));
const read = (path: string): string | undefined => (exists(path) ? readText(path) : undefined);

const guide = readDocument(GUIDE);
const documents = listFiles("docs").filter((path) => path.endsWith(".md"));

describe("the driver guide", () => {
  it("quotes what is there", () => {
    expect(checkQuotes(guide, read)).toEqual([]);
    const quoted = blocksOf(guide.text).map(({ quotes }) => quotes);
    const driver = quoted.filter((path) => path === "examples/drivers/first-driver.ts");
    expect(driver.length).toBeGreaterThanOrEqual(5);
  });

  it("has code that compiles", () => {
    const code = blocksOf(guide.text).filter(({ language }) => language === "ts");
    expect(code.filter(({ quotes }) => quotes === undefined).length).toBeGreaterThan(0);
    expect(checkCode([guide], ROOT)).toEqual([]);
  });

  it.each(WRONG_VERSIONS.map(({ Driver, seen }) => ({ name: Driver.name, seen })))(
    "shows $name whole, and what is seen of it",
    ({ name, seen }) => {
      const section = guide.text.split("\n### ").find((text) => text.includes(`class ${name} `));
      const words = section?.replace(/\s+/g, " ") ?? "";
      expect(seen.filter((text) => !words.includes(text))).toEqual([]);
    },
  );
});

/** JavaScript without types: what `onespace explore` imports. */
async function explored(): Promise<{ readonly buggy: Scenario; readonly fixed: Scenario }> {
  return import(join(REPO_ROOT, EXPLORED));
}

describe("the document on exploring", () => {
  const text = readDocument(EXPLORING);
  const blocks = blocksOf(text.text);

  it("quotes what is there", () => {
    expect(checkQuotes(text, read)).toEqual([]);
    expect(blocks.filter(({ quotes }) => quotes === EXPLORED).length).toBeGreaterThanOrEqual(3);
  });

  it("has code that compiles", () => {
    expect(blocks.filter(({ language }) => language === "ts").length).toBeGreaterThan(0);
    expect(checkCode([text], ROOT)).toEqual([]);
  });

  it("shows what its buggy scenario prints, and the schedule that replays it", async () => {
    const { buggy } = await explored();
    const { failure } = explore(buggy, { strategy: "dpor" });
    const story = tell(buggy, parseSchedule(failure!.shortest));
    const bare = { ...story, rows: story.rows.map((row) => ({ ...row, where: "" })) };
    const printed = textOf(bare).replace(/ +(where|-----)$/gm, "");
    const shown = blocks.find(({ language }) => language === "text")?.lines.join("\n");
    expect(shown).toBe(printed);
    expect(text.text).toContain(`--replay ${failure!.shortest}\n`);
    expect(text.text).toContain(
      `\`${failure!.shortest}\` is task 3 three times, task 4 five times`,
    );
  });

  it("says that its fixed scenario is explored whole, and so it is by both searches", async () => {
    const { fixed } = await explored();
    for (const strategy of ["dpor", "dfs"] as const) {
      const report = explore(fixed, { strategy });
      expect(report).toMatchObject({ isExhaustive: true, failure: undefined });
      expect(report.schedules).toBeGreaterThan(10);
    }
  });
});

describe("the document on kernels", () => {
  it("has code that compiles", () => {
    expect(checkCode([readDocument("docs/kernels.md")], ROOT)).toEqual([]);
  });
});

describe("the documents", () => {
  it("link to what is there", () => {
    expect(documents).toContain(GUIDE);
    const all = ["README.md", "HACKING.md", "CHANGELOG.md", "ARCHITECTURE.md", ...documents].map(
      readDocument,
    );
    expect(all.flatMap((file) => checkLinks(file, exists, read))).toEqual([]);
  });
});

const document = (...lines: string[]): SourceFile => ({
  path: "docs/x.md",
  text: lines.join("\n"),
});
const quote = (...lines: string[]): SourceFile =>
  document("Text.", "<!-- src/a.ts -->", "```ts", ...lines, "```", "More.");

describe("the check of quotations", () => {
  const file = "class A {\n  b() {\n    c();\n\n    d();\n  }\n}\n";
  const check = (document: SourceFile) =>
    checkQuotes(document, (path) => (path === "src/a.ts" ? file : undefined));

  it("finds lines of the file at any depth", () => {
    expect(check(quote("b() {", "  c();", "", "  d();", "}"))).toEqual([]);
    expect(check(quote("  b() {", "    c();"))).toEqual([]);
    expect(check(quote("class A {"))).toEqual([]);
  });

  it("notices another word, another order, another depth, a gap, nothing, and no file", () => {
    const bad = [
      quote("b() {", "  e();"),
      quote("d();", "", "c();"),
      quote("b() {", "c();"),
      quote("c();", "d();"),
      quote("() {"),
      quote(),
      document("<!-- src/b.ts -->", "```ts", "class A {", "```"),
    ];
    expect(bad.map((each) => check(each).length)).toEqual([1, 1, 1, 1, 1, 1, 1]);
    const [finding] = check(bad[0]!);
    expect(finding).toEqual({
      rule: "quote",
      subject: "docs/x.md",
      detail: "line 3: not in src/a.ts",
    });
  });
});

describe("the check of code", () => {
  const good = [
    ...["```ts", 'import { EBUSY } from "onespace/driver";', "const busy: number = -EBUSY;", "```"],
    ...["<!-- given", "declare const bytes: Uint8Array;", "-->"],
    ...["```ts", "using _held = { [Symbol.dispose]: () => bytes.fill(0) };", "```"],
    ...["```sh", "npm test", "```"],
  ];

  it("compiles every block on its own, and says where it fails", () => {
    const bad = [
      ...["```ts", "const a: number = 1;", 'const b: string = a + "" + 1 - 1;', "```"],
      ...["```ts", 'import { Nothing } from "onespace/driver";', "```"],
      ...["<!-- given", "declare const a: number;", "-->", "```ts", "c(a);", "```"],
    ];
    const findings = checkCode([document(...good), document(...bad)], ROOT);
    expect(findings.map(({ rule }) => rule)).toEqual(["code", "code", "code", "code"]);
    expect(findings.map(({ detail }) => detail.replace(/:.*/, ""))).toEqual([
      "line 3",
      "line 3",
      "line 6",
      "line 12",
    ]);
  });
});

describe("the check of links", () => {
  const check = (...lines: string[]) =>
    checkLinks(
      document(...lines),
      (path) => ["docs/x.md", "docs/y.md", "src"].includes(path),
      () => "# One heading, two\n```\n# not one\n```\n",
    );

  it("follows files, folders, headings; not the web, not code", () => {
    expect(check("[a](y.md) and [b](../src), [c](y.md#one-heading-two)")).toEqual([]);
    expect(check("[a](https://example.org/x.md)", "```", "[b](z.md)", "```")).toEqual([]);
  });

  it("notices what is not there", () => {
    const details = check("# Here", "[a](z.md) [b](../y.md)", "[c](y.md#not-one) [d](#there)").map(
      ({ detail }) => detail,
    );
    expect(details).toEqual([
      "line 2: no docs/z.md",
      "line 2: no y.md",
      "line 3: no heading #not-one in docs/y.md",
      "line 3: no heading #there in docs/x.md",
    ]);
  });
});
