import { describe, expect, it } from "vitest";
import type { Story } from "../explore/index.ts";
import { columnsOf } from "./story-columns.ts";

const storyOf = (rows: readonly (readonly [task: number, ...words: string[]])[]): Story => ({
  scenario: "a scenario",
  about: "about it",
  tasks: ["driver", "kernel"],
  rows: rows.map(([task, ...words], i) => ({ step: i + 1, task, words, where: "a.ts:1" })),
  failure: undefined,
  schedule: "-",
});

describe("the columns of a story", () => {
  it("are as wide as what stands in them, and name no lines of source", () => {
    expect(
      columnsOf(
        storyOf([
          [0, "reads A"],
          [1, "a", "b"],
        ]),
      ).split("\n"),
    ).toEqual([
      "     driver   kernel",
      "     -------  ------",
      "  1  reads A",
      "  2           a; b",
    ]);
  });

  it("leave out steps without words, but not the last, and number the others all the same", () => {
    const rows = columnsOf(
      storyOf([
        [0, "begins"],
        [0, "reads A"],
        [1, "begins"],
        [0, "goes on"],
      ]),
    );
    expect(rows.split("\n").slice(2)).toEqual(["  2  reads A", "  4  goes on"]);
  });

  it("give a line to each thing that a step does when all do not fit into one", () => {
    const words = ["takes the lock", "looks for the page", "gives the lock back"];
    const rows = columnsOf(storyOf([[0, ...words]]))
      .split("\n")
      .slice(2);
    expect(rows).toEqual([`  1  ${words[0]}`, `     ${words[1]}`, `     ${words[2]}`]);
  });

  it("wrap long words into lines that are indented", () => {
    const text = "takes the lock that everybody else is waiting for";
    expect(
      columnsOf(storyOf([[1, text]]))
        .split("\n")
        .slice(2),
    ).toEqual(["  1          takes the lock that everybody else", "               is waiting for"]);
  });
});
