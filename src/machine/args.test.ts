import { describe, expect, expectTypeOf, it } from "vitest";
import { type ArgsSchema, type ArgValues, argsOf } from "./args.ts";
import { HmmError } from "./error.ts";
import type { MemoryAccess } from "./memory-access.ts";
import { array, f32, i32, type Ptr, ptr, u32, vec3f } from "./schema.ts";
import { struct } from "./struct.ts";
import { ArrayView } from "./view.ts";

const Box = struct("Box", { min: vec3f, next: ptr(() => Box) });
const schema = { root: ptr(Box), keys: ptr(u32), count: u32, bias: i32, scale: f32 };
const args = argsOf(schema);
const good = { root: 0x1000, keys: 0x2004, count: 3, bias: -1, scale: 0.5 };

const words = new ArrayBuffer(16);
const memory: MemoryAccess = {
  u32: new Uint32Array(words),
  i32: new Int32Array(words),
  f32: new Float32Array(words),
  need: () => undefined,
};

/** What `write` says of values that TypeScript would not let through. */
const tried = (change: object) => (): void => {
  const values = { ...good, ...change } as ArgValues<typeof schema>;
  args.write(new DataView(new ArrayBuffer(args.bytes)), values);
};

describe("argsOf", () => {
  it("declares a struct of words in order", () => {
    expect(args.wgsl).toBe(
      "struct Args { root: u32, keys: u32, count: u32, bias: i32, scale: f32 }",
    );
    expect(args.bytes).toBe(32);
  });

  it("writes the values where the struct has them", () => {
    const view = new DataView(new ArrayBuffer(args.bytes));
    args.write(view, good);
    const pointers = [view.getUint32(0, true), view.getUint32(4, true)];
    expect(pointers).toEqual([0x1000, 0x2004]);
    expect([view.getUint32(8, true), view.getInt32(12, true)]).toEqual([3, -1]);
    expect(view.getFloat32(16, true)).toBe(0.5);
  });

  it("takes a view for a pointer, of the right kind only", () => {
    const view = new DataView(new ArrayBuffer(args.bytes));
    const keys = new ArrayView(u32, memory, { address: 4, length: 2 });
    const root = Box.at(memory, 0);
    args.write(view, { ...good, keys, root });
    expect([view.getUint32(0, true), view.getUint32(4, true)]).toEqual([0, 4]);
    type Keys = ArgValues<typeof schema>["keys"];
    expectTypeOf(keys).toExtend<Keys>();
    expectTypeOf<ArrayView<typeof f32>>().not.toExtend<Keys>();
    expectTypeOf<Ptr<typeof Box>>().not.toExtend<Keys>();
  });

  it("is nothing for a kernel without arguments", () => {
    const none = argsOf({});
    expect([none.wgsl, none.bytes]).toEqual(["", 0]);
    none.write(new DataView(new ArrayBuffer(0)), {});
  });

  it("names the pointer that is none or is misaligned", () => {
    expect(tried({ root: 0x1004 })).toThrow(
      /run: args.root must be a multiple of 16, as pointers to Box are, got 0x1004/,
    );
    expect(tried({ keys: 2 })).toThrow(/args.keys must be a multiple of 4/);
    expect(tried({ keys: -(2 ** 31) - 4 })).toThrow(
      /args.keys must be an address in 0..4294967295, got -2147483652/,
    );
    expect(tried({ keys: 2 ** 32 })).toThrow(/args.keys/);
    expect(tried({ keys: 1.5 })).toThrow(/args.keys must be an address or a view, got 1.5/);
    expect(tried({ keys: null })).toThrow(/args.keys must be an address or a view, got null/);
    expect(tried({ root: 0 })).not.toThrow();
  });

  it("names the number that is none or does not fit", () => {
    expect(tried({ scale: "1" })).toThrow(/args.scale must be a number, got "1"/);
    expect(tried({ scale: Number.NaN })).not.toThrow();
    expect(tried({ count: -1 })).toThrow(/args.count must be an integer in 0..4294967295, got -1/);
    expect(tried({ count: 1.5 })).toThrow(/args.count/);
    expect(tried({ bias: 2 ** 31 })).toThrow(/args.bias must be an integer in -2147483648/);
  });

  it("names what is missing and what is not known", () => {
    const view = new DataView(new ArrayBuffer(args.bytes));
    const { scale: _, ...rest } = good;
    expect(() => args.write(view, rest as typeof good)).toThrow(/args.scale is missing/);
    expect(tried({ sacle: 1 })).toThrow(
      /args.sacle is not an argument of this kernel \(root, keys, count, bias, scale\)/,
    );
    expect(() => args.write(view, undefined as unknown as typeof good)).toThrow(HmmError);
  });

  it("writes nothing when a value is wrong", () => {
    const view = new DataView(new ArrayBuffer(args.bytes));
    expect(() => args.write(view, { ...good, scale: "x" as unknown as number })).toThrow(HmmError);
    expect(new Uint8Array(view.buffer).every((byte) => byte === 0)).toBe(true);
  });

  it("says where the pointers lead, how far that is known, and whether further", () => {
    const Leaf = struct("Leaf", { value: u32 });
    const Node = struct("Node", { links: array(ptr(u32), 2) });
    const { places } = argsOf({ n: u32, at: ptr(Leaf), leaf: ptr(Leaf), node: ptr(Node) });
    const view = (address: number, bytes: number) => ({ address, bytes });
    expect(places({ n: 5, at: 64, leaf: view(128, 40), node: view(256, 8) })).toEqual([
      { name: "at", start: 64, bytes: 4, isView: false, leadsOn: true },
      { name: "leaf", start: 128, bytes: 40, isView: true, leadsOn: false },
      { name: "node", start: 256, bytes: 8, isView: true, leadsOn: true },
    ]);
  });

  it("refuses arguments that are no words and names that WGSL does not take", () => {
    expect(() => argsOf({ at: vec3f } as unknown as ArgsSchema)).toThrow(
      /args.at must be u32, i32, f32 or ptr, got vec3f/,
    );
    expect(() => argsOf({ target: u32 })).toThrow(/must not be called target/);
    expect(() => argsOf({ "a b": u32 })).toThrow(/kernel argument must be a letter/);
  });
});
