/**
 * A schedule as people draw it: a column for each task, time going down, each row what a step did
 * and where in the code. One list of rows; text and HTML are two ways to write it down.
 */
import { EVENTS, type TracedEvent } from "../trace/index.ts";
import { execute, type Outcome, type ToldStep } from "./execution.ts";
import type { Failure } from "./failure.ts";
import type { Scenario } from "./scenario.ts";
import { formatSchedule, type Schedule, ScheduleError } from "./schedule.ts";
import { Replay } from "./strategy/index.ts";

export interface StoryRow {
  /** From 1. */
  readonly step: number;
  /** Index into `Story.tasks`. */
  readonly task: number;
  readonly words: readonly string[];
  /** file:line of the first thing that it did; empty when it did nothing worth telling. */
  readonly where: string;
}

export interface Story {
  readonly scenario: string;
  readonly about: string;
  /** In the order in which they first ran. */
  readonly tasks: readonly string[];
  readonly rows: readonly StoryRow[];
  readonly failure: Failure | undefined;
  /** Replays it. */
  readonly schedule: string;
}

/** Runs `schedule` once more and tells what happens. A schedule that does not fit throws. */
export function tell(scenario: Scenario, schedule: Schedule): Story {
  const replay = new Replay(schedule);
  const outcome = execute(scenario, replay, { tells: true });
  if (replay.left > 0) {
    const taken = outcome.schedule.length;
    throw new ScheduleError(`the schedule goes on after ${taken} steps, and the run is over then`);
  }
  const numbers = [...outcome.names.keys()];
  return {
    scenario: scenario.name,
    about: scenario.about,
    tasks: [...outcome.names.values()],
    rows: rowsOf(outcome, numbers),
    failure: outcome.failure,
    schedule: formatSchedule(outcome.schedule),
  };
}

function rowsOf({ told }: Outcome, numbers: readonly number[]): StoryRow[] {
  const begun = new Set<number>();
  const rows: StoryRow[] = [];
  for (const [i, step] of told.entries()) {
    const words = wordsOf(step);
    if (words.length === 0) words.push(begun.has(step.task) ? "goes on" : "begins");
    begun.add(step.task);
    const where = step.notes.map(({ stack }) => placeOf(stack)).find((each) => each !== "");
    rows.push({ step: i + 1, task: numbers.indexOf(step.task), words, where: where ?? "" });
  }
  return rows;
}

function wordsOf({ notes, events }: ToldStep): string[] {
  return [...notes.map(({ words }) => words), ...events.map(eventWords)];
}

/** "mm:fault space 1, vpn 0x10000, flags 1" */
function eventWords(event: TracedEvent): string {
  const { fields } = EVENTS.find(({ name }) => name === event.name)!;
  const values = [event.a, event.b, event.c];
  const named = fields.flatMap((field, i) => {
    if (field === "") return [];
    const value = values[i]! >>> 0;
    return [`${field} ${field === "vpn" ? `0x${value.toString(16)}` : values[i]}`];
  });
  return `${event.name} ${named.join(", ")}`;
}

/** Files that only pass a call on: the place is whoever called them. */
const PASSES_ON = /[/](sync|phys)[/]|[/]explore[/](execution|report)[.]|[/]museum[/]model[/]|node:/;

/** The first line of a stack that says something: "mm/call/unmap.ts:52". */
function placeOf(stack: string): string {
  for (const line of stack.split("\n").slice(1)) {
    const match = /(?:file:[/]{2})?([^\s()]+):(\d+):\d+[)]?$/.exec(line);
    if (match === null || PASSES_ON.test(match[1]!)) continue;
    const path = match[1]!.replace(/^.*[/](?:src|dist|test|examples)[/]/, "");
    return `${path}:${match[2]}`;
  }
  return "";
}

const COLUMN = 30;

/** For a terminal. Steps without words are left out, and so is what does not fit a narrow one. */
export function textOf(story: Story): string {
  const { tasks, rows, failure } = story;
  const pad = (text: string): string => text.padEnd(COLUMN);
  const lines = [
    `${story.scenario}: ${story.about}`,
    "",
    `      ${tasks.map((name) => pad(name)).join("  ")}  where`,
    `      ${tasks.map(() => "-".repeat(COLUMN)).join("  ")}  -----`,
  ];
  for (const { step, task, words, where } of rows) {
    const cells = words.flatMap((each) => wrap(each, COLUMN));
    for (const [i, cell] of cells.entries()) {
      const number = i === 0 ? String(step).padStart(4) : "    ";
      const row = tasks.map((_, at) => pad(at === task ? cell : "")).join("  ");
      lines.push(`${number}  ${row}  ${i === 0 ? where : ""}`.trimEnd());
    }
  }
  if (failure !== undefined) lines.push("", `${failure.kind}: ${failure.message}`);
  lines.push("", `schedule ${story.schedule}`);
  return lines.join("\n");
}

function wrap(text: string, width: number): string[] {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.at(-1)!;
    if (last !== "" && last.length + 1 + word.length > width) lines.push(`  ${word}`);
    else lines[lines.length - 1] = last === "" ? word : `${last} ${word}`;
  }
  return lines.map((line) => line.slice(0, width));
}
