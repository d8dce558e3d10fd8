/**
 * Random kernels compute the same in three ways: as plain JavaScript, by `runHere`, and on a
 * software device; integers to the bit, and floats, too, since they only add and multiply.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { f32, i32, u32 } from "../../src/machine/index.ts";
import { replayable } from "../replay/replay.ts";
import { type Trial, Trials } from "./agreement.ts";
import { ELEMENTS, HELPERS, PLAIN_TOOLS, randomKernel, WORDS_EACH } from "./random-kernel.ts";

const COUNT = 6;

let trials: Trials;

beforeAll(async () => {
  trials = await Trials.open();
});

afterAll(() => trials.close());

const choices = fc.array(fc.nat(2 ** 16), { minLength: 1, maxLength: 300, size: "max" });

/** Words that have all that is special, and some more. */
const WORDS = [0, 1, 2, 31, 255, 65_535, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0xdead_beef];

function trialOf(text: string): Trial {
  const names = Object.keys(HELPERS);
  const code = new Function(...names, `return ${text};`)(...Object.values(HELPERS));
  const inputs = Array.from({ length: ELEMENTS }, (_, k) => WORDS[k] ?? Math.imul(k, 0x9e37_79b9));
  return {
    code,
    count: COUNT,
    uses: HELPERS,
    tools: PLAIN_TOOLS,
    args: {
      inU: Uint32Array.from(inputs),
      inI: Int32Array.from(inputs, (word, k) => (k % 3 === 0 ? -k : word)),
      inF: Float32Array.from({ length: ELEMENTS }, (_, k) => ((k * 37) % 64) / 4 - 6),
      outU: new Uint32Array(COUNT * WORDS_EACH),
      outI: new Int32Array(COUNT * WORDS_EACH),
      outF: new Float32Array(COUNT * WORDS_EACH),
      all: new Uint32Array(COUNT * WORDS_EACH),
      n: 5,
    },
  };
}

/** 0 and -0 are one: which of them a minimum is, is nobody's business. */
const settled = (arrays: Readonly<Record<string, readonly number[]>>) =>
  Object.fromEntries(Object.entries(arrays).map(([name, each]) => [name, each.map((x) => x + 0)]));

/** The program is what a reader of a failure wants to see. */
function told(text: string, run: () => void): void {
  try {
    run();
  } catch (error) {
    throw new Error(`${text}\n${error instanceof Error ? error.message : error}`, { cause: error });
  }
}

describe("a random kernel", () => {
  it("computes here what JavaScript computes", () => {
    fc.assert(
      fc.property(choices, (list) => {
        const text = randomKernel(list);
        const trial = trialOf(text);
        told(text, () => expect(settled(trials.here(trial))).toEqual(settled(trials.plain(trial))));
      }),
      replayable("kernel-here", { numRuns: 300 }),
    );
  });

  it("computes on a device what it computes here", async () => {
    if (!trials.hasDevice) return;
    await fc.assert(
      fc.asyncProperty(choices, async (list) => {
        const text = randomKernel(list);
        const trial = trialOf(text);
        const there = await trials.there(trial);
        told(text, () => expect(settled(there)).toEqual(settled(trials.here(trial))));
      }),
      // Compilers take their time, and more of it where the cores have other things to do.
      replayable("kernel-there", {
        numRuns: 20,
        endOnFailure: true,
        interruptAfterTimeLimit: 30_000,
      }),
    );
  });

  it("is made of what a kernel knows", () => {
    expect(trialOf(randomKernel([])).count).toBe(COUNT);
    expect([u32(3), i32(3), f32(3)]).toEqual([3, 3, 3]);
  });
});
