/**
 * README's table of figures: made by one plain run, between two markers, every declared row in
 * it. A bench that is new or has changed can be measured by itself; the table says so then.
 * Nothing here reads or writes a file.
 */
import { type Figure, goalOf, ratioOf } from "./ratio.ts";
import { type Declared, ROWS } from "./rows.ts";

/** @forTests */
export const BEGIN = "<!-- figures: npm run bench -- --readme -->";
/** @forTests */
export const END = "<!-- end of figures -->";
const AGAIN = "Measured since, by themselves:";

export interface Run {
  /** "27 November 2026". */
  readonly date: string;
  readonly cores: number;
  readonly node: string;
  /** What the adapter calls itself. */
  readonly device: string;
}

/** A row as a cell names it. @forTests */
export const titleOf = ({ name, versus }: Declared): string => `${name}, against ${versus}`;

/** The table of one run and the words above it. Every declared row must have been measured. */
export function tableOf(figures: readonly Figure[], run: Run): string {
  const lines = [
    `One plain run, ${run.date}: ${run.cores} cores, Node ${run.node}, ${run.device}.`,
    "Medians; least and most of the rounds in brackets.",
  ];
  return [...lines, "", ...rowsOf(figures, "")].join("\n");
}

/** The table with the rows of some benches anew; all others must be in it. */
export function tableWith(old: string, figures: readonly Figure[], { date }: Run): string {
  const lines = old.split("\n");
  const head = lines.slice(0, lines.indexOf(""));
  const kept = head.filter((line) => !line.startsWith(AGAIN));
  const named = head.find((line) => line.startsWith(AGAIN))?.slice(AGAIN.length, -1) ?? "";
  const all = new Map(named.split(";").map((each) => [each.trim().split(" ")[0]!, each.trim()]));
  for (const { bench } of figures) all.set(bench, `${bench} (${date})`);
  all.delete("");
  const again = `${AGAIN} ${[...all.values()].join("; ")}.`;
  return [...kept, again, "", ...rowsOf(figures, old)].join("\n");
}

function rowsOf(figures: readonly Figure[], old: string): string[] {
  const lines = old.split("\n");
  const rows = Object.entries(ROWS).flatMap(([bench, declared]) =>
    declared.map((each) => {
      const title = titleOf(each);
      const figure = figures.find((other) => other.bench === bench && titleOf(other) === title);
      if (figure !== undefined) return lineOf(title, figure);
      const kept = lines.find((line) => line.startsWith(`| ${title} | `));
      if (kept === undefined) throw new Error(`not measured: ${title}`);
      return kept;
    }),
  );
  return ["| ratio of ours | | goal |", "|---|---|---|", ...rows];
}

const lineOf = (title: string, figure: Figure): string =>
  `| ${title} | ${ratioOf(figure)} | ${goalOf(figure).replace("goal ", "")} |`;

/** What stands between the markers of `text`. */
export function figuresIn(text: string): string {
  const { begin, end } = placeIn(text);
  return text.slice(begin, end).trim();
}

export function withFigures(text: string, table: string): string {
  const { begin, end } = placeIn(text);
  return `${text.slice(0, begin)}\n${table}\n${text.slice(end)}`;
}

function placeIn(text: string): { readonly begin: number; readonly end: number } {
  const begin = text.indexOf(BEGIN);
  const end = text.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`no ${BEGIN} and ${END} in that order`);
  return { begin: begin + BEGIN.length, end };
}
