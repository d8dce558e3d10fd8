/** Kernels that find their words by a subtraction: what they must not do differently. */
import { beforeAll, expect, it } from "vitest";
import { type Machine, ptr, u32 } from "../../src/machine/index.ts";
import { mebibytes, whyNoDevice, withMachine } from "./webgpu-machine.ts";

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
});

const PAGE = 4096;
const WORDS = PAGE / 4;
const COUNT = 64 * WORDS;

const ADD = {
  args: { data: ptr(u32), addend: u32 },
  code: `fn main(i: u32) {
    let at = args.data + 4u * i;
    store_u32(at, load_u32(at) + args.addend);
  }`,
} as const;

/** Loads follow stores: each sees what the same invocation has stored, and nothing else. */
const TWICE = {
  args: { data: ptr(u32) },
  code: `fn main(i: u32) {
    let at = args.data + 16u * i;
    store_u32(at, load_u32(at) + 1u);
    store_u32(at + 4u, load_u32(at) * 2u);
    store_vec2u(at + 8u, load_vec2u(at));
  }`,
} as const;

const REACH = {
  name: "reach",
  args: { places: ptr(u32), data: ptr(u32) },
  code: "fn main(i: u32) { store_u32(args.data + 4u * i, load_u32(load_u32(args.places + 4u * i))); }",
} as const;

/** An array on the device that may be written there, in one run. */
async function resident({ space }: Machine, count: number) {
  const array = space.array(u32, count);
  await using held = await space.access(array, "write");
  for (let i = 0; i < count; i++) held.u32[i] = i;
  held.close();
  await space.prefetch(array, "device", "write");
  return array;
}

async function words({ space }: Machine, array: { address: number; bytes: number }) {
  await using held = await space.access({ start: array.address, bytes: array.bytes }, "read");
  return held.u32.slice();
}

it("do what the others do", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  await withMachine({ deviceMemory: mebibytes(8) }, async (machine) => {
    const data = await resident(machine, COUNT);
    const report = await machine.kernel(ADD).run(COUNT, { data, addend: 5 });
    expect(report).toMatchObject({ faults: 0, pagesToDevice: 0 });
    expect(report.directRounds).toBe(report.rounds);
    expect([...(await words(machine, data))]).toEqual(
      Array.from({ length: COUNT }, (_, i) => i + 5),
    );
  });
});

it("see their own stores", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  await withMachine({ deviceMemory: mebibytes(8) }, async (machine) => {
    const data = await resident(machine, COUNT);
    const report = await machine.kernel(TWICE).run(COUNT / 4, { data });
    expect(report.directRounds).toBeGreaterThan(0);
    const seen = await words(machine, data);
    for (let i = 0; i < COUNT; i += 4) {
      expect([...seen.subarray(i, i + 4)]).toEqual([i + 1, 2 * i + 2, i + 1, 2 * i + 2]);
    }
  });
});

it("store once, though a page is taken away while they run", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  await withMachine({ deviceMemory: mebibytes(8) }, async (machine) => {
    const { space } = machine;
    const data = await resident(machine, COUNT);
    const kernel = machine.kernel(ADD);
    let direct = 0;
    for (let turn = 0; turn < 6; turn++) {
      const page = data.address + ((turn * 11) % 64) * PAGE;
      const taking = space.populate({ start: page, bytes: PAGE }, "write");
      direct += (await kernel.run(COUNT, { data, addend: 1 })).directRounds;
      await taking;
      machine.check();
    }
    expect(direct).toBeGreaterThan(0);
    expect([...(await words(machine, data))]).toEqual(
      Array.from({ length: COUNT }, (_, i) => i + 6),
    );
  });
});

