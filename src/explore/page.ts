/** A story as an HTML page that needs nothing else. */
import { FAILURE_KINDS } from "./failure.ts";
import type { Story } from "./report.ts";

const STYLE = `
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem;
  color: #1c2530; background: #fbfbf9; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem; }
thead th { border-bottom: 2px solid #1c2530; position: sticky; top: 0; background: #fbfbf9; }
tbody tr:nth-child(even) { background: #f2f3ee; }
td.step, td.where { color: #6b7480; font-family: ui-monospace, monospace; font-size: 13px; }
td.runs { border-left: 3px solid #2f6f8f; }
p.failure { border-left: 4px solid #b3261e; padding: .5rem 1rem; background: #fbeceb; }
code { font-family: ui-monospace, monospace; word-break: break-all; }
@media (prefers-color-scheme: dark) {
  body, thead th { color: #dde3ea; background: #14181d; }
  tbody tr:nth-child(even) { background: #1b2027; }
  p.failure { background: #35201f; }
}`;

/** One page with a table for each story. */
export function pageOf(title: string, stories: readonly Story[]): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${encode(title)}</title>
<style>${STYLE}
</style>
<h1>${encode(title)}</h1>
${stories.map(section).join("\n")}
</html>
`;
}

function section(story: Story): string {
  const { failure } = story;
  const heads = story.tasks.map((task) => `<th>${encode(task)}</th>`).join("");
  const verdict =
    failure === undefined
      ? "<p>Nothing is wrong with this schedule.</p>"
      : [
          `<p class="failure"><b>${FAILURE_KINDS[failure.kind]}</b>`,
          `<br>${encode(failure.message)}</p>`,
        ].join("");
  return `<section>
<h2>${encode(story.scenario)}</h2>
<p>${encode(story.about)}</p>
<table>
<thead><tr><th></th>${heads}<th>where</th></tr></thead>
<tbody>
${story.rows.map((row) => rowOf(row, story.tasks.length)).join("\n")}
</tbody>
</table>
${verdict}
<p>Schedule: <code>${encode(story.schedule)}</code></p>
</section>`;
}

function rowOf(row: Story["rows"][number], tasks: number): string {
  const words = row.words.map(encode).join("<br>");
  const cells = Array.from({ length: tasks }, (_, task) =>
    task === row.task ? `<td class="runs">${words}</td>` : "<td></td>",
  ).join("");
  const where = `<td class="where">${encode(row.where)}</td>`;
  return `<tr><td class="step">${row.step}</td>${cells}${where}</tr>`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
};

const encode = (text: string): string => text.replace(/[&<>"]/g, (char) => ENTITIES[char]!);
