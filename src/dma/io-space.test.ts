import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../test/replay/replay.ts";
import { IoSpace } from "./io-space.ts";

/** Whether `free` has `count` pages in a row. */
function hasRun(free: ReadonlySet<number>, count: number): boolean {
  for (const page of free) {
    let length = 0;
    while (free.has(page + length)) length++;
    if (length >= count) return true;
  }
  return false;
}

describe("a space of I/O pages", () => {
  it("agrees with a plain set, whatever is taken and given back", () => {
    const act = fc.record({ take: fc.integer({ min: 1, max: 6 }), give: fc.nat(20) });
    const acts = fc.array(fc.record({ isTake: fc.boolean(), act }), { maxLength: 60 });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), acts, (count, steps) => {
        const space = new IoSpace(count);
        const free = new Set(Array.from({ length: count }, (_, i) => i + 1));
        const runs: { first: number; count: number }[] = [];
        for (const { isTake, act } of steps) {
          if (isTake) {
            const first = space.take(act.take);
            expect(first !== 0).toBe(hasRun(free, act.take));
            if (first === 0) continue;
            runs.push({ first, count: act.take });
            for (let i = 0; i < act.take; i++) expect(free.delete(first + i)).toBe(true);
          } else if (runs.length > 0) {
            const [run] = runs.splice(act.give % runs.length, 1);
            space.giveBack(run!.first, run!.count);
            for (let i = 0; i < run!.count; i++) free.add(run!.first + i);
          }
          expect(space.takenCount).toBe(count - free.size);
        }
      }),
      replayable("io-space"),
    );
  });

  it("gives nothing back twice", () => {
    const space = new IoSpace(4);
    const first = space.take(2);
    space.giveBack(first, 2);
    expect(() => space.giveBack(first, 2)).toThrow(/free already/);
  });
});
