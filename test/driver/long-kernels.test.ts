import { beforeAll, describe, expect, it } from "vitest";
import { Machine, ptr, type RunOptions, u32 } from "../../src/machine/index.ts";
import { mebibytes, whyNoDevice, withMachine } from "./webgpu-machine.ts";

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
});

/** Two seconds, and as much again for a machine that does other things, too. */
const SOON_MS = 4000;

const ENDLESS = {
  name: "endless",
  args: { at: ptr(u32) },
  code: "fn main(i: u32) { while (true) { } store_u32(args.at, 1u); }",
} as const;

const BUMP = {
  name: "bump",
  args: { at: ptr(u32) },
  code: "fn main(i: u32) { let a = args.at + 4u * i; store_u32(a, load_u32(a) + 1u); }",
} as const;

const SCAN = {
  name: "scan",
  args: { at: ptr(u32), n: u32 },
  code: `fn main(i: u32) {
    let base = args.at + 4u * args.n * i;
    for (var k = 1u; k < args.n; k++) {
      store_u32(base + 4u * k, load_u32(base + 4u * k) + load_u32(base + 4u * k - 4u));
    }
  }`,
} as const;

/** The last of `count` prefix sums over `n` ones each. */
async function scanOnes(machine: Machine, count: number, n: number): Promise<number[]> {
  const { space } = machine;
  const words = space.array(u32, n * count);
  {
    await using ones = await space.access(words, "write");
    ones.u32.fill(1);
  }
  await machine.kernel(SCAN).run(count, { at: words, n }, { timeLimit: 120_000 });
  await using sums = await space.access(words, "read");
  for (let k = 0; k < n * count; k++) {
    if (sums.u32[k] !== (k % n) + 1) throw new Error(`sum ${k} is ${sums.u32[k]}`);
  }
  return Array.from({ length: count }, (_, i) => sums.u32[n * (i + 1) - 1]!);
}

describe("a kernel that never ends", () => {
  it.each([1, 100_000])("is aborted, and the machine goes on: %i invocations", async (count) => {
    if (reason !== undefined) return;
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const at = machine.space.array(u32, 64);
      const endless = machine.kernel(ENDLESS);
      const abort = new AbortController();
      let reports = 0;
      let abortedMs = 0;
      const options: RunOptions = {
        signal: abort.signal,
        onProgress: () => {
          if (reports++ > 0) return;
          setTimeout(() => {
            abortedMs = performance.now();
            abort.abort();
          }, 300);
        },
      };
      const running = endless.run(count, { at }, options);
      await expect(running).rejects.toMatchObject({ code: "EINTR", kernel: "endless" });
      expect(performance.now() - abortedMs).toBeLessThan(SOON_MS);
      expect(reports).toBeGreaterThan(1);
      machine.check();
      await machine.kernel(BUMP).run(64, { at });
      await using result = await machine.space.access(at, "read");
      expect(Array.from(result.u32)).toEqual(new Array(64).fill(1));
    });
  });

  it("ends at its time limit, and by itself, with kernel and invocation", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const at = machine.space.array(u32, 16);
      const endless = machine.kernel(ENDLESS);
      const started = performance.now();
      await expect(endless.run(1, { at }, { timeLimit: 300 })).rejects.toMatchObject({
        code: "ETIMEDOUT",
        kernel: "endless",
        invocation: 0,
        message: expect.stringContaining("1 of 1 invocations have not finished within 300 ms"),
      });
      expect(performance.now() - started).toBeLessThan(SOON_MS);
      await expect(endless.run(1, { at })).rejects.toMatchObject({
        code: "ETIMEDOUT",
        invocation: 0,
        message: expect.stringContaining("in the 1500 ms that it may take by itself"),
      });
    });
  });

  it("does not keep those who wait for their turn from being aborted, nor the end", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const machine = await Machine.create({ cpu: "scoped", deviceMemory: mebibytes(1) });
    const at = machine.space.array(u32, 16);
    const first = machine
      .kernel(ENDLESS)
      .run(64, { at })
      .catch((error: unknown) => error);
    const signal = AbortSignal.timeout(50);
    const second = machine.kernel(BUMP).run(1, { at }, { signal });
    await expect(second).rejects.toMatchObject({ code: "EINTR", kernel: "bump" });
    const started = performance.now();
    await machine.close();
    expect(performance.now() - started).toBeLessThan(SOON_MS);
    expect(await first).toMatchObject({
      code: "EINTR",
      message: expect.stringContaining("the machine is being closed"),
    });
  });

  it("runs for as long as it takes when it does end", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const at = machine.space.array(u32, 64);
      const long = machine.kernel({
        name: "long",
        args: { at: ptr(u32), passes: u32 },
        code: `fn main(i: u32) {
          var state = i;
          for (var k = 0u; k < args.passes; k++) { state = state * 1664525u + 1013904223u; }
          store_u32(args.at + 4u * i, load_u32(args.at + 4u * i) + state);
        }`,
      });
      const passes = 300_000;
      const { rounds } = await long.run(64, { at, passes });
      expect(rounds).toBeGreaterThan(3);
      const expected = Array.from({ length: 64 }, (_, i) => {
        let state = i;
        for (let k = 0; k < passes; k++) state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        return state;
      });
      await using result = await machine.space.access(at, "read");
      expect(Array.from(result.u32)).toEqual(expected);
    });
  });

  it("is aborted soon, also when all launches before were light", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const at = machine.space.array(u32, 32);
      const heavy = machine.kernel({
        name: "heavy",
        args: { at: ptr(u32), isDeep: u32 },
        code: `fn main(i: u32) {
          if (args.isDeep == 0u) { return; }
          var s = i;
          for (var k = 0u; k < 64u; k++) {
            for (var j = 0u; j < 1u; j++) { s = s * 1664525u + load_u32(args.at + ((s & 31u) << 2u)); }
          }
          if (s == 12345u) { store_u32(args.at, s); }
        }`,
      });
      for (let k = 0; k < 3; k++) await heavy.run(2 ** 21, { at, isDeep: 0 });
      const signal = AbortSignal.timeout(200);
      const started = performance.now();
      const running = heavy.run(2 ** 23, { at, isDeep: 1 }, { signal });
      await expect(running).rejects.toMatchObject({ code: "EINTR" });
      expect(performance.now() - started).toBeLessThan(SOON_MS);
    });
  });
});

