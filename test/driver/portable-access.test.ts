import { beforeAll, describe, expect, it } from "vitest";
import { SPACE_PAGES, virtAddr } from "../../src/base/index.ts";
import { createWindow, ScopedCpu } from "../../src/cpu/index.ts";
import { Gpu, KernelCache, launch, WebGpuDevice } from "../../src/driver/index.ts";
import { EventLoopHost, Tasks } from "../../src/machine/engine/index.ts";
import { buildWorld, ptr, struct, u32 } from "../../src/machine/index.ts";
import {
  AddressSpace,
  cpuFault,
  FAULT_SIGBUS,
  mmap,
  mmput,
  VM_READ,
  VM_WRITE,
} from "../../src/mm/index.ts";
import { FIRST_ZONE_PFN } from "../../src/phys/index.ts";
import { mebibytes, whyNoDevice, withMachine } from "./webgpu-machine.ts";

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
});

const BUMP = {
  name: "bump",
  args: { at: ptr(u32) },
  code: "fn main(i: u32) { let a = args.at + 4u * i; store_u32(a, load_u32(a) + 1u); }",
} as const;

const SUM = {
  name: "sum",
  args: { at: ptr(u32), n: u32, out: ptr(u32) },
  code: `fn main(i: u32) {
    var sum = 0u;
    for (var k = 0u; k < args.n; k++) { sum += load_u32(args.at + 4u * k); }
    store_u32(args.out, sum);
  }`,
} as const;

describe("plain JavaScript on the shared space", () => {
  it("may call back from onProgress", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const numbers = machine.space.array(u32, 4096);
      let seen = 0;
      const bump = machine.kernel(BUMP);
      const onProgress = (): void => {
        seen = machine.report.residentPages;
      };
      await bump.run(4096, { at: numbers }, { onProgress });
      expect(seen).toBeGreaterThan(0);
    });
  });

  it("touches what is in RAM at once, and needs a bracket for what is on the device", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const { space } = machine;
      const numbers = space.array(u32, 16);
      for (let i = 0; i < 16; i++) numbers.set(i, i);
      await machine.kernel(BUMP).run(16, { at: numbers });
      expect(() => numbers.at(0)).toThrow(/load: .*open a bracket.*EAGAIN/);
      {
        await using bracket = await space.access(numbers, "read");
        expect(Array.from(bracket.u32)).toEqual(Array.from({ length: 16 }, (_, i) => i + 1));
      }
      expect(numbers.at(15)).toBe(16);
    });
  });

  it("reads what the device has read without asking, and a write takes the copies back", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const { space } = machine;
      const numbers = space.array(u32, 2048);
      const out = await space.mmap({ bytes: 4096 });
      for (let i = 0; i < 2048; i++) numbers.set(i, 1);
      const sum = machine.kernel(SUM);
      const read = async () => {
        await using bracket = await space.access({ start: out, bytes: 4 }, "read");
        return bracket.u32[0];
      };
      const first = await sum.run(1, { at: numbers, n: 2048, out });
      expect(await read()).toBe(2048);
      expect(first.pagesToDevice).toBeGreaterThanOrEqual(2);
      machine.check();
      expect(numbers.at(7)).toBe(1);
      const second = await sum.run(1, { at: numbers, n: 2048, out });
      expect(await read()).toBe(2048);
      // Nobody wrote: the copies are still good, only the result page travels.
      expect(second.pagesToDevice).toBeLessThanOrEqual(1);
      numbers.set(7, 101);
      await sum.run(1, { at: numbers, n: 2048, out });
      expect(await read()).toBe(2148);
    });
  });

  it("follows pointers through structs of mixed members", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    await withMachine({ deviceMemory: mebibytes(1) }, async (machine) => {
      const { space } = machine;
      const Item = struct("Item", { value: u32, next: ptr(() => Item) });
      let head = 0;
      for (let i = 1; i <= 100; i++) {
        const item = space.alloc(Item);
        item.value = i;
        item.next = head;
        head = item.address;
      }
      const out = space.array(u32, 1);
      const walk = machine.kernel({
        args: { head: ptr(Item), out: ptr(u32) },
        code: `fn main(i: u32) {
          var sum = 0u;
          var at = args.head;
          while (at != 0u) { sum += Item_value(at); at = Item_next(at); }
          store_u32(args.out, sum);
        }`,
      });
      await walk.run(1, { head, out });
      await using result = await space.access(out, "read");
      expect(result.u32[0]).toBe(5050);
    });
  });
});

describe("a GPU that goes away", () => {
  it("ends the launch, says what is lost, and gives the CPU SIGBUS, not zeros", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const window = createWindow();
    const host = new EventLoopHost();
    const world = buildWorld({ frames: SPACE_PAGES - FIRST_ZONE_PFN, host, window });
    const tasks = new Tasks(world.scheduler);
    const space = new AddressSpace(world.memory, { isIdentity: true });
    new ScopedCpu(space);
    const gpu = await Gpu.open({ prefer: "auto", frames: 64 });
    const device = WebGpuDevice.attach(gpu, space) as WebGpuDevice;
    const flags = VM_READ | VM_WRITE;
    const at = await tasks.run("mmap", mmap(space, { bytes: 8192, flags }));
    const source = {
      name: "bump",
      code: BUMP.code,
      argsStruct: "struct Args { at: u32 }",
      accessors: "",
    };
    const args = new ArrayBuffer(16);
    new DataView(args).setUint32(0, at, true);
    const request = { source, count: 4, args, isAborted: () => false };
    const cache = new KernelCache();
    const first = await tasks.run("launch", launch(device, cache, request));
    expect(first.result).toBe(0);
    gpu.destroy();
    await gpu.lost;
    const second = await tasks.run("launch", launch(device, cache, request));
    expect(second).toMatchObject({
      result: -19,
      refusal: { reason: expect.stringContaining("pages that only it had are lost") },
    });
    const touched = await tasks.run("fault", cpuFault(space, virtAddr(at), 0));
    expect(touched).toBe(FAULT_SIGBUS);
    await tasks.run("exit", mmput(space));
    await tasks.run("close", device.close());
    host.stop();
  });
});
