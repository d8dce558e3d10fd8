/** Atomics in kernels: what they give here, on the device, and called as they are. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as onespace from "../../src/machine/index.ts";
import {
  array,
  atomicAdd,
  atomicMax,
  atomicMin,
  atomicStore,
  f32,
  i32,
  Machine,
  ptr,
  struct,
  u32,
  vec3u,
} from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";
import { type Trial, Trials } from "./agreement.ts";

const Slot = struct("Slot", {
  count: u32,
  lowest: i32,
  share: f32,
  bins: array(u32, 4),
  at: vec3u,
  next: ptr(() => Slot),
});

const noDevice = await whyNoDevice();
let trials: Trials;
let machine: Machine;

beforeAll(async () => {
  trials = await Trials.open();
  machine = await Machine.create({ cpu: "scoped", device: noDevice ? "none" : "auto" });
});

afterAll(async () => {
  machine.check();
  await machine.close();
  await trials.close();
});

type Numbers = { [index: number]: number };
type Some<Names extends string> = { readonly [Name in Names]: Numbers };

const U = (...values: number[]): Uint32Array => Uint32Array.from(values);
const I = (...values: number[]): Int32Array => Int32Array.from(values);

/** A function that stores, so it is called by itself. */
function count(list: Numbers, k: number): number {
  return atomicAdd(list, k, 1);
}

const {
  atomicLoad,
  atomicSub,
  atomicAnd,
  atomicOr,
  atomicXor,
  atomicExchange,
  atomicCompareExchange,
} = onespace;

/** One invocation, so that what was there before is known. */
const every = (i: number, { w, out }: Some<"w" | "out">): void => {
  atomicStore(w, 0, 40);
  out[0] = atomicAdd(w, i, 5);
  out[1] = atomicSub(w, 0, 46);
  out[2] = atomicLoad(w, 0) + atomicLoad(w, 1);
  const low = atomicMin(w, 0, 7);
  out[3] = low;
  out[4] = atomicMax(w, 0, 2_000_000_000);
  out[5] = atomicAnd(w, 0, 0xffff);
  out[6] = atomicOr(w, 0, 0x10_0001);
  out[7] = atomicXor(w, 0, -1);
  out[8] = atomicExchange(w, 0, 9);
  out[9] = atomicCompareExchange(w, 0, 8, 1);
  out[10] = atomicCompareExchange(w, 0, 9, 2);
  let last = 0;
  last = atomicLoad(w, 0);
  if (last === 2 && atomicLoad(w, 1) !== 0) out[11] = last;
};

const TRIALS: Readonly<Record<string, Trial>> = {
  "all of u32": { code: every, args: { w: U(1, 2), out: new Uint32Array(12) }, count: 1 },
  "all of i32": { code: every, args: { w: I(1, -2), out: new Int32Array(12) }, count: 1 },
  "of i32 kept in u32": { code: every, args: { w: I(1, 2), out: new Uint32Array(12) }, count: 1 },
  "of many invocations": {
    code: (i: number, { bins, ends }: Some<"bins" | "ends">) => {
      count(bins, i % 5);
      atomicMin(ends, 0, i - 40);
      if (i % 2 === 0) atomicMax(ends, 1, i * 3);
    },
    args: { bins: new Uint32Array(5), ends: I(1000, -1000) },
    count: 100,
    uses: { count, atomicMin, atomicAdd },
  },
};

describe("atomics", () => {
  it.each(Object.entries(TRIALS))("%s: here as in JavaScript", (_name, trial) => {
    expect(trials.here(trial)).toEqual(trials.plain(trial));
  });

  it.each(Object.entries(TRIALS))("%s: there as in JavaScript", async (_name, trial) => {
    if (!trials.hasDevice) return;
    expect(await trials.there(trial)).toEqual(trials.plain(trial));
  });

  it.skipIf(noDevice)("of fields, elements within and components; here and there", async () => {
    const { space } = machine;
    const kernel = machine.kernel(
      { slots: ptr(Slot), out: ptr(u32) },
      (i, { slots, out }, { atomicAdd, atomicMin, i32 }) => {
        const slot = slots[i % 2];
        const place = atomicAdd(slot, "count", 1);
        atomicMin(slot, "lowest", -i32(i));
        atomicAdd(slot.bins, i % 4, 2);
        atomicAdd(slot.at, "y", i);
        out[i % 2 === 0 ? place : 8 + place] = 1;
      },
    );
    for (const way of ["runHere", "run"] as const) {
      const [slots, out] = [space.array(Slot, 2), space.array(u32, 16)];
      out.fill(0);
      for (let k = 0; k < 2; k++) {
        slots.at(k).assign({ count: 0, lowest: 3, share: 0, bins: [0, 0, 0, 0], at: [1, 1, 1] });
      }
      await kernel[way](10, { slots, out });
      await space.populate(slots, "read");
      await space.populate(out, "read");
      expect(slots.toArray()).toMatchObject([
        { count: 5, lowest: -8, share: 0, bins: [6, 0, 4, 0], at: [1, 21, 1] },
        { count: 5, lowest: -9, share: 0, bins: [0, 6, 0, 4], at: [1, 26, 1] },
      ]);
      expect(out.toArray()).toEqual([1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0]);
    }
  });

  it("of what may not be touched say so here", () => {
    const kernel = machine.kernel({ w: ptr(u32) }, (i, { w }) => void atomicAdd(w, i, 1));
    expect(() => kernel.runHere(1, { w: 0x1000 })).toThrow(/runHere: .*at 0x1000.*\(EFAULT\)/);
  });

  it("take integer arrays outside of kernels, and nothing else", () => {
    const words = U(3);
    expect([atomicMin(words, 0, -1), atomicMax(words, 0, 9), words[0]]).toEqual([3, 3, 9]);
    const floats = new Float32Array(1);
    expect(() => atomicAdd(floats, 0, 1)).toThrow(
      /^atomicAdd: outside of kernels it takes an Int32Array or a Uint32Array, got .*\(EINVAL\)$/,
    );
  });
});
