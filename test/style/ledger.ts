/**
 * Reads docs/ledger.md and docs/linux-map.md and says what is wrong with them: rows whose module
 * or test is not there, ids that are missing, names that a file does not contain. Judges texts;
 * the caller brings the tree.
 */

/** The files of the project, as far as the checks need them. */
export interface Tree {
  /** A path, relative to the root, of a file or a folder. */
  exists(path: string): boolean;
  /** The text of a file; undefined when there is none. */
  read(path: string): string | undefined;
}

/** One thing that is wrong, and where. */
export interface Flaw {
  readonly line: number;
  /** The row's id or Linux name; empty for a document as a whole. */
  readonly row: string;
  readonly what: string;
}

interface TableRow {
  /** 1 up. */
  readonly line: number;
  readonly cells: readonly string[];
}

interface LedgerRow {
  readonly line: number;
  readonly id: string;
  readonly item: string;
  readonly state: string;
  readonly module: string;
  readonly test: string;
}

const LEDGER_CELLS = 7;
const MAP_CELLS = 3;
const ID = /^[SM]-\d+$/;
const RETIRED = /^retired: \S.*\. Instead: \S/;
const ABSENT = /^absent: \S/;
/** Between a file and a title in it. */
const ARROW = " › ";

/** The rows of all tables of a document, without heads and rules. */
function readTables(text: string): TableRow[] {
  const lines = text.split("\n");
  return lines.flatMap((line, i) => {
    const isRow = line.startsWith("|") && !isRule(line) && !isRule(lines[i + 1] ?? "");
    return isRow ? [{ line: i + 1, cells: cellsOf(line) }] : [];
  });
}

const isRule = (line: string): boolean => /^\|[-:| ]+\|$/.test(line);

function cellsOf(line: string): string[] {
  const inner = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

/** "S-001" and so on, of ranges of numbers. */
export function idsOf(ranges: readonly (readonly [number, number])[]): string[] {
  return ranges.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, i) => `S-${`${first + i}`.padStart(3, "0")}`),
  );
}

/** Everything wrong with a ledger that must have the features `ids`, and may have M-… behind. */
export function checkLedger(text: string, ids: readonly string[], tree: Tree): Flaw[] {
  const tables = readTables(text);
  const rows = tables.filter(({ cells }) => cells.length === LEDGER_CELLS).map(ledgerRow);
  return [
    ...tables
      .filter(({ cells }) => cells.length !== LEDGER_CELLS)
      .map(({ line, cells }) =>
        flaw(line, cells[0], `${cells.length} cells, ${LEDGER_CELLS} asked`),
      ),
    ...checkIds(rows, ids),
    ...rows.flatMap((row) => [
      ...checkState(row),
      ...checkModules(row, tree),
      ...checkTests(row, tree),
    ]),
  ];
}

function ledgerRow({ line, cells }: TableRow): LedgerRow {
  const [id = "", item = "", , , state = "", module = "", test = ""] = cells;
  return { line, id, item, state, module, test };
}

function checkIds(rows: readonly LedgerRow[], ids: readonly string[]): Flaw[] {
  const flaws: Flaw[] = [];
  const seen = new Set<string>();
  let last = 0;
  for (const { line, id } of rows) {
    if (seen.has(id)) flaws.push(flaw(line, id, "is there twice"));
    seen.add(id);
    if (!ID.test(id)) flaws.push(flaw(line, id, "is no id"));
    else if (id.startsWith("S-") && !ids.includes(id)) flaws.push(flaw(line, id, "is unknown"));
    else if (id.startsWith("M-")) {
      if (Number(id.slice(2)) !== last + 1) flaws.push(flaw(line, id, "does not follow"));
      last = Number(id.slice(2));
    }
  }
  return [...flaws, ...ids.filter((id) => !seen.has(id)).map((id) => flaw(0, id, "is missing"))];
}

