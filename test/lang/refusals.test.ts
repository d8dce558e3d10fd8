/** What is not in the subset is refused with its place, its text, the rule and what to write. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  array,
  f32,
  HmmError,
  i32,
  type KernelFunction,
  Machine,
  ptr,
  struct,
  u32,
  vec3f,
} from "../../src/machine/index.ts";

const Node = struct("Node", {
  key: u32,
  left: ptr(() => Node),
  items: array(f32, 4),
});
const Other = struct("Other", { x: i32 });

const ARGS = {
  node: ptr(Node),
  other: ptr(Other),
  u: ptr(u32),
  v: ptr(vec3f),
  s: ptr(i32),
  f: ptr(f32),
  n: u32,
} as const;

let machine: Machine;

beforeAll(async () => {
  machine = await Machine.create({ cpu: "scoped", device: "none" });
});

afterAll(() => machine.close());

function made(code: unknown, uses: Readonly<Record<string, unknown>> = {}): unknown {
  return machine.kernel(ARGS, code as KernelFunction<typeof ARGS>, { uses, name: "trial" });
}

/** What is said of a body over `node`, `other`, `u`, `s`, `f`, `n` and `i`. */
function saidOf(body: string, uses: Readonly<Record<string, unknown>> = {}): string {
  const code = new Function(`return (i, { node, other, u, v, s, f, n }) => { ${body} };`)();
  try {
    made(code, uses);
  } catch (error) {
    if (error instanceof HmmError && error.code === "EINVAL") return error.message;
    throw error;
  }
  return "nothing";
}

