import { describe, expect, expectTypeOf, it } from "vitest";
import { HmmError, hmmError } from "./error.ts";
import type { MemoryAccess } from "./memory-access.ts";
import { array, f32, i32, type Ptr, ptr, type Schema, u32, vec3f } from "./schema.ts";
import { struct } from "./struct.ts";

const Inner = struct("Inner", { a: u32, b: f32 });
const Node = struct("Node", {
  key: u32,
  value: f32,
  left: ptr(() => Node),
  right: ptr(() => Node),
  delta: i32,
  min: vec3f,
  inner: Inner,
  items: array(u32, 3),
});

/** 64 KiB of memory; touching [absent, absent + 4096) fails as it does when a device has it. */
function memoryOf(absent = 0x8000): MemoryAccess & { touched: string[] } {
  const buffer = new ArrayBuffer(0x10000);
  const touched: string[] = [];
  return {
    u32: new Uint32Array(buffer),
    i32: new Int32Array(buffer),
    f32: new Float32Array(buffer),
    touched,
    need(address, bytes, write) {
      touched.push(`${write ? "w" : "r"} ${address} ${bytes}`);
      if (address + bytes <= absent || address >= absent + 4096) return;
      throw hmmError({ code: "EFAULT", call: "need", detail: "not here", address });
    },
  };
}

describe("struct", () => {
  it("lays out its fields and says where", () => {
    expect(Node.offsets).toEqual({
      key: 0,
      value: 4,
      left: 8,
      right: 12,
      delta: 16,
      min: 32,
      inner: 44,
      items: 52,
    });
    expect([Node.size, Node.align]).toEqual([64, 16]);
  });

  it("refuses names that are no identifiers or that cursors use", () => {
    const make = (name: string, field: string) => () => struct(name, { [field]: u32 });
    expect(make("2D", "x")).toThrow(/name must be a letter.*got "2D"/);
    expect(make("os_Node", "x")).toThrow(/not start with os_/);
    expect(make("Node", "a-b")).toThrow(/field of Node must be.*got "a-b"/);
    expect(make("Node", "x}; evil(")).toThrow(HmmError);
    expect(make("Node", "address")).toThrow(/must not be called address/);
    expect(() => struct("Node", {})).toThrow(/Node must have a field/);
    expect(() => struct("Node", { x: 5 as unknown as Schema })).toThrow(/Node.x must be a schema/);
  });
});

