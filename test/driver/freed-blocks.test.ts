/** Blocks that lie on a device when they are freed: nobody moves what is in them any more. */
import { beforeAll, describe, expect, it } from "vitest";
import { Machine, ptr, u32, whyNotHost } from "../../src/machine/index.ts";
import { whyNoDevice } from "./webgpu-machine.ts";

const GROUP = 65_536;
const ALL = 2 ** 22;

let noDevice: string | undefined;
beforeAll(async () => {
  noDevice = await whyNoDevice();
});

/** Stores to each page of the blocks of `bytes` bytes that `list` names. */
const touch = (bytes: number) =>
  `fn main(i: u32) {
    let block = load_u32(args.list + 4u * i);
    for (var at = 0u; at < ${bytes}u; at += 1024u) { store_u32(block + at, i); }
  }`;

describe.each(["scoped", "host"] as const)("with CPU backend %s", (cpu) => {
  const why = (): string | undefined =>
    noDevice ?? (cpu === "host" ? whyNotHost()?.reason : undefined);

  describe.each([64, 2048, 4096, 12_288, 49_152, 65_536])("blocks of %i bytes", (bytes) => {
    /** A machine whose `count` blocks have all been stored to by a kernel. */
    const away = async () => {
      const machine = await Machine.create({ cpu, deviceMemory: 2 ** 24 });
      const { space } = machine;
      const count = Math.floor(ALL / bytes);
      const list = space.array(u32, count);
      const blocks = Array.from({ length: count }, () => space.malloc(bytes));
      list.copyFrom(blocks);
      const kernel = machine.kernel({ args: { list: ptr(u32) }, code: touch(bytes) });
      await kernel.run(count, { list });
      expect(machine.report.residentPages * 4096).toBeGreaterThan(ALL / 2);
      const { bytesHome } = machine.report;
      return { machine, blocks, cameHome: () => machine.report.bytesHome - bytesHome };
    };

    it("do not come home when they are freed, nor when they are used again", async (ctx) => {
      if (why() !== undefined) return ctx.skip(why());
      const { machine, blocks, cameHome } = await away();
      const { space } = machine;
      for (const block of blocks) space.free(block);
      expect(cameHome()).toBe(0);
      for (const _ of blocks) {
        await space.populate({ start: space.malloc(bytes), bytes: 4 }, "write");
      }
      // But for what shares 64 KiB with a block in use.
      expect(cameHome()).toBeLessThanOrEqual(2 * GROUP);
      expect(machine.report.residentPages * 4096).toBeLessThanOrEqual(4 * GROUP);
      machine.check();
      await machine.close();
    });

    it("do not come home when another thread frees them", async (ctx) => {
      if (why() !== undefined) return ctx.skip(why());
      if (cpu === "scoped") return ctx.skip("one thread only");
      const { machine, blocks, cameHome } = await away();
      const other = Machine.attach(machine.handle);
      for (const block of blocks) other.space.free(block);
      expect(cameHome()).toBe(0);
      await other.close();
      await machine.close();
    });
  });

  it("a block that is taken and freed again and again is given up once", async (ctx) => {
    if (why() !== undefined) return ctx.skip(why());
    const machine = await Machine.create({ cpu, deviceMemory: 2 ** 20 });
    const { space } = machine;
    const list = space.array(u32, 1);
    const block = space.malloc(4096);
    list.set(0, block);
    const kernel = machine.kernel({ args: { list: ptr(u32) }, code: touch(4096) });
    await kernel.run(1, { list });
    space.free(block);
    const { invalidations } = machine.report;
    for (let i = 0; i < 100; i++) space.free(space.malloc(4096));
    // And once when it is taken, where that does not wait for what the device still has of it.
    expect(machine.report.invalidations).toBeLessThanOrEqual(invalidations + 1);
    await machine.close();
  });
});
