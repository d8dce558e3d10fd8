import { beforeAll, expect, it } from "vitest";
import { EFAULT, virtAddr } from "../../src/base/index.ts";
import { Brackets, createWindow, ScopedCpu } from "../../src/cpu/index.ts";
import { Gpu, KernelCache, launch, WebGpuDevice } from "../../src/driver/index.ts";
import { EventLoopHost, Tasks } from "../../src/machine/engine/index.ts";
import { buildWorld } from "../../src/machine/index.ts";
import { AddressSpace, MapMode, mmap, mmput, VM_READ, VM_WRITE } from "../../src/mm/index.ts";
import { whyNoDevice } from "./webgpu-machine.ts";

let reason: string | undefined;
beforeAll(async () => {
  reason = await whyNoDevice();
});

const SOURCE = {
  name: "bump",
  code: "fn main(i: u32) { let a = args.at + 4u * i; store_u32(a, load_u32(a) + 1u); }",
  argsStruct: "struct Args { at: u32 }",
  accessors: "",
};

it("a kernel reads and writes page 0 when it is mapped, and is refused as before when not", async (ctx) => {
  if (reason !== undefined) return ctx.skip(reason);
  const window = createWindow();
  const host = new EventLoopHost();
  const world = buildWorld({ host, window });
  const tasks = new Tasks(world.scheduler);
  const space = new AddressSpace(world.memory, { isIdentity: true });
  const brackets = new Brackets(space, new ScopedCpu(space));
  const gpu = await Gpu.open({ prefer: "auto", frames: 64 });
  const device = WebGpuDevice.attach(gpu, space) as WebGpuDevice;
  const cache = new KernelCache();
  const bump = async (at: number, count: number) => {
    const args = new ArrayBuffer(16);
    new DataView(args).setUint32(0, at, true);
    const request = { source: SOURCE, count, args, isAborted: () => false };
    return tasks.run("launch", launch(device, cache, request));
  };
  expect(await bump(64, 4)).toMatchObject({
    result: -EFAULT,
    refusal: { address: 64, reason: "it is a null pointer" },
  });
  const flags = VM_READ | VM_WRITE;
  const options = { start: virtAddr(0), bytes: 65_536, flags, mode: MapMode.noReplace };
  expect(await tasks.run("mmap", mmap(space, { ...options, isLow: true }))).toBe(0);
  const touch = async (body: () => void) => {
    const range = { start: virtAddr(0), end: virtAddr(8192) };
    await tasks.run("home", device.moveHome(range.start, range.end));
    const pinned = await tasks.run("access", brackets.open(range, true, { address: virtAddr(0) }));
    if (typeof pinned === "number") throw new Error(`refused: ${pinned}`);
    body();
    brackets.close(pinned);
  };
  await touch(() => window.u32.set([41, 51, 61, 71], 16));
  expect((await bump(64, 4)).result).toBe(0);
  await touch(() => expect([...window.u32.subarray(15, 21)]).toEqual([0, 42, 52, 62, 72, 0]));
  expect((await bump(0, 1)).result).toBe(0);
  await touch(() => expect(window.u32[0]).toBe(1));
  await tasks.run("exit", mmput(space));
  await tasks.run("close", device.close());
  host.stop();
});