/** Body, what is shown of it, and what is said. */
const REFUSED: readonly (readonly [body: string, shown: string, rule: string])[] = [
  // Operators.
  ["u[i] = n == 1 ? 1 : 2;", "n == 1", "== and != convert before they compare; write ==="],
  ["if (n != 1) return;", "n != 1", "write !=="],
  ["u[i] = u[i] + s[i];", "u[i] + s[i]", "u32 and i32 do not mix; write u32(…) or i32(…)"],
  ["u[i] = n + -1;", "n + -1", "a u32 is never negative; write i32(x), or subtract"],
  ["if (n >= 0) return;", "n >= 0", "so this is always so; write i32(x)"],
  ["u[i] = Math.max(n - 1, 0);", "Math.max(n - 1, 0)", "this is no limit; write i32(x)"],
  ["u[i] = -n;", "-n", "a u32 is never negative; write -i32(x)"],
  ["u[i] = n >> 2;", "n >> 2", "a u32 has no sign; write >>> for it, or i32(x) >> n"],
  ["u[i] = f[i] & 1;", "f[i] & 1", "& wants integers, and one is f32; write Math.trunc(x) | 0"],
  ["u[i] = ~f[i];", "~f[i]", "~ wants an integer, and this is f32; write i32(x)"],
  ["u[i] = (n > 1) + 1;", "(n > 1) + 1", "write test ? 1 : 0"],
  ["u[i] = node + 1;", "node + 1", "index it, or write u32(pointer)"],
  ["if (n) return;", "n", "a condition is wanted here, and this is u32; write x !== 0"],
  ["if (n && node) return;", "n", "write x !== 0"],
  ["if (!u[i]) return;", "u[i]", "a condition is wanted here, and this is u32; write x === 0"],
  ["u[i] = u[i] || 5;", "u[i]", "write x !== 0 ? x : 5"],
  ["u[i] = u[i] && n;", "u[i]", "write x !== 0 ? n : x"],
  ["while (node !== undefined) return;", "node !== undefined", "is a condition: if (node)"],
  ["if (node.left === null) return;", "node.left === null", "is a condition: if (!node.left)"],
  ["if (null != node) return;", "null != node", "a pointer is a condition: if (node)"],
  ["u[i] = node.left ?? 1;", "node.left ?? 1", "nothing is undefined in a kernel"],
  ["u[i] = typeof n;", "typeof n", "typeof has no meaning in a kernel"],
  ["u[i] = 'key' in node;", "'key' in node", "a kernel has numbers and pointers, no objects"],
  ["u[i] = (n, 1);", "n, 1", "write one statement for each"],
  ["let x = 1; u[i] = x++;", "x++", "++ and -- stand by themselves"],
  ["let x = 1; u[i] = x = 2;", "x = 2", "an assignment stands by itself"],
  ["let x = u[i]; x = s[i];", "x", "x is u32, and this is i32; write u32(…)"],
  ["let x = u[i]; x ||= 1;", "x ||= 1", "write an if"],
  ["u[i] = n > 1 ? u[i] : s[i];", "n > 1 ? u[i] : s[i]", "both sides are of one type"],
  ["u[i] = node === other ? 1 : 2;", "node === other", "compare pointers to one thing"],
  ["if (node < node.left) return;", "node < node.left", "compare pointers by === and !=="],
  // Values.
  ["u[i] = 'a';", "'a'", "a kernel has no text"],
  ["u[i] = `a`;", "`a`", "a kernel has no text"],
  ["u[i] = 1n;", "1n", "a kernel has numbers of 32 bits; leave out the n"],
  ["let x = null;", "null", "write NULL for no pointer"],
  ["let x = undefined;", "undefined", "a kernel cannot count on it"],
  ["u[i] = NaN;", "NaN", "GPUs need not keep NaN apart"],
  ["let x = [1, 2];", "[1, 2]", "a kernel makes no arrays"],
  ["let x = { a: 1 };", "{ a: 1 }", "no objects"],
  ["let x = new Map();", "new Map()", "a kernel makes no objects"],
  ["let x = /a/;", "/a/", "a kernel has no text"],
  ["let x = this.a;", "this", "a kernel has no this"],
  ["let x; u[i] = x;", "x", "it never gets a value"],
  // Memory.
  ["u[i] = f[i];", "u[i]", "u32 is stored here, not f32; write Math.floor(x) or u32(x)"],
  ["u[i] = u[f[i]];", "f[i]", "an index is an integer, and this is f32; write Math.floor(x)"],
  ["u[i] = n > 1;", "u[i]", "u32 is stored here, not bool; write test ? 1 : 0"],
  ["u[i] = node;", "u[i]", "u32 is stored here, not a pointer to Node; write u32(pointer)"],
  ["node.left = other;", "node.left", "ptr<…> is stored here, not a pointer to Other"],
  ["node[1] = node;", "node[1]", "Node is not stored whole; assign its fields"],
  ["node.items = f;", "node.items", "is not stored whole; assign its elements"],
  ["u[i] = node.color;", "node.color", "Node has no field color (it has key, left, items)"],
  ["u[i] = u.length;", "u.length", "and no members; hand the length over as an argument, n: u32"],
  ["u[i] = u.size;", "u.size", "a pointer to u32 has elements, p[i], and no members"],
  ["u[i] = node.length;", "node.length", "hand the length over as an argument, n: u32"],
  ["u[i] = node.items.length;", "node.items.length", "has 4 elements"],
  ["u[i] = 5000000000;", "u[i]", "5000000000 is beyond 32 bits, so this is an f32, and u32 is"],
  ["s[i] = -5000000000;", "s[i]", "-5000000000 is beyond 32 bits"],
  ["u[i] = u[i] + 5000000000;", "u[i]", "5000000000 is beyond 32 bits, so this is an f32"],
  ["u[i] = u[5000000000];", "5000000000", "5000000000 is beyond 32 bits, and an index is not"],
  ["u[i] = n.x;", "n.x", "u32 has no members"],
  ["u[i] = n[0];", "n[0]", "u32 has no elements"],
  ["u[i] = node?.key;", "node?.key", "?. hides a null pointer"],
  ["n = 1;", "n", "arguments stay; write let x = n"],
  ["i = 1;", "i", "i is given and cannot change; write let x = i, and change x"],
  ["const c = u[0]; c = 1;", "c", "c is a const; write let c where it is made"],
  ["[u[0], u[1]] = u;", "[u[0], u[1]]", "assign to names, fields and elements, one by one"],
  // Vectors.
  ["let p = v[i]; p.x = 1;", "p.x", "vectors stay as they are; write v = vec3f(1, v.y, v.z)"],
  ["f[i] = v[i].w;", "v[i].w", "vec3f has x, y, z, and no w"],
  ["f[i] = v[i] + 1;", "v[i] + 1", "vectors have methods: a.add(b), a.mul(2)"],
  ["v[i] = vec3f(1, 2);", "vec3f(1, 2)", "vec3f has 3 components, and these are 2"],
  ["v[i] = vec3f(node);", "node", "vec3f takes numbers and vectors, and this is a pointer to Node"],
  ["v[i] = v[i].add(vec2f(1));", "v[i].add(vec2f(1))", "vec3f and vec2f do not mix"],
  ["v[i] = v[i].add(node);", "v[i].add(node)", "add takes vectors and numbers, no a pointer"],
  ["v[i] = v[i].add();", "v[i].add()", "it takes 1 operands, and these are 0"],
  ["f[i] = vec2f(1).cross(vec2f(2)).x;", "vec2f(1).cross(vec2f(2))", "cross is for vectors of 3"],
  ["f[i] = vec3i(1).length();", "vec3i(1).length()", "length is for floats, and this is vec3i"],
  ["u[i] = vec3u(1).add(s[i]).x;", "vec3u(1).add(s[i])", "i32 and u32 do not mix"],
  ["v[i] = v[i].turn(1);", "v[i].turn", "there is no method turn here"],
  ["f[i] = v[i].x.length();", "v[i].x.length", "there is no method length here"],
  ["v[i] = v[i].xy;", "v[i].xy", "vec3f has x, y, z, and no xy"],
  ["f[i] = dot(1, 2);", "dot(1, 2)", "dot takes vectors, and these are numbers"],
  ["f[i] = v[i];", "f[i]", "f32 is stored here, not vec3f"],
  // Arrays of its own.
  ["const a = new Array(3);", "new Array(3)", "but const a = new Uint32Array(8) and its like"],
  ["const a = new Uint32Array(n);", "new Uint32Array(n)", "its length is a number of the text"],
  ["const a = new Uint32Array(0);", "new Uint32Array(0)", "its length is a number of the text"],
  ["const a = new Uint32Array(8); const b = a;", "a", "use its elements, a[j]"],
  ["const a = new Uint32Array(8); a[8] = 1;", "a[8]", "it has 8 elements of u32, 0 to 7"],
  ["const a = new Uint32Array(8); a.fill(1);", "a.fill", "there is no method fill here"],
  ["const a = new Uint32Array(8); u[i] = a.size;", "a.size", "has elements, a[j], and a length"],
  ["const a = new Uint32Array(8); a.length = 1;", "a.length", "its elements are assigned, a[j]"],
  ["const a = new Int32Array(8); a[0] = 0.5;", "a[0]", "i32 is stored here, not f32"],
  // Atomics.
  [
    "atomicAdd(f, i, 1);",
    "atomicAdd(f, i, 1)",
    "this is f32; keep a fixed point in an i32: atomicAdd(",
  ],
  ["atomicAdd(v, i, 1);", "atomicAdd(v, i, 1)", "this is vec3f; name a component of integers"],
  [
    "atomicOr(v[i], 'x', 1);",
    "atomicOr(v[i], 'x', 1)",
    "atomics are for u32 and i32, and this is f32",
  ],
  ["let p = v[i]; atomicAdd(p, 'x', 1);", "p", 'name it where it lies: atomicAdd(list[k], "x", …)'],
  ["atomicAdd(node, 0, 1);", "atomicAdd(node, 0, 1)", "this is Node; name a field: atomicAdd(p[k]"],
  [
    "atomicAdd(node, 'items', 1);",
    "atomicAdd(node, 'items', 1)",
    "take an element: atomicAdd(p.items",
  ],
  ["atomicAdd(node, 'left', 1);", "atomicAdd(node, 'left', 1)", "keep an index in a u32 instead"],
  ["atomicAdd(node, 'size', 1);", "atomicAdd(node, 'size', 1)", "Node has no field size"],
  ["atomicAdd(n, 0, 1);", "atomicAdd(n, 0, 1)", "u32 has no elements"],
  ["atomicAdd(u, f[i], 1);", "f[i]", "an index is an integer, and this is f32"],
  ["atomicAdd(u, i, f[i]);", "f[i]", "u32 is stored here, not f32; write Math.floor(x) or u32(x)"],
  ["atomicAdd(u, i);", "atomicAdd(u, i)", "it takes 3 operands, and these are 2"],
  ["const a = new Uint32Array(8); atomicAdd(a, 0, 1);", "a", "it is the invocation's own"],
  [
    "u[i] = 1 + atomicAdd(u, 0, 1);",
    "u[i] = 1 + atomicAdd(u, 0, 1)",
    "an atomic is called by itself",
  ],
  ["u[atomicAdd(u, 0, 1)] = 1;", "u[atomicAdd(u, 0, 1)] = 1", "put its result in a const before"],
  [
    "if (atomicAdd(u, 0, 1) > 1) return;",
    "atomicAdd(u, 0, 1) > 1",
    "an atomic is called by itself",
  ],
  ["u[i] = atomicStore(u, 0, 1);", "atomicStore(u, 0, 1)", "it gives no value"],
  ["atomicLoad(u, 0);", "atomicLoad(u, 0)", "this has no effect"],
  ["Atomics.add(u, 0, 1);", "Atomics.add", "write atomicAdd(…)"],
  ["Atomics.wait(s, 0, 1);", "Atomics.wait", "a kernel cannot wait for others"],
  // Statements.
  ["var x = 1;", "var x = 1;", "write let or const"],
  ["let [key] = node;", "[key]", "write a const for each"],
  ["let { key: { a } } = node;", "key: { a }", "write a name, or name: other"],
  ["let { color } = node;", "color", "Node has no field color (it has key, left, items)"],
  ["let { x } = n;", "x", "u32 has no members"],
  ["switch (n) { case 1: return; }", "switch (n) { case 1: return; }", "write if and else"],
  ["try { u[i] = 1; } catch {}", "try { u[i] = 1; } catch {}", "nothing throws in a kernel"],
  ["throw n;", "throw n;", "a kernel cannot throw"],
  ["for (const x of u) u[i] = x;", "for (const x of u) u[i] = x;", "count instead: for (let j = 0"],
  ["for (const x in u) u[i] = 1;", "for (const x in u) u[i] = 1;", "count instead"],
  ["a: for (;;) break a;", "a: for (;;) break a;", "leave the innermost loop; use a flag"],
  ["debugger;", "debugger;", "leave it out"],
  ["n + 1;", "n + 1", "this has no effect; leave it out"],
  ["Math.abs(n);", "Math.abs(n)", "this has no effect"],
  ["return 1;", "return 1;", "nobody takes what a kernel returns"],
  ["const g = (x) => x;", "(x) => x", "hand it over in uses"],
  ["function g() {}", "function g() {}", "hand it over in uses"],
  ["class A {}", "class A {}", "no objects"],
  ["for (let j = 0; j < 2; u[j]++) {}", "u[j]++", "only names change in the head of a loop"],
  // Names and calls.
  ["u[i] = WIDTH;", "WIDTH", "a kernel does not see WIDTH; hand it over: { uses: { WIDTH } }"],
  ["u[i] = lib.WIDTH;", "lib.WIDTH", "WIDTH by itself: { uses: { WIDTH } }"],
  ["u[i] = keys.length;", "keys.length", "does not see keys; hand it over as an argument, and its"],
  ["u[i] = keys.count;", "keys.count", "a kernel does not see keys; hand it over as an argument"],
  ["u[i] = keys[i];", "keys[i]", "a kernel does not see keys; hand it over as an argument"],
  ["u[i] = keys.at(i);", "keys.at", "a kernel does not see keys; hand it over as an argument"],
  ["u[i] = foo.abs(n);", "foo.abs", "a kernel does not see foo"],
  ["f[i] = foo.dot(v[i], v[i]);", "foo.dot", "a kernel does not see foo"],
  [
    "total = 1;",
    "total",
    "a kernel cannot change total, which is outside of it; store to an array",
  ],
  ["total += u[i];", "total", "a kernel cannot change total"],
  ["total++;", "total", "a kernel cannot change total"],
  ["state.total = 1;", "state.total", "a kernel cannot change state"],
  ["state[i] += 1;", "state[i]", "a kernel cannot change state"],
  ["u[i] = f(1);", "f", "this is no function"],
  ["u[i] = g(1);", "g", "hand it over: { uses: { g } }"],
  ["console.log(n);", "console.log", "a kernel cannot print; store what you want to see"],
  ["u[i] = performance.now();", "performance.now", "a kernel has no performance"],
  ["u[i] = s.at(i);", "s.at", "there is no method at here; write s[i]"],
  ["u.set(i, 4);", "u.set", "there is no method set here; write u[i] = x"],
  ["f[i] = Number(n);", "Number", "write f32(x), i32(x) or u32(x)"],
  ["u[i] = Number.MAX_SAFE_INTEGER;", "Number.MAX_SAFE_INTEGER", "a kernel has no Number"],
  ["u[i] = parseInt(f[i]);", "parseInt", "write i32(x) or Math.trunc(x)"],
  ["u[i] = Math.random();", "Math.random()", "hand over random numbers in an array"],
  ["f[i] = Math.cbrt(f[i]);", "Math.cbrt(f[i])", "write Math.pow(x, 1 / 3)"],
  ["f[i] = Math.sine(1);", "Math.sine(1)", "Math has no sine"],
  ["f[i] = Math.TAU;", "Math.TAU", "Math has no TAU"],
  ["f[i] = Math.sin;", "Math.sin", "Math.sin is a function: call it"],
  ["f[i] = Math.sin(1, 2);", "Math.sin(1, 2)", "it takes 1 operands, and these are 2"],
  ["f[i] = Math.max(...u);", "...u", "write the operands one by one"],
  ["f[i] = Math.sin(node);", "node", "Math.sin wants numbers, and this is a pointer to Node"],
  ["u[i] = u32(1, 2);", "u32(1, 2)", "it takes 1 operands"],
  ["u[i] = i32(node);", "i32(node)", "i32 takes a number, and this is a pointer to Node"],
  ["u[i] = u32;", "u32", "this is a function: call it"],
  ["u[i] = Math.imul(f[i], 2);", "Math.imul(f[i], 2)", "integers are wanted here"],
];

