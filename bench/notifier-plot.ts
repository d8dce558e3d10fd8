/** A log-log plot of characters: a column a decade of ranges, two lines a decade of nanoseconds. */

export interface Series {
  readonly letter: string;
  readonly name: string;
  /** One value a decade of x, from 1 on. */
  readonly ns: readonly number[];
}

const LINES_A_DECADE = 2;
const COLUMN = 10;
const LABEL = 10;

/** The letters of one column stand side by side, so that no series hides another. */
export function plot(series: readonly Series[]): string[] {
  const all = series.flatMap(({ ns }) => ns);
  const low = Math.floor(Math.log10(Math.min(...all)));
  const high = Math.ceil(Math.log10(Math.max(...all)));
  const columns = series[0]!.ns.length;
  const lines: string[] = [];
  for (let line = (high - low) * LINES_A_DECADE; line >= 0; line--) {
    const cells = Array.from({ length: columns }, (_, x) =>
      series.map(({ ns, letter }) => (lineOf(ns[x]!, low) === line ? letter : " ")).join(""),
    );
    const isDecade = line % LINES_A_DECADE === 0;
    const label = isDecade ? durationOf(10 ** (low + line / LINES_A_DECADE)) : "";
    const drawn = cells.map((cell) => cell.padEnd(COLUMN)).join("");
    lines.push(`${label.padStart(LABEL)} ${isDecade ? "+" : "|"} ${drawn}`.trimEnd());
  }
  lines.push(`${" ".repeat(LABEL)} +${"-".repeat(columns * COLUMN)}`);
  const counts = Array.from({ length: columns }, (_, x) => (10 ** x).toLocaleString("en"));
  const axis = counts.map((count) => count.padEnd(COLUMN)).join("");
  lines.push(`${" ".repeat(LABEL + 3)}${axis} ranges`);
  lines.push(series.map(({ letter, name }) => `${letter} ${name}`).join(", "));
  return lines;
}

const lineOf = (ns: number, low: number): number =>
  Math.round((Math.log10(ns) - low) * LINES_A_DECADE);

function durationOf(ns: number): string {
  if (ns >= 1e6) return `${ns / 1e6} ms`;
  return ns >= 1e3 ? `${ns / 1e3} us` : `${ns} ns`;
}

/**
 * From how many ranges on `ours` is below `theirs` for good, read off the lines between the
 * points; 1 when it always is, `undefined` when it is not at the last point.
 */
export function crossing(ours: readonly number[], theirs: readonly number[]): number | undefined {
  const gaps = ours.map((ns, i) => Math.log10(ns / theirs[i]!));
  const above = gaps.findLastIndex((gap) => gap >= 0);
  if (above === gaps.length - 1) return undefined;
  if (above < 0) return 1;
  const part = gaps[above]! / (gaps[above]! - gaps[above + 1]!);
  return 10 ** (above + part);
}
