/** Calls about whole mappings, on pages that are not a mapping of the program's own. */
import { describe, expect, it } from "vitest";
import { Machine, u32, whyNotHost } from "../../src/machine/index.ts";
import { memoryModule } from "../adopt/module-builder.ts";

describe.each(["scoped", "host"] as const)("with CPU backend %s", (cpu) => {
  const reason = cpu === "host" ? whyNotHost()?.reason : undefined;

  const withMachine = async (body: (machine: Machine) => Promise<void>): Promise<void> => {
    const machine = await Machine.create({ cpu, device: "none" });
    await body(machine);
    machine.check();
    await machine.close();
  };

  const refusals = (machine: Machine, at: number, bytes: number) =>
    [
      ["munmap", () => machine.space.munmap(at, bytes)],
      ["munmapSync", () => machine.space.munmapSync(at, bytes)],
      ["mprotect", () => machine.space.mprotect(at, bytes, "r")],
      ["mprotectSync", () => machine.space.mprotectSync(at, bytes, "none")],
      ["discard", () => machine.space.discard(at, bytes)],
      ["discardSync", () => machine.space.discardSync(at, bytes)],
    ] as const;

  it("the heap's pages are refused, and what to do instead is said", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine(async (machine) => {
      const { space } = machine;
      const block = space.malloc(8 * 4096, 4096);
      const numbers = space.array(u32, 100);
      numbers.fill(7);
      const below = await space.mmap({ bytes: 4096, address: 0x3800_0000 - 4096 });
      for (const [at, bytes] of [
        [block, 4096],
        [below, 8192],
        [0x3800_0000, 2 ** 31],
      ] as const) {
        for (const [call, body] of refusals(machine, at, bytes)) {
          const name = new RegExp(
            `^${call}: the heap lies at 0x38000000\\.\\.0x.*: .* \\(EINVAL\\)$`,
          );
          await expect((async () => body())()).rejects.toThrow(name);
        }
      }
      expect(numbers.at(99)).toBe(7);
      // These bytes are the program's own, and no others are touched.
      await space.discard(numbers);
      expect(numbers.at(99)).toBe(0);
      await space.munmap(below, 4096);
    });
  });

  it("an adopted module's pages are refused", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine(async (machine) => {
      await machine.space.adopt({ wasm: memoryModule() });
      for (const [call, body] of refusals(machine, 0, 65_536)) {
        const name = new RegExp(`^${call}: an adopted module has 0x0\\.\\.0xfff0000, .*EINVAL`);
        await expect((async () => body())()).rejects.toThrow(name);
      }
    });
  });

  it("discard takes pieces of pages as a place, whole pages as numbers", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine(async ({ space }) => {
      const at = await space.mmap({ bytes: 4096 });
      await expect(space.discard(at, 100)).rejects.toThrow(/^discard: bytes must be a multiple/);
      await space.discard({ start: at, bytes: 100 });
      await space.munmap(at, 4096);
    });
  });
});