it("that stray run again: elsewhere, on pages that may not be written, nowhere at all", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  await withMachine({ deviceMemory: mebibytes(8) }, async (machine) => {
    const { space } = machine;
    const far = await space.mmap({ bytes: PAGE, address: 0x2000_0000 });
    {
      await using held = await space.access({ start: far, bytes: PAGE }, "write");
      held.u32.fill(77);
    }
    const data = await resident(machine, COUNT);
    const places = await resident(machine, COUNT);
    const aim = async (at: (i: number) => number): Promise<void> => {
      await using held = await space.access(places, "write");
      for (let i = 0; i < COUNT; i++) held.u32[i] = at(i);
      held.close();
      await space.prefetch(places, "device", "write");
    };
    const kernel = machine.kernel(REACH);
    const isFar = (i: number): boolean => i % 100 === 0;
    await aim((i) => (isFar(i) ? far + 4 : data.address + 4 * i));
    const report = await kernel.run(COUNT, { places, data });
    expect(report.directRounds).toBeGreaterThan(0);
    const seen = await words(machine, data);
    for (let i = 0; i < COUNT; i++) expect(seen[i]).toBe(isFar(i) ? 77 : i);
    for (const [wrong, address] of [
      [{ code: "EFAULT", kernel: "reach" }, 0x3000_0000],
      [{ code: "EINVAL", kernel: "reach" }, data.address + 2],
      [{ code: "EFAULT", kernel: "reach" }, 0],
    ] as const) {
      await aim((i) => (i === 5000 ? address : data.address + 4 * i));
      await space.prefetch(data, "device", "write");
      await expect(kernel.run(COUNT, { places, data })).rejects.toMatchObject({
        ...wrong,
        address,
      });
      machine.check();
    }
  });
});

it("store elsewhere than they load: in another mapping, before and behind", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  await withMachine({ deviceMemory: mebibytes(8) }, async (machine) => {
    const { space } = machine;
    const out = await resident(machine, COUNT / 16);
    const from = await space.mmap({ bytes: 256 * PAGE, address: 0x2000_0000 });
    const range = { start: from, bytes: 256 * PAGE };
    {
      await using held = await space.access(range, "write");
      for (let i = 0; i < held.u32.length; i++) held.u32[i] = from + 4 * ((7919 * i) % COUNT);
    }
    await space.prefetch(range, "device");
    const reach = machine.kernel(REACH);
    const report = await reach.run(COUNT / 16, { places: from, data: out });
    expect([report.faults, report.directRounds]).toEqual([0, report.rounds]);
    const seen = await words(machine, out);
    for (let i = 0; i < COUNT / 16; i++) {
      expect(seen[i]).toBe(from + 4 * ((7919 * ((7919 * i) % COUNT)) % COUNT));
    }
    // A store into what may only be read there makes nobody wrong, and nothing is stored twice.
    const add = machine.kernel(ADD);
    await add.run(WORDS, { data: from, addend: 1 });
    await using held = await space.access(range, "read");
    expect([held.u32[0], held.u32[1], held.u32[WORDS]]).toEqual([
      from + 1,
      from + 4 * 7919 + 1,
      from + 4 * ((7919 * WORDS) % COUNT),
    ]);
  });
});

it("that mostly stray are not tried again at once", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  await withMachine({ deviceMemory: mebibytes(8) }, async (machine) => {
    const { space } = machine;
    const large = await resident(machine, COUNT);
    const small = await space.mmap({ bytes: 4 * PAGE, address: 0x2000_0000 });
    const kernel = machine.kernel(ADD);
    const run = async () => (await kernel.run(4 * WORDS, { data: small, addend: 1 })).directRounds;
    const direct: number[] = [];
    for (let k = 0; k < 6; k++) direct.push(await run());
    // Its pages are few beside the large run's: every try is in vain. The first could blame that
    // they were missing; after the others there is one after 1, 2, … launches.
    expect(direct).toEqual([1, 1, 0, 1, 0, 0]);
    await using held = await space.access({ start: small, bytes: 4 * PAGE }, "read");
    expect(held.u32.every((word) => word === 6)).toBe(true);
    expect((await words(machine, large))[7]).toBe(7);
  });
});

it("that mostly stray are tried again at once when the run has grown", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  await withMachine({ deviceMemory: mebibytes(16) }, async (machine) => {
    const { space } = machine;
    await resident(machine, 3 * COUNT);
    const far = await space.mmap({ bytes: 2048 * PAGE, address: 0x2000_0000 });
    const kernel = machine.kernel(ADD);
    const run = async (data: number) =>
      (await kernel.run(4 * WORDS, { data, addend: 1 })).directRounds;
    const before: number[] = [];
    for (let k = 0; k < 5; k++) before.push(await run(far));
    expect(before).toEqual([1, 1, 0, 1, 0]);
    await space.prefetch({ start: far, bytes: 2048 * PAGE }, "device", "write");
    expect(await run(far + 64 * PAGE)).toBeGreaterThan(0);
    await using held = await space.access({ start: far, bytes: 68 * PAGE }, "read");
    expect([held.u32[0], held.u32[64 * WORDS], held.u32[64 * WORDS - 1]]).toEqual([5, 1, 0]);
  });
});