describe("an invocation that stores much", () => {
  it.each([
    [1, 10_000],
    [2, 20_000],
    [1, 200_000],
    // More than half of what the largest log has room for.
    [1, 1_600_000],
  ])("%i prefix sums over %i words, each in one invocation", async (count, n) => {
    if (reason !== undefined) return;
    await withMachine({ deviceMemory: mebibytes(8) }, async (machine) => {
      expect(await scanOnes(machine, count, n)).toEqual(new Array(count).fill(n));
    });
  });

  it("does not disturb a thousand that store little", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(4) }, async (machine) => {
      const words = machine.space.array(u32, 1000 * 128);
      const fill = machine.kernel({
        name: "fill",
        args: { at: ptr(u32) },
        code: `fn main(i: u32) {
          let n = select(2u, 20000u, i == 7u);
          let base = args.at + 512u * i;
          for (var k = 0u; k < n; k++) {
            let at = select(base + 4u * k, base + 4u * (k & 127u), i == 7u);
            store_u32(at, load_u32(at) + 1u);
          }
        }`,
      });
      await fill.run(1000, { at: words });
      await using result = await machine.space.access(words, "read");
      const expected = Array.from({ length: 1000 * 128 }, (_, k) => {
        if (k >> 7 === 7) return Math.floor(20_000 / 128) + Number((k & 127) < 20_000 % 128);
        return (k & 127) < 2 ? 1 : 0;
      });
      expect(Array.from(result.u32)).toEqual(expected);
    });
  });
});

describe("onProgress that throws", () => {
  it("ends the run cleanly, with its error as the cause", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: 64 * 4096 }, async (machine) => {
      const pages = 200;
      const numbers = machine.space.array(u32, pages * 1024);
      const bump = machine.kernel(BUMP);
      const cause = new RangeError("seen enough");
      let done = 0;
      const onProgress = (progress: { readonly done: number }): void => {
        ({ done } = progress);
        if (done > 0) throw cause;
      };
      const failing = bump.run(pages * 1024, { at: numbers }, { onProgress });
      await expect(failing).rejects.toMatchObject({
        name: "HmmError",
        kernel: "bump",
        cause,
        message: expect.stringContaining(
          "onProgress has thrown, so the run was aborted: seen enough",
        ),
      });
      machine.check();
      const count = async (): Promise<number> => {
        await using bracket = await machine.space.access(numbers, "read");
        return bracket.u32.reduce((sum, each) => sum + each, 0);
      };
      expect(await count()).toBeGreaterThanOrEqual(done);
      const before = await count();
      await bump.run(pages * 1024, { at: numbers });
      expect(await count()).toBe(before + pages * 1024);
    });
  });
});
