import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../test/replay/replay.ts";
import { type Pfn, pfn } from "../base/index.ts";
import { Zone } from "./zone.ts";

const zoneOf = (count: number): Zone => new Zone({ name: "ram", start: pfn(16), count });

describe("a zone", () => {
  it("hands out frames in rising order and goes round", () => {
    const zone = zoneOf(3);
    expect([zone.take(), zone.take()]).toEqual([16, 17]);
    zone.giveBack(pfn(16));
    expect([zone.take(), zone.take(), zone.take()]).toEqual([18, 16, 0]);
  });

  it("hands out many at a time in the same order, as many as there are", () => {
    const zone = zoneOf(70);
    expect([zone.takeMany(0), zone.takeMany(2), zone.take()]).toEqual([[], [16, 17], 18]);
    zone.giveBack(pfn(17));
    const rest = zone.takeMany(100);
    expect([rest.length, rest[0], rest.at(-1), zone.takeMany(1)]).toEqual([68, 19, 17, []]);
  });

  it("gives one frame that is asked for, when it is free and its own", () => {
    const zone = zoneOf(40);
    expect([zone.takeAt(pfn(20)), zone.takeAt(pfn(20)), zone.isUsed(pfn(20))]).toEqual([
      true,
      false,
      true,
    ]);
    expect([zone.takeAt(pfn(15)), zone.takeAt(pfn(56))]).toEqual([false, false]);
  });

  it("tells its owner before a frame is free again", () => {
    const freed: [Pfn, boolean][] = [];
    const zone: Zone = new Zone({
      name: "ram",
      start: pfn(16),
      count: 2,
      onFree: (frame) => freed.push([frame, zone.isUsed(frame)]),
    });
    zone.giveBack(zone.take() as Pfn);
    expect(freed).toEqual([[16, true]]);
    expect(() => zone.giveBack(pfn(16))).toThrow(/free already/);
  });

  it("agrees with a plain set, whatever is taken and given back", () => {
    const act = fc.record({
      kind: fc.constantFrom("take", "many", "at", "give"),
      index: fc.nat(70),
    });
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 70 }), fc.array(act), (count, acts) => {
        const zone = zoneOf(count);
        const used = new Set<number>();
        for (const { kind, index } of acts) {
          const frame = pfn(16 + (index % count));
          if (kind === "give") {
            if (used.delete(frame)) zone.giveBack(frame);
          } else if (kind === "at") {
            expect(zone.takeAt(frame)).toBe(!used.has(frame));
            used.add(frame);
          } else if (kind === "many") {
            const free = count - used.size;
            const taken = zone.takeMany(index % 9);
            expect(taken.length).toBe(Math.min(index % 9, free));
            for (const each of taken)
              expect([used.has(each), used.add(each).has(each)]).toEqual([false, true]);
          } else {
            const taken = zone.take();
            expect([taken === 0, used.has(taken)]).toEqual([used.size === count, false]);
            if (taken !== 0) used.add(taken);
          }
        }
        const seen: number[] = [];
        zone.forEachUsed((frame) => seen.push(frame));
        expect(seen).toEqual([...used].sort((a, b) => a - b));
        expect([zone.usedCount, zone.freeCount]).toEqual([used.size, count - used.size]);
      }),
      replayable("zone"),
    );
  });
});
