/** A story says who did what in which step, and where; as text and as a page. */
import { describe, expect, it } from "vitest";
import {
  execute,
  explore,
  pageOf,
  parseSchedule,
  Replay,
  type Scenario,
  tell,
  textOf,
} from "../../src/explore/index.ts";
import { RACES } from "../../src/races/index.ts";
import { lostUpdate, scenarioOf, steps, twoLocks } from "./small-models.ts";

const found = (scenario: Scenario) => explore(scenario, { strategy: "dpor" }).failure!;

describe("a story", () => {
  const { shortest, failure } = found(twoLocks());
  const story = tell(twoLocks(), parseSchedule(shortest));

  it("has the tasks in the order in which they first ran, and a row for each step", () => {
    expect([...story.tasks].sort()).toEqual(["a first", "b first"]);
    expect(story.rows.map(({ step }) => step)).toEqual(story.rows.map((_, i) => i + 1));
    expect(story.rows.length).toBe(failure.step);
    expect(story.rows[0]?.task).toBe(0);
    const words = story.rows.flatMap((row) => row.words.map((each) => [row.task, each]));
    expect(words).toContainEqual([0, "takes a"]);
    expect(words).toContainEqual([1, "takes b"]);
    expect(words).toContainEqual([0, "waits for b"]);
    expect(words).toContainEqual([1, "waits for a"]);
  });

  it("says where in the code: the file that took the step", () => {
    const places = story.rows.map(({ where }) => where).filter((where) => where !== "");
    expect(places.length).toBeGreaterThan(0);
    for (const where of places) expect(where).toMatch(/^explore[/]small-models[.]ts:\d+$/);
  });

  it("carries the failure and the schedule that replays it", () => {
    expect(story).toMatchObject({ schedule: shortest, failure: { kind: "deadlock" } });
  });

  it("of a schedule that is fine has no failure", () => {
    const fine = tell(twoLocks(), []);
    expect(fine.failure).toBeUndefined();
    expect(textOf(fine)).not.toMatch(/deadlock/);
  });

  it("of the engine says what it did, with names, and where in its code", () => {
    const { schedule } = execute(RACES[0]!, new Replay([]));
    const { rows } = tell(RACES[0]!, schedule);
    const words = rows.flatMap((row) => row.words).join("\n");
    expect(words).toMatch(/notifier:\S+ .*\w+ \d/);
    expect(words).toMatch(/vpn 0x[0-9a-f]+/);
    expect(rows.some(({ where }) => /^(mm|hmm|notifier|driver)[/].*:\d+$/.test(where))).toBe(true);
  });
});

describe("a story as text", () => {
  const { shortest } = found(lostUpdate());
  const lines = textOf(tell(lostUpdate(), parseSchedule(shortest))).split("\n");

  it("begins with the scenario and a column for each task", () => {
    expect(lines[0]).toBe("a small model: tasks of a few steps");
    expect(lines[2]).toMatch(/^ {6}[ab] {29} {2}[ab] {29} {2}where$/);
    expect(lines[3]).toMatch(/^ {6}-{30} {2}-{30} {2}-----$/);
  });

  it("has the number of each step in front and its words in the column of its task", () => {
    const [first, second] = lines[2]!.trim().split(/\s+/);
    const numbered = lines.filter((line) => /^ +\d+ /.test(line));
    expect(numbered.map((line) => Number(line.slice(0, 4)))).toEqual(numbered.map((_, i) => i + 1));
    const left = numbered.filter((line) => /^.{6}does/.test(line));
    const right = numbered.filter((line) => /^.{38}does/.test(line));
    expect([first, second].sort()).toEqual(["a", "b"]);
    expect([left.length, right.length]).toEqual([2, 2]);
  });

  it("ends with the failure and the schedule", () => {
    expect(lines.slice(-3)).toEqual(["lost-update: the sum is 1", "", `schedule ${shortest}`]);
  });

  it("wraps long words within their column", () => {
    const long = scenarioOf((model) => {
      model.task("t", () =>
        model.step(`${"many words ".repeat(8)}${"x".repeat(40)}`, () => undefined),
      );
    });
    const story = tell(long, []);
    const text = textOf({ ...story, rows: story.rows.map((row) => ({ ...row, where: "" })) });
    const rows = text.split("\n").slice(4, -2);
    expect(rows.length).toBeGreaterThan(4);
    expect(Math.max(...rows.map((row) => row.length))).toBe(6 + 30);
    expect(text).toContain("many words many words");
  });
});

describe("a page", () => {
  const nasty = scenarioOf((model) => {
    steps(model, "<b>bold</b>", () => {
      model.fail("contract", 'a < b && "c" > d');
    });
  });
  const page = pageOf("Races & <others>", [
    tell(nasty, parseSchedule(found(nasty).shortest)),
    tell(lostUpdate(), []),
  ]);

  it("escapes whatever a scenario says", () => {
    expect(page).toContain("<title>Races &amp; &lt;others&gt;</title>");
    expect(page).toContain("<th>&lt;b&gt;bold&lt;/b&gt;</th>");
    expect(page).toContain("a &lt; b &amp;&amp; &quot;c&quot; &gt; d");
    expect(page).not.toContain("<b>bold");
  });

  it("has a section for each story, with a column for each task, failure and schedule", () => {
    expect(page.match(/<section>/g)).toHaveLength(2);
    expect(page).toContain("<b>a result is not what its function promises</b>");
    expect(page).toContain("Nothing is wrong with this schedule.");
    const [, second] = page.split("</section>");
    const rows = second!.match(/<tr>.*<\/tr>/g)!.filter((row) => row.includes("<td"));
    for (const row of rows) expect(row.match(/<td/g)).toHaveLength(2 + 2);
    expect(second).toMatch(/Schedule: <code>1x3[.]2x3<\/code>/);
  });

  it("needs nothing from elsewhere", () => {
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).not.toMatch(/https?:|src=|href=|<script/);
  });
});
