import { describe, expect, expectTypeOf, it } from "vitest";
import { HmmError } from "./error.ts";
import type { MemoryAccess } from "./memory-access.ts";
import { array, f32, i32, type Ptr, ptr, u32, vec2i, vec3f, vec4u } from "./schema.ts";
import { struct } from "./struct.ts";
import { ArrayView, type Cursor, VectorView, viewOf } from "./view.ts";

const Point = struct("Point", { at: vec3f, next: ptr(() => Point) });

function memoryOf(): MemoryAccess & { touched: string[] } {
  const buffer = new SharedArrayBuffer(0x10000);
  const touched: string[] = [];
  return {
    u32: new Uint32Array(buffer),
    i32: new Int32Array(buffer),
    f32: new Float32Array(buffer),
    touched,
    need: (address, bytes, write) => touched.push(`${write ? "w" : "r"} ${address} ${bytes}`),
  };
}

describe("an array view of numbers", () => {
  it("reads and writes elements", () => {
    const memory = memoryOf();
    const view = new ArrayView(f32, memory, { address: 256, length: 4 });
    view.set(1, 0.5);
    view.set(3, -2);
    expect([view.at(0), view.at(1), view.at(3)]).toEqual([0, 0.5, -2]);
    expect(view.toArray()).toEqual([0, 0.5, 0, -2]);
    expect([...view]).toEqual([0, 0.5, 0, -2]);
    expect(memory.f32[(256 + 4) / 4]).toBe(0.5);
    expect([view.length, view.bytes, view.address]).toEqual([4, 16, 256]);
    expectTypeOf(view.at(0)).toEqualTypeOf<number>();
    expectTypeOf(view.address).toEqualTypeOf<Ptr<typeof f32>>();
  });

  it("converts as typed arrays do", () => {
    const memory = memoryOf();
    const unsigned = new ArrayView(u32, memory, { address: 0, length: 1 });
    unsigned.set(0, -1);
    expect(unsigned.at(0)).toBe(0xffff_ffff);
    expect(new ArrayView(i32, memory, { address: 0, length: 1 }).at(0)).toBe(-1);
  });

  it("refuses what a typed array would make 0 of, and stores nothing then", () => {
    const memory = memoryOf();
    const whole = new ArrayView(u32, memory, { address: 16, length: 4 });
    const broken = new ArrayView(f32, memory, { address: 32, length: 4 });
    const list = new ArrayView(ptr(Point), memory, { address: 64, length: 4 });
    whole.fill(7);
    broken.fill(7);
    list.fill(64);
    const point = Point.at(memory, 256);
    const nonsense = ["abc", "5", undefined, null, {}, [1], 5n, true, Symbol("s"), () => 1, point];
    const stores = (view: ArrayView<typeof u32>, value: number) => [
      () => view.set(1, value),
      () => view.fill(value),
      () => view.copyFrom([1, value, 3]),
    ];
    for (const view of [whole, broken, list] as unknown as ArrayView<typeof u32>[]) {
      const integers = view === (broken as unknown) ? [] : [Number.NaN, -1 / 0, 1 / 0];
      const pointers = view === (list as unknown) ? [1.5, 2 ** 32, -(2 ** 31) - 1] : [];
      for (const value of [...nonsense, ...integers, ...pointers]) {
        for (const store of stores(view, value as number)) expect(store).toThrow(HmmError);
      }
      expect(new Set(view.toArray()).size).toBe(1);
    }
    expect(() => whole.set(2, "abc" as never)).toThrow(
      'set: array<u32>[2] must be a finite number, got "abc" (EINVAL)',
    );
    expect(() => list.copyFrom([1, point as never])).toThrow(
      "copyFrom: array<ptr<Point>>[1] must be an address (0 is null), got a view at 0x100: " +
        "pass its .address (EINVAL)",
    );
    expect(() => whole.copyFrom(new Float32Array([1, Number.NaN]))).toThrow("got NaN");
    expect(() => whole.copyFrom(new BigInt64Array(1) as never)).toThrow("got 0n");
    for (const values of [null, undefined, "abc", 5, {}]) {
      expect(() => whole.copyFrom(values as never)).toThrow(/copyFrom: values must be an array/);
    }
    broken.set(0, Number.NaN);
    broken.copyFrom(new Float64Array([1 / 0]), 1);
    list.copyFrom(new Int32Array([-4096]));
    whole.copyFrom([1.5, -1, 2 ** 32 + 5]);
    expect(broken.toArray()).toEqual([Number.NaN, 1 / 0, 7, 7]);
    expect(list.at(0)).toBe(2 ** 32 - 4096);
    expect(whole.toArray()).toEqual([1, 2 ** 32 - 1, 5, 7]);
  });

  it("names index and length of an access outside", () => {
    const view = new ArrayView(u32, memoryOf(), { address: 0, length: 4 });
    expect(() => view.at(4)).toThrow(/at: index of array<u32> .*0..3 \(length 4\), got 4/);
    for (const index of [-1, 1.5, Number.NaN, 2 ** 32, "1" as unknown as number]) {
      expect(() => view.at(index)).toThrow(HmmError);
      expect(() => view.set(index, 0)).toThrow(HmmError);
      expect(() => view.addressOf(index)).toThrow(HmmError);
    }
  });

  it("fills and copies in one access", () => {
    const memory = memoryOf();
    const view = new ArrayView(u32, memory, { address: 4096, length: 1000 });
    view.fill(7);
    view.copyFrom([1, 2, 3], 10);
    view.copyFrom(new Uint32Array([9]), 999);
    expect(memory.touched).toEqual(["w 4096 4000", "w 4136 12", "w 8092 4"]);
    expect(view.toArray().slice(8, 14)).toEqual([7, 7, 1, 2, 3, 7]);
    expect([view.at(999), memory.u32[4096 / 4 + 1000]]).toEqual([9, 0]);
    expect(() => view.copyFrom([1, 2], 999)).toThrow(/length 1000\), got 1000/);
    expect(() => view.copyFrom([1], -1)).toThrow(HmmError);
  });

  it("may be empty", () => {
    const memory = memoryOf();
    const view = new ArrayView(u32, memory, { address: 0, length: 0 });
    view.fill(1);
    view.copyFrom([]);
    expect([view.toArray(), [...view]]).toEqual([[], []]);
    expect(memory.touched).toEqual([]);
    expect(() => view.at(0)).toThrow(HmmError);
  });

  it("refuses addresses and lengths that are none", () => {
    const make = (address: number, length: number) => () =>
      new ArrayView(u32, memoryOf(), { address, length });
    expect(make(2, 1)).toThrow(/address of array<u32> must be a multiple of 4, got 0x2/);
    expect(make(2 ** 32 - 4, 2)).toThrow(/must be an integer in 0..0xfffffff8/);
    expect(make(0, -1)).toThrow(/length of array<u32> .* got -1/);
    expect(make(0, 2 ** 31)).toThrow(HmmError);
    expect(make(2 ** 32 - 4, 1)().addressOf(0)).toBe(2 ** 32 - 4);
  });
});

