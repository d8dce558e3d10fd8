/** Floats that become integers of 32 bits: at the limits the same here, on the device, and as said. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Trial, Trials } from "./agreement.ts";

let trials: Trials;

beforeAll(async () => {
  trials = await Trials.open();
});

afterAll(() => trials.close());

type Numbers = { [index: number]: number };
type Given = { readonly [Name in "x" | "u" | "s"]: Numbers };
type Tools = { u32(x: unknown): number; i32(x: unknown): number };

/** Floats, and what they are as u32 and as i32. */
const LIMITS: readonly (readonly [x: number, u: number, s: number])[] = [
  [0, 0, 0],
  [-0.5, 0, 0],
  [-1, 0, -1],
  [1.9, 1, 1],
  [-1.9, 0, -1],
  [2_147_483_520, 2_147_483_520, 2_147_483_520],
  [2_147_483_648, 2_147_483_648, 2_147_483_647],
  [-2_147_483_648, 0, -2_147_483_648],
  [-2_147_483_904, 0, -2_147_483_648],
  [4_294_967_040, 4_294_967_040, 2_147_483_647],
  [4_294_967_296, 4_294_967_295, 2_147_483_647],
  [5e9, 4_294_967_295, 2_147_483_647],
  [-5e9, 0, -2_147_483_648],
  [3e38, 4_294_967_295, 2_147_483_647],
  [Number.POSITIVE_INFINITY, 4_294_967_295, 2_147_483_647],
  [Number.NEGATIVE_INFINITY, 0, -2_147_483_648],
];

const WAYS: Readonly<Record<string, Trial["code"]>> = {
  operators: (i: number, { x, u, s }: Given) => {
    u[i] = x[i] >>> 0;
    s[i] = x[i] | 0;
  },
  functions: (i: number, { x, u, s }: Given, { u32, i32 }: Tools) => {
    u[i] = u32(x[i]);
    s[i] = i32(x[i]);
  },
  "what is stored": (i: number, { x, u, s }: Given) => {
    u[i] = Math.trunc(x[i]);
    s[i] = Math.trunc(x[i]);
  },
  "a name, and conditions": (i: number, { x, u, s }: Given) => {
    const value = x[i];
    if (i < 99 && value >>> 0 > 0) u[i] = value >>> 0;
    for (let j = 0; j < 1 && (x[i] | 0) !== 0; j++) s[i] = x[i] | 0;
  },
};

const trialOf = (code: Trial["code"], values = LIMITS.map(([x]) => x)): Trial => ({
  code,
  args: {
    x: Float32Array.from(values),
    u: new Uint32Array(values.length),
    s: new Int32Array(values.length),
  },
  count: values.length,
});

const EXPECTED = { u: LIMITS.map(([, u]) => u), s: LIMITS.map(([, , s]) => s) };

describe("a float beyond 32 bits becomes the nearest integer", () => {
  it.each(Object.entries(WAYS))("by %s, here", (_, code) => {
    expect(trials.here(trialOf(code))).toMatchObject(EXPECTED);
  });

  it.each(Object.entries(WAYS))("by %s, there", async (_, code) => {
    if (!trials.hasDevice) return;
    expect(await trials.there(trialOf(code))).toMatchObject(EXPECTED);
  });

  it("and NaN 0, here", () => {
    const { u, s } = trials.here(trialOf(WAYS.operators!, [Number.NaN]));
    expect([u, s]).toEqual([[0], [0]]);
  });

  it("is not compared where it cannot be beyond", () => {
    const code = (i: number, { x, u, s }: Given): void => {
      u[i] = Math.min(Math.floor(x[i]), 255) >>> 0;
      s[i] = Math.floor(Math.sin(x[i]));
    };
    expect(trials.wgsl(trialOf(code))).not.toContain("select");
    expect(trials.wgsl(trialOf(WAYS.functions!))).toContain(">= 4294967296f");
  });
});