describe("a cursor", () => {
  it("reads and writes the words of its struct", () => {
    const memory = memoryOf();
    const node = Node.at(memory, 0x1000);
    node.key = 7;
    node.value = 0.5;
    node.delta = -3;
    node.left = 0x2000;
    expect([node.key, node.value, node.delta, node.left]).toEqual([7, 0.5, -3, 0x2000]);
    expect(memory.u32[0x1000 / 4]).toBe(7);
    expect(memory.f32[0x1004 / 4]).toBe(0.5);
    expect(memory.i32[0x1010 / 4]).toBe(-3);
    expectTypeOf(node.left).toEqualTypeOf<Ptr<typeof Node>>();
  });

  it("may have any name that WGSL takes, also one that means something in JavaScript", () => {
    for (const name of ["class", "fields", "badAddress", "Object"]) {
      const Strange = struct(name, { in: u32, inner: Inner });
      const strange = Strange.at(memoryOf(), 64);
      strange.in = 5;
      strange.inner.a = 6;
      expect([strange.in, strange.inner.a]).toEqual([5, 6]);
      expect(strange.constructor.name).toBe(name);
      expect(() => Strange.at(memoryOf(), 2)).toThrow(`address of ${name} must be`);
    }
  });

  it("says what it will touch, each time", () => {
    const memory = memoryOf();
    const node = Node.at(memory, 0x1000);
    memory.touched.length = 0;
    node.value = node.key;
    node.min.y = 1;
    node.items.at(2);
    expect(memory.touched).toEqual(["r 4096 4", "w 4100 4", "w 4132 4", "r 4156 4"]);
  });

  it("follows pointers by being moved", () => {
    const memory = memoryOf();
    const node = Node.at(memory, 0);
    for (let i = 1; i <= 5; i++) {
      node.address = i * 64;
      node.key = i;
      node.left = i < 5 ? (i + 1) * 64 : 0;
    }
    let sum = 0;
    for (node.address = 64; node.address !== 0; node.address = node.left) sum += node.key;
    expect(sum).toBe(15);
  });

  it("works in the upper half of the space", () => {
    // Only indices matter: the words are looked up far behind a small stand-in.
    const seen: number[] = [];
    const far = new Proxy(new Uint32Array(1), {
      get: (_, index) => (typeof index === "string" ? Number(index) : undefined),
    });
    const memory = { ...memoryOf(), u32: far, need: (address: number) => seen.push(address) };
    const node = Node.at(memory, 0xffff_ff00);
    expect(node.address).toBe(0xffff_ff00);
    expect(node.left).toBe(0xffff_ff08 / 4);
    expect(node.items.at(1)).toBe((0xffff_ff00 + 56) / 4);
    expect(seen).toEqual([0xffff_ff08, 0xffff_ff00 + 56]);
  });

  it("moves the views of its members along", () => {
    const memory = memoryOf();
    const node = Node.at(memory, 64);
    node.min.assign([1, 2, 3]);
    node.inner.a = 9;
    node.items.set(1, 11);
    node.address = 128;
    expect([node.min.x, node.inner.a, node.items.at(1)]).toEqual([0, 0, 0]);
    node.address = 64;
    expect(node.min.toArray()).toEqual([1, 2, 3]);
    expect([node.inner.a, node.items.at(1)]).toEqual([9, 11]);
    expect(node.inner).toBe(node.inner);
  });

  it("takes and gives plain values", () => {
    const node = Node.at(memoryOf(), 64);
    node.assign({ key: 1, min: [4, 5, 6], inner: { a: 2, b: 0.25 }, items: [7, 8, 9] });
    node.assign({ key: 3 });
    expect(node.toObject()).toEqual({
      key: 3,
      value: 0,
      left: 0,
      right: 0,
      delta: 0,
      min: [4, 5, 6],
      inner: { a: 2, b: 0.25 },
      items: [7, 8, 9],
    });
  });

  it("names the value that does not fit", () => {
    const node = Node.at(memoryOf(), 64);
    // biome-ignore lint/suspicious/noExplicitAny: what a caller without types may do
    const assign = (values: any) => () => node.assign(values);
    expect(assign({ key: "1" })).toThrow(/Node.key must be a finite number, got "1"/);
    expect(assign({ kye: 1 })).toThrow(/Node has no field kye/);
    expect(assign({ toString: 1 })).toThrow(/Node has no field toString/);
    expect(assign({ min: [1, 2] })).toThrow(/Node.min must be 3 numbers, got \[1, 2\]/);
    expect(assign({ min: [1, 2, "3"] })).toThrow(/Node.min must be 3 numbers/);
    expect(assign({ items: [1, null, 3] })).toThrow(
      /Node.items\[1\] must be a finite number, got null/,
    );
    expect(assign({ inner: 5 })).toThrow(/Node.inner must be an object/);
    expect(assign(undefined)).toThrow(/Node must be an object/);
  });

  it("refuses in its fields what a typed array would make 0 of", () => {
    const memory = memoryOf();
    const node = Node.at(memory, 64);
    const other = Node.at(memory, 256);
    const cases = [
      ["key", ["5", undefined, null, {}, 5n, true, Symbol("s"), Number.NaN, 1 / 0]],
      ["delta", ["5", undefined, null, [], 5n, Number.NaN, -1 / 0]],
      ["value", ["5", undefined, null, {}, 5n]],
      ["left", ["5", undefined, null, {}, 5n, Number.NaN, 0.5, 2 ** 32, other]],
    ] as const;
    memory.touched.length = 0;
    for (const [field, values] of cases) {
      for (const value of values) {
        const store = () => {
          node[field] = value as number;
        };
        expect(store).toThrow(HmmError);
        expect(store).toThrow(`store: Node.${field} must be `);
        expect(() => node.assign({ [field]: value as never })).toThrow(`Node.${field} must be `);
      }
    }
    expect(() => {
      node.left = other as never;
    }).toThrow("Node.left must be an address (0 is null), got a view at 0x100: pass its .address");
    expect(() => {
      (node as { min: unknown }).min = [1, 2, 3];
    }).toThrow("store: Node.min is vec3f, a view: use its assign or set (EINVAL)");
    expect(() => node.min.set(1, "1" as never)).toThrow('vec3f[1] must be a number, got "1"');
    expect(() => node.min.assign([1, undefined, 3] as never)).toThrow("vec3f must be 3 numbers");
    expect(memory.touched).toEqual([]);
    node.value = Number.NaN;
    node.left = -4096;
    node.key = 1.5;
    node.delta = 2 ** 32 + 5;
    const { value, left, key, delta } = node;
    expect([value, left, key, delta]).toEqual([Number.NaN, 2 ** 32 - 4096, 1, 5]);
  });

  it("refuses addresses that are misaligned or outside of the space", () => {
    const node = Node.at(memoryOf(), 64);
    const move = (address: number) => () => {
      node.address = address;
    };
    expect(move(72)).toThrow(/address of Node must be a multiple of 16, got 0x48/);
    expect(move(-(2 ** 31) - 64)).toThrow(/must be an integer in 0..0xffffffc0, got -2147483712/);
    expect(move(2 ** 32 - 48)).toThrow(HmmError);
    expect(move(Number.NaN)).toThrow(/got NaN/);
    expect(move(undefined as unknown as number)).toThrow(/got undefined/);
    expect(node.address).toBe(64);
    expect(() => Node.at(memoryOf(), 8)).toThrow(/multiple of 16/);
  });

  it("does not touch what the memory refuses", () => {
    const memory = memoryOf(0x1000);
    const node = Node.at(memory, 0x1000);
    expect(() => node.key).toThrow(/not here/);
    expect(() => {
      node.key = 1;
    }).toThrow(/not here/);
    expect(() => node.min.assign([1, 2, 3])).toThrow(/not here/);
    expect(memory.u32.every((word) => word === 0)).toBe(true);
  });
});
