/**
 * What kernels compute: each function gives the same when it is called as it is, when `runHere`
 * runs it, and on the device.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Trial, Trials } from "./agreement.ts";

let trials: Trials;

beforeAll(async () => {
  trials = await Trials.open();
});

afterAll(() => trials.close());

const U = (...values: number[]): Uint32Array => Uint32Array.from(values);
const I = (...values: number[]): Int32Array => Int32Array.from(values);
const F = (...values: number[]): Float32Array => Float32Array.from(values);

// Arguments are typed by what a case hands over.
type Numbers = { [index: number]: number };
type Some<Names extends string> = { readonly [Name in Names]: Numbers };
type Tools = { u32(x: unknown): number; i32(x: unknown): number; f32(x: unknown): number };

const WIDTH = 3;
const isWide = true;
const z = (x: number): number => x - 1;
const square = (x: number): number => x * x;

function clamp(x: number, low: number, high: number): number {
  if (x < low) return low;
  return x > high ? high : x;
}

function last(x: number): number {
  let twice = x;
  // biome-ignore lint/complexity/noCommaOperator: as a minifier writes it
  return twice++, twice;
}

function put(at: Numbers, i: number, value: number): void {
  at[i] = value;
}

function twice(x: number): number {
  let sum = 0;
  for (let j = 0; j < 2; j++) sum += square(x);
  return sum;
}

const INTEGERS: Readonly<Record<string, Trial>> = {
  "u32 arithmetic": {
    code: (i: number, { a, b, out }: Some<"a" | "b" | "out">) => {
      out[i] = a[i] + b[i] * 3 - (a[i] % (b[i] + 1));
    },
    args: { a: U(7, 100, 65_535), b: U(3, 9, 40_000), out: U(0, 0, 0) },
    count: 3,
  },
  "i32 arithmetic": {
    code: (i: number, { a, b, out }: Some<"a" | "b" | "out">) => {
      out[i] = -a[i] + b[i] * 3 - (a[i] % b[i]);
    },
    args: { a: I(-7, 100, -65_535), b: I(3, -9, 4000), out: I(0, 0, 0) },
    count: 3,
  },
  "divisions of i32": {
    code: (i: number, { a, b, out }: Some<"a" | "b" | "out">) => {
      out[i * 4] = Math.floor(a[i] / b[i]);
      out[i * 4 + 1] = Math.trunc(a[i] / b[i]);
      out[i * 4 + 2] = (a[i] / b[i]) | 0;
      out[i * 4 + 3] = Math.ceil(a[i] / b[i]);
    },
    args: {
      a: I(7, -7, 7, -7, 6, -6, 0, 5),
      b: I(2, 2, -2, -2, 3, 3, 9, 2_000_000_000),
      out: new Int32Array(32),
    },
    count: 8,
  },
  "divisions of u32, also by 0": {
    code: (i: number, { a, b, out }: Some<"a" | "b" | "out">) => {
      out[i * 3] = (a[i] / b[i]) >>> 0;
      out[i * 3 + 1] = Math.floor(a[i] / 10);
      out[i * 3 + 2] = (a[i] / (b[i] + 1)) | 0;
    },
    args: { a: U(7, 4_294_967_295, 10), b: U(2, 0, 4_294_967_294), out: new Uint32Array(9) },
    count: 3,
  },
  "bits of u32": {
    code: (i: number, { a, b, out }: Some<"a" | "b" | "out">) => {
      out[i * 4] = (a[i] & 0xff) | (b[i] << 4);
      out[i * 4 + 1] = a[i] ^ ~b[i];
      out[i * 4 + 2] = a[i] >>> (b[i] & 31);
      out[i * 4 + 3] = (a[i] >>> 33) + Math.clz32(a[i]);
    },
    args: { a: U(0xdead_beef, 1, 0), b: U(0x1234_5678, 31, 7), out: new Uint32Array(12) },
    count: 3,
  },
  "bits of i32": {
    code: (i: number, { a, out }: Some<"a" | "out">) => {
      out[i * 4] = a[i] >> 3;
      out[i * 4 + 1] = a[i] & -16;
      out[i * 4 + 2] = Math.imul(a[i], 31);
      out[i * 4 + 3] = (a[i] >>> 28) | 0;
    },
    args: { a: I(-1, 5, -2_147_483_648), out: new Int32Array(12) },
    count: 3,
  },
  "a hash that wraps": {
    code: (i: number, { words, out }: Some<"words" | "out">, { u32 }: Tools) => {
      let hash = u32(2_166_136_261);
      for (let j = 0; j < 4; j++) hash = Math.imul(hash ^ words[i * 4 + j], 16_777_619) >>> 0;
      out[i] = hash;
    },
    args: { words: U(1, 2, 3, 4, 5, 6, 7, 8), out: U(0, 0) },
    count: 2,
  },
  "counting down, doing, breaking, going on": {
    code: (i: number, { out }: Some<"out">) => {
      let sum = 0;
      for (let j = 10; j >= 0; j--) {
        if (j === 7) continue;
        if (j === 2) break;
        sum += j;
      }
      let k = 0;
      do {
        k++;
        if (k === 3) continue;
        sum += 100;
      } while (k < i + 3);
      while (true) {
        sum++;
        if (sum % 7 === 0) break;
      }
      out[i] = sum;
    },
    args: { out: new Uint32Array(3) },
    count: 3,
  },
  "loops with several names, and in each other": {
    code: (i: number, { out }: Some<"out">) => {
      let sum = 0;
      for (let a = 0, b = 10; a < b; a++, b--) {
        for (let c = a; c < b; c += 2) sum += c * (i + 1);
      }
      out[i] = sum;
    },
    args: { out: new Int32Array(2) },
    count: 2,
  },
  "early returns": {
    code: (i: number, { n, out }: Some<"out"> & { n: number }) => {
      if (i >= n) return;
      if (i === 1) {
        out[i] = 7;
        return;
      }
      out[i] = 9;
    },
    args: { n: 3, out: new Uint32Array(4) },
    count: 4,
  },
  "choices that would read too far": {
    code: (i: number, { a, next, out }: Some<"a" | "next" | "out">) => {
      const at = next[i];
      out[i] = at === 4_294_967_295 ? 5 : a[at] > 2 && a[a[at]] > 1 ? a[a[at]] : 3;
    },
    args: { a: U(1, 2, 3, 4, 0), next: U(0, 4_294_967_295, 2, 3), out: new Uint32Array(4) },
    count: 4,
  },
  "conditions that need statements, in loops": {
    code: (i: number, { a, out }: Some<"a" | "out">) => {
      let at = i;
      let steps = 0;
      while ((at < 4 ? a[at] : 99) < 50) {
        at = a[at];
        steps++;
      }
      out[i] = steps;
    },
    args: { a: U(1, 2, 3, 4, 0), out: new Uint32Array(5) },
    count: 5,
  },
  "names that get their types from what comes later": {
    code: (i: number, { s, out }: Some<"s" | "out">) => {
      let x!: number;
      let y = 0;
      for (let k = 0; k < 2; k++) {
        const a: number = k === 0 ? 5 : x;
        x = a + 1;
        y = y + z(k === 1 ? s[i] : 2);
      }
      out[i] = x + y;
    },
    args: { s: I(-7, 8), out: I(0, 0) },
    count: 2,
    uses: { z },
  },
  "bits of integers of the text": {
    code: (i: number, { out }: Some<"out">, { u32 }: Tools) => {
      if (7 !== (i > 1 ? -7 : 7) && (i > 0 ? 2 : -3) < -1) out[i] = 1000;
      out[i] += ((i > 1 ? 3 : -5) << i) + ((i > 0 ? 7 : 9) >> 1) + (u32(-(i > 0 ? 1 : 2)) | 0);
    },
    args: { out: I(0, 0, 0) },
    count: 3,
  },
  "compound assignments of elements, read once": {
    code: (i: number, { index, out }: Some<"index" | "out">) => {
      out[index[i]] += 5;
      out[index[i]] <<= 1;
      out[index[i]]++;
      out[index[i]] |= 64;
    },
    args: { index: U(2, 0, 1), out: U(1, 2, 3) },
    count: 3,
  },
  "what minifiers write": {
    code: (i: number, { a, out }: Some<"a" | "out">) => {
      let t = 0;
      // biome-ignore lint/complexity/noCommaOperator: as a minifier writes it
      // biome-ignore lint/suspicious/noAssignInExpressions: as a minifier writes it
      a[i] > 2 && ((t = 4), (out[i] = t));
      // biome-ignore lint/suspicious/noAssignInExpressions: as a minifier writes it
      a[i] < 2 ? (t += 2) : (t -= 1);
      // biome-ignore lint/suspicious/noAssignInExpressions: as a minifier writes it
      a[i] === 2 || (out[i] += t + 10);
    },
    args: { a: I(1, 2, 3), out: I(0, 0, 0) },
    count: 3,
  },
  "what minifiers write in heads": {
    code: (i: number, { a, out }: Some<"a" | "out">) => {
      let t = 0;
      let n = 0;
      // biome-ignore lint/complexity/noCommaOperator: as a minifier writes it
      if ((t++, t > i)) n = 1;
      // biome-ignore lint/complexity/noCommaOperator: as a minifier writes it
      for (; n++, n < 10; ) if (n === 3) t += 2;
      // biome-ignore lint/complexity/noCommaOperator: as a minifier writes it
      while ((t--, t > 0)) n += t;
      out[i] = last(a[i]) + n;
    },
    args: { a: U(1, 2, 3), out: U(0, 0, 0) },
    count: 3,
    uses: { last },
  },
  "names that WGSL keeps, or that are there twice": {
    code: (i: number, { a, out }: Some<"a" | "out">) => {
      const select = a[i];
      const $x = select + 1;
      let fn = 0;
      for (let j = 0; j < 2; j++) {
        const select = j + 10;
        fn += select;
      }
      for (let j = 0; j < 2; j++) fn += j;
      out[i] = fn + $x;
    },
    args: { a: U(1, 2), out: U(0, 0) },
    count: 2,
  },
};

const FLOATS: Readonly<Record<string, Trial>> = {
  "f32 sums of products": {
    code: (i: number, { a, b, out }: Some<"a" | "b" | "out">, { f32 }: Tools) => {
      // Exact in f32, so that JavaScript says the same.
      out[i] = f32(a[i] * b[i]) - 0.25 + i;
    },
    args: { a: F(1.5, 2, -3), b: F(0.5, 4, 8), out: F(0, 0, 0) },
    count: 3,
  },
  "sums that begin with an integer": {
    code: (i: number, { a, out }: Some<"a" | "out">) => {
      let sum = 0;
      for (let j = 0; j <= i; j++) sum += a[j];
      out[i] = sum / 2;
    },
    args: { a: F(1.5, 2, -3), out: F(0, 0, 0) },
    count: 3,
  },
  "quotients of integers": {
    code: (i: number, { a, out }: Some<"a" | "out">) => {
      out[i] = a[i] / 4 + 1 / 2;
    },
    args: { a: U(1, 2, 3), out: F(0, 0, 0) },
    count: 3,
  },
  rounding: {
    code: (i: number, { a, out }: Some<"a" | "out">) => {
      out[i * 4] = Math.floor(a[i]);
      out[i * 4 + 1] = Math.ceil(a[i]);
      out[i * 4 + 2] = Math.trunc(a[i]);
      out[i * 4 + 3] = Math.round(a[i]);
    },
    args: {
      a: F(0.5, 1.5, 2.5, -0.5, -1.5, 0.49999997, -2.75, 8_388_609),
      out: new Int32Array(32),
    },
    count: 8,
  },
  "indices from floats": {
    code: (i: number, { a, at, out }: Some<"a" | "at" | "out">, { u32 }: Tools) => {
      const cell = Math.floor(at[i] * 2);
      out[i] = a[cell] + a[u32(at[i])];
    },
    args: { a: U(1, 20, 300, 4000), at: F(0.5, 1.25, 0), out: U(0, 0, 0) },
    count: 3,
  },
  "the smallest, by Infinity": {
    code: (i: number, { a, out }: Some<"a" | "out">, { i32 }: Tools) => {
      let best = Infinity;
      let where = -1;
      for (let j = 0; j < 4; j++) {
        if (a[j] < best && j !== i) {
          best = a[j];
          where = i32(j);
        }
      }
      out[i] = where;
    },
    args: { a: F(3, 1, 2, 1.5), out: new Int32Array(4) },
    count: 4,
  },
  "minima, maxima, signs": {
    code: (i: number, { a, b, out }: Some<"a" | "b" | "out">) => {
      out[i] = Math.max(a[i], b[i], 0.5) + Math.min(a[i], 2) * Math.sign(b[i]) + Math.abs(b[i]);
    },
    args: { a: F(1, -2, 3), b: I(-2, 0, 5), out: F(0, 0, 0) },
    count: 3,
  },
  powers: {
    code: (i: number, { a, out }: Some<"a" | "out">) => {
      out[i] = a[i] ** 2 + a[i] ** 3 + (a[i] + 1) ** 4 + Math.sqrt(a[i] * a[i]);
    },
    args: { a: F(1, -2, 3), out: F(0, 0, 0) },
    count: 3,
  },
  "truths in numbers": {
    code: (i: number, { a, out }: Some<"a" | "out">, { u32, f32 }: Tools) => {
      const isBig = a[i] > 1.5;
      let isOdd = false;
      if (i % 2 === 1) isOdd = true;
      out[i] = u32(isBig) * 2 + f32(isOdd) + (isBig !== isOdd ? 4 : 0);
    },
    args: { a: F(1, 2, 3, 0), out: F(0, 0, 0, 0) },
    count: 4,
  },
};

const USES: Readonly<Record<string, Trial>> = {
  "constants and functions that are handed over": {
    code: (i: number, { a, out }: Some<"a" | "out">) => {
      out[i] = isWide ? clamp(a[i] + WIDTH, 0, 20) : 0;
    },
    args: { a: I(1, 18, -40), out: I(0, 0, 0) },
    count: 3,
    uses: { WIDTH: 3, isWide: true, clamp },
  },
  "a function for several types": {
    code: (i: number, { a, b, out }: Some<"a" | "b" | "out">) => {
      out[i] = square(a[i]) + square(b[i]) + square(2);
    },
    args: { a: U(1, 2), b: F(0.5, 4), out: F(0, 0) },
    count: 2,
    uses: { square },
  },
  "what is handed over, from the third parameter": {
    code: (
      i: number,
      { out }: Some<"out">,
      { W: width, f, u32 }: Tools & { W: number; f(a: number, b: number, c: number): number },
    ) => {
      out[i] = u32(f(i + width, 1, 3));
    },
    args: { out: U(0, 0, 0) },
    count: 3,
    uses: { W: 1, f: clamp },
  },
  "a function that stores, and one that calls others": {
    code: (i: number, { out }: Some<"out">) => {
      put(out, i, twice(i));
    },
    args: { out: U(0, 0, 0) },
    count: 3,
    uses: { put, twice, square },
  },
};

describe.each([
  ["integers", INTEGERS],
  ["floats", FLOATS],
  ["uses", USES],
])("kernels of %s", (_, cases) => {
  it.each(Object.entries(cases))("%s: here as in JavaScript", (_name, trial) => {
    expect(trials.here(trial)).toEqual(trials.plain(trial));
  });

  it.each(Object.entries(cases))("%s: there as in JavaScript", async (_name, trial) => {
    if (!trials.hasDevice) return;
    expect(await trials.there(trial)).toEqual(trials.plain(trial));
  });
});
