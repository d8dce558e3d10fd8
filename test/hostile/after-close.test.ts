/**
 * Every call after the machine is closed, or after this thread has left it, is ENODEV. The tables
 * name every public method, so that a new one has to be put there, or the test fails.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type Access,
  type Adoption,
  type ArrayView,
  type Cursor,
  type Kernel,
  Machine,
  ptr,
  struct,
  u32,
  type VectorView,
  vec2u,
  viewOf,
  whyNotHost,
} from "../../src/machine/index.ts";
import { memoryModule } from "../adopt/module-builder.ts";

const Node = struct("Node", { key: u32, at: vec2u });
const WHOLE = { start: 0x1000_0000, bytes: 4096 } as const;

interface Things {
  readonly machine: Machine;
  readonly kernel: Kernel<{ to: ReturnType<typeof ptr<typeof u32>> }>;
  readonly array: ArrayView<typeof u32>;
  readonly vector: VectorView<"vec2u">;
  readonly cursor: Cursor<typeof Node>;
  readonly adoption: Adoption;
  readonly access: Access;
}

/** A call that must be refused, or why it goes on: it asks nobody and touches nothing. */
type Row = ((things: Things) => unknown) | string;
type Table = Readonly<Record<string, Row>>;

const VALUE = "says what it knows";
const ARITHMETIC = "computes an address";

const MACHINE: Table = {
  hasPageFaults: VALUE,
  report: "what it had done before; a thread that has left is refused",
  close: "the same promise again",
  handle: ({ machine }) => machine.handle,
  kernel: ({ machine }) => machine.kernel({ args: {}, code: "fn main(i: u32) {}" }),
  check: ({ machine }) => machine.check(),
  dump: ({ machine }) => machine.dump(),
};

const SPACE: Table = {
  memory: VALUE,
  window: VALUE,
  heapUsage: VALUE,
  malloc: ({ machine }) => machine.space.malloc(8),
  free: ({ machine, array }) => machine.space.free(array.address),
  array: ({ machine }) => machine.space.array(u32, 4),
  alloc: ({ machine }) => machine.space.alloc(Node),
  at: ({ machine }) => machine.space.at(Node, 0x1000_0000),
  adopt: ({ machine }) => machine.space.adopt(),
  mmap: ({ machine }) => machine.space.mmap({ bytes: 4096 }),
  mmapSync: ({ machine }) => machine.space.mmapSync({ bytes: 4096 }),
  munmap: ({ machine }) => machine.space.munmap(WHOLE.start, 4096),
  munmapSync: ({ machine }) => machine.space.munmapSync(WHOLE.start, 4096),
  mprotect: ({ machine }) => machine.space.mprotect(WHOLE.start, 4096, "r"),
  mprotectSync: ({ machine }) => machine.space.mprotectSync(WHOLE.start, 4096, "r"),
  discard: ({ machine }) => machine.space.discard(WHOLE.start, 4096),
  discardSync: ({ machine }) => machine.space.discardSync(WHOLE.start, 4096),
  access: ({ machine }) => machine.space.access(WHOLE, "read"),
  accessSync: ({ machine }) => machine.space.accessSync(WHOLE, "read"),
  populate: ({ machine }) => machine.space.populate(WHOLE, "read"),
  populateSync: ({ machine }) => machine.space.populateSync(WHOLE, "read"),
  prefetch: ({ machine }) => machine.space.prefetch(WHOLE, "device"),
  advise: ({ machine }) => machine.space.advise(WHOLE, { readMostly: true }),
  mayRead: "says no",
  need: ({ machine }) => machine.space.need(WHOLE.start, 4, false),
};

const KERNEL: Table = {
  prepare: ({ kernel, array }) => kernel.prepare({ to: array }),
  run: ({ kernel, array }) => kernel.run(1, { to: array }),
  runSync: ({ kernel, array }) => kernel.runSync(1, { to: array }),
};

const ARRAY: Table = {
  address: ARITHMETIC,
  bytes: VALUE,
  addressOf: ARITHMETIC,
  at: ({ array }) => array.at(0),
  set: ({ array }) => array.set(0, 1),
  fill: ({ array }) => array.fill(1),
  copyFrom: ({ array }) => array.copyFrom([1, 2]),
  toArray: ({ array }) => array.toArray(),
};

const VECTOR: Table = {
  address: ARITHMETIC,
  length: VALUE,
  x: ({ vector }) => vector.x,
  y: ({ vector }) => (vector.y = 1),
  z: "a vec2 has none: EINVAL",
  w: "a vec2 has none: EINVAL",
  at: ({ vector }) => vector.at(1),
  set: ({ vector }) => vector.set(1, 2),
  assign: ({ vector }) => vector.assign([1, 2]),
  toArray: ({ vector }) => vector.toArray(),
};

