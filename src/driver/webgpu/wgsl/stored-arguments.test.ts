import { expect, it } from "vitest";
import { storedArguments } from "./stored-arguments.ts";

const CASES: Readonly<Record<string, readonly string[]>> = {
  "store_u32(args.out + 4u * i, load_u32(args.in + 4u * i));": ["out"],
  "let place = args.image + 4u * (y * args.size + x); store_u32(place, 1u);": ["image", "size"],
  "var at: u32 = args.list; at = at + 4u; store_vec4f(at, vec4f(args.scale));": ["list"],
  "store_u32(load_u32(args.table + 4u * (i + 1u)), args.value);": [],
  "set_Node_key(args.node, 5u); let k = Node_key(args.other);": ["node"],
  "// store_u32(args.a, 1u)\nlet b = args.b; let c = b; store_f32(c + (b - 1u), 1.0);": ["b"],
  "let a = b; let b = a; store_u32(a, 0u);": [],
  "_ = load_u32(args.in);": [],
};

it.each(Object.entries(CASES))("of %s", (code, stored) => {
  expect([...storedArguments(`fn main(i: u32) { ${code} }`)].sort()).toEqual(stored);
});
