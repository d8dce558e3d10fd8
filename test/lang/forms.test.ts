/** The same kernel as functions of every form, as programs, compilers and bundlers write them. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type KernelFunction, Machine, ptr, u32 } from "../../src/machine/index.ts";

const ARGS = { keys: ptr(u32), out: ptr(u32) } as const;
type Args = typeof ARGS;

const LIMIT = 3;
const twice = (x: number): number => 2 * x;
const uses = { LIMIT, twice };

let machine: Machine;

beforeAll(async () => {
  machine = await Machine.create({ cpu: "scoped", device: "none" });
});

afterAll(() => machine.close());

function resultOf(code: KernelFunction<Args, typeof uses>): readonly number[] {
  const keys = machine.space.array(u32, 4);
  const out = machine.space.array(u32, 4);
  keys.copyFrom([1, 5, 2, 9]);
  out.fill(0);
  machine.kernel(ARGS, code, { uses }).runHere(4, { keys, out });
  return out.toArray();
}

const textOf = (text: string): KernelFunction<Args, typeof uses> =>
  new Function(`"use strict"; return ${text};`)();

class Kernels {
  method(i: number, { keys, out }: { keys: number[]; out: number[] }): void {
    out[i] = keys[i] < LIMIT ? twice(keys[i]) : 0;
  }

  static other(i: number, args: { keys: number[]; out: number[] }): void {
    args.out[i] = args.keys[i] < LIMIT ? twice(args.keys[i]) : 0;
  }
}

describe("a kernel is the same", () => {
  const expected = [2, 0, 4, 0];

  it("as an arrow, a function, a method", () => {
    expect(
      resultOf((i, { keys, out }) => {
        out[i] = keys[i] < LIMIT ? twice(keys[i]) : 0;
      }),
    ).toEqual(expected);
    expect(
      resultOf(function named(i, { keys: k, out: o }) {
        o[i] = k[i] < LIMIT ? twice(k[i]) : 0;
      }),
    ).toEqual(expected);
    const { method } = Kernels.prototype;
    expect(resultOf(method as never)).toEqual(expected);
    expect(resultOf(Kernels.other as never)).toEqual(expected);
    const object = {
      "with a name"(i: number, { keys, out }: { keys: number[]; out: number[] }): void {
        out[i] = keys[i] < LIMIT ? twice(keys[i]) : 0;
      },
    };
    expect(resultOf(object["with a name"] as never)).toEqual(expected);
  });

  it.each([
    "(i, { keys, out }, { LIMIT: a, twice: b }) => { out[i] = keys[i] < a ? b(keys[i]) : 0; }",
    "(i, { keys, out }, t) => { out[i] = keys[i] < t.LIMIT ? t.twice(keys[i]) : 0; }",
    "(i, { keys, out }) => { out[i] = keys[i] < ns.LIMIT ? (0, ns.twice)(keys[i]) : 0; }",
    "(i, { keys, out }) => { out[i] = keys[i] < (0, ns.LIMIT) ? ns.twice(keys[i]) : 0; }",
    "(i, { keys, out }) => { out[i] = ns.u32((0, ns.u32)(keys[i] < 3)) * 2 * keys[i]; }",
    '(i, { "keys": k, out }) => { out[i] = k[i] < 3 ? k[i] << 1 : 0; }',
    "(i, a) => a.out[i] = a['keys'][i] < 3 ? a.keys[i] + a.keys[i] : 0",
    "function (e, { keys: t, out: n }) { t[e] < 3 && (n[e] = 2 * t[e]) }",
    "(e,{keys:t,out:n})=>{if(!(t[e]>=3)){let r=t[e];n[e]=r+r}}",
    "/* a comment */ (i, { keys, out }) => { // another\n out[i] = keys[i] < 3 ? 2 * keys[i] : 0 }",
    "(é, { keys, out }) => { const größe = keys[é]; if (größe < 3) out[é] = größe * 2; }",
    "(i, { keys, out }) => { const args = keys[i], load_u32 = 3; if (args < load_u32) out[i] = args * 2; }",
  ])("as %s", (text) => {
    expect(resultOf(textOf(text))).toEqual(expected);
  });

  it("without parameters, and with none used", () => {
    expect(resultOf(() => {})).toEqual([0, 0, 0, 0]);
    expect(resultOf((_i, _args, _toolkit) => {})).toEqual([0, 0, 0, 0]);
    machine.kernel({}, () => {}).runHere(1, {});
  });
});
