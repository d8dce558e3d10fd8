/**
 * Kernels whose invocations run in groups: shared memory, barriers, builtins in up to three
 * dimensions; a group in which one invocation misses a page has had no effect, and runs again.
 */
import { beforeAll, describe, expect, it } from "vitest";
import { type Machine, ptr, u32 } from "../../src/machine/index.ts";
import { mebibytes, whyNoDevice, withMachine } from "./webgpu-machine.ts";

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
});

async function wordsOf(machine: Machine, view: Parameters<Machine["space"]["access"]>[0]) {
  await using access = await machine.space.access(view, "read");
  return access.u32.slice();
}

/** Sums of 256 words each, by halves. */
const REDUCE = `var<workgroup> part: array<u32, 64>;
fn main(
  i: u32,
  @builtin(local_invocation_index) local: u32,
  @builtin(workgroup_id) group: vec3u,
) {
  var sum = 0u;
  for (var k = 0u; k < 4u; k++) { sum += load_u32(args.words + 4u * (4u * i + k)); }
  part[local] = sum;
  for (var half = 32u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local < half) { part[local] += part[local + half]; }
  }
  if (local == 0u) { store_u32(args.sums + 4u * group.x, part[0]); }
}`;

describe("kernels with groups", () => {
  it.each([64, 2])("reduce what they share, with %i MiB of device memory", async (mebi) => {
    if (reason !== undefined) return;
    await withMachine({ deviceMemory: mebibytes(mebi) }, async (machine) => {
      const count = 2 ** 20;
      const words = machine.space.array(u32, count);
      const sums = machine.space.array(u32, count / 256);
      {
        await using memory = await machine.space.access(words, "write");
        for (let i = 0; i < count; i++) memory.u32[i] = (i * 7919) % 1009;
      }
      const expected = new Uint32Array(sums.length);
      for (let i = 0; i < count; i++) expected[i >>> 8]! += (i * 7919) % 1009;
      const kernel = machine.kernel({
        args: { words: ptr(u32), sums: ptr(u32) },
        code: REDUCE,
        workgroupSize: 64,
      });
      for (let times = 0; times < 2; times++) {
        const report = await kernel.run(count / 4, { words, sums });
        expect(report.invocations).toBe(count / 4);
        expect(await wordsOf(machine, sums)).toEqual(expected);
      }
      machine.check();
    });
  });

  it("make atomics once, also when another of the group misses a page after them", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({ deviceMemory: mebibytes(2) }, async (machine) => {
      const pages = 1500;
      const words = machine.space.array(u32, pages * 1024);
      const counts = machine.space.array(u32, 128);
      const kernel = machine.kernel({
        args: { words: ptr(u32), counts: ptr(u32), pages: u32 },
        code: `var<workgroup> total: atomic<u32>;
        fn main(i: u32, @builtin(local_invocation_index) local: u32) {
          for (var k = 0u; k < 6u; k++) {
            atomicAdd_u32(args.counts + 4u * (local + 64u * (k & 1u)), 1u);
            let page = args.words + 4096u * ((i * 31u + k * 977u) % args.pages);
            atomicAdd(&total, atomicAdd_u32(page, 1u) & 0u);
          }
          workgroupBarrier();
          if (local == 0u) { store_u32(args.words + 4096u * (i % args.pages) + 4u, 1u + atomicLoad(&total)); }
        }`,
        workgroupSize: [8, 8],
      });
      const groups = 40;
      const report = await kernel.run([8, 8 * groups], { words, counts, pages });
      expect(report.faults).toBeGreaterThan(0);
      expect(await wordsOf(machine, counts)).toEqual(new Uint32Array(128).fill(3 * groups));
      const all = await wordsOf(machine, words);
      let sum = 0;
      for (let page = 0; page < pages; page++) sum += all[1024 * page]!;
      expect(sum).toBe(6 * 64 * groups);
      machine.check();
    });
  });

  it("know their place in three dimensions, alone and in groups", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({}, async (machine) => {
      const [x, y, z] = [12, 6, 4] as const;
      const out = machine.space.array(u32, x * y * z);
      const alone = machine.kernel({
        args: { out: ptr(u32) },
        code: `fn main(i: u32, @builtin(global_invocation_id) at: vec3<u32>) {
          store_u32(args.out + 4u * i, at.x | (at.y << 8u) | (at.z << 16u));
        }`,
      });
      const grouped = machine.kernel({
        args: { out: ptr(u32) },
        code: `fn main(
          @builtin(workgroup_id) group: vec3u,
          i: u32, // its number
          @builtin(local_invocation_id) place: vec3u,
          @builtin(num_workgroups) groups: vec3u,
        ) {
          let at = group * vec3u(4u, 2u, 2u) + place;
          let wrong = u32(any(groups != vec3u(3u, 3u, 2u)));
          store_u32(args.out + 4u * i, at.x | (at.y << 8u) | (at.z << 16u) | (wrong << 31u));
        }`,
        workgroupSize: [4, 2, 2],
      });
      const expected = Uint32Array.from({ length: x * y * z }, (_, i) => {
        return (i % x) | ((Math.floor(i / x) % y) << 8) | (Math.floor(i / (x * y)) << 16);
      });
      for (const kernel of [alone, grouped]) {
        await kernel.run([x, y, z], { out });
        expect(await wordsOf(machine, out)).toEqual(expected);
        const memory = await machine.space.access(out, "write");
        memory.u32.fill(0);
        memory.close();
      }
    });
  });

  it("end when they would wait for each other for ever", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({}, async (machine) => {
      const out = machine.space.array(u32, 1);
      const kernel = machine.kernel({
        name: "endless",
        args: { out: ptr(u32) },
        code: `var<workgroup> goesOn: u32;
        fn main(i: u32) {
          loop { if (workgroupUniformLoad(&goesOn) != 0u) { break; } }
          store_u32(args.out, 1u);
        }`,
        workgroupSize: 32,
      });
      const run = kernel.run(64, { out }, { timeLimit: 300 });
      await expect(run).rejects.toMatchObject({ code: "ETIMEDOUT" });
      expect(await wordsOf(machine, out)).toEqual(Uint32Array.of(0));
    });
  });

  it("say what is wrong with them", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({}, async (machine) => {
      const out = machine.space.array(u32, 64);
      const make = (code: string, workgroupSize?: number | readonly [number, number?, number?]) => {
        const options = { args: { out: ptr(u32) }, code };
        return machine.kernel(
          workgroupSize === undefined ? options : { ...options, workgroupSize },
        );
      };
      const main = "fn main(i: u32) { }";
      expect(() => make(main, 300)).toThrow(/workgroupSize must be .* got 300/);
      expect(() => make(main, [16, 16, 2])).toThrow(/256 in all, got \[16, 16, 2\]/);
      await expect(make(main, 64).run(100, { out })).rejects.toThrow(
        /count must be a multiple of workgroupSize, 64 in x, got 100/,
      );
      await expect(make(main).run([4, 0], { out })).rejects.toThrow(/up to three integers/);
      await expect(
        make("var<workgroup> a: u32; fn main(i: u32) { }").run(1, { out }),
      ).rejects.toThrow(/where the kernel has a workgroupSize/);
      const local = "fn main(@builtin(local_invocation_index) i: u32) { }";
      await expect(make(local).run(1, { out })).rejects.toThrow(/1:9 .*workgroupSize/);
      const barrier = "fn main(i: u32) { if (i < 3u) { workgroupBarrier(); } }";
      await expect(make(barrier, 64).run(64, { out })).rejects.toThrow(/uniform control flow/);
    });
  });
});