describe("an array view of larger elements", () => {
  it("gives cursors over structs", () => {
    const view = new ArrayView(Point, memoryOf(), { address: 64, length: 3 });
    view.at(1).next = view.addressOf(2);
    view.at(2).at.y = 5;
    const point = Point.at(memoryOf(), 0);
    expectTypeOf(view.at(0)).toEqualTypeOf<Cursor<typeof Point>>();
    expectTypeOf(point.address).toEqualTypeOf<Ptr<typeof Point>>();
    expect(view.at(1).next).toBe(64 + 2 * 16);
    view.set(0, { at: [1, 2, 3], next: 64 });
    view.copyFrom([{ at: [4, 5, 6], next: 0 }], 1);
    expect(view.toArray()).toEqual([
      { at: [1, 2, 3], next: 64 },
      { at: [4, 5, 6], next: 0 },
      { at: [0, 5, 0], next: 0 },
    ]);
    view.fill({ at: [0, 0, 0], next: 8 });
    expect([...view].map((each) => each.next)).toEqual([8, 8, 8]);
  });

  it("keeps the 16 byte stride of vec3", () => {
    const memory = memoryOf();
    const view = new ArrayView(vec3f, memory, { address: 0, length: 2 });
    view.set(1, [1, 2, 3]);
    expect(Array.from(memory.f32.subarray(4, 8))).toEqual([1, 2, 3, 0]);
    expect(view.at(1).toArray()).toEqual([1, 2, 3]);
  });

  it("nests", () => {
    const view = new ArrayView(array(u32, 2), memoryOf(), { address: 0, length: 2 });
    view.at(1).set(1, 8);
    expect(view.toArray()).toEqual([
      [0, 0],
      [0, 8],
    ]);
  });
});

describe("a vector view", () => {
  it("reads and writes components", () => {
    const view = viewOf(vec4u, memoryOf(), 32);
    [view.x, view.y, view.z, view.w] = [1, 2, 3, 4];
    expect(view.toArray()).toEqual([1, 2, 3, 4]);
    expect([view.x, view.y, view.z, view.w, view.at(2)]).toEqual([1, 2, 3, 4, 3]);
    view.assign([5, 6, 7, 8]);
    expect([view.z, view.length]).toEqual([7, 4]);
  });

  it("has no more components than its schema", () => {
    const view = new VectorView(vec2i, memoryOf(), 8);
    view.y = -1;
    expect(view.y).toBe(-1);
    expect(() => view.z).toThrow(/index of vec2i .* got 2/);
    expect(() => {
      view.w = 1;
    }).toThrow(HmmError);
    expect(() => view.assign([1] as unknown as [number, number])).toThrow(
      /must be 2 finite numbers/,
    );
  });
});

describe("viewOf", () => {
  it("makes the view that the schema asks for", () => {
    const memory = memoryOf();
    expect(viewOf(array(u32, 3), memory, 0)).toBeInstanceOf(ArrayView);
    expect(viewOf(vec3f, memory, 0)).toBeInstanceOf(VectorView);
    const point = viewOf(Point, memory, 16);
    point.next = 32;
    expect(memory.u32[(16 + 12) / 4]).toBe(32);
    expect(() => viewOf(vec3f, memory, 8)).toThrow(/multiple of 16/);
  });
});
