import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { array, HmmError, Machine, ptr, struct, u32, vec4f } from "../../src/machine/index.ts";
import { mebibytes, whyNoDevice } from "../driver/webgpu-machine.ts";

const READ = "fn main(i: u32) { store_u32(args.out, load_u32(args.at)); }";
const WRITE = "fn main(i: u32) { store_u32(args.at, 1u); }";

describe("without a device", () => {
  let machine: Machine;
  beforeAll(async () => {
    machine = await Machine.create({ cpu: "scoped", device: "none" });
  });
  afterAll(async () => {
    machine.check();
    await machine.close();
  });

  it("malloc refuses sizes that are none", () => {
    for (const bytes of [0, -1, 1.5, Number.NaN]) {
      expect(() => machine.space.malloc(bytes)).toThrow(
        /malloc: size must be a positive integer, got .*EINVAL/,
      );
    }
  });

  it("malloc says what is free when it cannot give", () => {
    expect(() => machine.space.malloc(4 * 2 ** 30 - 4096)).toThrow(/malloc: .*ENOMEM/);
  });

  it("free refuses what malloc did not give, and what was given back", () => {
    const address = machine.space.malloc(64);
    machine.space.free(address);
    expect(() => machine.space.free(address)).toThrow(/free: .*EINVAL/);
    expect(() => machine.space.free(0x1234)).toThrow(/free: .*0x1234.*EINVAL/);
  });

  it("mmap refuses no bytes, an odd address, and one that is taken", async () => {
    const { space } = machine;
    await expect(space.mmap({ bytes: 0 })).rejects.toThrow("bytes must be an integer above 0");
    await expect(space.mmap({ bytes: 4096, address: 5 })).rejects.toThrow("multiple of 4096");
    const address = await space.mmap({ bytes: 4096 });
    await expect(space.mmap({ bytes: 4096, address })).rejects.toMatchObject({ code: "EEXIST" });
    await space.munmap(address, 4096);
  });

  it("access refuses memory that is not mapped, and rights that are not given", async () => {
    const { space } = machine;
    const nowhere = { start: 0x2000_0000, bytes: 4096 };
    await expect(space.access(nowhere, "read")).rejects.toMatchObject({ code: "EFAULT" });
    const address = await space.mmap({ bytes: 8192, rights: "r" });
    const range = { start: address, bytes: 8192 };
    await expect(space.access(range, "write")).rejects.toMatchObject({ code: "EFAULT", address });
    const bracket = await space.access(range, "read");
    bracket.close();
    bracket.close();
    await space.munmap(address, 8192);
  });

  it("views refuse null, foreign and misaligned addresses", () => {
    const Pair = struct("Pair", { a: u32, b: u32 });
    const { space } = machine;
    expect(() => space.at(Pair, 2)).toThrow(/address of .*Pair.*EINVAL/);
    expect(() => space.at(Pair, 8).a).toThrow(/load: .*EFAULT/);
    expect(() => {
      space.at(Pair, 0x3000_0000).b = 1;
    }).toThrow(/store: .*EFAULT/);
  });

  it("says what was given as it was given, and by which call", () => {
    const Pair = struct("Pair", { a: u32, b: u32 });
    const { space } = machine;
    const pair = space.alloc(Pair, { a: 1 });
    const at = `0x${pair.address.toString(16)}`;
    const any = (value: unknown): never => value as never;
    const cases: [() => unknown, string][] = [
      [() => space.malloc(any("100")), 'malloc: size must be a positive integer, got "100"'],
      [() => space.malloc(8, any("8")), 'malloc: align must be a power of two, got "8"'],
      [() => space.free(any(`${pair.address}`)), `got "${pair.address}" (EINVAL)`],
      [() => space.free(any(pair)), `got a view at ${at}: pass its .address (EINVAL)`],
      [() => space.free(any(undefined)), "got undefined (EINVAL)"],
      [() => space.free(Number.NaN), "got NaN (EINVAL)"],
      [() => space.free(-4096), "got 0xfffff000, given as -4096 (EINVAL)"],
      [() => space.free(-(2 ** 40)), "got -1099511627776 (EINVAL)"],
      [
        () => space.array(u32, any("5")),
        'array: length must be a positive integer that fits memory, got "5"',
      ],
      [() => space.array(any("u32"), 5), 'array: element must be a schema, got "u32"'],
      [() => space.array(u32, 2 ** 30 - 1), "array: no room for 4294967292 bytes"],
      [() => space.alloc(any(u32)), "alloc: schema must be a struct, got u32"],
      [() => space.alloc(any({})), "alloc: schema must be a struct, got {}"],
      [() => space.at(any(u32), pair.address), "got u32: array(u32, 1) is one with a view"],
      [
        () => space.at(any({}), pair.address),
        "at: schema must be a struct, an array or a vector, got {}",
      ],
      [() => space.at(any(undefined), pair.address), "or a vector, got undefined"],
      [
        () => space.at(Pair, any("16")),
        'at: address of Pair must be an integer in 0..0xfffffff8, got "16"',
      ],
      [() => space.at(array(u32, 2), any("16")), 'got "16"'],
      [() => space.at(Pair, any(pair)), `got a view at ${at}`],
      [() => space.need(Number.NaN, 4, false), "load: NaN + 4 bytes is not in the space"],
      [() => space.munmapSync(any(pair), 4096), `got a view at ${at}: pass its .address`],
      [
        () => space.munmapSync(-5, 4096),
        "munmapSync: address must be a multiple of 4096 in the space, got -5",
      ],
      [() => space.munmapSync(4096, any("4096")), 'bytes must be an integer above 0, got "4096"'],
      [
        () => space.accessSync({ start: -5.5, bytes: 4 }, "read"),
        "start must be an address in the space, got -5.5",
      ],
      [() => space.accessSync(any("x"), "read"), 'a view or a typed array on the window, got "x"'],
      [() => space.accessSync(pair as never, any("r")), "bytes must be"],
      [
        () => space.mmapSync({ bytes: 4096, rights: any("rwx") }),
        'rights must be "rw", "r" or "none", got "rwx"',
      ],
      [() => space.mmapSync({ bytes: 4096, rights: any("toString") }), 'got "toString"'],
      [
        () => space.mmapSync({ bytes: 4096, right: "r" } as never),
        "mmapSync: unknown option right (known: bytes, rights, address)",
      ],
      [() => struct(any(undefined), { a: u32 }), "got undefined"],
      [
        () => struct("Pair", any(null)),
        "struct: fields of Pair must be { name: schema, … }, got null",
      ],
      [() => ptr(any("Pair")), 'ptr: target must be a schema or a function, got "Pair"'],
      [
        () => Machine.attach(any("handle")),
        'attach: handle must be the handle of a machine, got "handle"',
      ],
    ];
    for (const [body, message] of cases) {
      expect(body).toThrow(HmmError);
      expect(body).toThrow(message);
    }
    space.free(pair.address);
  });

  it("says what a kernel and its runs take", async () => {
    const make = (options: unknown) => () => machine.kernel(options as never);
    const code = "fn main(i: u32) {}";
    const kernels: [unknown, string][] = [
      [undefined, "kernel: options must be an object, got undefined (EINVAL)"],
      [
        { code },
        "kernel: args must be { name: u32, i32, f32 or ptr(…), … }, or {} for none, got undefined",
      ],
      [{ code, args: u32 }, "or {} for none, got u32"],
      [{ code, args: { at: "u32" } }, 'args.at must be u32, i32, f32 or ptr, got "u32"'],
      [{ code: 5, args: {} }, "code of kernel must be WGSL text, got 5"],
      [{ code: " ", args: {} }, 'must be WGSL text, got " "'],
      [{ code, args: {}, name: 5 }, "name must be text, got 5"],
      [{ code, args: {}, structs: u32 }, "structs must be an array of schemas"],
      [{ code, args: {}, structs: ["Node"] }, 'structs must be an array of schemas, got ["Node"]'],
      [
        { code, args: {}, struct: [] },
        "unknown option struct (known: name, args, code, structs, workgroupSize)",
      ],
    ];
    for (const [options, message] of kernels) expect(make(options)).toThrow(message);
    const kernel = machine.kernel({ args: { n: u32, at: ptr(u32) }, code });
    const values = { n: 1, at: 64 };
    const runs: [unknown[], string][] = [
      [[1, values, { signal: 5 }], "run: signal must be an AbortSignal, got 5 (EINVAL)"],
      [[1, values, { onProgress: 5 }], "run: onProgress must be a function, got 5 (EINVAL)"],
      [
        [1, values, { timelimit: 5 }],
        "run: unknown option timelimit (known: timeLimit, signal, onProgress)",
      ],
      [[1, values, null], "run: options must be an object, got null"],
      [["1", values], 'run: count must be an integer in 1..4294967295, got "1"'],
      [[1, values, { timeLimit: "5" }], 'timeLimit must be a number above 0, got "5"'],
      [[1], "run: args must be an object, got undefined"],
      [[1, { n: "1", at: 64 }], 'args.n must be a number, got "1"'],
      [[1, { n: 1, at: "64" }], 'args.at must be an address or a view, got "64"'],
      [[1, { n: 1, at: {} }], "args.at must be an address or a view, got {}"],
      [
        [1, { n: 1, at: { address: 66, bytes: "x" } }],
        "args.at must be a multiple of 4, as pointers to u32 are, got a view at 0x42",
      ],
    ];
    for (const [given, message] of runs) {
      await expect(kernel.run(...(given as [1, never]))).rejects.toThrow(message);
    }
    await expect(kernel.prepare({ n: 1 } as never)).rejects.toThrow("prepare: args.at is missing");
    await expect(kernel.prepare(values)).rejects.toThrow(/^prepare: .*ENODEV/);
    expect(() => kernel.runSync(0, values)).toThrow("runSync: count must be");
    expect(() => kernel.runSync(1, values, { signal: AbortSignal.abort() } as never)).toThrow(
      "runSync: unknown option signal (known: timeLimit)",
    );
  });

  it("a kernel cannot run, and says why", () => {
    const kernel = machine.kernel({ args: {}, code: "fn main(i: u32) {}" });
    return expect(kernel.run(1, {})).rejects.toMatchObject({ code: "ENODEV" });
  });

  it("every call after close is refused", async () => {
    const other = await Machine.create({ cpu: "scoped", device: "none" });
    await other.close();
    await other.close();
    await expect(other.space.mmap({ bytes: 4096 })).rejects.toMatchObject({ code: "ENODEV" });
  });

  it("close waits for nobody who holds a bracket: it says EBUSY", async () => {
    const other = await Machine.create({ cpu: "scoped", device: "none" });
    const bracket = await other.space.access({ start: 0x4000_0000, bytes: 16 }, "write");
    await expect(other.close()).rejects.toMatchObject({ code: "EBUSY" });
    bracket.close();
    await other.close();
  });
});

