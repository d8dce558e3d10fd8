/**
 * QuickJS, a JavaScript engine as npm has it, builds a search tree of ordinary objects; a WGSL
 * kernel then looks things up in it where QuickJS keeps it: object to object, through QuickJS's
 * own pointers. Its glue lets nobody in, so it is loaded within `adoption.load`.
 *
 *   node examples/adopt/quickjs.mjs [objects] [host|scoped]
 */
import variant from "@jitl/quickjs-wasmfile-release-sync";
import { Machine, ptr, u32 } from "onespace";
import { newQuickJSWASMModuleFromVariant } from "quickjs-emscripten-core";
import { insideModule, printTable } from "./inside-module.mjs";

const OBJECTS = Number(process.argv[2] ?? 150_000);
const QUERIES = 10_000;

/** Runs inside QuickJS. `find` is the same question as the kernel's. */
const GUEST = `
const sorted = (from, to) => {
  if (from === to) return null;
  const middle = (from + to) >> 1;
  return {
    key: middle * 3,
    value: (middle * 7919) % 100003,
    left: sorted(from, middle),
    right: sorted(middle + 1, to),
  };
};
globalThis.tree = sorted(0, ${OBJECTS});
globalThis.queries = [];
for (let i = 0; i < ${QUERIES}; i++) queries.push((i * 48271) % (${OBJECTS} * 3));
globalThis.find = (key) => {
  let at = tree;
  while (at !== null) {
    if (at.key === key) return at.value;
    at = key < at.key ? at.left : at.right;
  }
  return -1;
};
globalThis.findAll = () => {
  let found = 0;
  let sum = 0;
  for (const key of queries) {
    const value = find(key);
    if (value >= 0) { found++; sum += value; }
  }
  return [found, sum];
};
`;

/**
 * How this version of QuickJS lays things out, in bytes; its insides, so checked below. A value
 * has two words, payload and tag. A plain object has its properties' values in the order in
 * which they were made; an array that is dense has its elements' values in a row.
 */
const CODE = /* wgsl */ `
const PROPERTIES = 24u;
const ELEMENTS = 36u;
const ELEMENT_COUNT = 40u;
const TAG_OBJECT = 0xffffffffu;
const TAG_INTEGER = 0u;

struct Value { payload: u32, tag: u32 }
fn value_at(at: u32) -> Value { return Value(load_u32(at), load_u32(at + 4u)); }
fn property(object: u32, slot: u32) -> Value {
  return value_at(load_u32(object + PROPERTIES) + 8u * slot);
}

fn main(i: u32) {
  if (i >= load_u32(args.queries + ELEMENT_COUNT)) { return; }
  let query = value_at(load_u32(args.queries + ELEMENTS) + 8u * i);
  var at = Value(args.tree, TAG_OBJECT);
  var answer = 0xffffffffu;
  while (at.tag == TAG_OBJECT && query.tag == TAG_INTEGER) {
    let key = property(at.payload, 0u).payload;
    if (key == query.payload) { answer = property(at.payload, 1u).payload; break; }
    at = property(at.payload, select(3u, 2u, query.payload < key));
  }
  store_u32(args.out + 4u * i, answer);
}`;

const machine = await Machine.create({ cpu: process.argv[3] ?? "auto" });
const { space } = machine;
const adoption = await space.adopt();
const quickJs = await adoption.load(() => newQuickJSWASMModuleFromVariant(variant));
const before = adoption.range.bytes;

const inside = (body) => insideModule(machine, adoption, body);
const evaluate = (vm, code) => {
  const handle = vm.unwrapResult(vm.evalCode(code));
  const value = vm.dump(handle);
  handle.dispose();
  return value;
};
/** A handle is the address of a value: the object's own address is its first word. */
const objectAt = (vm, name) =>
  vm.getProp(vm.global, name).consume((it) => space.u32[it.value >>> 2]);

const { vm, tree, queries, answer, guestMs } = await inside(() => {
  const made = quickJs.newContext();
  evaluate(made, `${GUEST}; 0`);
  const start = performance.now();
  const found = evaluate(made, "findAll()");
  return {
    vm: made,
    tree: objectAt(made, "tree"),
    queries: objectAt(made, "queries"),
    answer: found,
    guestMs: performance.now() - start,
  };
});

/** The layout is not documented: compare it with what QuickJS says about the root. */
await inside(() => {
  const words = space.u32;
  const slots = words[(tree + 24) >>> 2] >>> 2;
  const read = [words[slots], words[slots + 2], words[(queries + 40) >>> 2]];
  const said = evaluate(vm, "[tree.key, tree.value, queries.length]");
  if (read.join() !== said.join()) throw new Error(`another layout of QuickJS: ${read}, ${said}`);
});

const out = space.array(u32, QUERIES);
const find = machine.kernel({ args: { tree: u32, queries: u32, out: ptr(u32) }, code: CODE });
async function findAll() {
  const start = performance.now();
  const report = await find.run(QUERIES, { tree, queries, out });
  const ms = performance.now() - start;
  const result = await space.access(out, "read");
  const values = result.u32.filter((value) => value !== 0xffffffff);
  result.close();
  return { found: values.length, sum: values.reduce((sum, value) => sum + value, 0), ms, report };
}

const first = await findAll();
if ([first.found, first.sum].join() !== answer.join()) {
  throw new Error(`QuickJS: ${answer}; kernel: ${first.found},${first.sum}`);
}
const changed = await inside(() =>
  evaluate(
    vm,
    "(function add(at) { if (at) { at.value += 1; add(at.left); add(at.right); } })(tree); findAll()",
  ),
);
const second = await findAll();
if ([second.found, second.sum].join() !== changed.join()) {
  throw new Error(`QuickJS: ${changed}; kernel: ${second.found},${second.sum}`);
}

printTable([
  ["CPU backend; device", `${machine.report.cpu.backend}; ${machine.report.device.adapter}`],
  ["objects in the tree, queries", `${OBJECTS}, ${QUERIES}`],
  ["QuickJS's memory, at first and now", `${before} -> ${adoption.range.bytes}`],
  ["found; sum of values, by QuickJS and by the kernel", `${first.found}; ${first.sum}`],
  ["the same after QuickJS has changed every value", `${second.found}; ${second.sum}`],
  ["QuickJS, ms", guestMs.toFixed(1)],
  [
    "kernel, ms: first run (compiles), second run",
    `${first.ms.toFixed(1)}, ${second.ms.toFixed(1)}`,
  ],
  [
    "bytes that went to the device",
    `${first.report.bytesToDevice}, ${second.report.bytesToDevice}`,
  ],
]);
await inside(() => vm.dispose());
await machine.close();
