/** What TypeScript says of kernels; `npm run types` checks it, and here they are made, too. */
import { expect, expectTypeOf, it } from "vitest";
import {
  array,
  atomicAdd,
  type FunctionKernel,
  f32,
  i32,
  type Kernel,
  type KernelPtr,
  Machine,
  NULL,
  type Null,
  ptr,
  struct,
  u32,
  vec3f,
} from "../../src/machine/index.ts";

const Node = struct("Node", {
  key: u32,
  value: f32,
  left: ptr(() => Node),
  right: ptr(() => Node),
  items: array(f32, 4),
  data: ptr(i32),
});
const Pair = struct("Pair", { first: Node, second: Node });

it("knows arguments as values, fields and elements", async () => {
  const machine = await Machine.create({ cpu: "scoped", device: "none" });
  const { space } = machine;
  const root = space.alloc(Node, { key: 5, value: 1.5 });
  const keys = space.array(u32, 4);
  const out = space.array(f32, 4);
  keys.copyFrom([5, 6, 5, 7]);
  out.fill(0);

  const lookup = machine.kernel(
    { root: ptr(Node), keys: ptr(u32), out: ptr(f32) },
    (i, { root, keys, out }) => {
      let at = root;
      while (at && at.key !== keys[i]) at = keys[i] < at.key ? at.left : at.right;
      if (at) out[i] = at.value;
    },
  );
  expectTypeOf(lookup).toExtend<FunctionKernel<never>>();
  lookup.runHere(keys.length, { root, keys, out });
  expect(out.toArray()).toEqual([1.5, 0, 1.5, 0]);

  const wgsl = machine.kernel({ args: { out: ptr(f32) }, code: "fn main(i: u32) {}" });
  expectTypeOf(wgsl).toEqualTypeOf<Kernel<{ readonly out: typeof pointer }>>();
  // @ts-expect-error WGSL runs on the device only.
  expect(wgsl.runHere).toBe(undefined);

  // @ts-expect-error out is missing.
  expect(() => lookup.runHere(1, { root, keys })).toThrow(/args.out is missing/);
  // @ts-expect-error An array of u32 is none of f32.
  lookup.runHere(1, { root, keys, out: keys });
  await machine.close();
});

const pointer = ptr(f32);

it("has a type for each value", () => {
  const args = { nodes: ptr(Node), pairs: ptr(Pair), lists: ptr(array(u32, 8)), out: ptr(i32) };
  const typed = (machine: Machine) =>
    machine.kernel(args, (i, { nodes, pairs, lists, out }, { i32, NULL }) => {
      expectTypeOf(i).toBeNumber();
      expectTypeOf(nodes).toEqualTypeOf<KernelPtr<typeof Node> | Null>();
      expectTypeOf(nodes[i]).toEqualTypeOf<KernelPtr<typeof Node>>();
      expectTypeOf(pairs[i].second.left).toEqualTypeOf<KernelPtr<typeof Node> | Null>();
      expectTypeOf(lists[i][3]).toBeNumber();
      expectTypeOf(nodes[i].items[2]).toBeNumber();
      expectTypeOf(nodes[i].data[2]).toBeNumber();
      let at = nodes;
      at = NULL;
      at = nodes[i];
      at.key = 5;
      at.items[1] = 2;
      at.data[0] = 3;
      at.left = nodes[i + 1];
      out[i] = i32(at === nodes);
    });
  expect(typed).toBeTypeOf("function");
});

it("has pointers with elements, whoever names their type first", () => {
  const Ball = struct("Ball", { at: vec3f, radius: f32 });
  const sizeOf = (ball: KernelPtr<typeof Ball>): number => ball.radius;
  const typed = (machine: Machine) =>
    machine.kernel({ balls: ptr(Ball), out: ptr(f32) }, (i, { balls, out }) => {
      out[i] = sizeOf(balls[i]);
      if (balls) out[i] = sizeOf(balls) + sizeOf(balls[i]);
    });
  expect(typed).toBeTypeOf("function");
});

