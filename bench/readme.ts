/**
 * README's table of figures: made by one plain run, between two markers, every declared row in
 * it. Nothing here reads or writes a file.
 */
import { type Figure, goalOf, ratioOf } from "./ratio.ts";
import { type Declared, ROWS } from "./rows.ts";

export const BEGIN = "<!-- figures: npm run bench -- --readme -->";
export const END = "<!-- end of figures -->";

export interface Run {
  /** "27 November 2026". */
  readonly date: string;
  readonly cores: number;
  readonly node: string;
  /** What the adapter calls itself. */
  readonly device: string;
}

/** A row as a cell names it. */
export const titleOf = ({ name, versus }: Declared): string => `${name}, against ${versus}`;

/** The table and the line above it. Every declared row must have been measured. */
export function tableOf(figures: readonly Figure[], run: Run): string {
  const lines = Object.entries(ROWS).flatMap(([bench, rows]) =>
    rows.map((declared) => lineOf(figures, bench, declared)),
  );
  return [
    `One plain run, ${run.date}: ${run.cores} cores, Node ${run.node}, ${run.device}.`,
    "Medians; least and most of the rounds in brackets.",
    "",
    "| ratio of ours | | goal |",
    "|---|---|---|",
    ...lines,
  ].join("\n");
}

function lineOf(figures: readonly Figure[], bench: string, declared: Declared): string {
  const title = titleOf(declared);
  const figure = figures.find((each) => each.bench === bench && titleOf(each) === title);
  if (figure === undefined) throw new Error(`not measured: ${title}`);
  return `| ${title} | ${ratioOf(figure)} | ${goalOf(figure).replace("goal ", "")} |`;
}

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