/** What one of a group makes of zeros, having missed a page, the others are told. */
describe("groups in which one misses a page", () => {
  it("do nothing for good with what it shares: a histogram, sums, pointers", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({ deviceMemory: mebibytes(2) }, async (machine) => {
      const count = 2 ** 18;
      const groups = count / 64;
      const stride = 4096;
      const words = machine.space.array(u32, 64 * stride * 4);
      const bins = machine.space.array(u32, 65);
      const code = `var<workgroup> part: array<atomic<u32>, 64>;
      var<workgroup> sums: array<u32, 64>;
      fn main(i: u32, @builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
        let word = load_u32(args.words + 4u * (local * ${4 * stride}u + group.x));
        atomicAdd(&part[word % 64u], 1u);
        sums[local] = word;
        for (var half = 32u; half > 0u; half /= 2u) {
          workgroupBarrier();
          if (local < half) { sums[local] += sums[local + half]; }
        }
        if (local == 0u) { atomicAdd_u32(args.bins + 256u, sums[0]); }
        atomicAdd_u32(args.bins + 4u * local, atomicLoad(&part[local]));
      }`;
      const expected = new Uint32Array(65);
      const wordAt = (i: number): number => Math.imul(i, 2_654_435_769) >>> 20;
      {
        await using memory = await machine.space.access(words, "write");
        memory.u32.forEach((_, i, all) => {
          all[i] = wordAt(i);
        });
      }
      for (let local = 0; local < 64; local++) {
        for (let group = 0; group < groups; group++) {
          const word = wordAt(4 * stride * local + group);
          expected[word % 64]!++;
          expected[64]! += word;
        }
      }
      const kernel = machine.kernel({
        args: { words: ptr(u32), bins: ptr(u32) },
        code,
        workgroupSize: 64,
      });
      await kernel.run(count, { words, bins });
      expect(await wordsOf(machine, bins)).toEqual(expected);
    });
  });

  it("are not at fault where they follow a pointer that it could not read", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({ deviceMemory: mebibytes(2) }, async (machine) => {
      const groups = 1000;
      const pointers = machine.space.array(u32, groups * 1024);
      const data = machine.space.array(u32, groups * 64);
      const out = machine.space.array(u32, groups * 64);
      {
        await using memory = await machine.space.access(pointers, "write");
        memory.u32.forEach((_, i, all) => {
          all[i] = data.address + 256 * (i >> 10);
        });
        await using more = await machine.space.access(data, "write");
        more.u32.forEach((_, i, all) => {
          all[i] = 3 * i;
        });
      }
      const kernel = machine.kernel({
        args: { pointers: ptr(u32), out: ptr(u32) },
        code: `var<workgroup> place: u32;
        fn main(i: u32, @builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
          if (local == 0u) { place = load_u32(args.pointers + 4096u * group.x); }
          workgroupBarrier();
          store_u32(args.out + 4u * i, load_u32(place + 4u * local));
        }`,
        workgroupSize: 64,
      });
      await kernel.run(groups * 64, { pointers, out });
      expect(await wordsOf(machine, out)).toEqual(Uint32Array.from(out, (_, i) => 3 * i));
      const nowhere = machine.space.array(u32, 1024);
      await expect(kernel.run(64, { pointers: nowhere, out })).rejects.toThrow(/null pointer/);
    });
  });

  it("make no atomics of what one has found by a direct shader where nothing is", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({ deviceMemory: mebibytes(16) }, async (machine) => {
      const words = machine.space.array(u32, 2 ** 20);
      words.fill(3);
      await machine.space.prefetch(words, "device", "write");
      const kernel = machine.kernel({
        args: { words: u32, sum: u32 },
        code: `var<workgroup> part: array<u32, 64>;
        fn main(i: u32, @builtin(local_invocation_index) local: u32) {
          part[local] = load_u32(args.words + 128u * i);
          for (var half = 32u; half > 0u; half /= 2u) {
            workgroupBarrier();
            if (local < half) { part[local] += part[local + half]; }
          }
          if (local == 0u) { atomicAdd_u32(args.sum, part[0]); }
        }`,
        workgroupSize: 64,
      });
      const args = { words: words.address + 4096, sum: words.address };
      const count = 2 ** 15 - 64;
      await kernel.prepare(args);
      let sum = 3;
      for (const value of [1000, 2000]) {
        // A page comes home.
        const place = { start: words.address + 15 * 2 ** 18, bytes: 4096 };
        const held = await machine.space.access(place, "write");
        held.u32.fill(value);
        held.close();
        const report = await kernel.run(count, args);
        expect(report.directRounds).toBeGreaterThan(0);
        sum += 3 * (count - 32) + 32 * value;
        const first = { start: words.address, bytes: 4 };
        expect(await wordsOf(machine, first)).toEqual(Uint32Array.of(sum));
      }
    });
  });

  it("do nothing for good with what one shares that was cut off in its loop", async (context) => {
    if (reason !== undefined) return context.skip(reason);
    await withMachine({}, async (machine) => {
      const sum = machine.space.array(u32, 1);
      const kernel = machine.kernel({
        args: { sum: ptr(u32), times: u32 },
        code: `var<workgroup> part: array<u32, 8>;
        fn main(i: u32, @builtin(local_invocation_index) local: u32) {
          for (var k = 0u; k < args.times * (local + 1u); k++) { part[local]++; }
          workgroupBarrier();
          if (local == 0u) {
            var all = 0u;
            for (var k = 0u; k < 8u; k++) { all += part[k]; }
            atomicAdd_u32(args.sum, all);
          }
        }`,
        workgroupSize: 8,
      });
      const times = 500;
      await kernel.run(80, { sum, times });
      expect(await wordsOf(machine, sum)).toEqual(Uint32Array.of(10 * 36 * times));
    });
  });

  it.each([
    ["while (workgroupUniformLoad(&left) > 0u) { own[local]++; if (local == 0u) { left--; } }"],
    ["for (var k = 0u; goesOn(k); k++) { own[local]++; }"],
    ["loop { if (own[local] >= args.times) { break; } own[local]++; } workgroupBarrier();"],
    ["loop { own[local]++; continuing { break if own[local] >= 10u; } } workgroupBarrier();"],
    [
      `for (var k = 0u; k < args.times; k++) {
        var n = 0u;
        loop { switch n { case 7u: { break; } default: { } } if (n > local) { break; } n++; }
        workgroupBarrier();
        if (k > 100u) { continue; }
        own[local]++;
      }`,
    ],
    ["loop { workgroupBarrier(); own[local]++; if (own[0] >= args.times) { break; } }", "n"],
  ])("may have barriers in and behind their loops: %s", async (loops, uniform = "") => {
    if (reason !== undefined) return;
    await withMachine({}, async (machine) => {
      const out = machine.space.array(u32, 64);
      const kernel = machine.kernel({
        args: { out: ptr(u32), times: u32 },
        code: `var<workgroup> left: u32;
        var<workgroup> own: array<u32, 64>;
        fn goesOn(k: u32) -> bool { workgroupBarrier(); return k < args.times; }
        fn main(i: u32, @builtin(local_invocation_index) local: u32) {
          if (local == 0u) { left = args.times; }
          ${loops}
          store_u32(args.out + 4u * i, own[local]);
        }`,
        workgroupSize: 64,
      });
      const run = kernel.run(64, { out, times: 10 });
      // What is shared is not the same for all, as far as a compiler knows.
      if (uniform !== "") return expect(run).rejects.toThrow(/uniform control flow/);
      await run;
      expect(await wordsOf(machine, out)).toEqual(new Uint32Array(64).fill(10));
    });
  });
});
