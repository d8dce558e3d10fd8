/** What `console.log` shows of a machine's memory, wherever that is. */
import { inspect } from "node:util";
import { beforeAll, describe, expect, it } from "vitest";
import { array, Machine, ptr, struct, u32, whyNotHost } from "../../src/machine/index.ts";
import { mebibytes, whyNoDevice } from "../driver/webgpu-machine.ts";

const Pair = struct("Pair", { a: u32, b: u32 });

let noDevice: string | undefined;
beforeAll(async () => {
  noDevice = await whyNoDevice();
});

describe.each(["scoped", "host"] as const)("with CPU backend %s", (cpu) => {
  const reason = cpu === "host" ? whyNotHost()?.reason : undefined;

  it("nothing that is shown throws, ends the process, or is the whole window", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const machine = await Machine.create({ cpu, device: "none" });
    const { space } = machine;
    const pair = space.alloc(Pair, { a: 1, b: 2 });
    const at = `0x${pair.address.toString(16)}`;
    expect(inspect(pair)).toBe(`Pair at ${at} { a: 1, b: 2 }`);
    for (const [address, text] of [
      [0, "Pair at 0x0"],
      [0x2000_0000, "Pair at 0x20000000"],
    ] as const) {
      expect(inspect(space.at(Pair, address))).toBe(text);
    }
    const hidden = await space.mmap({ bytes: 4096, rights: "none" });
    expect(inspect(space.at(array(u32, 4), hidden))).toBe(
      `array<u32, 4> at 0x${hidden.toString(16)}`,
    );
    const fresh = await space.mmap({ bytes: 4096 });
    expect(inspect(space.at(array(u32, 4), fresh))).toMatch(/ \[0, 0, 0, 0\]$/);
    const held = await space.access({ start: pair.address, bytes: 4 }, "write");
    expect(inspect(held)).toBe(`Access (4 bytes at ${at}, to write) [1, 0, 0, 0]`);
    held.close();
    expect(inspect(held)).toBe(`Access (4 bytes at ${at}, to write, closed)`);
    expect(inspect(space)).toBe("Space (1 blocks of 8 bytes on the heap)");
    expect(inspect(machine)).toContain(`Machine (cpu ${cpu}`);
    expect(space.mayRead(pair.address, 8)).toBe(true);
    expect(space.mayRead(0x2000_0000, 8)).toBe(false);
    expect(space.mayRead(-1.5, 8)).toBe(false);
    machine.check();
    await machine.close();
    expect(inspect(pair)).toBe(`Pair at ${at}`);
    expect(inspect(machine)).toContain("closed");
    expect(inspect(space)).toContain("Space (");
  });

  it("what is on the device is shown where the CPU can wait for it", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    if (noDevice !== undefined) return ctx.skip(noDevice);
    const machine = await Machine.create({ cpu, deviceMemory: mebibytes(1) });
    const { space } = machine;
    const numbers = space.array(u32, 64);
    const kernel = machine.kernel({
      args: { to: ptr(u32) },
      code: "fn main(i: u32) { store_u32(args.to + 4u * i, i); }",
    });
    await kernel.run(64, { to: numbers });
    const what = `array<u32, 64> at 0x${numbers.address.toString(16)}`;
    const content = " [0, 1, 2, 3, 4, 5, 6, 7, … 56 more]";
    expect(inspect(numbers)).toBe(cpu === "host" ? what + content : what);
    await space.populate(numbers, "read");
    expect(inspect(numbers)).toBe(what + content);
    machine.check();
    await machine.close();
  });
});