function checkState({ line, id, state, test, module }: LedgerRow): Flaw[] {
  if (state === "works") {
    return [
      ...(test.includes(ARROW) ? [] : [flaw(line, id, "works, but no test is named")]),
      ...(pathsOf(module).length > 0 ? [] : [flaw(line, id, "works, but no module is named")]),
    ];
  }
  if (RETIRED.test(state)) return [];
  if (state.startsWith("retired")) {
    return [flaw(line, id, 'retired without "retired: reason. Instead: replacement"')];
  }
  if (ABSENT.test(state) && id.startsWith("M-")) return [];
  return [flaw(line, id, `"${state}" is no state`)];
}

function checkModules({ line, id, module }: LedgerRow, tree: Tree): Flaw[] {
  return pathsOf(module)
    .filter((path) => !tree.exists(path))
    .map((path) => flaw(line, id, `module ${path} does not exist`));
}

function checkTests({ line, id, test }: LedgerRow, tree: Tree): Flaw[] {
  if (!test.includes(ARROW)) return [];
  return test.split("<br>").flatMap((each) => {
    const [path = "", title = ""] = each.split(ARROW).map((part) => part.trim());
    if (!path.endsWith(".test.ts")) return [flaw(line, id, `${path} is no test file`)];
    const text = tree.read(path);
    if (text === undefined) return [flaw(line, id, `test ${path} does not exist`)];
    return hasTitle(text, title) ? [] : [flaw(line, id, `${path} has no "${title}"`)];
  });
}

/** A string on one line; in it, another kind of quote means nothing. */
const STRING = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`/g;

/** A string in `text` contains `title`; template strings are looked at as they are written. */
function hasTitle(text: string, title: string): boolean {
  if (title.length < 4) return false;
  const lines = text.split("\n").filter((line) => line.includes(title));
  return lines.some((line) => (line.match(STRING) ?? []).some((each) => each.includes(title)));
}

/** Everything wrong with a map of names: the second column says where a name is here. */
export function checkMap(text: string, tree: Tree): Flaw[] {
  return readTables(text).flatMap(({ line, cells }) => {
    const [name = "", here = ""] = cells;
    if (cells.length !== MAP_CELLS) return [flaw(line, name, `${cells.length} cells`)];
    if (cells.some((cell) => cell === "")) return [flaw(line, name, "has an empty cell")];
    return here.split("<br>").flatMap((part) => checkPlace(line, name, part, tree));
  });
}

/** "`name`, `other` in `src/file.ts`": the file is there and has the names. */
function checkPlace(line: number, row: string, part: string, tree: Tree): Flaw[] {
  const paths = pathsOf(part);
  const names = codeOf(part).filter((code) => !isPath(code));
  const lost = paths.filter((path) => !tree.exists(path));
  if (lost.length > 0) return lost.map((path) => flaw(line, row, `${path} does not exist`));
  if (names.length > 0 && paths.length === 0) return [flaw(line, row, "names no file")];
  const texts = paths.map((path) => tree.read(path) ?? "").join("\n");
  return names
    .filter((name) => !name.split(".").every((word) => hasWord(texts, word)))
    .map((name) => flaw(line, row, `${paths.join(", ")} has no ${name}`));
}

/** Linux names that the ledger's items mention and the map does not list. */
export function checkMapCovers(ledger: string, map: string): Flaw[] {
  const known = new Set(readTables(map).flatMap(({ cells }) => codeOf(cells[0] ?? "")));
  return readTables(ledger).flatMap(({ line, cells }) =>
    codeOf(cells[1] ?? "")
      .filter((name) => !known.has(name))
      .map((name) => flaw(line, cells[0], `${name} is not in the map`)),
  );
}

/** What stands in backticks. */
const codeOf = (text: string): string[] =>
  [...text.matchAll(/`([^`]+)`/g)].map((found) => found[1]!);
const isPath = (code: string): boolean => code.includes("/");
const pathsOf = (text: string): string[] => codeOf(text).filter(isPath);

const hasWord = (text: string, word: string): boolean =>
  new RegExp(`(?<![\\w$])${word.replace(/[^\w$]/g, "\\$&")}(?![\\w$])`).test(text);

const flaw = (line: number, row: string | undefined, what: string): Flaw => ({
  line,
  row: row ?? "",
  what,
});
