import { beforeAll, describe, expect, it } from "vitest";
import { HmmError, type LaunchReport, type Machine, ptr, u32 } from "../../src/machine/index.ts";
import { mebibytes, whyNoDevice, withMachine } from "./webgpu-machine.ts";

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
});

const PAGE = 4096;
const PAGES = 512;

/** Walks all pages of a ring from its own start, so that every round needs new pages. */
const WALK = `fn main(i: u32) {
  var at = args.ring + ((i * 37u) % args.pages) * 4096u;
  var sum = 0u;
  for (var hop = 0u; hop < args.hops; hop++) {
    sum += load_u32(at + 4u);
    at = load_u32(at);
  }
  store_u32(args.out + 4u * i, sum);
}`;

const BUMP = `fn main(i: u32) {
  let at = args.ring + (i % args.pages) * 4096u + 4u;
  store_u32(at, load_u32(at) + 1u);
}`;

/** Pages linked to a ring in big steps (so that fault-around does not help), value = 1 each. */
async function makeRing(machine: Machine): Promise<number> {
  const ring = await machine.space.mmap({ bytes: PAGES * PAGE });
  await using memory = await machine.space.access({ start: ring, bytes: PAGES * PAGE }, "write");
  for (let page = 0; page < PAGES; page++) {
    const next = (page + 67) % PAGES;
    memory.u32[(page * PAGE) / 4] = ring + next * PAGE;
    memory.u32[(page * PAGE) / 4 + 1] = 1;
  }
  return ring;
}

type Outcome = { readonly report: LaunchReport } | { readonly error: HmmError };

/** Runs `change` once, after the first round of the launch. */
async function runWhile(
  start: (onProgress: () => void) => Promise<LaunchReport>,
  change: () => Promise<void>,
): Promise<Outcome> {
  let changing: Promise<void> | undefined;
  const running = start(() => {
    changing ??= change();
  });
  const outcome = await running.then(
    (report): Outcome => ({ report }),
    (error: unknown): Outcome => {
      if (error instanceof HmmError) return { error };
      throw error;
    },
  );
  expect(changing).toBeDefined();
  await changing;
  return outcome;
}

const walkArgs = { ring: ptr(u32), out: ptr(u32), pages: u32, hops: u32 };

describe("a range changes while a launch uses it", () => {
  it("munmap: the launch ends with an error that names the address, and all adds up", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: 256 * PAGE }, async (machine) => {
      const { space } = machine;
      const ring = await makeRing(machine);
      const out = space.array(u32, 64);
      const walk = machine.kernel({ name: "walk", args: walkArgs, code: WALK });
      const outcome = await runWhile(
        (onProgress) => walk.run(64, { ring, out, pages: PAGES, hops: 200 }, { onProgress }),
        () => space.munmap(ring, PAGES * PAGE),
      );
      expect(outcome).toMatchObject({ error: { code: "EFAULT", kernel: "walk", access: "read" } });
      const { address } = (outcome as { error: HmmError }).error;
      expect(address).toBeGreaterThanOrEqual(ring);
      expect(address).toBeLessThan(ring + PAGES * PAGE);
      machine.check();
      // The same addresses again: nothing of the old content is left, anywhere.
      const again = await space.mmap({ bytes: PAGES * PAGE, address: ring });
      const ones = machine.kernel({
        args: { ring: ptr(u32), out: ptr(u32) },
        code: "fn main(i: u32) { store_u32(args.out + 4u * i, load_u32(args.ring + i * 4096u)); }",
      });
      await ones.run(64, { ring: again, out });
      await using result = await space.access(out, "read");
      expect(Array.from(result.u32)).toEqual(new Array(64).fill(0));
    });
  });

  it("munmap of other memory: the launch completes and is right", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(4) }, async (machine) => {
      const { space } = machine;
      const ring = await makeRing(machine);
      const other = await space.mmap({ bytes: 64 * PAGE });
      const out = space.array(u32, 64);
      const walk = machine.kernel({ name: "walk", args: walkArgs, code: WALK });
      const outcome = await runWhile(
        (onProgress) => walk.run(64, { ring, out, pages: PAGES, hops: 200 }, { onProgress }),
        () => space.munmap(other, 64 * PAGE),
      );
      expect(outcome).toHaveProperty("report");
      await using sums = await space.access(out, "read");
      expect(Array.from(sums.u32)).toEqual(new Array(64).fill(200));
    });
  });

  it("mprotect to read-only: a kernel that writes there ends with EPERM", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: 256 * PAGE }, async (machine) => {
      const { space } = machine;
      const ring = await makeRing(machine);
      const bump = machine.kernel({
        name: "bump",
        args: { ring: ptr(u32), pages: u32 },
        code: BUMP,
      });
      const outcome = await runWhile(
        (onProgress) => bump.run(PAGES, { ring, pages: PAGES }, { onProgress }),
        () => space.mprotect(ring, PAGES * PAGE, "r"),
      );
      expect(outcome).toMatchObject({ error: { code: "EPERM", kernel: "bump", access: "write" } });
      machine.check();
      // Each page was bumped once or not at all: an invocation has all of its effect or none.
      await using memory = await space.access({ start: ring, bytes: PAGES * PAGE }, "read");
      for (let page = 0; page < PAGES; page++) {
        expect([1, 2]).toContain(memory.u32[(page * PAGE) / 4 + 1]);
      }
    });
  });

  it("the CPU writes in brackets meanwhile: no update of either side is lost", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const { space } = machine;
      const ring = await makeRing(machine);
      const bump = machine.kernel({
        name: "bump",
        args: { ring: ptr(u32), pages: u32 },
        code: BUMP,
      });
      const launches = 6;
      const cpuBumps = 40;
      const byCpu = async (): Promise<void> => {
        for (let i = 0; i < cpuBumps; i++) {
          const page = (i * 101) % PAGES;
          await using memory = await space.access(
            { start: ring + page * PAGE, bytes: 16 },
            "write",
          );
          memory.u32[1] = memory.u32[1]! + 1000;
        }
      };
      const byDevice = async (): Promise<void> => {
        for (let i = 0; i < launches; i++) await bump.run(PAGES, { ring, pages: PAGES });
      };
      await Promise.all([byCpu(), byDevice()]);
      const expected = new Array<number>(PAGES).fill(1 + launches);
      for (let i = 0; i < cpuBumps; i++) expected[(i * 101) % PAGES]! += 1000;
      await using memory = await space.access({ start: ring, bytes: PAGES * PAGE }, "read");
      const got = expected.map((_, page) => memory.u32[(page * PAGE) / 4 + 1]);
      expect(got).toEqual(expected);
    });
  });

  it("an open bracket makes a launch that needs its page for writing fail, by name", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const { space } = machine;
      const ring = await makeRing(machine);
      const bump = machine.kernel({
        name: "bump",
        args: { ring: ptr(u32), pages: u32 },
        code: BUMP,
      });
      const bracket = await space.access({ start: ring, bytes: PAGE }, "read");
      await expect(bump.run(1, { ring, pages: PAGES })).rejects.toMatchObject({
        code: "EBUSY",
        kernel: "bump",
        address: ring + 4,
      });
      await expect(space.munmap(ring, PAGE)).rejects.toMatchObject({ code: "EBUSY" });
      bracket.close();
      await bump.run(1, { ring, pages: PAGES });
    });
  });
});
