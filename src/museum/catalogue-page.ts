/** docs/museum.md: what the explorer found in each exhibit, as a page for readers. */
import { assert } from "../base/index.ts";
import { FAILURE_KINDS, type FoundFailure, parseSchedule, tell } from "../explore/index.ts";
import { bugOf, compareIds, MUSEUM } from "./collection.ts";
import { DOCUMENTATION_ONLY, type DocumentedBug } from "./documentation-only.ts";
import { type Exhibit, scenarioOf, type Version } from "./exhibit.ts";
import { columnsOf } from "./story-columns.ts";
import type { Visit } from "./visit.ts";

interface Entry {
  readonly exhibit: Exhibit;
  readonly visit: Visit;
}

/**
 * The page, from a visit to every exhibit of the museum in its order. Asserts that all of them
 * went as the exhibits say: nothing else is worth a page. The same visits make the same page.
 */
export function cataloguePage(visits: readonly Visit[]): string {
  assert(visits.length === MUSEUM.length, "the page is of all exhibits");
  const entries = MUSEUM.map((exhibit, i): Entry => {
    const visit = visits[i]!;
    assert(visit.id === exhibit.id, "visits are in the order of the museum");
    assert(visit.isFound && visit.isClean, () => `${visit.id} is not as its exhibit says`);
    return { exhibit, visit };
  });
  const sections = entries.map(sectionOf);
  return `${[introduction(entries), table(entries), ...sections, remainder()].join("\n\n")}\n`;
}

function introduction(entries: readonly Entry[]): string {
  const { scenario, failure } = entries[0]!.visit.buggy;
  const refuted = entries.filter(({ visit }) => visit.isRefuted).length;
  const found = entries.length - refuted;
  const bugs = new Set(entries.map(({ exhibit }) => bugOf(exhibit.id))).size;
  const all = entries.flatMap(({ visit }) => [visit.buggy, ...visit.fixed]);
  const schedules = all.reduce((sum, each) => sum + each.schedules, 0);
  return `# The museum

Historical bugs of heterogeneous memory management in Linux (HMM) and of drivers above it, as
programs that can be run. Each is an *exhibit*: the protocol that has the bug, as a small model, and
protocols that do not have it. The explorer runs the tasks of a model in every order that could
matter. Of the first it must find an order that goes wrong, as the exhibit says. The others it must
explore to their end, and nothing may go wrong.

\`\`\`sh
onespace explore --museum                     # visit all of it
onespace explore --museum --scenario B-01     # one exhibit, both sides
onespace explore --museum --scenario "${scenario}" --replay ${failure!.shortest}
\`\`\`

The last line replays one schedule: the name of a scenario and a schedule, as the sections below
have them. \`1x4.2\` is task 1 four times, then task 2 until it stops, then the others.

A letter after a number is a bug's other face, or a repair that suggests itself and does not help.
*Refuted* is what was called a bug, and no schedule of a faithful model shows it.

| what | how many |
|---|---:|
| bugs of the catalogue | ${bugs + DOCUMENTATION_ONLY.length} |
| of them documentation only | ${DOCUMENTATION_ONLY.length} |
| exhibits of the others | ${entries.length} |
| of them found | ${found} |
| of them refuted | ${refuted} |
| fixed versions, explored to the end | ${all.length - entries.length} |
| schedules run for this page | ${schedules} |

This page is made by \`npm run museum\`; a test compares it with what the museum says now.`;
}

function table(entries: readonly Entry[]): string {
  const rows = [
    ...entries.map((entry) => ({ id: entry.exhibit.id, row: rowOf(entry) })),
    ...DOCUMENTATION_ONLY.map((bug) => ({ id: bug.id, row: documentedRow(bug) })),
  ].sort((a, b) => compareIds(a.id, b.id));
  return `## All of them

*Steps*: of the shortest schedule that goes wrong. *Schedules*: run until one was found. *Fixed*:
schedules of each fixed version; together they stand for all that there are.

| id | what goes wrong | how it shows | steps | schedules | fixed |
|---|---|---|---:|---:|---|
${rows.map(({ row }) => row).join("\n")}

${Object.entries(FAILURE_KINDS)
  .filter(([kind]) => entries.some(({ exhibit }) => exhibit.kind === kind))
  .map(([kind, words]) => `- *${kind}*: ${words}`)
  .join("\n")}`;
}

function rowOf({ exhibit, visit }: Entry): string {
  const { id, title } = exhibit;
  const { buggy, isRefuted } = visit;
  const fixed = visit.fixed.map(({ schedules }) => schedules).join(", ");
  const shows = isRefuted ? "refuted" : exhibit.kind;
  const steps = buggy.failure?.shortestSteps ?? "";
  const counts = `${steps} | ${buggy.schedules} | ${fixed}`;
  return `| ${linkTo(id)} | ${prose(title)} | ${shows} | ${counts} |`;
}

const documentedRow = ({ id, title }: DocumentedBug): string =>
  `| ${linkTo(id)} | ${prose(title)} | documentation only | | | |`;

const linkTo = (id: string): string => `[${id}](#${id.toLowerCase()})`;

function sectionOf({ exhibit, visit }: Entry): string {
  const { failure } = visit.buggy;
  const versions = visit.fixed.map(({ schedules }, i) =>
    versionLine("Fixed", exhibit.fixed[i]!, schedules),
  );
  const was = versionLine("As it was", exhibit.buggy, visit.buggy.schedules);
  const shown =
    failure === undefined
      ? `*Refuted.* ${prose(exhibit.refuted!)}\n\n${was}`
      : `${blockOf(exhibit, failure)}\n`;
  return `### ${exhibit.id}

**${prose(exhibit.title)}.** ${prose(exhibit.story)}

${shown}
${versions.join("\n")}`;
}

const versionLine = (role: string, { name }: Version, schedules: number): string =>
  `- ${role}: ${prose(name)}. ${schedules} schedule${schedules === 1 ? "" : "s"}.`;

function blockOf(exhibit: Exhibit, { shortest }: FoundFailure): string {
  const story = tell(scenarioOf(exhibit, exhibit.buggy), parseSchedule(shortest));
  const { kind, message } = story.failure!;
  return `\`\`\`text
${story.scenario}

${columnsOf(story)}

${kind}: ${message}
schedule ${shortest}
\`\`\``;
}

function remainder(): string {
  const sections = DOCUMENTATION_ONLY.map(
    ({ id, title, story, why }) =>
      `### ${id}\n\n**${prose(title)}.** ${prose(story)} ${prose(why)}`,
  );
  return ["## Documentation only", ...sections].join("\n\n");
}

/** Signs that Markdown would take for its own. */
const prose = (text: string): string => text.replace(/[\\*<|]/g, (sign) => `\\${sign}`);
