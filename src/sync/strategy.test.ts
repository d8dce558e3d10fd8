import { describe, expect, it } from "vitest";
import { NativeStrategy, Random, RandomStrategy } from "./strategy.ts";
import { type Sleeps, Task } from "./task.ts";

const tasks = (count: number): Task[] =>
  Array.from({ length: count }, (_, i) => new Task(i, `t${i}`, (function* (): Sleeps<void> {})()));

describe("strategies", () => {
  it("take the oldest task in production", () => {
    const native = new NativeStrategy();
    expect([native.next(), native.explores, native.replay]).toEqual([0, false, "native"]);
  });

  it("take any task when they explore, the same for the same seed", () => {
    const runnable = tasks(5);
    const pick = (seed: number): number[] => {
      const random = new RandomStrategy(seed);
      return Array.from({ length: 200 }, () => random.next(runnable));
    };
    expect(new Set(pick(1))).toEqual(new Set([0, 1, 2, 3, 4]));
    expect(pick(1)).toEqual(pick(1));
    expect(pick(1)).not.toEqual(pick(2));
    expect(new RandomStrategy(-1).replay).toBe("random:4294967295");
  });
});

describe("the random numbers", () => {
  it("stay below their limit and reach all of it, evenly", () => {
    const random = new Random(42);
    const counts = new Array<number>(10).fill(0);
    for (let i = 0; i < 10_000; i++) counts[random.below(10)]!++;
    expect(Math.min(...counts)).toBeGreaterThan(850);
    expect(Math.max(...counts)).toBeLessThan(1150);
    expect(() => random.below(0)).toThrow(/limit above 0/);
  });
});
