/**
 * The atomics of kernels as functions, so that they can be imported as `u32` is. Called outside of
 * a kernel they are those of `Atomics`, on integer arrays.
 */
import { invalid } from "../error.ts";
import { show } from "../given.ts";
import type { AtomicTools } from "./atomic-types.ts";

type Words = Uint32Array | Int32Array;
type Outside = (list: Words, index: number, value: number, other: number) => number | undefined;

const OUTSIDE: Readonly<Record<keyof AtomicTools, Outside>> = {
  atomicLoad: (list, index) => Atomics.load(list, index),
  atomicStore: (list, index, value) => void Atomics.store(list, index, value),
  atomicAdd: (list, index, value) => Atomics.add(list, index, value),
  atomicSub: (list, index, value) => Atomics.sub(list, index, value),
  atomicMin: (list, index, value) => ordered(Math.min, list, index, value),
  atomicMax: (list, index, value) => ordered(Math.max, list, index, value),
  atomicAnd: (list, index, value) => Atomics.and(list, index, value),
  atomicOr: (list, index, value) => Atomics.or(list, index, value),
  atomicXor: (list, index, value) => Atomics.xor(list, index, value),
  atomicExchange: (list, index, value) => Atomics.exchange(list, index, value),
  atomicCompareExchange: (list, index, compare, value) =>
    Atomics.compareExchange(list, index, compare, value),
};

function ordered(
  order: (a: number, b: number) => number,
  list: Words,
  index: number,
  value: number,
): number {
  const word = list instanceof Uint32Array ? value >>> 0 : value | 0;
  for (let old = Atomics.load(list, index); ; ) {
    const seen = Atomics.compareExchange(list, index, old, order(old, word));
    if (seen === old) return old;
    old = seen;
  }
}

function outside(name: string, call: Outside): Outside {
  return (list, ...given) => {
    if (list instanceof Uint32Array || list instanceof Int32Array) return call(list, ...given);
    const rule = "outside of kernels it takes an Int32Array or a Uint32Array";
    throw invalid(name, `${rule}, got ${show(list)}`);
  };
}

const FUNCTIONS = Object.fromEntries(
  Object.entries(OUTSIDE).map(([name, call]) => [name, outside(name, call)]),
) as unknown as AtomicTools;

export const atomicLoad: AtomicTools["atomicLoad"] = FUNCTIONS.atomicLoad;
export const atomicStore: AtomicTools["atomicStore"] = FUNCTIONS.atomicStore;
export const atomicAdd: AtomicTools["atomicAdd"] = FUNCTIONS.atomicAdd;
export const atomicSub: AtomicTools["atomicSub"] = FUNCTIONS.atomicSub;
export const atomicMin: AtomicTools["atomicMin"] = FUNCTIONS.atomicMin;
export const atomicMax: AtomicTools["atomicMax"] = FUNCTIONS.atomicMax;
export const atomicAnd: AtomicTools["atomicAnd"] = FUNCTIONS.atomicAnd;
export const atomicOr: AtomicTools["atomicOr"] = FUNCTIONS.atomicOr;
export const atomicXor: AtomicTools["atomicXor"] = FUNCTIONS.atomicXor;
export const atomicExchange: AtomicTools["atomicExchange"] = FUNCTIONS.atomicExchange;
export const atomicCompareExchange: AtomicTools["atomicCompareExchange"] =
  FUNCTIONS.atomicCompareExchange;

/** What a kernel knows it by, where it is handed over; nothing for any other value. */
export const atomicNameOf = (value: unknown): string | undefined =>
  Object.entries(FUNCTIONS).find(([, each]) => each === value)?.[0];