it("knows what is handed over", () => {
  const typed = (machine: Machine) => {
    const uses = { WIDTH: 3, twice: (x: number) => 2 * x };
    machine.kernel(
      { out: ptr(u32) },
      (i, { out }, { WIDTH, twice, u32 }) => {
        out[i] = u32(WIDTH + twice(i));
        // @ts-expect-error It takes a number.
        out[i] = twice(true);
      },
      { uses },
    );
    machine.kernel({ out: ptr(u32) }, (i, { out }, { u32 }) => {
      out[i] = u32(i);
    });
    // @ts-expect-error Nobody has handed that over.
    machine.kernel({ n: u32 }, (_i, _args, { HEIGHT }) => void HEIGHT, { uses });
    // @ts-expect-error There is no such tool.
    machine.kernel({ n: u32 }, (_i, _args, { u64 }) => void u64);
  };
  expect(typed).toBeTypeOf("function");
});

it("knows atomics by what lies at a place", () => {
  const Counter = struct("Counter", {
    hits: u32,
    low: i32,
    sum: f32,
    node: ptr(Node),
    bins: array(u32, 4),
  });
  const typed = (machine: Machine) => {
    const args = { c: ptr(Counter), u: ptr(u32), s: ptr(i32), f: ptr(f32) };
    machine.kernel(args, (i, { c, u, s, f }, { atomicAdd, atomicLoad, atomicCompareExchange }) => {
      expectTypeOf(atomicAdd(u, i, 1)).toBeNumber();
      atomicAdd(s, i, 1);
      // @ts-expect-error A float.
      atomicAdd(f, i, 1);
      // @ts-expect-error It may be null.
      atomicAdd(c, "hits", 1);
      if (!c) return;
      atomicAdd(c, "hits", 1);
      atomicAdd(c[i], "low", -1);
      atomicAdd(c[i].bins, 3, 1);
      expectTypeOf(atomicCompareExchange(c, "hits", 1, 2)).toBeNumber();
      // @ts-expect-error A float.
      atomicAdd(c, "sum", 1);
      // @ts-expect-error A pointer.
      atomicLoad(c, "node");
      // @ts-expect-error There is no such field.
      atomicLoad(c, "size");
      // @ts-expect-error What is compared with is missing.
      atomicCompareExchange(u, i, 1);
    });
    const push = (list: { count: number }, items: { [k: number]: number }): number => {
      items[1] = atomicAdd(items, 0, 1);
      return atomicAdd(list, "count", 1);
    };
    expectTypeOf(push).returns.toBeNumber();
  };
  expect(typed).toBeTypeOf("function");
});

it("refuses what has no such type", () => {
  const bad = (machine: Machine) => {
    machine.kernel({ root: ptr(Node), keys: ptr(u32) }, (i, { root, keys }, { f32 }) => {
      // @ts-expect-error It may be null.
      keys[i] = root.key;
      if (!root) return;
      // @ts-expect-error There is no such field.
      keys[i] = root.color;
      // @ts-expect-error An element is a number.
      keys[i] = root.left;
      // @ts-expect-error Its fields are assigned.
      root[0] = root;
      // @ts-expect-error A struct is no number.
      keys[i] = f32(root);
      // @ts-expect-error Its elements are assigned.
      root.items = keys;
    });
    // @ts-expect-error An argument is a number or a pointer.
    machine.kernel({ node: Node }, () => {});
    // @ts-expect-error There is no such option.
    machine.kernel({ n: u32 }, () => {}, { structs: [] });
  };
  expect(bad).toBeTypeOf("function");
});

it("converts outside of kernels as within", () => {
  expect([u32(-1), u32(2.9), u32(1e20), u32(true), u32(-0.5)]).toEqual([
    4_294_967_295, 2, 4_294_967_295, 1, 0,
  ]);
  expect([i32(4_294_967_295), i32(-2.9), i32(-1e20)]).toEqual([-1, -2, -2_147_483_648]);
  expect([f32(0.1), NULL]).toEqual([Math.fround(0.1), 0]);
});
