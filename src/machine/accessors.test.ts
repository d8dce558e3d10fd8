import { describe, expect, it } from "vitest";
import { accessorsOf } from "./accessors.ts";
import { array, f32, ptr, u32, vec3f } from "./schema.ts";
import { struct } from "./struct.ts";

const Leaf = struct("Leaf", { weight: f32 });
const Node = struct("Node", {
  key: u32,
  left: ptr(() => Node),
  min: vec3f,
  leaf: Leaf,
  items: array(u32, 4),
  grid: array(array(f32, 3), 2),
  leaves: array(Leaf, 2),
});

describe("accessorsOf", () => {
  it("gives a getter and a setter for every word and vector, and addresses of structs", () => {
    expect(accessorsOf([Node]).trimEnd().split("\n")).toEqual([
      "const SIZE_OF_Node = 80u;",
      "fn Node_key(p: u32) -> u32 { return load_u32(p + 0u); }",
      "fn set_Node_key(p: u32, v: u32) { store_u32(p + 0u, v); }",
      "fn ptr_Node_key(p: u32) -> u32 { return p + 0u; }",
      "fn Node_left(p: u32) -> u32 { return load_u32(p + 4u); }",
      "fn set_Node_left(p: u32, v: u32) { store_u32(p + 4u, v); }",
      "fn ptr_Node_left(p: u32) -> u32 { return p + 4u; }",
      "fn Node_min(p: u32) -> vec3f { return load_vec3f(p + 16u); }",
      "fn set_Node_min(p: u32, v: vec3f) { store_vec3f(p + 16u, v); }",
      "fn ptr_Node_min(p: u32) -> u32 { return p + 16u; }",
      "fn Node_leaf(p: u32) -> u32 { return p + 28u; }",
      "fn Node_items(p: u32, index: u32) -> u32 { return load_u32(p + 32u + index * 4u); }",
      "fn set_Node_items(p: u32, index: u32, v: u32) { store_u32(p + 32u + index * 4u, v); }",
      "fn ptr_Node_items(p: u32, index: u32) -> u32 { return p + 32u + index * 4u; }",
      "fn Node_grid(p: u32, index0: u32, index1: u32) -> f32 " +
        "{ return load_f32(p + 48u + index0 * 12u + index1 * 4u); }",
      "fn set_Node_grid(p: u32, index0: u32, index1: u32, v: f32) " +
        "{ store_f32(p + 48u + index0 * 12u + index1 * 4u, v); }",
      "fn ptr_Node_grid(p: u32, index0: u32, index1: u32) -> u32 " +
        "{ return p + 48u + index0 * 12u + index1 * 4u; }",
      "fn Node_leaves(p: u32, index: u32) -> u32 { return p + 72u + index * 4u; }",
      "const SIZE_OF_Leaf = 4u;",
      "fn Leaf_weight(p: u32) -> f32 { return load_f32(p + 0u); }",
      "fn set_Leaf_weight(p: u32, v: f32) { store_f32(p + 0u, v); }",
      "fn ptr_Leaf_weight(p: u32) -> u32 { return p + 0u; }",
    ]);
  });

  it("writes each struct once, however it is reached", () => {
    const text = accessorsOf([ptr(Node), Node, ptr(() => Node), u32, Leaf]);
    expect(text.match(/SIZE_OF_Node/g)).toHaveLength(1);
    expect(text.match(/SIZE_OF_Leaf/g)).toHaveLength(1);
    expect(accessorsOf([u32, ptr(f32)])).toBe("");
  });

  it("refuses two structs of one name and functions of one name", () => {
    const other = struct("Leaf", { other: u32 });
    expect(() => accessorsOf([Node, other])).toThrow(/two different structs are called Leaf/);
    const short = struct("A", { b_c: u32 });
    const long = struct("A_b", { c: u32 });
    expect(() => accessorsOf([short, long])).toThrow(/A.b_c and A_b.c would both be A_b_c/);
    const sizes = struct("SIZE_OF", { Leaf: u32 });
    expect(() => accessorsOf([Leaf, sizes])).toThrow(/would both be SIZE_OF_Leaf/);
    expect(() => accessorsOf([struct("load", { u32 })])).toThrow(/load.u32 would be load_u32/);
    const set = struct("set", { key: u32 });
    expect(() => accessorsOf([set])).toThrow(/set.key would be set_key: names with set_ are for/);
  });
});
