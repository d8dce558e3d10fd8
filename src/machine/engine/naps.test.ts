import { describe, expect, it } from "vitest";
import { napAfter } from "./naps.ts";
import { EventLoopHost } from "./tasks.ts";

describe("napAfter", () => {
  it("stays awake at first, then sleeps a part of what it has waited, and never longer than most", () => {
    expect([0, 0.099].map((waited) => napAfter(waited, 1))).toEqual([0, 0]);
    expect([0.1, 1.6, 16, 1000].map((waited) => napAfter(waited, 1))).toEqual([0.05, 0.1, 1, 1]);
    expect(napAfter(1000, 0.25)).toBe(0.25);
  });
});

describe("the event loop's host", () => {
  it("lets others have their turns while it waits, and stops when nobody waits", async () => {
    const host = new EventLoopHost();
    host.outside(1);
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setTimeout(resolve, 2));
    host.outside(2);
    host.outside(1);
    host.outside(0);
    // What it had planned comes once more, and plans nothing.
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    const left = process.getActiveResourcesInfo().filter((name) => name === "Immediate");
    expect(left).toEqual([]);
    host.stop();
  });

  it("keeps no process alive once it is stopped, though somebody never answers", async () => {
    const host = new EventLoopHost();
    host.outside(1);
    host.stop();
    await new Promise((resolve) => setImmediate(resolve));
    await new Promise((resolve) => setImmediate(resolve));
    expect(process.getActiveResourcesInfo().filter((name) => name === "Immediate")).toEqual([]);
  });
});
