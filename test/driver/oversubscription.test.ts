import { beforeAll, describe, expect, it } from "vitest";
import { type Machine, ptr, u32 } from "../../src/machine/index.ts";
import { mebibytes, permutation, whyNoDevice, withMachine } from "./webgpu-machine.ts";

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
});

const FOLLOW = `fn main(i: u32) {
  var at = load_u32(args.heads + 4u * i);
  var sum = 0u;
  while (at != 0u) {
    sum += load_u32(at + 4u);
    at = load_u32(at);
  }
  store_u32(args.sums + 4u * i, sum);
}`;

interface Lists {
  readonly heads: number;
  readonly sums: number;
  readonly expected: Uint32Array;
}

/** `count` linked lists of `length` nodes (next, value), one node every `spacing` bytes, mixed. */
async function scatterLists(
  machine: Machine,
  shape: { readonly count: number; readonly length: number; readonly spacing: number },
): Promise<Lists> {
  const { space } = machine;
  const { count, length, spacing } = shape;
  const nodes = count * length;
  const region = await space.mmap({ bytes: nodes * spacing });
  const heads = await space.mmap({ bytes: count * 4 });
  const sums = await space.mmap({ bytes: count * 4 });
  const place = permutation(nodes, 12_345);
  const expected = new Uint32Array(count);
  const addressOf = (node: number) => region + place[node]! * spacing;
  {
    await using memory = await space.access({ start: region, bytes: nodes * spacing }, "write");
    await using first = await space.access({ start: heads, bytes: count * 4 }, "write");
    for (let node = 0; node < nodes; node++) {
      const list = Math.floor(node / length);
      const isLast = (node + 1) % length === 0;
      const at = (addressOf(node) - region) / 4;
      const value = Math.imul(node, 2_654_435_761) >>> 0;
      memory.u32[at] = isLast ? 0 : addressOf(node + 1);
      memory.u32[at + 1] = value;
      expected[list] = (expected[list]! + value) >>> 0;
      if (node % length === 0) first.u32[list] = addressOf(node);
    }
  }
  return { heads, sums, expected };
}

const followArgs = { heads: ptr(u32), sums: ptr(u32) };

describe("data larger than device memory", () => {
  it("4,096 lists of 64 nodes over 256 MiB, 32 MiB of device memory: right sums", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(32) }, async (machine) => {
      const lists = await scatterLists(machine, { count: 4096, length: 64, spacing: 1024 });
      const follow = machine.kernel({ name: "follow", args: followArgs, code: FOLLOW });
      const report = await follow.run(4096, { heads: lists.heads, sums: lists.sums });
      const bytes = 4096 * 4;
      await using sums = await machine.space.access({ start: lists.sums, bytes }, "read");
      expect(Array.from(sums.u32)).toEqual(Array.from(lists.expected));
      expect(report.peakPages * 4096).toBeLessThanOrEqual(mebibytes(32));
      expect(report.evictions).toBeGreaterThan(0);
    });
  });

  it("finishes one invocation at a time when no two fit together", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: 64 * 4096 }, async (machine) => {
      const lists = await scatterLists(machine, { count: 16, length: 56, spacing: 4096 });
      const follow = machine.kernel({ name: "follow", args: followArgs, code: FOLLOW });
      const done: number[] = [];
      await follow.run(
        16,
        { heads: lists.heads, sums: lists.sums },
        { onProgress: (progress) => done.push(progress.done) },
      );
      await using sums = await machine.space.access({ start: lists.sums, bytes: 64 }, "read");
      expect(Array.from(sums.u32)).toEqual(Array.from(lists.expected));
      expect(done).toEqual([...done].sort((a, b) => a - b));
      expect(new Set(done).size).toBeGreaterThanOrEqual(16);
    });
  });

  it("ends with an error when one invocation alone does not fit", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: 64 * 4096 }, async (machine) => {
      const lists = await scatterLists(machine, { count: 4, length: 100, spacing: 4096 });
      const follow = machine.kernel({ name: "follow", args: followArgs, code: FOLLOW });
      await expect(follow.run(4, { heads: lists.heads, sums: lists.sums })).rejects.toMatchObject({
        code: "ENOMEM",
        kernel: "follow",
        invocation: expect.any(Number),
        message: expect.stringContaining("bytes of device memory at once"),
      });
    });
  });
});

describe("kernels that write", () => {
  const UPDATE = `fn main(i: u32) {
    for (var k = 0u; k < 16u; k++) {
      let at = args.x + 4u * (16u * i + k);
      store_u32(at, load_u32(at) * 1664525u + load_u32(args.y + 4u * ((i * 7919u + k) % args.m)));
    }
  }`;

  it("in place over 64 MiB with 32 MiB of device memory: as the same loop in JavaScript", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(32) }, async (machine) => {
      const { space } = machine;
      const words = mebibytes(64) / 4;
      const m = mebibytes(4) / 4;
      const x = await space.mmap({ bytes: words * 4 });
      const y = await space.mmap({ bytes: m * 4 });
      const expected = new Uint32Array(words);
      {
        await using xs = await space.access({ start: x, bytes: words * 4 }, "write");
        await using ys = await space.access({ start: y, bytes: m * 4 }, "write");
        for (let i = 0; i < words; i++) xs.u32[i] = Math.imul(i, 2_654_435_761);
        for (let i = 0; i < m; i++) ys.u32[i] = Math.imul(i, 40_503);
        for (let i = 0; i < words; i++) {
          const invocation = i >>> 4;
          const operand = ys.u32[((Math.imul(invocation, 7919) >>> 0) + (i & 15)) % m]!;
          expected[i] = Math.imul(xs.u32[i]!, 1_664_525) + operand;
        }
      }
      // Every second 64 KiB of x is on the device already, as copies; the rest is not.
      const touch = machine.kernel({
        name: "touch",
        args: { x: ptr(u32), out: ptr(u32) },
        code: `fn main(i: u32) { store_u32(args.out + 4u * i, load_u32(args.x + i * 131072u)); }`,
      });
      const out = space.array(u32, 128);
      await touch.run(128, { x, out });
      const update = machine.kernel({
        name: "update",
        args: { x: ptr(u32), y: ptr(u32), m: u32 },
        code: UPDATE,
      });
      const report = await update.run(words / 16, { x, y, m });
      expect(report.rounds).toBeGreaterThan(2);
      expect(report.evictions).toBeGreaterThan(0);
      await using xs = await space.access({ start: x, bytes: words * 4 }, "read");
      let wrong = 0;
      for (let i = 0; i < words; i++) if (xs.u32[i] !== expected[i]) wrong++;
      expect(wrong).toBe(0);
    });
  });
});
