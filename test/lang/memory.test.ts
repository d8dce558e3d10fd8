/** Kernels over structs and pointers, here and on the device; and what `runHere` may not touch. */
import { afterEach, describe, expect, it } from "vitest";
import {
  array,
  f32,
  HmmError,
  i32,
  Machine,
  NULL,
  ptr,
  struct,
  u32,
  whyNotHost,
} from "../../src/machine/index.ts";
import { whyNoDevice } from "../driver/webgpu-machine.ts";

const Node = struct("Node", { value: i32, next: ptr(() => Node), weights: array(f32, 3) });
const Pair = struct("Pair", { tag: u32, first: Node, second: Node });

const noDevice = await whyNoDevice();
let machine: Machine;

afterEach(async () => {
  machine.check();
  await machine.close();
});

/** A list of 1, 2, 3 … and its kernel: every invocation walks it. */
function listOf(length: number) {
  const { space } = machine;
  const nodes = Array.from({ length }, (_, k) => space.alloc(Node, { value: k + 1 }));
  for (const [k, node] of nodes.entries()) node.next = nodes[k + 1]?.address ?? 0;
  const sum = machine.kernel({ head: ptr(Node), out: ptr(i32) }, (i, { head, out }) => {
    let total = 0;
    for (let at = head; at; at = at.next) {
      total += at.value;
      at.weights[i] = at.value / 2;
    }
    out[i] = total;
  });
  return { head: nodes[0]!, nodes, sum, out: space.array(i32, 3) };
}

describe("kernels over structs", () => {
  const nested = (where: Machine) =>
    where.kernel({ pairs: ptr(Pair), out: ptr(i32) }, (i, { pairs, out }) => {
      const pair = pairs[i];
      const second = pair.second;
      pair.first.value = second.value * 2;
      second.next = i === 0 ? pairs[1].first : NULL;
      let at = pair.second.next;
      if (at === NULL) at = pair.first;
      if (at) at.weights[pair.tag] += 1.5;
      out[i] = pair.first.value;
    });

  const result = async (run: "runHere" | "run") => {
    const { space } = machine;
    const pairs = space.array(Pair, 2);
    for (let k = 0; k < 2; k++) {
      const pair = pairs.at(k);
      pair.assign({ tag: k, first: { value: 0, next: 0, weights: [0, 0, 0] } });
      pair.assign({ second: { value: 10 + k, next: 5, weights: [1, 2, 3] } });
    }
    const out = space.array(i32, 2);
    out.fill(0);
    await nested(machine)[run](2, { pairs, out });
    await space.populate(pairs, "read");
    await space.populate(out, "read");
    const [a, b] = [pairs.at(0), pairs.at(1)];
    expect(a.second.next).toBe(b.first.address);
    return [out.toArray(), a.first.toObject(), b.first.toObject(), b.second.toObject()];
  };

  const EXPECTED = [
    [20, 22],
    { value: 20, next: 0, weights: [0, 0, 0] },
    { value: 22, next: 0, weights: [1.5, 1.5, 0] },
    { value: 11, next: 0, weights: [1, 2, 3] },
  ];

  it("read and write nested members, elements and pointers here", async () => {
    machine = await Machine.create({ cpu: "scoped", device: "none" });
    expect(await result("runHere")).toEqual(EXPECTED);
  });

  it.skipIf(noDevice)("and do the same on the device", async () => {
    machine = await Machine.create({ cpu: "scoped" });
    expect(await result("run")).toEqual(EXPECTED);
  });
});

describe("pointers", () => {
  it("are told apart by what they point to, not by its name", async () => {
    machine = await Machine.create({ cpu: "scoped", device: "none" });
    const { space } = machine;
    const A = struct("Same", { unused: u32, x: u32 });
    const B = struct("Same", { x: f32 });
    const lists = struct("Lists", { numbers: ptr(ptr(u32)), rows: ptr(array(u32, 2)) });
    const first = (p: { readonly x: number } | null): number => p!.x;
    const kernel = machine.kernel(
      { a: ptr(A), b: ptr(B), lists: ptr(lists), more: ptr(ptr(u32)), out: ptr(f32) },
      (i, { a, b, lists, more, out }, { first }) => {
        if (!a || !b || !lists) return;
        out[0] = first(a[i]) + first(b[i]);
        let numbers = lists.numbers;
        if (out[0] > 100) numbers = more;
        lists.numbers = more;
        let row = lists.rows[1];
        row = lists.rows[0];
        out[1] = numbers[0][1] + row[1];
      },
      { uses: { first } },
    );
    const a = space.alloc(A, { x: 7 });
    const b = space.alloc(B, { x: 0.5 });
    const words = space.array(u32, 2);
    words.copyFrom([3, 4]);
    const more = space.array(u32, 1);
    more.set(0, words.address);
    const all = space.alloc(lists, {
      numbers: more.address as number,
      rows: words.address as number,
    });
    const out = space.array(f32, 2);
    kernel.runHere(1, { a, b, lists: all, more: more.address as number, out });
    expect(out.toArray()).toEqual([7.5, 8]);
  });
});

