/** README's figures: every row that the benches declare is in the table, and nothing else is. */
import { describe, expect, it } from "vitest";
import { BENCHES } from "../../bench/benches.ts";
import { figureOf } from "../../bench/ratio.ts";
import {
  BEGIN,
  END,
  figuresIn,
  tableOf,
  tableWith,
  titleOf,
  withFigures,
} from "../../bench/readme.ts";
import { type Declared, ROWS } from "../../bench/rows.ts";
import { HELP, wantedOf } from "../../bench/words.ts";
import { readText } from "./tree.ts";

const RUN = { date: "1 January 2026", cores: 2, node: "20.0.0", device: "a device" };
const DECLARED = Object.entries(ROWS).flatMap(([bench, rows]) =>
  rows.map((declared) => ({ bench, declared })),
);

/** What the cells of each row say. */
const cellsIn = (table: string): string[][] =>
  table
    .split("\n")
    .filter((line) => line.startsWith("| ") && !line.startsWith("| ratio"))
    .map((line) => line.slice(2, -2).split(" | "));

const titlesIn = (table: string): string[] => cellsIn(table).map(([title]) => title!);

const figures = (ratioOf: (declared: Declared) => number) =>
  DECLARED.map(({ bench, declared }) =>
    figureOf(bench, declared, { ...declared, ratios: [ratioOf(declared)], note: "a note" }),
  );

describe("README's figures", () => {
  const table = figuresIn(readText("README.md") ?? "");

  it("are of every declared row, in that order", () => {
    expect(titlesIn(table)).toEqual(DECLARED.map(({ declared }) => titleOf(declared)));
  });

  it("have the goals that are declared, and a figure each", () => {
    for (const [i, [title, ratio, goal]] of cellsIn(table).entries()) {
      expect(Number.parseFloat(ratio!), title).toBeGreaterThanOrEqual(0);
      const wanted = DECLARED[i]!.declared.goal;
      expect(
        goal?.match(/^≤ ([0-9.]+), (?:met|missed by [0-9.]+x)(?:; the floor is [0-9.]+)?$/)?.[1],
        title,
      ).toBe(wanted === undefined ? undefined : String(wanted));
    }
  });

  it("say when and where", () => {
    expect(table).toMatch(/^One plain run, \d+ \w+ \d{4}: \d+ cores, Node [0-9.]+, .+[.]$/m);
  });
});

describe("the table of figures", () => {
  it("says what was met, what was missed and by how much", () => {
    const table = tableOf(
      figures(({ goal }) => (goal ?? 1) * 2),
      RUN,
    );
    const goals = cellsIn(table).map(([, , goal]) => goal);
    const wanted = DECLARED.filter(({ declared }) => declared.goal !== undefined);
    expect(goals.filter((goal) => goal?.endsWith("missed by 2.00x"))).toHaveLength(wanted.length);
    const met = tableOf(
      figures(({ goal }) => goal ?? 1),
      RUN,
    );
    expect(met.match(/, met \|/g)).toHaveLength(wanted.length);
  });

  it("is not made of less than all rows", () => {
    expect(() => tableOf(figures(() => 1).slice(1), RUN)).toThrow(/^not measured: /);
  });

  it("takes rows of some benches anew, keeps the others and says so", () => {
    const all = figures(() => 1);
    const old = tableOf(all, RUN);
    const isTree = ({ bench }: { readonly bench: string }): boolean => bench === "tree";
    const trees = figures(() => 5).filter(isTree);
    const again = tableWith(old, trees, { ...RUN, date: "2 January 2026" });
    expect(titlesIn(again)).toEqual(titlesIn(old));
    const changed = cellsIn(again).filter((cells, i) => cells[1] !== cellsIn(old)[i]![1]);
    expect(changed.map(([title]) => title)).toEqual(trees.map(titleOf));
    expect(again).toContain("One plain run, 1 January 2026: 2 cores");
    expect(again).toContain("\nMeasured since, by themselves: tree (2 January 2026).\n");
    const lists = figures(() => 6).filter(({ bench }) => bench === "list");
    const third = tableWith(tableWith(again, lists, RUN), trees, RUN);
    expect(third).toContain("themselves: tree (1 January 2026); list (1 January 2026).\n");
    const withoutTree = old.replaceAll("| tree: ", "| trees: ");
    expect(() => tableWith(withoutTree, lists, RUN)).toThrow(/^not measured: tree: /);
  });

  it("goes between the markers, and leaves the rest alone", () => {
    const text = `before\n${BEGIN}\nold\n${END}\nafter\n`;
    const once = withFigures(text, "| new |");
    expect(once).toBe(`before\n${BEGIN}\n| new |\n${END}\nafter\n`);
    expect(withFigures(once, "| new |")).toBe(once);
    expect(figuresIn(once)).toBe("| new |");
    expect(() => withFigures(`${END} ${BEGIN}`, "")).toThrow(/^no <!--/);
  });

  it("has a bench for every row, and each row once", () => {
    expect(Object.keys(ROWS).sort()).toEqual(Object.keys(BENCHES).sort());
    const titles = DECLARED.map(({ declared }) => titleOf(declared));
    expect(new Set(titles).size).toBe(titles.length);
    expect(titles.filter((title) => title.includes("|"))).toEqual([]);
  });
});

describe("the words of the bench command", () => {
  it("are benches and options, and nothing is every bench", () => {
    const all = { names: Object.keys(BENCHES), json: false, readme: false };
    expect(wantedOf([])).toEqual(all);
    expect(wantedOf(["tree", "mm", "tree"])).toEqual({ ...all, names: ["tree", "mm"] });
    expect(wantedOf(["--json", "list"])).toEqual({ ...all, names: ["list"], json: true });
    expect(wantedOf(["--readme"])).toEqual({ ...all, readme: true });
    expect(wantedOf(["tree", "-h"])).toBe("help");
    for (const name of Object.keys(BENCHES)) expect(HELP).toContain(`  ${name} `);
  });

  it("are refused with what is known", () => {
    const wrong = (...args: string[]) => (wantedOf(args) as { readonly wrong: string }).wrong;
    expect(wrong("--fast")).toMatch(/^unknown option --fast \(known: --json, /);
    expect(wrong("-x")).toMatch(/^unknown option -x /);
    expect(wrong("trees", "mm")).toMatch(/^unknown bench trees \(known: .*tree/);
    expect(wrong("--json=yes")).toBe("--json takes no value");
    expect(wrong("--readme", "--json")).toBe("--readme and --json exclude each other");
  });
});