const CURSOR: Table = {
  address: ARITHMETIC,
  at: ARITHMETIC,
  key: ({ cursor }) => (cursor.key = cursor.key + 1),
  assign: ({ cursor }) => cursor.assign({ key: 1 }),
  toObject: ({ cursor }) => cursor.toObject(),
};

const ADOPTION: Table = {
  memory: VALUE,
  range: VALUE,
  limit: VALUE,
  exports: VALUE,
  growFailure: VALUE,
  compile: ({ adoption }) => adoption.compile(memoryModule()),
  instantiate: ({ adoption }) => adoption.instantiate(memoryModule()),
  instantiateWasm: ({ adoption }) => adoption.instantiateWasm,
  load: ({ adoption }) => adoption.load(() => undefined),
};

/** It was closed before the machine could be: a second time does nothing. */
const ACCESS: Table = {
  u32: VALUE,
  i32: VALUE,
  f32: VALUE,
  close: "a second time does nothing",
};

const TABLES = { MACHINE, SPACE, KERNEL, ARRAY, VECTOR, CURSOR, ADOPTION, ACCESS } as const;

async function thingsOf(machine: Machine, adoption: Adoption): Promise<Things> {
  const { space } = machine;
  const code = "fn main(i: u32) { store_u32(args.to, i); }";
  const access = await space.access({ start: space.malloc(64), bytes: 64 }, "write");
  access.close();
  return {
    machine,
    kernel: machine.kernel({ args: { to: ptr(u32) }, code }),
    array: space.array(u32, 4),
    vector: viewOf(vec2u, space, space.malloc(8)),
    cursor: space.alloc(Node),
    adoption,
    access,
  };
}

const namesOf = (object: object): string[] =>
  Object.getOwnPropertyNames(Object.getPrototypeOf(object)).filter(
    (name) => name !== "constructor",
  );

const how = async (row: (things: Things) => unknown, things: Things): Promise<unknown> => {
  try {
    await row(things);
    return "it went on";
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return /closed|has left/.test(message) ? code : message;
  }
};

const WAYS = [
  ["scoped", "it is closed"],
  ["host", "it is closed"],
  ["host", "this thread has left it"],
  ["host", "it is closed by the thread that made it"],
] as const;

describe.each(WAYS)("with CPU backend %s, after %s", (cpu, way) => {
  const reason = cpu === "host" ? whyNotHost()?.reason : undefined;
  let things: Things;
  let machine: Machine;

  beforeAll(async () => {
    if (reason !== undefined) return;
    machine = await Machine.create({ cpu, device: "none" });
    const own = way === "it is closed";
    const used = own ? machine : Machine.attach(machine.handle);
    things = await thingsOf(used, await used.space.adopt({ wasm: memoryModule() }));
    await (way === "this thread has left it" ? used : machine).close();
  });
  afterAll(() => machine?.close());

  it("all public methods are in the tables", (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const { array, vector, cursor, adoption, access, kernel } = things;
    const { space } = things.machine;
    const known = (table: Table): string[] => Object.keys(table).sort();
    expect(namesOf(things.machine).sort()).toEqual(known(MACHINE));
    expect(namesOf(space).sort()).toEqual(known(SPACE));
    expect(namesOf(kernel).sort()).toEqual(known(KERNEL));
    expect(namesOf(array).sort()).toEqual(known(ARRAY));
    expect(namesOf(vector).sort()).toEqual(known(VECTOR));
    expect(namesOf(cursor).sort()).toEqual(known(CURSOR));
    expect(namesOf(adoption).sort()).toEqual(known(ADOPTION));
    expect(namesOf(access).sort()).toEqual(known(ACCESS));
  });

  it("every call is ENODEV", async (ctx) => {
    if (reason !== undefined) return ctx.skip(reason);
    const rows = Object.entries(TABLES).flatMap(([table, rows]) =>
      Object.entries(rows).flatMap(([name, row]) =>
        typeof row === "string" ? [] : [{ name: `${table}.${name}`, row }],
      ),
    );
    const ends = await Promise.all(
      rows.map(async ({ name, row }) => [name, await how(row, things)] as const),
    );
    expect(ends.filter(([, code]) => code !== "ENODEV")).toEqual([]);
    expect(() => things.adoption.memory.grow(1)).toThrow(RangeError);
    expect(() => [...things.array]).toThrow(/ENODEV/);
    expect(things.machine.close()).toBeInstanceOf(Promise);
    things.access.close();
  });
});
