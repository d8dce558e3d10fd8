/** Whatever is given where something else is wanted is refused, by an `HmmError` that says so. */
import { describe, expect, it } from "vitest";
import {
  ArrayView,
  array,
  HmmError,
  Machine,
  ptr,
  struct,
  u32,
  VectorView,
  vec3f,
  viewOf,
  whyNotHost,
} from "../../src/machine/index.ts";

const NONSENSE: readonly unknown[] = [
  undefined,
  null,
  5,
  -1,
  Number.NaN,
  "x",
  "64",
  {},
  [],
  Object.create(null),
  Symbol("s"),
  5n,
  () => 1,
  true,
];

const CODE = "fn main(i: u32) {}";
const Node = struct("Node", { key: u32, at: vec3f, items: array(u32, 4) });

type Call = (given: never) => unknown;

/** Each takes a word of nonsense where it wants something, or takes it for what it is. */
function calls(machine: Machine): Readonly<Record<string, Call>> {
  const { space } = machine;
  const words = space.array(u32, 4);
  const node = space.alloc(Node);
  const home = node.address;
  const kernel = machine.kernel({ args: {}, code: CODE });
  const pointed = machine.kernel({ args: { to: ptr(u32) }, code: CODE });
  const closed = async (held: Promise<{ close(): void }>) => (await held).close();
  return {
    create: (given) => Machine.create(given),
    attach: (given) => Machine.attach(given),
    "attach, heap": (heap) => Machine.attach({ heap } as never),
    "attach, calls": (given) =>
      Machine.attach({ heap: new SharedArrayBuffer(8), calls: given } as never),
    malloc: (given) => space.malloc(given),
    "malloc, align": (given) => space.malloc(8, given),
    free: (given) => space.free(given),
    "array, element": (given) => space.array(given, 4),
    "array, length": (given) => space.array(u32, given),
    alloc: (given) => space.alloc(given),
    "alloc, values": (given) => space.alloc(Node, given),
    at: (given) => space.at(given, home),
    "at, address": (given) => space.at(Node, given),
    "at, address of an array": (given) => space.at(array(u32, 4), given),
    adopt: (given) => space.adopt({ bytes: given }),
    mmap: (given) => space.mmap(given),
    "mmap, bytes": (bytes) => space.mmap({ bytes }),
    "mmap, rights": (rights) => space.mmap({ bytes: 4096, rights }),
    "mmap, address": (address) => space.mmap({ bytes: 4096, address }),
    munmap: (given) => space.munmap(given, 4096),
    "munmap, bytes": (given) => space.munmap(0x2000_0000, given),
    mprotect: (given) => space.mprotect(given, 4096, "r"),
    "mprotect, rights": (given) => space.mprotect(0x2000_0000, 4096, given),
    discard: (given) => space.discard(given),
    "discard, pages": (given) => space.discard(given, 4096),
    access: (given) => closed(space.access(given, "read")),
    "access, mode": (given) => closed(space.access(words, given)),
    "access, start": (start) => closed(space.access({ start, bytes: 4 }, "read")),
    "access, bytes": (bytes) => closed(space.access({ start: home, bytes }, "read")),
    populate: (given) => space.populate(given, "read"),
    prefetch: (given) => space.prefetch(given, "cpu"),
    "prefetch, to": (given) => space.prefetch(words, given),
    "prefetch, mode": (given) => space.prefetch(words, "cpu", given),
    advise: (given) => space.advise(given, { readMostly: true }),
    "advise, advice": (given) => space.advise(words, given),
    "advise, preferred": (preferred) => space.advise(words, { preferred }),
    "advise, readMostly": (readMostly) => space.advise(words, { readMostly }),
    "advise, accessedBy": (accessedBy) => space.advise(words, { accessedBy }),
    kernel: (given) => machine.kernel(given),
    "kernel, args": (args) => machine.kernel({ args, code: CODE }),
    "kernel, an argument": (to) => machine.kernel({ args: { to }, code: CODE }),
    "kernel, what an argument points to": (to) =>
      machine.kernel({ args: { to: ptr(() => to) }, code: CODE }),
    "kernel, name": (name) => machine.kernel({ name, args: {}, code: CODE }),
    "kernel, structs": (structs) => machine.kernel({ structs, args: {}, code: CODE }),
    "kernel, a struct": (each) => machine.kernel({ structs: [each], args: {}, code: CODE }),
    "kernel, workgroupSize": (workgroupSize) =>
      machine.kernel({ args: {}, code: CODE, workgroupSize }),
    "kernel, a side of workgroupSize": (side) =>
      machine.kernel({ args: {}, code: CODE, workgroupSize: [1, side] }),
    "run, a side of count": (side) => kernel.run([1, side], {}),
    "kernel, code": (code) => machine.kernel({ args: {}, code }),
    "run, count": (given) => kernel.run(given, {}),
    "run, args": (given) => kernel.run(1, given),
    "run, an argument": (to) => pointed.run(1, { to }),
    "run, options": (given) => kernel.run(1, {}, given),
    "run, signal": (signal) => kernel.run(1, {}, { signal }),
    "run, onProgress": (onProgress) => kernel.run(1, {}, { onProgress }),
    "run, timeLimit": (timeLimit) => kernel.run(1, {}, { timeLimit }),
    prepare: (given) => kernel.prepare(given),
    struct: (given) => struct(given, { a: u32 }),
    "struct, fields": (given) => struct("A", given),
    "struct, a field": (a) => struct("A", { a }),
    "array, a schema": (given) => array(given, 4),
    "array, its length": (given) => array(u32, given),
    ptr: (given) => ptr(given),
    "set, index": (given) => words.set(given, 0),
    set: (given) => words.set(0, given),
    "at, index": (given) => words.at(given),
    fill: (given) => words.fill(given),
    copyFrom: (given) => words.copyFrom(given),
    "copyFrom, first": (given) => words.copyFrom([1], given),
    addressOf: (given) => words.addressOf(given),
    "a view's address": (given) => {
      words.address = given;
    },
    "a cursor's address": (given) => {
      node.address = given;
      node.address = home;
    },
    assign: (given) => node.assign(given),
    "a field": (given) => {
      node.key = given;
    },
    "a field that is a view": (given) => {
      (node as { at: unknown }).at = given;
    },
    "assign a vector": (given) => node.at.assign(given),
    "a component": (given) => {
      node.at.x = given;
    },
    "assign an array": (items) => node.assign({ items }),
    viewOf: (given) => viewOf(given, space, home),
    "viewOf, memory": (given) => viewOf(Node, given, home),
    "viewOf, address": (given) => viewOf(Node, space, given),
    ArrayView: (given) => new ArrayView(given, space, { address: home, length: 1 }),
    "ArrayView, memory": (given) => new ArrayView(u32, given, { address: home, length: 1 }),
    "ArrayView, length": (length) => new ArrayView(u32, space, { address: home, length }),
    VectorView: (given) => new VectorView(given, space, home),
    "a struct's at": (given) => Node.at(given, home),
  };
}

describe.each(["scoped", "host"] as const)("with CPU backend %s", (cpu) => {
  const reason = cpu === "host" ? whyNotHost()?.reason : undefined;

  it("no call lets nonsense through to where it means something else", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const machine = await Machine.create({ cpu, device: "none" });
    const wrong: string[] = [];
    for (const [name, call] of Object.entries(calls(machine))) {
      for (const given of NONSENSE) {
        try {
          const made: unknown = await call(given as never);
          if (made instanceof Machine) await made.close();
        } catch (error) {
          const isSaid =
            error instanceof HmmError && !/NaN\b.*NaN|0xNaN|\[object/.test(error.message);
          if (!isSaid) wrong.push(`${name}: ${String(error)}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    machine.check();
    await machine.close();
  });

  it("a range that is written out has start and bytes, and nothing else", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const machine = await Machine.create({ cpu, device: "none" });
    const range = { start: 0x3800_0000, bytes: 4, mode: "write" };
    await expect(machine.space.access(range, "read")).rejects.toThrow(
      "access: range has an unknown member mode (known: start, bytes) (EINVAL)",
    );
    await machine.close();
  });
});