describe("making a machine", () => {
  it("refuses unknown options and values", async () => {
    const bad = (options: object) => Machine.create(options as never);
    await expect(bad({ devise: "auto" })).rejects.toThrow("unknown option devise");
    await expect(bad({ device: "quantum" })).rejects.toThrow('got "quantum" (EINVAL)');
    await expect(bad({ deviceMemory: 0 })).rejects.toThrow("deviceMemory must be");
  });

  it("says what was tried when the wanted adapter is not there", async (ctx) => {
    const outcome = await Machine.create({ device: "hardware" }).catch((error: unknown) => error);
    if (outcome instanceof Machine) {
      await outcome.close();
      return ctx.skip("this machine has a GPU");
    }
    expect(outcome).toBeInstanceOf(HmmError);
    expect(outcome).toMatchObject({ code: "ENODEV", call: "create" });
    expect((outcome as HmmError).message).toContain("hardware:");
  });
});

describe("with a device", () => {
  let reason: string | undefined;
  let machine: Machine;
  beforeAll(async () => {
    reason = await whyNoDevice();
    if (reason === undefined)
      machine = await Machine.create({ cpu: "scoped", deviceMemory: mebibytes(1) });
  });
  afterAll(async () => {
    await machine?.close();
  });

  it("names kernel, address, access and reason of a bad access", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const { space } = machine;
    const out = space.array(u32, 4);
    const read = machine.kernel({ name: "reader", args: { at: u32, out: ptr(u32) }, code: READ });
    const write = machine.kernel({ name: "writer", args: { at: u32 }, code: WRITE });
    const readOnly = await space.mmap({ bytes: 4096, rights: "r" });
    const hidden = await space.mmap({ bytes: 4096, rights: "none" });
    const cases: [() => Promise<unknown>, object, string][] = [
      [() => read.run(1, { at: 0, out }), { code: "EFAULT", access: "read", address: 0 }, "null"],
      [
        () => read.run(1, { at: 0x3000_0000, out }),
        { code: "EFAULT", address: 0x3000_0000 },
        "mapped",
      ],
      [() => read.run(1, { at: out.address + 2, out }), { code: "EINVAL" }, "not a multiple of 4"],
      [() => read.run(1, { at: hidden, out }), { code: "EFAULT", kernel: "reader" }, "no access"],
      [() => write.run(1, { at: readOnly }), { code: "EPERM", access: "write" }, "read-only"],
    ];
    for (const [start, fields, words] of cases) {
      // One after the other: `check` wants an idle device.
      const error = await start().then(
        () => undefined,
        (reason_: unknown) => reason_,
      );
      expect(error).toMatchObject(fields);
      expect((error as HmmError).message).toContain(words);
      machine.check();
    }
    await space.munmap(readOnly, 4096);
    await space.munmap(hidden, 4096);
  });

  it("names the argument that is wrong, and runs nothing", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const kernel = machine.kernel({ args: { at: ptr(vec4f), n: u32 }, code: "fn main(i: u32) {}" });
    const run = (count: number, values: object) => kernel.run(count, values as never);
    await expect(run(0, { at: 16, n: 1 })).rejects.toThrow("count must be an integer in 1..");
    await expect(run(1, { at: 4, n: 1 })).rejects.toThrow("args.at must be a multiple of 16");
    await expect(run(1, { at: 2 ** 32, n: 1 })).rejects.toThrow("args.at must be an address");
    await expect(run(1, { at: 16, n: 1.5 })).rejects.toThrow("args.n must be an integer");
    await expect(run(1, { at: 16 })).rejects.toThrow("args.n is missing");
    await expect(run(1, { at: 16, n: 1, m: 2 })).rejects.toThrow("args.m is not an argument");
  });

  it("gives compiler messages in the lines of the kernel", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const bad = machine.kernel({
      name: "typo",
      args: {},
      code: "fn main(i: u32) {\n  for (var k = 0u; k < 4u; k++) { let x = lode_u32(i); }\n}",
    });
    const running = bad.run(1, {});
    await expect(running).rejects.toMatchObject({ code: "EINVAL", kernel: "typo" });
    await expect(running).rejects.toThrow(/2:\d+ .*lode_u32/);
    const headless = machine.kernel({ args: {}, code: "fn other(i: u32) {}" });
    await expect(headless.run(1, {})).rejects.toThrow("there must be a function main");
  });

  it("says what a kernel is to who gives it a whole shader, and takes a mark of UTF-8", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const shader = machine.kernel({
      name: "shader",
      args: {},
      code: `enable f16;
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { }`,
    });
    const running = shader.run(1, {});
    await expect(running).rejects.toMatchObject({ code: "EINVAL", kernel: "shader" });
    await expect(running).rejects.toThrow(
      /1:1 enable f16: kernels .*2:1 @group: .*3:1 @compute: the/,
    );
    const marked = machine.kernel({ args: {}, code: "\uFEFFfn main(i: u32) { let x = y; }" });
    await expect(marked.run(1, {})).rejects.toThrow(/1:27 .*'y'/);
    await machine.kernel({ args: {}, code: "\uFEFFfn main(i: u32) { }" }).run(1, {});
  });

  it("refuses a time limit that is none", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const kernel = machine.kernel({ args: {}, code: "fn main(i: u32) {}" });
    for (const timeLimit of [0, -1, Number.NaN, "1"]) {
      const running = kernel.run(1, {}, { timeLimit: timeLimit as number });
      await expect(running).rejects.toThrow("timeLimit must be a number above 0");
    }
    await kernel.run(1, {}, { timeLimit: 60_000 });
  });

  it("refuses more device memory than the adapter has", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const tooMuch = Machine.create({ deviceMemory: 2 ** 50 });
    await expect(tooMuch).rejects.toMatchObject({ code: "ENOMEM", call: "create" });
  });

  it("ends a launch that is aborted", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const kernel = machine.kernel({
      args: { at: ptr(u32) },
      code: "fn main(i: u32) { store_u32(args.at + 4u * i, i); }",
    });
    const at = machine.space.array(u32, 256);
    const running = kernel.run(256, { at }, { signal: AbortSignal.abort() });
    await expect(running).rejects.toMatchObject({ code: "EINTR" });
    machine.check();
  });
});
