/** What a launch is given as arrays comes beforehand, if it is small; nothing else does. */
import { beforeAll, describe, expect, it } from "vitest";
import { array, type Machine, ptr, u32 } from "../../src/machine/index.ts";
import { mebibytes, whyNoDevice, withMachine } from "./webgpu-machine.ts";

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
});

const PAGE = 4096;
const WORDS = PAGE / 4;
const COUNT = 64 * WORDS;

const DOUBLE = {
  name: "double",
  args: { source: ptr(u32), to: ptr(u32) },
  code: `fn main(i: u32) {
    let place = args.to + 4u * i;
    store_u32(place, 2u * load_u32(args.source + 4u * i));
  }`,
} as const;

async function filled({ space }: Machine, count: number) {
  const array = space.array(u32, count);
  await using held = await space.access(array, "write");
  for (let i = 0; i < count; i++) held.u32[i] = i;
  return array;
}

async function expectDoubled({ space }: Machine, to: { address: number; bytes: number }) {
  await using held = await space.access({ start: to.address, bytes: to.bytes }, "read");
  expect(held.u32.every((word, i) => word === 2 * i)).toBe(true);
}

it("what is read and what is written: no fault, one round", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  await withMachine({ deviceMemory: mebibytes(8) }, async (machine) => {
    const source = await filled(machine, COUNT);
    const to = machine.space.array(u32, COUNT);
    const kernel = machine.kernel(DOUBLE);
    const first = await kernel.run(4096, { source, to });
    expect(first).toMatchObject({ faults: 0, rounds: 1, evictions: 0 });
    // Zeros need not be copied.
    expect(first.pagesToDevice).toBe(64);
    expect(await kernel.run(COUNT, { source, to })).toMatchObject({ faults: 0, pagesToDevice: 0 });
    await expectDoubled(machine, to);
    // The CPU has read the result, which so came home: it goes back beforehand.
    expect(await kernel.run(COUNT, { source, to })).toMatchObject({ faults: 0, pagesToDevice: 64 });
    await expectDoubled(machine, to);
  });
});

it("a pointer brings the page of what it points to, and a view that is large does not come", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  await withMachine({ deviceMemory: mebibytes(64) }, async (machine) => {
    const source = await filled(machine, 4096 * WORDS);
    const to = machine.space.array(u32, 2049 * WORDS);
    const run = await machine.kernel(DOUBLE).run(64, { source, to });
    expect(run.faults).toBeGreaterThan(0);
    expect(run.pagesToDevice).toBeLessThan(64);
    const second = machine.space.array(u32, COUNT);
    const { address } = second;
    const pointed = await machine.kernel(DOUBLE).run(64, { source, to: address });
    expect(pointed).toMatchObject({ faults: 0, rounds: 1 });
  });
});

it("evicts nothing to make room for a view", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  await withMachine({ deviceMemory: 100 * PAGE }, async (machine) => {
    const source = await filled(machine, COUNT);
    const to = machine.space.array(u32, COUNT);
    const run = await machine.kernel(DOUBLE).run(WORDS, { source, to });
    expect(run.evictions).toBe(0);
    expect(run.faults).toBeGreaterThan(0);
    await machine.kernel(DOUBLE).run(COUNT, { source, to });
    await expectDoubled(machine, to);
  });
});

it("says of bad memory what it says of a pointer to it", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  await withMachine({ deviceMemory: mebibytes(8) }, async (machine) => {
    const source = await filled(machine, COUNT);
    const at = await machine.space.mmap({ bytes: 16 * PAGE });
    const to = machine.space.at(array(u32, 16 * WORDS), at);
    const kernel = machine.kernel(DOUBLE);
    await machine.space.mprotect(at + PAGE, PAGE, "r");
    await kernel.run(WORDS, { source, to });
    await expect(kernel.run(2 * WORDS, { source, to })).rejects.toMatchObject({
      code: "EPERM",
      access: "write",
    });
    await machine.space.munmap(at, 16 * PAGE);
    await expect(kernel.run(1, { source, to })).rejects.toMatchObject({
      code: "EFAULT",
      address: at,
    });
  });
});

describe("a new kernel that pointers lead on", () => {
  const CHASE = {
    args: { start: ptr(ptr(u32)), to: ptr(u32) },
    code: "fn main(i: u32) { store_u32(args.to + 4u * i, load_u32(load_u32(args.start)) + i); }",
  } as const;
  const PAGES = 256;

  it.each([
    ["many invocations: all of that mapping, while it compiles", 16 * PAGES, true],
    ["few: the pages that they ask for", PAGES, false],
  ])("%s", async (_, count, isAll) => {
    if (reason !== undefined) return;
    await withMachine({ deviceMemory: mebibytes(4) }, async (machine) => {
      const { space } = machine;
      const to = space.array(u32, count);
      const address: number = space.array(u32, PAGES * WORDS).address;
      {
        await using held = await space.access({ start: address, bytes: PAGES * PAGE }, "write");
        held.u32.fill(7);
        held.u32[0] = address + 100 * PAGE;
      }
      const chase = machine.kernel(CHASE);
      const first = await chase.run(count, { start: address, to });
      if (isAll) {
        expect(first).toMatchObject({ faults: 0, rounds: 1, directRounds: 1 });
        expect(first.pagesToDevice).toBeGreaterThanOrEqual(PAGES);
      } else {
        expect(first.faults).toBeGreaterThan(0);
        expect(first.pagesToDevice).toBeLessThan(PAGES / 2);
      }
      expect(await chase.run(count, { start: address, to })).toMatchObject({
        faults: 0,
        pagesToDevice: 0,
      });
      await using held = await space.access(to, "read");
      for (let i = 0; i < count; i++) expect(held.u32[i]).toBe(7 + i);
    });
  });
});
