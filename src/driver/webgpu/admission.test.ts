import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../../test/replay/replay.ts";
import { Admission } from "./admission.ts";

describe("Admission", () => {
  it("admits everybody at first", () => {
    const admission = new Admission(1000);
    admission.begin(1000);
    expect(admission.left).toBe(1000);
    expect(admission.isTight).toBe(false);
  });

  it("halves down to one and then says that it cannot", () => {
    const admission = new Admission(5);
    admission.begin(5);
    const sizes: number[] = [];
    while (admission.shrink()) sizes.push(admission.left);
    expect(sizes).toEqual([3, 2, 1]);
  });

  it("grows again, slowly, after a batch that fitted", () => {
    const admission = new Admission(64);
    admission.begin(64);
    admission.shrink();
    admission.finishRound(admission.left);
    admission.begin(64);
    expect(admission.left).toBe(32);
    admission.finishRound(admission.left);
    admission.begin(64);
    expect(admission.left).toBe(36);
  });

  it("finishes whatever fits one by one, for any capacity and any needs", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 16 }), { minLength: 1, maxLength: 200 }),
        fc.integer({ min: 16, max: 64 }),
        (needs, capacity) => {
          const waiting = [...needs];
          const admission = new Admission(needs.length);
          let steps = 0;
          while (waiting.length > 0) {
            admission.begin(waiting.length);
            for (;;) {
              expect(++steps).toBeLessThan(100_000);
              const batch = waiting.slice(0, admission.left);
              const need = batch.reduce((sum, each) => sum + each, 0);
              if (need <= capacity) break;
              expect(admission.shrink()).toBe(true);
            }
            waiting.splice(0, admission.left);
            admission.finishRound(admission.left);
          }
        },
      ),
      replayable("admission"),
    );
  });
});
