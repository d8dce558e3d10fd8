/** Addresses above 2 GiB as wasm gives them, negative, are taken wherever an address is. */
import { describe, expect, it } from "vitest";
import { argsOf } from "../../src/machine/args.ts";
import {
  ArrayView,
  array,
  HmmError,
  Machine,
  ptr,
  struct,
  u32,
  vec2u,
  viewOf,
  whyNotHost,
} from "../../src/machine/index.ts";

const Node = struct("Node", { key: u32, next: ptr(() => Node), at: vec2u });

describe.each(["scoped", "host"] as const)("with CPU backend %s", (cpu) => {
  const reason = cpu === "host" ? whyNotHost()?.reason : undefined;

  const withMachine = async (body: (machine: Machine) => Promise<void>): Promise<void> => {
    const machine = await Machine.create({ cpu, device: "none" });
    await body(machine);
    machine.check();
    await machine.close();
  };

  it("takes them everywhere, and gives the unsigned form", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine(async ({ space }) => {
      const below = space.malloc(0x6000_0000);
      const high = space.malloc(16_384, 4096);
      const given = high | 0;
      expect([below < high, given < 0]).toEqual([true, true]);

      const words = space.at(array(u32, 4), given);
      words.set(1, 7);
      const node = space.at(Node, given);
      node.next = given;
      const places = [words.address, node.address, node.next, node.at.address];
      expect(places).toEqual([high, high, high, high + 8]);
      node.address = given + 4096;
      words.address = given + 4096;
      expect([node.address, words.address]).toEqual([high + 4096, high + 4096]);
      expect(viewOf(vec2u, space, given).address).toBe(high);
      node.assign({ next: given });
      expect(node.next).toBe(high);

      space.need(given, 16, true);
      await space.populate({ start: given, bytes: 16 }, "write");
      space.populateSync({ address: given, bytes: 16 }, "write");
      const access = await space.access({ start: given, bytes: 16 }, "read");
      expect([access.start, access.u32[1]]).toEqual([high, high]);
      access.close();
      space.accessSync({ start: given, bytes: 16 }, "read").close();
      await space.discard({ start: given, bytes: 4096 });
      expect(space.u32[high >>> 2]).toBe(0);
      await expect(space.munmap(given, 4096)).rejects.toThrow(/heap/);
      space.free(given);
      expect(() => space.free(given)).toThrow(/free already/);
    });
  });

  it("takes them for whole pages of mappings", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine(async ({ space }) => {
      // More than there is below the heap: it gets some of its addresses, from the top.
      const high = await space.mmap({ bytes: 0x3000_0000 });
      const given = high | 0;
      expect(given).toBeLessThan(0);
      space.at(array(u32, 1), given).set(0, 7);
      await space.discard(given, 4096);
      space.discardSync(given + 4096, 4096);
      expect(space.at(array(u32, 1), given).at(0)).toBe(0);
      await space.mprotect(given, 4096, "r");
      await expect(space.access({ start: given, bytes: 16 }, "write")).rejects.toThrow(/EFAULT/);
      space.mprotectSync(given, 4096, "rw");
      await space.munmap(given, 4096);
      expect(await space.mmap({ bytes: 4096, address: given })).toBe(high);
      await space.munmap(given, 0x3000_0000);
    });
  });

  it("refuses what no pointer can be, with what was given", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine(async ({ space }) => {
      for (const bad of [-(2 ** 31) - 4096, 2 ** 32, -4096.5, Number.NaN]) {
        const tries = [
          () => space.free(bad),
          () => space.at(Node, bad),
          () => space.at(array(u32, 1), bad),
          () => new ArrayView(u32, space, { address: bad, length: 1 }),
          () => space.need(bad, 4, false),
          () => space.accessSync({ start: bad, bytes: 4 }, "read"),
          () => space.populateSync({ start: bad, bytes: 4 }, "read"),
          () => space.munmapSync(bad, 4096),
          () => space.mprotectSync(bad, 4096, "r"),
          () => space.discardSync(bad, 4096),
          () => space.mmapSync({ address: bad, bytes: 4096 }),
        ];
        for (const attempt of tries) expect(attempt).toThrow(HmmError);
      }
    });
  });
});

it("kernels take them, too", () => {
  const layout = argsOf({ to: ptr(u32) });
  const view = new DataView(new ArrayBuffer(16));
  layout.write(view, { to: -4096 });
  expect(view.getUint32(0, true)).toBe(2 ** 32 - 4096);
  expect(() => layout.write(view, { to: -(2 ** 31) - 4 })).toThrow("args.to must be an address");
});
