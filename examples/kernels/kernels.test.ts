/** Each example computes what plain JavaScript computes, on the device and here. */
import { decode, encode } from "fast-png";
import { f32, Machine, type Space, u32, vec3f } from "onespace";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { levels, UNSEEN } from "./bfs.ts";
import { blurred, RADIUS } from "./blur.ts";
import { matrix, multiply } from "./csr.ts";
import { EMPTY, insert, probe, Slot } from "./hash-table.ts";
import { histogram } from "./histogram.ts";
import { nearest, treeOf } from "./kd-tree.ts";
import { BLOCK, bytesOf, NOWHERE, search } from "./search.ts";
import { BLOCK as SUMMED, sum } from "./sum.ts";

let machine: Machine;

beforeAll(async () => {
  machine = await Machine.create();
});

afterAll(async () => {
  machine.check();
  await machine.close();
});

/** Where the CPU has no page faults, what `runHere` touches has to come before. */
async function populateAll(...views: Parameters<Space["populate"]>[0][]): Promise<void> {
  for (const view of views) await machine.space.populate(view, "write");
}

/** Numbers below 1, the same each time. */
function* dice(): Generator<number> {
  for (let state = 1; ; state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) {
    yield state / 2 ** 32;
  }
}

describe("the examples of kernels", () => {
  it("multiply a sparse matrix with a vector", async () => {
    const rows = 1000;
    const { starts, columns, values, x } = matrix(machine, rows, 7);
    const [there, here] = [machine.space.array(f32, rows), machine.space.array(f32, rows)];
    const kernel = multiply(machine);
    await kernel.run(rows, { starts, columns, values, x, y: there });
    await populateAll(starts, columns, values, x, there);
    kernel.runHere(rows, { starts, columns, values, x, y: here });
    const plain = Array.from({ length: rows }, (_, row) => {
      let sum = 0;
      for (let k = row * 7; k < row * 7 + 7; k++) sum += values.at(k) * x.at(columns.at(k));
      return sum;
    });
    expect(there.toArray()).toEqual(plain);
    expect(here.toArray()).toEqual(plain);
  });

  it("find the nearest point in a k-d tree", async () => {
    const next = dice();
    const point = () => [0, 1, 2].map(() => next.next().value!) as [number, number, number];
    const points = Array.from({ length: 500 }, point);
    const asked = Array.from({ length: 200 }, point);
    const { nodes, order } = treeOf(machine, points);
    const queries = machine.space.array(vec3f, asked.length);
    queries.copyFrom(asked);
    const [there, here] = [0, 1].map(() => machine.space.array(u32, asked.length));
    const kernel = nearest(machine);
    await kernel.run(asked.length, { nodes, queries, found: there! });
    await populateAll(nodes, queries, there!);
    kernel.runHere(asked.length, { nodes, queries, found: here! });
    const distance = (a: readonly number[], b: readonly number[]) =>
      Math.hypot(...a.map((each, k) => each - b[k]!));
    for (const [k, query] of asked.entries()) {
      const best = Math.min(...points.map((each) => distance(each, query)));
      expect(distance(points[order[there!.at(k)]!]!, query)).toBeCloseTo(best, 5);
      expect(here!.at(k)).toBe(there!.at(k));
    }
  });

  it("blur a picture, from PNG to PNG", async () => {
    const [width, height] = [40, 30];
    const data = Uint8Array.from({ length: width * height * 4 }, (_, k) => (k * 73) % 256);
    const result = decode(await blurred(machine, encode({ width, height, data, channels: 4 })));
    const at = (x: number, y: number, channel: number): number => {
      let [sum, count] = [0, 0];
      for (let row = Math.max(0, y - RADIUS); row <= Math.min(height - 1, y + RADIUS); row++) {
        for (let c = Math.max(0, x - RADIUS); c <= Math.min(width - 1, x + RADIUS); c++, count++) {
          sum += data[(row * width + c) * 4 + channel]!;
        }
      }
      return Math.floor(sum / count);
    };
    const plain = Uint8Array.from(data, (value, k) => {
      const pixel = k >> 2;
      return k % 4 === 3 ? value : at(pixel % width, Math.floor(pixel / width), k % 4);
    });
    expect(Array.from(result.data)).toEqual(Array.from(plain));
  });

  it("search a text", async () => {
    const text = `${"kernels of onespace, ".repeat(300)}and one needle; ${"hay ".repeat(200)}`;
    for (const word of ["needle", "onespace", "hay hay ", "straw"]) {
      const [hay, pattern] = [bytesOf(machine, text), bytesOf(machine, word)];
      const blocks = Math.ceil(hay.bytes / BLOCK);
      const [there, here] = [0, 1].map(() => machine.space.array(u32, blocks));
      const kernel = search(machine);
      const args = { text: hay.words, bytes: hay.bytes, pattern: pattern.words };
      await kernel.run(blocks, { ...args, length: pattern.bytes, first: there! });
      await populateAll(hay.words, pattern.words, there!);
      kernel.runHere(blocks, { ...args, length: pattern.bytes, first: here! });
      const plain = Array.from({ length: blocks }, (_, k) => {
        const at = text.indexOf(word, k * BLOCK);
        return at >= 0 && at < (k + 1) * BLOCK ? at : NOWHERE;
      });
      expect(there!.toArray()).toEqual(plain);
      expect(here!.toArray()).toEqual(plain);
    }
  });

  it("walk a graph level by level", async () => {
    const next = dice();
    const count = 300;
    const pairs = Array.from({ length: 330 }, () => {
      const [a, b] = [next.next().value!, next.next().value!];
      return [Math.floor(a * count), Math.floor(b * count)] as const;
    });
    const plain = new Array<number>(count).fill(UNSEEN);
    plain[0] = 0;
    for (let front = [0]; front.length > 0; ) {
      const found: number[] = [];
      for (const vertex of front) {
        for (const [a, b] of pairs) {
          const other = a === vertex ? b : b === vertex ? a : vertex;
          if (plain[other] !== UNSEEN) continue;
          plain[other] = plain[vertex]! + 1;
          found.push(other);
        }
      }
      front = found;
    }
    expect(await levels(machine, count, pairs)).toEqual(plain);
    expect(plain.filter((level) => level > 3 && level !== UNSEEN).length).toBeGreaterThan(20);
  });

  it("count bytes in bins that all share", async () => {
    const text = "Fachwerkhäuser, Fördetürme; ".repeat(150);
    const { words, bytes } = bytesOf(machine, text);
    const kernel = histogram(machine);
    const plain = new Array<number>(256).fill(0);
    for (const byte of new TextEncoder().encode(text)) plain[byte]!++;
    for (const way of ["run", "runHere"] as const) {
      const bins = machine.space.array(u32, 256);
      bins.fill(0);
      await populateAll(words, bins);
      await kernel[way](words.length, { words, bytes, bins });
      await populateAll(bins);
      expect(bins.toArray()).toEqual(plain);
    }
  });

  it("fill a hash table and look keys up", async () => {
    const { space } = machine;
    const next = dice();
    const given = Array.from({ length: 2000 }, () => 1 + Math.floor(next.next().value! * 700));
    const plain = new Map<number, number>();
    for (const key of given) plain.set(key, (plain.get(key) ?? 0) + 1);
    const keys = space.array(u32, given.length);
    const asked = space.array(u32, 800);
    keys.copyFrom(given);
    asked.copyFrom(Array.from({ length: asked.length }, (_, k) => k + 1));
    const [filled, looked] = [insert(machine), probe(machine)];
    for (const way of ["run", "runHere"] as const) {
      const slots = space.array(Slot, 1024);
      const [lost, counts] = [space.array(u32, 1), space.array(u32, asked.length)];
      for (let k = 0; k < slots.length; k++) slots.at(k).assign({ key: EMPTY, count: 0 });
      lost.fill(0);
      await populateAll(slots, keys, asked, lost, counts);
      const table = { slots, mask: slots.length - 1 };
      await filled[way](keys.length, { ...table, keys, lost });
      await looked[way](asked.length, { ...table, keys: asked, counts });
      await populateAll(lost, counts);
      expect(lost.at(0)).toBe(0);
      expect(counts.toArray()).toEqual(asked.toArray().map((key) => plain.get(key) ?? 0));
    }
  });

  it("add numbers, a block at a time", async () => {
    const count = 100_000;
    const [values, total] = [machine.space.array(u32, count), machine.space.array(u32, 1)];
    values.copyFrom(Uint32Array.from({ length: count }, (_, k) => Math.imul(k, 2_654_435_761)));
    const plain = values.toArray().reduce((all, each) => (all + each) >>> 0, 0);
    const kernel = sum(machine);
    for (const way of ["run", "runHere"] as const) {
      await populateAll(values, total);
      total.set(0, 0);
      await kernel[way](Math.ceil(count / SUMMED), { values, count, total });
      await populateAll(total);
      expect(total.at(0)).toBe(plain);
    }
  });
});