/** JavaScript without types, which runs as it is written. */
async function makeRefused(): Promise<void> {
  const { makeRefused: make } = await import(new URL("refused-kernel.mjs", import.meta.url).href);
  make(machine);
}

describe("a refusal", () => {
  it.each(REFUSED)("of %s shows %s", (body, shown, rule) => {
    const said = saidOf(body);
    expect(said).toContain(rule);
    expect(said.replace(/^kernel: line 1, column \d+ of its function of [^`]*/, "")).toContain(
      `\`${shown}\`: `,
    );
    expect(said).toMatch(/\[kernel trial\] \(EINVAL\)$/);
  });

  it("names file, line and column of what is in a file as it runs", async () => {
    await expect(makeRefused()).rejects.toThrow(
      /^kernel: test\/lang\/refused-kernel\.mjs:10:11: `i == 1`: .* \[kernel plain\] \(EINVAL\)$/,
    );
  });

  it("names the place in the function, and the call, of what is not", () => {
    const text = "(i, { u }) => {\n  u[i] = i == 1;\n}";
    expect(() => made(new Function(`return ${text};`)())).toThrow(/line 2, column 10 of its func/);
    const source = (i: number, { u }: { u: number[] }): void => {
      // biome-ignore lint/suspicious/noDoubleEquals: it is what is refused
      if (i == 1) u[i] = 1;
    };
    // Types are gone from the text, so that only the call is known.
    expect(() => made(source)).toThrow(/column \d+ of its function of .*refusals\.test\.ts:\d+: /);
  });

  it("is made of what cannot be a kernel at all", () => {
    expect(() => made(5)).toThrow(/main must be a function, got 5/);
    expect(() => made(undefined)).toThrow(/main must be a function/);
    expect(() => made(Math.sin)).toThrow(/native and bound functions have no text/);
    expect(() => made((() => {}).bind(undefined))).toThrow(/native and bound functions/);
    expect(() => made(class {})).toThrow(/must be an arrow, a function or a method/);
    expect(() => made(async () => {})).toThrow(/an async function waits/);
    expect(() => made(function* () {})).toThrow(/a generator stops in between/);
    expect(() => made((_i: number, _a: object, _t: object, more: object) => more)).toThrow(
      /a kernel is given its index, its arguments and the toolkit/,
    );
  });

  it("speaks of parameters", () => {
    expect(() => made(([i]: number[]) => i)).toThrow(/the first parameter is the index/);
    const of = (text: string): unknown => new Function(`return ${text};`)();
    expect(() => made(of("(i, { keys }) => {}"))).toThrow(/keys is not an argument of this kernel/);
    expect(() => made(of("(i, { ...rest }) => {}"))).toThrow(/name what is wanted/);
    expect(() => made(of("(i, { u: { x } }) => {}"))).toThrow(/write a name, or name: other/);
    expect(() => made(of("(i, { u = 1 }) => {}"))).toThrow(/write a name, or name: other/);
    expect(() => made(of("(i, [u]) => {}"))).toThrow(/write \{ name, … \} or one name/);
    expect(() => made(of("(i, a, { u64 }) => {}"))).toThrow(/the toolkit has no u64/);
    const handed = /the toolkit has no WIDTH; hand it over: \{ uses: \{ WIDTH \} \}/;
    expect(() => made(of("(i, a, { WIDTH }) => {}"))).toThrow(handed);
    expect(() => made(of("(i, { u }, t) => { u[i] = t.WIDTH; }"))).toThrow(handed);
    expect(() => made(of("(i, a) => { a.u[i] = a.keys[i]; }"))).toThrow(/keys is not an argument/);
  });

  it("speaks of functions that are used", () => {
    const again = (x: number): number => again(x);
    const half = (x: number): number | undefined => {
      if (x > 1) return x;
      return undefined;
    };
    const part = new Function("return (x) => { if (x > 1) return x; };")();
    const put = (at: number[]): number => {
      at[0] = 1;
      return 1;
    };
    expect(saidOf("u[i] = again(1);", { again })).toMatch(/again calls itself; .* write a loop/);
    expect(saidOf("u[i] = half(n);", { half })).toMatch(/of its function half .*`undefined`/);
    expect(saidOf("u[i] = part(n);", { part })).toMatch(/not every path returns a value/);
    expect(saidOf("u[i] = half(n, 1);", { half })).toMatch(
      /half takes 1 operands, and these are 2/,
    );
    expect(saidOf("u[i] = 1 + put(u);", { put })).toMatch(
      /a function that stores is called by its/,
    );
    expect(saidOf("LIMIT = 1;", { LIMIT: 1 })).toMatch(/a kernel cannot change LIMIT/);
    expect(saidOf("u[i] = put;", { put })).toMatch(/this is a function: call it/);
    expect(saidOf("u[i] = list[0];", { list: [1] })).toMatch(/hand memory over as an argument/);
    expect(saidOf("u[i] = list(1);", { list: [1] })).toMatch(/this is no function/);
  });

  it("speaks of what is too deep for a compiler", () => {
    const ifs = Array.from({ length: 130 }, (_, k) => `if (i === ${k}) { u[i] = ${k}; }`);
    expect(saidOf(ifs.join(" else "))).toMatch(/it is nested 129 deep, .* \[kernel trial\]/);
    const calls = `${"Math.sin(".repeat(125)}f[i]${")".repeat(125)}`;
    expect(saidOf(`f[i] = ${calls};`)).toMatch(/it is nested \d+ deep, and compilers/);
    const sum = Array.from({ length: 300 }, (_, k) => `u[${k}]`).join(" + ");
    expect(saidOf(`u[i] = ${sum};`)).toBe("nothing");
  });

  it("speaks of options", () => {
    const code = (): void => {};
    expect(() => machine.kernel({}, code, { uses: 1 as never })).toThrow(/uses must be \{ name/);
    const group = { workgroupSize: 64 } as never;
    expect(() => machine.kernel({}, code, group)).toThrow(/workgroupSize is for kernels in WGSL/);
    expect(() => machine.kernel({}, code, { use: {} } as never)).toThrow(/unknown option use /);
  });
});
