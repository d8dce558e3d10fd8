/** Calls about memory that are refused name themselves, the bytes and the reason. */
import { beforeAll, describe, expect, it } from "vitest";
import { HmmError, Machine, u32, whyNotHost } from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";

const PAGE = 4096;

let noDevice: string | undefined;
beforeAll(async () => {
  noDevice = await whyNoDevice();
});

describe.each(["scoped", "host"] as const)("with CPU backend %s", (cpu) => {
  const reason = cpu === "host" ? whyNotHost()?.reason : undefined;

  const withMachine = async (
    body: (machine: Machine) => Promise<void>,
    device: "none" | "auto" = "none",
  ): Promise<void> => {
    const machine = await Machine.create({ cpu, device });
    await body(machine);
    machine.check();
    await machine.close();
  };

  const said = async (body: () => unknown): Promise<string> => {
    try {
      await body();
      return "it went on";
    } catch (error) {
      return error instanceof HmmError ? error.message : String(error);
    }
  };

  it("mmap, munmap, mprotect and discard say what is in the way", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine(async ({ space }) => {
      const at = await space.mmap({ bytes: 4 * PAGE });
      const hex = (address: number): string => `0x${address.toString(16)}`;
      const taken = { address: at + PAGE, bytes: PAGE };
      expect(await said(() => space.mmap(taken))).toBe(
        `mmap: cannot map 4096 bytes at ${hex(at + PAGE)}: something is mapped there (EEXIST)`,
      );
      expect(await said(() => space.mmapSync({ address: 0x4000_0000, bytes: PAGE }))).toBe(
        "mmapSync: cannot map 4096 bytes at 0x40000000: the heap is there (EEXIST)",
      );
      expect(await said(() => space.mmap({ address: PAGE, bytes: PAGE }))).toBe(
        "mmap: cannot map 4096 bytes at 0x1000: nothing may lie below 0x10000, where null pointers lead (ENOMEM)",
      );
      expect(await said(() => space.mmap({ address: 2 ** 32 - PAGE, bytes: 2 * PAGE }))).toBe(
        "mmap: cannot map 8192 bytes at 0xfffff000: that leaves the space (ENOMEM)",
      );
      expect(await said(() => space.mmap({ bytes: 2 ** 32 }))).toBe(
        "mmap: cannot map 4294967296 bytes: no run of free addresses is that long (ENOMEM)",
      );
      for (const [call, body] of [
        ["munmap", () => space.munmap(at, 100)],
        ["mprotectSync", () => space.mprotectSync(at, 100, "r")],
        ["discard", () => space.discard(at, 100)],
      ] as const) {
        expect(await said(body)).toBe(
          `${call}: bytes must be a multiple of 4096, got 100 (EINVAL)`,
        );
      }
      await space.munmap(at + 2 * PAGE, PAGE);
      for (const [call, body] of [
        ["mprotect", () => space.mprotect(at, 4 * PAGE, "rw")],
        ["mprotectSync", () => space.mprotectSync(at, 4 * PAGE, "rw")],
        ["discard", () => space.discard(at, 4 * PAGE)],
        ["discardSync", () => space.discardSync({ start: at, bytes: 4 * PAGE })],
      ] as const) {
        expect(await said(body)).toBe(
          `${call}: cannot do that with 16384 bytes at ${hex(at)}: nothing is mapped at ` +
            `${hex(at + 2 * PAGE)} [at ${hex(at)}] (ENOMEM)`,
        );
      }
      const held = await space.access({ start: at + PAGE, bytes: 8 }, "read");
      expect(await said(() => space.munmapSync(at, 2 * PAGE))).toBe(
        `munmapSync: cannot do that with 8192 bytes at ${hex(at)}: an access bracket is open at ` +
          `${hex(at + PAGE)} [at ${hex(at)}] (EBUSY)`,
      );
      held.close();
    });
  });

  it("access, populate, discard of pieces and plain touches say why they may not", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine(async (machine) => {
      const { space } = machine;
      const at = await space.mmap({ bytes: 2 * PAGE, rights: "r" });
      const hex = `0x${at.toString(16)}`;
      const end = `0x${(at + 2 * PAGE).toString(16)}`;
      const readOnly = `${hex}..${end} is mapped read-only [write, at ${hex}] (EFAULT)`;
      const range = { start: at + 4, bytes: 8 };
      const bytes = `cannot write 8 bytes at 0x${(at + 4).toString(16)}`;
      for (const [call, body] of [
        ["access", () => space.access(range, "write")],
        ["accessSync", () => space.accessSync(range, "write")],
        ["populate", () => space.populate(range, "write")],
        ["populateSync", () => space.populateSync(range, "write")],
        ["discard", () => space.discard(range)],
        ["discardSync", () => space.discardSync(range)],
      ] as const) {
        expect(await said(body)).toBe(`${call}: ${bytes}: ${readOnly}`);
      }
      // A plain touch names the address that it was given, the others the first page in the way.
      if (!machine.hasPageFaults) {
        const touched = readOnly.replace(`at ${hex}`, `at 0x${(at + 4).toString(16)}`);
        const store = async (): Promise<void> => space.need(at + 4, 8, true);
        expect(await said(store)).toBe(`store: ${bytes}: ${touched}`);
      }
      const nowhere = { start: 0x2000_0000, bytes: PAGE };
      expect(await said(() => space.populate(nowhere, "read"))).toBe(
        "populate: cannot read 4096 bytes at 0x20000000: nothing is mapped there " +
          "[read, at 0x20000000] (EFAULT)",
      );
      await space.mprotect(at, PAGE, "none");
      expect(await said(() => space.access({ start: at, bytes: 2 * PAGE }, "read"))).toContain(
        "is mapped without rights [read, at",
      );
      expect(await said(() => space.access({ start: 64, bytes: 4 }, "read"))).toContain(
        "it is a null pointer",
      );
    });
  });

  it("prefetch and prepare name themselves", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    if (noDevice !== undefined) return ctx.skip(noDevice);
    await withMachine(async (machine) => {
      const { space } = machine;
      const nowhere = { start: 0x2000_0000, bytes: PAGE };
      expect(await said(() => space.prefetch(nowhere, "device"))).toBe(
        "prefetch: cannot read 4096 bytes at 0x20000000: nothing is mapped there " +
          "[read, at 0x20000000] (EFAULT)",
      );
    }, "auto");
    const machine = await Machine.create({ cpu, device: "none" });
    const { space } = machine;
    const place = { start: 0x3800_0000, bytes: 4 };
    await machine.close();
    const calls: [string, () => unknown][] = [
      ["prefetch", () => space.prefetch(place, "cpu")],
      ["discard", () => space.discard(place)],
      ["populateSync", () => space.populateSync(place, "read")],
      ["accessSync", () => space.accessSync(place, "read")],
      ["array", () => space.array(u32, 1)],
    ];
    for (const [call, body] of calls) {
      expect(await said(body)).toMatch(new RegExp(`^${call}: .*closed.*\\(ENODEV\\)$`));
    }
  });
});
