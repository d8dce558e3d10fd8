import { describe, expect, it } from "vitest";
import { mainParams } from "./main-params.ts";
import { checkRules } from "./rules.ts";

const MAIN = "fn main(i: u32) { }";
const RULE =
  "main takes one number: fn main(i: u32), or WGSL's builtins: @builtin(workgroup_id) id: vec3u";
const said = (code: string): string[] =>
  checkRules(code, { problems: mainParams(code, undefined).problems }).messages.map(
    ({ line, column, message }) => `${line}:${column} ${message}`,
  );

describe("checkRules", () => {
  it.each([
    ["enable f16;", "1:1", "enable f16", "without extensions"],
    ["enable subgroups, f16;", "1:1", "enable subgroups, f16", "without extensions"],
    ["requires packed_4x8_integer_dot_product;", "1:1", "requires packed_", "leave it out"],
    ["diagnostic(off, derivative_uniformity);", "1:1", "diagnostic", "leave it out"],
    [" @compute fn other() { }", "1:2", "@compute", "the entry point is ours"],
    ["@ compute fn other() { }", "1:1", "@ compute", "the entry point is ours"],
    ["fn f(@builtin(vertex_index) a: u32) { }", "1:6", "@builtin", "main is given its index"],
    ["@group(0) @binding(0) var t: texture_2d<f32>;", "1:1", "@group", "no bindings of its own"],
    ["var<storage> x: u32;", "1:1", "var<storage", "no bindings of its own"],
    ["fn f(a: ptr<storage, u32>) { }", "1:9", "ptr<storage", "no bindings of its own"],
    ["override size = 64u;", "1:1", "override", "use const, or an argument"],
    ["var<workgroup> tile: array<f32, 64>;", "1:1", "var<workgroup", "do not work together"],
    ["fn f() {\n  workgroupBarrier();\n}", "2:3", "workgroupBarrier", "do not work together"],
    ["fn f() { storageBarrier(); }", "1:10", "storageBarrier", "in var<workgroup>"],
    ["struct A { n: atomic<u32> }", "1:15", "atomic", "by address"],
    ["fn f() { _ = atomicAdd(&x, 1u); }", "1:14", "atomicAdd", "atomicAdd_u32(address, value)"],
    ["fn f() { _ = subgroupAdd(1u); }", "1:14", "subgroupAdd", "do not work together"],
    ["fn max(a: f32) -> f32 { return a; }", "1:4", "max", "the helpers use WGSL's own max"],
    ["struct vec2u { a: u32 }", "1:8", "vec2u", "call yours something else"],
    ["alias u32 = f32;", "1:7", "u32", "call yours something else"],
    ["fn f() { }\nconst select = 1;", "2:7", "select", "call yours something else"],
    ["var<private> min: u32;", "1:14", "min", "call yours something else"],
    ["const os_x = 1u;", "1:7", "os_x", "names that begin with os_ are ours"],
  ])("refuses %j at its place", (code, place, words, rule) => {
    const [message, ...more] = said(`${code}\n${MAIN}`);
    expect(message).toMatch(new RegExp(`^${place} ${words.replace(/[()<@ ]/g, "\\$&")}`));
    expect(message).toContain(rule);
    expect(more).toEqual([]);
  });

  it("refuses what hides barriers from groups", () => {
    const { messages } = checkRules(`fn workgroupBarrier() { }\n${MAIN}`, { isGroup: true });
    expect(messages).toMatchObject([{ line: 1, column: 4 }]);
  });

  it("takes what main is given in any writing, with comments between", () => {
    const code = `fn main(größe: u32, /* @builtin(no) */ @ /* a, ) */ builtin( // )
      workgroup_id,) _g: vec3 <u32>,
    ) { }`;
    const { code: plain, values, problems } = mainParams(code, [8, 1, 1]);
    expect(problems).toEqual([]);
    expect(values).toHaveLength(2);
    expect(plain).toHaveLength(code.length);
    expect(plain.replace(/\/\*.*?\*\//g, "").replace(/\s+/g, " ")).toBe(
      "fn main(größe: u32, _g: vec3 <u32>, ) { }",
    );
  });

  it("refuses a whole shader with all that is wrong in it, in its order", () => {
    const shader = `enable f16;
@group(0) @binding(0) var<storage, read_write> data: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) { data[id.x] += 1u; }`;
    expect(said(shader).map((message) => message.replace(/:(?=[^\d]).*/, ""))).toEqual([
      "1:1 enable f16",
      "2:1 @group",
      "3:1 @compute",
      "4:9 @builtin",
    ]);
  });

  it.each([
    ["fn main() { }", `1:1 ${RULE}`],
    ["\nfn main(a: u32, b: u32) { }", `2:1 ${RULE}`],
    ["fn main(i: vec3<u32>) { }", `1:1 ${RULE}`],
    ["fn other(i: u32) { } // fn main(i: u32)", "1:1 there must be a function main(i: u32)"],
  ])("asks for fn main(i: u32): %j", (code, message) => {
    expect(said(code)).toEqual([message]);
  });

  it.each([
    "fn f() { let max = 1u; const min = 2u; var select = max; }\nfn maximum(max: u32) { }",
    "// enable f16; @compute atomicAdd(",
    "/* os_x /* var<workgroup> */ override */",
    "var<private> a: u32;\n@diagnostic(off, derivative_uniformity) fn f() { }",
    "alias Index = u32; fn f(atomicity: u32, storage: u32) -> bool { return atomicity < storage; }",
    "fn enabled(required: u32) -> u32 { let overridden = required; return overridden; }",
    "@must_use fn f() -> u32 { return 1u; } const_assert 1 < 2;",
  ])("leaves alone what only looks like it: %j", (code) => {
    expect(said(`${code}\nfn main(\n  i : u32,\n) { }`)).toEqual([]);
  });
});
