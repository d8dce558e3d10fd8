import { beforeAll, describe, expect, it } from "vitest";
import { whyNotHost } from "../../src/cpu/index.ts";
import { Machine, type MachineOptions, ptr, u32 } from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";
import { type MemoryModule, memoryModule, module } from "./module-builder.ts";

const PAGE = 65_536;

let noDevice: string | undefined;
beforeAll(async () => {
  noDevice = await whyNoDevice();
});

async function withMachine(
  options: MachineOptions,
  body: (machine: Machine) => Promise<void>,
): Promise<void> {
  const machine = await Machine.create(options);
  try {
    await body(machine);
    machine.check();
  } finally {
    await machine.close();
  }
}

const BUMP = {
  args: { at: ptr(u32) },
  code: "fn main(i: u32) { let a = args.at + 4u * i; store_u32(a, load_u32(a) + 1u); }",
} as const;

describe.each(["scoped", "host"] as const)("a module in a space with CPU backend %s", (cpu) => {
  const why = (): string | undefined =>
    noDevice ?? (cpu === "host" ? whyNotHost()?.reason : undefined);

  it("shares what it has at first, and what it grows, with kernels at once", async (ctx) => {
    if (why() !== undefined) return ctx.skip(why());
    await withMachine({ cpu, deviceMemory: 2 ** 20 }, async (machine) => {
      const { space } = machine;
      const adoption = await space.adopt({ wasm: memoryModule({ min: 2, max: 40 }) });
      const held = await space.access(adoption.range, "write");
      const { exports } = adoption.instantiate(memoryModule({ min: 2, max: 40 }));
      const it = exports as never as MemoryModule;
      expect([it.load(16), it.size(), it.grow(20)]).toEqual([0x0fbeadde, 2, 2]);
      const far = 21 * PAGE + 400;
      it.store(far, 41);
      it.store(1024, 51);
      held.close();
      const bump = machine.kernel(BUMP);
      await bump.run(1, { at: far as never });
      await bump.run(1, { at: 1024 as never });
      const again = await space.access(adoption.range, "write");
      expect([it.load(far), it.load(1024), it.load(far + 4)]).toEqual([42, 52, 0]);
      again.close();
    });
  });

  it("is the only one; one that could not be had leaves no trace", async (ctx) => {
    const reason = cpu === "host" ? whyNotHost()?.reason : undefined;
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ cpu, device: "none" }, async ({ space }) => {
      await expect(space.mmap({ bytes: 4096, address: 0 })).rejects.toThrow(/ENOMEM/);
      await expect(space.adopt({ bytes: 5 })).rejects.toMatchObject({ code: "EINVAL" });
      await expect(space.adopt({ wasm: module() })).rejects.toThrow(/has no memory/);
      const large = { wasm: memoryModule({ min: 9, max: 9 }), bytes: 8 * PAGE };
      await expect(space.adopt(large)).rejects.toMatchObject({ code: "ENOMEM" });
      const adoption = await space.adopt({ bytes: 64 * PAGE });
      expect([adoption.range.bytes, adoption.limit]).toEqual([0, 64 * PAGE]);
      await expect(space.adopt()).rejects.toMatchObject({ code: "EBUSY", call: "adopt" });
      const instance = await adoption.load(
        async () => (await WebAssembly.instantiate(memoryModule())).instance,
      );
      expect((instance.exports as never as MemoryModule).load(16)).toBe(0x0fbeadde);
    });
  });
});
