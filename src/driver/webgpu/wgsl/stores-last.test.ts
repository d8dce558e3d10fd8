import { describe, expect, it } from "vitest";
import { storesComeLast } from "./stores-last.ts";

const inMain = (body: string): string => `fn main(i: u32) { ${body} }`;

describe("stores come last", () => {
  it.each([
    ["without stores", "let x = load_u32(args.a);"],
    ["after loops", "for (var k = 0u; k < 4u; k++) { x += load_u32(k); } store_u32(a, x);"],
    ["of what was loaded for them", "store_u32(a, load_u32(b) + f32(load_u32(c)));"],
    [
      "one after the other",
      "store_f32(a, x); store_vec4f(b, vec4f(max(x, y))); set_Node_key(c, 1u);",
    ],
    ["in branches", "if (x > 0u) { store_u32(a, x); } else { store_u32(b, y); }"],
    ["with comments that say load_u32(x)", "store_u32(a, 1u); // load_u32(b)"],
  ])("%s", (_name, body) => {
    expect(storesComeLast(inMain(body), "")).toBe(true);
  });

  it.each([
    ["a load", "store_u32(a, 1u); let x = load_u32(a);"],
    ["a load for the second store", "store_u32(a, 1u); store_u32(b, load_u32(a));"],
    ["a loop around the store", "for (var k = 0u; k < 4u; k++) { store_u32(a, load_u32(b)); }"],
    [
      "a loop in which it is the condition's turn",
      "while (load_u32(a) > 0u) { store_u32(a, 0u); }",
    ],
    ["a getter", "store_u32(a, 1u); let x = Node_key(p);"],
    ["a function of the user's", "store_u32(a, 1u); let x = helper(p);"],
  ])("not with %s behind them", (_name, body) => {
    const code = `fn helper(p: u32) -> u32 { return load_u32(p); }\n${inMain(body)}`;
    expect(storesComeLast(code, "fn Node_key(p: u32) -> u32 { return load_u32(p); }")).toBe(false);
  });

  it("not when another function stores", () => {
    const code = `fn put(p: u32) { store_u32(p, 1u); }\n${inMain("put(args.a);")}`;
    expect(storesComeLast(code, "")).toBe(false);
  });
});
