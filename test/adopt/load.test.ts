import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createWindow } from "../../src/cpu/index.ts";
import { AsyncScope } from "../../src/machine/host/async-scope.ts";
import { Adoption } from "../../src/machine/wasm/index.ts";
import { type MemoryModule, memoryModule, module } from "./module-builder.ts";

const PAGE = 65_536;
const window = createWindow();

const fresh = (scope?: AsyncScope): Adoption =>
  new Adoption({ memory: window.memory, map: () => {}, check: () => {} }, {}, scope);

const NAMES = [
  "Memory",
  "Module",
  "Instance",
  "compile",
  "compileStreaming",
  "instantiate",
  "instantiateStreaming",
] as const;
const present = () => NAMES.map((name) => Object.getOwnPropertyDescriptor(WebAssembly, name));

// Node's own module for HTTP: without a scope it would be taken for what is to be adopted.
beforeAll(async () => {
  await (await fetch("data:text/plain,hello")).text();
});

let before: ReturnType<typeof present>;
beforeEach(() => {
  window.bulk.fillZero(0, PAGE);
  before = present();
});
afterEach(() => expect(present()).toEqual(before));

const isOnOurs = (instance: WebAssembly.Instance): boolean => {
  const { store, load } = instance.exports as never as MemoryModule;
  store(64, 1234);
  return window.u32[16] === 1234 && load(16) === 0x0fbeadde;
};
const response = (bytes: Uint8Array<ArrayBuffer>): Response =>
  new Response(bytes, { headers: { "content-type": "application/wasm" } });

describe("load", () => {
  const bytes = memoryModule({ min: 2, max: 9 });

  it.each([
    ["instantiate with bytes", async () => (await WebAssembly.instantiate(bytes)).instance],
    [
      "instantiate with a module",
      async () => WebAssembly.instantiate(await WebAssembly.compile(bytes)),
    ],
    ["the constructors", () => new WebAssembly.Instance(new WebAssembly.Module(bytes))],
    [
      "instantiateStreaming",
      async () => (await WebAssembly.instantiateStreaming(response(bytes))).instance,
    ],
    [
      "compileStreaming",
      async () =>
        new WebAssembly.Instance(
          await WebAssembly.compileStreaming(Promise.resolve(response(bytes))),
        ),
    ],
  ])("adopts what comes by %s", async (_name, body) => {
    const adoption = fresh();
    const instance = await adoption.load(body);
    expect(isOnOurs(instance)).toBe(true);
    expect(instance.exports.memory).toBe(adoption.memory);
    expect(adoption.range.bytes).toBe(2 * PAGE);
    expect([instance.exports, instance]).toEqual([
      adoption.exports,
      expect.any(WebAssembly.Instance),
    ]);
  });

  it("hands out its memory where the glue makes one, once, and not for tiny ones", async () => {
    const adoption = fresh();
    const imported = memoryModule({ from: ["env", "memory"], min: 3, max: 9 });
    const seen = await adoption.load(async () => {
      const probe = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
      const memory = new WebAssembly.Memory({ initial: 4, maximum: 9 });
      const other = new WebAssembly.Memory({ initial: 4 });
      const size = memory.buffer.byteLength;
      const { instance } = await WebAssembly.instantiate(imported, { env: { memory } });
      return { probe, memory, other, size, instance };
    });
    expect(seen.memory).toBe(adoption.memory);
    expect([seen.probe, seen.other].map(({ buffer }) => buffer.byteLength)).toEqual([
      PAGE,
      4 * PAGE,
    ]);
    // The glue wants more than the module does.
    const { size } = seen.instance.exports as never as MemoryModule;
    expect([seen.size, size(), isOnOurs(seen.instance)]).toEqual([4 * PAGE, 4, true]);
  });

  it("lets modules without a memory pass", async () => {
    const plain = module();
    const instance = await fresh().load(async () => {
      expect((await WebAssembly.instantiate(plain)).module).toBeInstanceOf(WebAssembly.Module);
      new WebAssembly.Instance(new WebAssembly.Module(plain));
      return (await WebAssembly.instantiate(bytes)).instance;
    });
    expect(isOnOurs(instance)).toBe(true);
  });

  it("leaves the classes what they are", async () => {
    await fresh().load(async () => {
      const compiled = new WebAssembly.Module(bytes);
      expect(compiled).toBeInstanceOf(WebAssembly.Module);
      expect(WebAssembly.Module.exports(compiled).some(({ name }) => name === "load")).toBe(true);
      expect(() => new WebAssembly.Memory({} as never)).toThrow(TypeError);
      await expect(WebAssembly.compile(new Uint8Array(3))).rejects.toThrow(/no \\0asm/);
      return WebAssembly.instantiate(compiled);
    });
  });

  it("puts everything back when the glue fails, and may be tried again", async () => {
    const adoption = fresh();
    const failing = adoption.load(() => Promise.reject(new Error("no network")));
    await expect(failing).rejects.toThrow("no network");
    const throwing = adoption.load(() => {
      throw new Error("at once");
    });
    await expect(throwing).rejects.toThrow("at once");
    expect(present()).toEqual(before);
    await adoption.load(() => WebAssembly.instantiate(bytes));
  });

  it("says so when nothing was adopted", async () => {
    const later: (() => Promise<unknown>)[] = [];
    const idle = fresh().load(() => {
      later.push(() => WebAssembly.instantiate(memoryModule()));
    });
    await expect(idle).rejects.toMatchObject({
      code: "EINVAL",
      message: expect.stringContaining("no module was instantiated before"),
    });
    const { instance } = (await later[0]!()) as WebAssembly.Instantiated;
    expect((instance.exports.memory as WebAssembly.Memory).buffer.byteLength).toBe(PAGE);
  });

  it("refuses a second one at the same time", async () => {
    const adoption = fresh();
    await adoption.load(async () => {
      await expect(fresh().load(() => {})).rejects.toMatchObject({ code: "EBUSY" });
      return WebAssembly.instantiate(bytes);
    });
  });

  it("refuses a second module, and one that was compiled before", async () => {
    const compiled = new WebAssembly.Module(bytes);
    const adoption = fresh();
    await adoption.load(async () => {
      await expect(WebAssembly.instantiate(compiled)).rejects.toThrow(/was compiled before/);
      await WebAssembly.instantiate(bytes);
      await expect(WebAssembly.instantiate(bytes)).rejects.toMatchObject({ code: "EBUSY" });
    });
  });
});

describe("load, where Node tells who asks", () => {
  it("adopts what the glue loads, however late, and nothing that others load meanwhile", async () => {
    const adoption = fresh(new AsyncScope());
    const bytes = memoryModule();
    let tellOther = (): void => {};
    const told = new Promise<void>((resolve) => {
      tellOther = resolve;
    });
    const other = told.then(() => WebAssembly.instantiate(memoryModule()));
    const mine = await adoption.load(async () => {
      tellOther();
      await other;
      await new Promise((resolve) => setTimeout(resolve, 5));
      return (await WebAssembly.instantiate(bytes)).instance;
    });
    const theirs = (await other).instance.exports.memory as WebAssembly.Memory;
    expect([isOnOurs(mine), theirs.buffer.byteLength]).toEqual([true, PAGE]);
    expect(theirs).not.toBe(adoption.memory);
  });
});
