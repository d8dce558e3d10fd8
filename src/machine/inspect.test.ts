import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { invalid } from "./error.ts";
import type { MemoryAccess } from "./memory-access.ts";
import { array, f32, i32, ptr, u32, vec2f, vec3f } from "./schema.ts";
import { struct } from "./struct.ts";
import { ArrayView, viewOf } from "./view.ts";

const Inner = struct("Inner", { a: i32 });
const Node = struct("Node", {
  key: u32,
  value: f32,
  left: ptr(() => Node),
  min: vec3f,
  inner: Inner,
  items: array(u32, 1000),
});

const LIMIT = 0x8000;

function memoryOf(): MemoryAccess & { touched: [number, number][] } {
  const buffer = new SharedArrayBuffer(0x1_0000);
  const touched: [number, number][] = [];
  const need = (address: number, bytes: number): void => {
    touched.push([address, bytes]);
    if (address + bytes > LIMIT) throw invalid("load", "not here");
  };
  const words = { u32: new Uint32Array(buffer), i32: new Int32Array(buffer) };
  return { ...words, f32: new Float32Array(buffer), touched, need };
}

describe("what console.log shows", () => {
  it("of a struct are its fields, pointers as addresses", () => {
    const memory = memoryOf();
    const node = Node.at(memory, 0x100);
    node.assign({ key: 7, value: 0.1, left: 0x2000, min: [1, 0.5, -1e30], inner: { a: -3 } });
    node.items.fill(5);
    const text =
      "Node at 0x100 { key: 7, value: 0.1, left: 0x2000, min: [1, 0.5, -1e+30], " +
      "inner: { a: -3 }, items: [5, 5, 5, 5, 5, 5, 5, 5, … 992 more] }";
    expect(inspect(node)).toBe(text);
    expect(inspect({ node })).toContain(text);
    expect(inspect(node.min)).toBe("vec3f at 0x110 [1, 0.5, -1e+30]");
    expect(inspect(node.inner)).toBe("Inner at 0x11c { a: -3 }");
  });

  it("of an array are type, length, address and the first few elements, and no more is touched", () => {
    const memory = memoryOf();
    const numbers = new ArrayView(u32, memory, { address: 0x100, length: 1000 });
    memory.touched.length = 0;
    expect(inspect(numbers)).toBe("array<u32, 1000> at 0x100 [0, 0, 0, 0, 0, 0, 0, 0, … 992 more]");
    expect(memory.touched).toEqual([[0x100, 32]]);
    const of = (element: Parameters<typeof array>[0], length: number) =>
      inspect(new ArrayView(element, memory, { address: 0x100, length }));
    expect(of(f32, 2)).toBe("array<f32, 2> at 0x100 [0, 0]");
    expect(of(u32, 0)).toBe("array<u32, 0> at 0x100 []");
    expect(of(ptr(Inner), 2)).toBe("array<ptr<Inner>, 2> at 0x100 [0x0, 0x0]");
    expect(of(vec2f, 5)).toBe("array<vec2f, 5> at 0x100 [[0, 0], [0, 0], [0, 0], … 2 more]");
    expect(of(Inner, 4)).toBe("array<Inner, 4> at 0x100 [{ a: 0 }, { a: 0 }, { a: 0 }, … 1 more]");
  });

  it("of what may not be touched now are type, length and address", () => {
    const memory = memoryOf();
    const away = new ArrayView(u32, memory, { address: LIMIT, length: 10 });
    expect(inspect(away)).toBe("array<u32, 10> at 0x8000");
    // Part of it is here, and would not be all of it.
    expect(inspect(Node.at(memory, LIMIT - 16))).toBe("Node at 0x7ff0");
    expect(inspect(viewOf(vec3f, memory, LIMIT))).toBe("vec3f at 0x8000");
    const never = { ...memory, mayRead: () => false };
    expect(inspect(new ArrayView(u32, never, { address: 0, length: 1 }))).toBe(
      "array<u32, 1> at 0x0",
    );
  });
});
