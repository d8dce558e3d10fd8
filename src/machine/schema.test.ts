import { describe, expect, expectTypeOf, it } from "vitest";
import { HmmError } from "./error.ts";
import {
  array,
  f32,
  type Infer,
  i32,
  type Ptr,
  ptr,
  type Schema,
  schemaName,
  targetOf,
  u32,
  vec2u,
  vec3f,
  vec4i,
} from "./schema.ts";
import { struct } from "./struct.ts";

const Leaf = struct("Leaf", { weight: f32 });
const Node = struct("Node", {
  key: u32,
  delta: i32,
  min: vec3f,
  left: ptr(() => Node),
  leaf: ptr(Leaf),
  inner: Leaf,
  items: array(u32, 4),
  later: ptr(() => Later),
});
const Later = struct("Later", { back: ptr(() => Node) });

describe("a schema", () => {
  it("knows size and alignment", () => {
    const layouts = [u32, i32, f32, vec2u, vec3f, vec4i, ptr(u32), array(vec3f, 2)].map(
      ({ size, align }) => [size, align],
    );
    expect(layouts).toEqual([
      [4, 4],
      [4, 4],
      [4, 4],
      [8, 8],
      [12, 16],
      [16, 16],
      [4, 4],
      [32, 16],
    ]);
  });

  it("may point to what is defined later, and to itself", () => {
    expect(targetOf(Node.fields.left)).toBe(Node);
    expect(targetOf(Node.fields.later)).toBe(Later);
    expect(targetOf(Node.fields.leaf)).toBe(Leaf);
  });

  it("tells TypeScript what reading it gives", () => {
    type Plain = Infer<typeof Node>;
    expectTypeOf<Plain["key"]>().toEqualTypeOf<number>();
    expectTypeOf<Plain["min"]>().toEqualTypeOf<readonly [x: number, y: number, z: number]>();
    expectTypeOf<Plain["items"]>().toEqualTypeOf<readonly number[]>();
    expectTypeOf<Plain["inner"]>().toEqualTypeOf<{ weight: number }>();
    expectTypeOf<Plain["left"]>().toEqualTypeOf<Ptr<typeof Node>>();
    expectTypeOf<Plain["later"]>().toEqualTypeOf<Ptr<typeof Later>>();
  });

  it("takes any number for a pointer, and no pointer to something else", () => {
    const nothing: Ptr<typeof Node> = 0;
    const address: number = 0x1000;
    const node: Ptr<typeof Node> = address;
    expectTypeOf<Ptr<typeof Leaf>>().not.toExtend<Ptr<typeof Node>>();
    expect(nothing + node).toBe(0x1000);
  });

  it("has a name for messages", () => {
    const names = [vec3f, array(ptr(u32), 3), ptr(() => Node), Node].map(schemaName);
    expect(names).toEqual(["vec3f", "array<ptr<u32>, 3>", "ptr<…>", "Node"]);
  });

  it("refuses what is no element, no length and no target", () => {
    expect(() => array(u32, 0)).toThrow(/length must be a positive integer.*got 0/);
    expect(() => array(u32, 1.5)).toThrow(HmmError);
    expect(() => array(u32, 2 ** 30)).toThrow(HmmError);
    expect(() => array({} as Schema, 3)).toThrow(/element must be a schema/);
    expect(() => ptr(7 as unknown as Schema)).toThrow(/target must be a schema.*got 7/);
    expect(() => targetOf(ptr(() => undefined))).toThrow(/target must be a schema/);
  });
});
