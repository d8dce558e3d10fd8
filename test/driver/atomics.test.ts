/**
 * Atomics in kernels: each happens exactly once, although an invocation may run again when it
 * misses pages, strays, finds its log full or is cut off by the end of a round.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { array, type Machine, ptr, struct, u32 } from "../../src/machine/index.ts";
import { mebibytes, whyNoDevice, withMachine } from "./webgpu-machine.ts";

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
});

async function wordsOf(machine: Machine, view: Parameters<Machine["space"]["access"]>[0]) {
  await using access = await machine.space.access(view, "read");
  return access.u32.slice();
}

const PAGE_WORDS = 1024;

describe("atomics in kernels", () => {
  it("count each invocation once, and give each a number of its own", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({ deviceMemory: mebibytes(8) }, async (machine) => {
      const counter = machine.space.array(u32, 1);
      const seen = machine.space.array(u32, 100_000);
      const kernel = machine.kernel({
        args: { counter: ptr(u32), seen: ptr(u32) },
        code: `fn main(i: u32) {
          let mine = atomicAdd_u32(args.counter, 1u);
          store_u32(args.seen + 4u * mine, i + 1u);
        }`,
      });
      await kernel.run(seen.length, { counter, seen });
      expect(await wordsOf(machine, counter)).toEqual(Uint32Array.of(seen.length));
      const all = (await wordsOf(machine, seen)).sort();
      expect(all).toEqual(Uint32Array.from(all, (_, i) => i + 1));
      machine.check();
    });
  });

  it("happen once though pages are missing before and after them", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({ deviceMemory: mebibytes(2) }, async (machine) => {
      const pages = 1500;
      const words = machine.space.array(u32, pages * PAGE_WORDS);
      const sums = machine.space.array(u32, 16);
      const kernel = machine.kernel({
        args: { words: ptr(u32), sums: ptr(u32), pages: u32 },
        code: `fn main(i: u32) {
          var at = i;
          for (var k = 0u; k < 11u; k++) {
            let page = args.words + 4096u * (at % args.pages);
            atomicAdd_u32(page, 1u);
            atomicAdd_u32(args.sums + 4u * k, load_u32(page + 4u) + 1u);
            at = at * 1664525u + 1013904223u;
          }
        }`,
      });
      const count = 3000;
      const report = await kernel.run(count, { words, sums, pages });
      expect(report.rounds).toBeGreaterThan(10);
      const expected = new Uint32Array(pages);
      for (let i = 0; i < count; i++) {
        for (let k = 0, at = i; k < 11; k++) {
          expected[at % pages]!++;
          at = (Math.imul(at, 1_664_525) + 1_013_904_223) >>> 0;
        }
      }
      const found = (await wordsOf(machine, words)).filter((_, i) => i % PAGE_WORDS === 0);
      expect(found).toEqual(expected);
      const counted = await wordsOf(machine, sums);
      expect(counted.slice(0, 11)).toEqual(new Uint32Array(11).fill(count));
      machine.check();
    });
  });

  it("know every operation, signed and unsigned, and give what was there", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({}, async (machine) => {
      const out = machine.space.array(u32, 40);
      const ops = [
        ["Add", "7u", 100, 107],
        ["Sub", "7u", 100, 93],
        ["Min", "7u", 100, 7],
        ["Max", "7u", 100, 100],
        ["And", "7u", 100, 4],
        ["Or", "7u", 100, 103],
        ["Xor", "7u", 100, 99],
        ["Exchange", "7u", 100, 7],
        ["Load", undefined, 100, 100],
        ["CompareExchange", "100u, 9u", 100, 9],
        ["CompareExchange", "101u, 9u", 100, 100],
      ] as const;
      const lines = ops.map(([name, given], k) => {
        const rest = given === undefined ? "" : `, ${given}`;
        return `store_u32(args.out + ${4 * (20 + k)}u, atomic${name}_u32(args.out + ${4 * k}u${rest}));`;
      });
      const kernel = machine.kernel({
        args: { out: ptr(u32) },
        code: `fn main(i: u32) { ${lines.join("\n")} atomicStore_u32(args.out + 76u, 5u); }`,
      });
      await using memory = await machine.space.access(out, "write");
      memory.u32.fill(100);
      await memory[Symbol.asyncDispose]();
      await kernel.run(1, { out });
      const words = await wordsOf(machine, out);
      expect([...words.subarray(0, ops.length)]).toEqual(ops.map((each) => each[3]));
      expect([...words.subarray(20, 20 + ops.length)]).toEqual(ops.map(() => 100));
      expect(words[19]).toBe(5);
    });
  });

  it("order negative numbers as signed ones", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({}, async (machine) => {
      const bounds = machine.space.array(u32, 2);
      const kernel = machine.kernel({
        args: { bounds: ptr(u32) },
        code: `fn main(i: u32) {
          let value = i32(i % 1000u) - 500;
          atomicMin_i32(args.bounds, value);
          atomicMax_i32(args.bounds + 4u, value);
        }`,
      });
      await kernel.run(20_000, { bounds });
      expect(new Int32Array((await wordsOf(machine, bounds)).buffer)).toEqual(
        Int32Array.of(-500, 499),
      );
    });
  });

  it("insert into a hash table whose probes lead to missing pages", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({ deviceMemory: mebibytes(4) }, async (machine) => {
      const slots = 2 ** 18;
      const table = machine.space.array(u32, 2 * slots);
      const count = 120_000;
      const kernel = machine.kernel({
        name: "insert",
        args: { table: ptr(u32), mask: u32 },
        code: `fn main(i: u32) {
          let key = (i % 100000u) + 1u;
          var at = (key * 2654435769u) & args.mask;
          loop {
            let slot = args.table + 8u * at;
            let found = atomicCompareExchange_u32(slot, 0u, key);
            if (found == 0u || found == key) { atomicAdd_u32(slot + 4u, 1u); return; }
            at = (at + 1u) & args.mask;
          }
        }`,
      });
      await kernel.run(count, { table, mask: slots - 1 });
      const words = await wordsOf(machine, table);
      const counts = new Map<number, number>();
      for (let at = 0; at < slots; at++) {
        const key = words[2 * at]!;
        if (key === 0) continue;
        expect(counts.has(key)).toBe(false);
        counts.set(key, words[2 * at + 1]!);
      }
      expect(counts.size).toBe(100_000);
      for (const [key, times] of counts) {
        if (times !== (key <= 20_000 ? 2 : 1)) throw new Error(`key ${key}: ${times} times`);
      }
      machine.check();
    });
  });

  it("are remembered by the million while the invocations that made them wait", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({ deviceMemory: mebibytes(2) }, async (machine) => {
      const counters = machine.space.array(u32, 64);
      const words = machine.space.array(u32, 700 * PAGE_WORDS);
      const kernel = machine.kernel({
        args: { counters: ptr(u32), words: ptr(u32), times: u32 },
        code: `fn main(i: u32) {
          for (var k = 0u; k < args.times; k++) { atomicAdd_u32(args.counters + 4u * (k & 63u), 1u); }
          store_u32(args.words + 4096u * (i % 700u), i);
          for (var k = 0u; k < args.times; k++) { atomicAdd_u32(args.counters + 4u * (k & 63u), 1u); }
        }`,
      });
      const [count, times] = [3000, 640];
      const report = await kernel.run(count, { counters, words, times });
      expect(report.faults).toBeGreaterThan(0);
      expect(await wordsOf(machine, counters)).toEqual(
        new Uint32Array(64).fill((2 * count * times) / 64),
      );
    });
  });

  it("are not done by halves when one invocation makes too many", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({}, async (machine) => {
      const counter = machine.space.array(u32, 1);
      const kernel = machine.kernel({
        name: "greedy",
        args: { counter: ptr(u32), times: u32 },
        code: `fn main(i: u32) {
          for (var k = 0u; k < args.times; k++) { atomicAdd_u32(args.counter, 1u); }
        }`,
      });
      const run = kernel.run(1, { counter, times: 3_000_000 }, { timeLimit: 60_000 });
      await expect(run).rejects.toThrow(
        /more atomics than can be remembered.*invocation 0.*ENOMEM/,
      );
      await kernel.run(4, { counter, times: 1000 });
    });
  });

  it("are on fields of structs, too", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({}, async (machine) => {
      const Totals = struct("Totals", { calls: u32, bins: array(u32, 4) });
      const totals = machine.space.alloc(Totals);
      const kernel = machine.kernel({
        args: { totals: ptr(Totals) },
        code: `fn main(i: u32) {
          atomicAdd_u32(ptr_Totals_calls(args.totals), 1u);
          atomicMax_u32(ptr_Totals_bins(args.totals, i & 3u), i);
        }`,
      });
      await kernel.run(1000, { totals });
      const place = { start: totals.address, bytes: Totals.size };
      expect([...(await wordsOf(machine, place))]).toEqual([1000, 996, 997, 998, 999]);
    });
  });
});
