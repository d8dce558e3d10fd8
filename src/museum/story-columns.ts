/** A story in few columns: no wider than its words, and without the steps that say nothing. */
import type { Story, StoryRow } from "../explore/index.ts";

const WIDTH_MAX = 36;
const GAP = "  ";

/** A column for each task, a row for each step. Lines of source change, so they are left out. */
export function columnsOf({ tasks, rows }: Story): string {
  const told = rows.filter((row, i) => saysSomething(row) || i === rows.length - 1);
  const cells = told.map(({ words }) => linesOf(words));
  const widths = tasks.map((name, task) => {
    const own = cells.filter((_, i) => told[i]!.task === task).flat();
    return Math.max(name.length, ...own.map((line) => line.length));
  });
  const line = (number: string, at: (task: number) => string): string => {
    const columns = widths.map((width, task) => at(task).padEnd(width));
    return [number.padStart(3), ...columns].join(GAP).trimEnd();
  };
  return [
    line("", (task) => tasks[task]!),
    line("", (task) => "-".repeat(widths[task]!)),
    ...told.flatMap(({ step, task }, i) =>
      cells[i]!.map((cell, at) =>
        line(at === 0 ? `${step}` : "", (column) => (column === task ? cell : "")),
      ),
    ),
  ].join("\n");
}

const saysSomething = ({ words }: StoryRow): boolean =>
  words.some((each) => each !== "begins" && each !== "goes on");

/** All that a step does in one line, or a line for each thing. */
function linesOf(words: readonly string[]): string[] {
  const all = words.join("; ");
  return all.length <= WIDTH_MAX ? [all] : words.flatMap(wrap);
}

/** Lines after the first are indented, so that they do not pass for another thing. */
function wrap(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined) lines.push(word);
    else if (last.length + 1 + word.length <= WIDTH_MAX)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(`  ${word}`);
  }
  return lines;
}