describe("runHere", () => {
  it.skipIf(noDevice)("never reads old bytes of what is on the device", async () => {
    machine = await Machine.create({ cpu: "scoped" });
    const { head, sum, out } = listOf(3);
    await sum.run(3, { head, out });
    expect(() => sum.runHere(3, { head, out })).toThrow(
      /^runHere: the page is on a device .* \[kernel kernel, invocation 0, \w+, at 0x.*\] \(EAGAIN\)$/,
    );
    const bytes = out.address + out.bytes - head.address;
    await machine.space.populate({ start: head.address, bytes }, "write");
    sum.runHere(3, { head, out });
    expect(out.toArray()).toEqual([6, 6, 6]);
    expect(head.weights.toArray()).toEqual([0.5, 0.5, 0.5]);
  });

  it.skipIf(noDevice ?? whyNotHost()?.reason)(
    "waits for it where there are page faults",
    async () => {
      machine = await Machine.create({ cpu: "host" });
      const { head, sum, out } = listOf(4);
      await sum.run(3, { head, out });
      sum.runHere(2, { head, out });
      await sum.run(1, { head, out });
      expect(out.toArray()).toEqual([10, 10, 10]);
    },
  );

  it("says which invocation touched what, and why it may not", async () => {
    machine = await Machine.create({ cpu: "scoped", device: "none" });
    const { nodes, head, sum, out } = listOf(2);
    nodes[1]!.next = 0x1000;
    const said = (run: () => void): unknown => {
      try {
        run();
      } catch (error) {
        return error;
      }
      return undefined;
    };
    const fault = said(() => sum.runHere(1, { head, out }));
    expect(fault).toMatchObject({
      code: "EFAULT",
      call: "runHere",
      invocation: 0,
      address: 0x1000,
    });
    machine.space.u32[(nodes[1]!.address + 4) >>> 2] = head.address + 2;
    const odd = said(() => sum.runHere(1, { head, out }));
    expect(odd).toMatchObject({ code: "EFAULT", access: "read", address: head.address + 2 });
    expect(odd).toBeInstanceOf(HmmError);
  });

  it("takes a grid as run does, by the number of each place", async () => {
    machine = await Machine.create({ cpu: "scoped", device: "none" });
    const marks = machine.space.array(u32, 12);
    marks.fill(0);
    const args = { marks: ptr(u32), w: u32 } as const;
    const mark = machine.kernel(args, (i, { marks, w }) => {
      marks[i] = (i % w) + 10 * Math.floor(i / w);
    });
    mark.runHere([3, 2, 2], { marks, w: 3 });
    expect(marks.toArray()).toEqual([0, 1, 2, 10, 11, 12, 20, 21, 22, 30, 31, 32]);
    expect(() => mark.runHere([3, 0], { marks, w: 3 })).toThrow(/runHere: count must be one or up/);
    machine.space.free(marks.address);
  });

  it("checks what it is given, and ends with its machine", async () => {
    machine = await Machine.create({ cpu: "scoped", device: "none" });
    const { head, sum, out } = listOf(1);
    expect(() => sum.runHere(0, { head, out })).toThrow(/count must be an integer in 1/);
    expect(() => sum.runHere(1, { head, out: 2 })).toThrow(/args.out must be a multiple of 4/);
    await expect(sum.run(1, { head, out })).rejects.toThrow(/ENODEV/);
    sum.runHere(1, { head, out });
    expect(out.at(0)).toBe(1);
    const other = await Machine.create({ cpu: "scoped", device: "none" });
    await machine.close();
    expect(() => sum.runHere(1, { head, out })).toThrow(/ENODEV/);
    machine = other;
  });
});
