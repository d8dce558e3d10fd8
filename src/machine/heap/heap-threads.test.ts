/** Several Heaps over one shared buffer, as threads would have them, in one thread. */
import { describe, expect, it } from "vitest";
import { AssertionError, ENOMEM } from "../../base/index.ts";
import { HmmError } from "../error.ts";
import { Bags } from "./bags.ts";
import { Heap } from "./index.ts";
import { BAG_CELLS, HeapShared, numberOf, THREADS_MAX } from "./shared.ts";

const MIB = 1024 * 1024;
const SPAN = 4 * MIB;
const START = 0x4000_0000;

/** `count` Heaps over one heap of `bytes`. */
function heapsOf(count: number, bytes = 16 * SPAN): Heap[] {
  const range = { start: START, end: START + bytes };
  const first = new Heap(range);
  const more = Array.from(
    { length: count - 1 },
    () => new Heap({ ...range, shared: first.shared }),
  );
  return [first, ...more];
}

/** A Heap whose bad frees are collected. */
function strictHeap(of?: Heap) {
  const bad: number[] = [];
  const range = { start: START, end: START + 16 * SPAN };
  const onBadFree = (address: number): void => {
    bad.push(address);
  };
  const heap = new Heap({
    ...range,
    onBadFree,
    ...(of === undefined ? {} : { shared: of.shared }),
  });
  return { heap, bad };
}

describe("the heap of a machine with one thread", () => {
  const range = { start: 0x4000_0000, end: 0xffff_0000 };

  it("gives one block of nearly 3 GiB, besides others, again and again", () => {
    const heap = new Heap(range);
    const small = heap.malloc(64);
    const rest = range.end - range.start - 4096;
    for (let round = 0; round < 3; round++) {
      expect(heap.usage.bytesFreeRun).toBe(rest);
      const block = heap.malloc(rest);
      expect(heap.allocate(4096)).toBe(-ENOMEM);
      expect(heap.usage).toMatchObject({ blocks: 2, bytesUsed: rest + 64, bytesFree: 0 });
      heap.free(block);
    }
    heap.free(small);
    expect(heap.usage).toMatchObject({ blocks: 0, bytesHeld: 0, bytesFreeRun: rest + 4096 });
    expect(heap.totals).toMatchObject({ threads: 1, bytesTaken: SPAN });
  });

  it("finds room that is partly its own and partly nobody's", () => {
    const [heap] = heapsOf(1);
    const blocks = Array.from({ length: 16 }, () => heap!.malloc(SPAN));
    // The last page of 2 and the first of 6 stay taken: [3, 6) is one room.
    for (const at of [3, 4, 5]) heap!.free(blocks[at]!);
    expect(heap!.usage.bytesFreeRun).toBe(3 * SPAN);
    expect(heap!.totals.bytesFree).toBe(2 * SPAN);
    expect(heap!.malloc(3 * SPAN)).toBe(blocks[3]);
  });

  it("keeps one free span, so that a block at its border does not take it again and again", () => {
    const [heap, other] = heapsOf(2);
    heap!.malloc(SPAN);
    const block = heap!.malloc(64);
    expect(heap!.totals.bytesTaken).toBe(2 * SPAN);
    heap!.free(block);
    heap!.malloc(4096);
    heap!.free(heap!.malloc(8 * SPAN));
    expect(other!.totals.bytesTaken).toBe(3 * SPAN);
    // The one that was kept is in use, so another one is.
    const blocks = [heap!.malloc(SPAN), heap!.malloc(SPAN)];
    heap!.free(blocks[1]!);
    expect(other!.totals.bytesTaken).toBe(4 * SPAN);
  });
});

describe("heaps that share their pages", () => {
  it("never hand out what another has", () => {
    const heaps = heapsOf(3);
    const blocks = heaps.flatMap((heap) => [
      heap.malloc(64),
      heap.malloc(64),
      heap.malloc(5 * MIB),
    ]);
    expect(new Set(blocks.map((block) => Math.floor((block - START) / 4096))).size).toBe(6);
    expect(heaps[0]!.totals).toMatchObject({ threads: 3, bytesTaken: 6 * SPAN });
  });

  it("refuse what is left to others, and get it when it is given back", () => {
    const [a, b] = heapsOf(2, 4 * SPAN);
    const blocks = [a!.malloc(SPAN), a!.malloc(SPAN), a!.malloc(SPAN)];
    expect(() => b!.malloc(2 * SPAN)).toThrow(
      `no room for ${2 * SPAN} bytes: ${SPAN} bytes are free, the largest free run is ${SPAN} bytes`,
    );
    a!.free(blocks[2]!); // kept
    expect(b!.allocate(2 * SPAN)).toBe(-ENOMEM);
    a!.free(blocks[1]!);
    a!.free(blocks[0]!);
    const block = b!.malloc(2 * SPAN);
    expect(block).toBe(START);
    expect(b!.sizeOf(block)).toBe(2 * SPAN);
  });

  it("free what another allocated: it can use it again once it has looked", () => {
    const [a, b] = heapsOf(2);
    const blocks = Array.from({ length: 64 }, () => a!.malloc(64));
    b!.free(blocks[7]!);
    expect(a!.usage.blocks).toBe(64);
    a!.collect();
    expect(a!.usage.blocks).toBe(63);
    expect(a!.malloc(64)).toBe(blocks[7]);
    expect(() => b!.sizeOf(blocks[7]!)).toThrow(
      /sizeOf: address 0x400001c0 lies in pages of thread 1/,
    );
  });

  it("look by themselves before they take pages, and now and then", () => {
    const [a, b] = heapsOf(2);
    const blocks = Array.from({ length: 64 }, () => a!.malloc(64));
    b!.free(blocks[7]!);
    // The page is full: the next block would need another.
    expect(a!.malloc(64)).toBe(blocks[7]);
    const large = a!.malloc(3 * MIB);
    a!.malloc(16);
    b!.free(large);
    for (let i = 0; i < 256; i++) a!.free(a!.malloc(16));
    expect(a!.usage.blocks).toBe(65);
  });

  it("keep what does not fit into a bag, and deliver it later", () => {
    const [a, b] = heapsOf(2);
    const blocks = Array.from({ length: 3 * BAG_CELLS }, () => a!.malloc(64));
    for (const block of blocks) b!.free(block);
    a!.collect();
    const left = a!.usage.blocks;
    expect(left).toBeGreaterThanOrEqual(2 * BAG_CELLS);
    for (let round = 0; round < 200; round++) {
      b!.collect();
      a!.collect();
    }
    expect(a!.usage.blocks).toBe(0);
  });

  it("are not held up by one that never looks", () => {
    const [idle, busy, b] = heapsOf(3);
    for (const heap of [idle!, busy!]) {
      const blocks = Array.from({ length: 2 * BAG_CELLS }, () => heap.malloc(64));
      for (const block of blocks) b!.free(block);
    }
    for (let round = 0; round < 400; round++) {
      b!.collect();
      busy!.collect();
    }
    expect(busy!.usage.blocks).toBe(0);
    expect(idle!.usage.blocks).toBe(2 * BAG_CELLS);
  });

  it("tell the owner of a bad free, nobody else", () => {
    const { heap: a, bad } = strictHeap();
    const { heap: b, bad: none } = strictHeap(a);
    const small = a.malloc(64);
    const large = a.malloc(5 * MIB);
    for (const address of [small + 8, small + 64, large + 4096, large + 3, small, small]) {
      b.free(address);
    }
    expect(bad).toEqual([]);
    a.malloc(2000);
    expect(bad.sort()).toEqual([small + 8, small + 64, large + 4096, large + 3, small].sort());
    expect([a.usage.blocks, none]).toEqual([2, []]);
    expect(() => b.free(START + 9 * SPAN)).toThrow(/free: address .* is free already or was never/);
    expect(() => b.free(small + 0.5)).toThrow(/lies in pages of thread 1/);
    expect(() => b.free(START - 1)).toThrow(HmmError);
    expect(() => b.free(Number.NaN)).toThrow(HmmError);
  });

  it("are refused where the shared words are another heap's", () => {
    const [heap] = heapsOf(1);
    const { start, shared } = heap!;
    expect(() => new Heap({ start, end: start + SPAN, shared })).toThrow(AssertionError);
    expect(() => new Heap({ start: 4096, end: 4096 + 16 * SPAN, shared })).toThrow(AssertionError);
    expect(heap!.totals.threads).toBe(1);
  });

  it("are at most 255 at a time, any number over time", () => {
    const heaps = heapsOf(THREADS_MAX);
    const more = () => new Heap({ start: START, end: START + 16 * SPAN, shared: heaps[0]!.shared });
    expect(more).toThrow("attach: 255 threads use this heap, and no more can (EAGAIN)");
    for (let round = 0; round < 300; round++) {
      expect(heaps[100]!.detach()).toBeUndefined();
      heaps[100] = more();
    }
    expect(numberOf(heaps[100]!.id)).toBe(101);
    expect(heaps[99]!.bury(heaps[100]!.id - 256)).toBe(false);
    expect(heaps[100]!.malloc(64)).toBeGreaterThan(0);
  });
});

describe("a thread that detaches", () => {
  it("gives back what is free, also what others freed, and is not used again", () => {
    const [a, b] = heapsOf(2);
    const blocks = [a!.malloc(64), a!.malloc(9 * MIB), a!.malloc(300)];
    b!.free(blocks[0]!);
    b!.free(blocks[1]!);
    a!.free(blocks[2]!);
    expect(a!.detach()).toBeUndefined();
    expect(b!.totals).toEqual({ threads: 1, bytesTaken: 0, bytesLost: 0, bytesFree: 16 * SPAN });
    for (const call of [
      () => a!.malloc(64),
      () => a!.malloc(64 * 1024),
      () => a!.free(blocks[0]!),
      () => a!.collect(),
      () => a!.detach(),
      () => a!.bury(b!.id),
    ]) {
      expect(call).toThrow(AssertionError);
    }
  });

  it("leaves its blocks to the one who adopts them, with what was freed meanwhile", () => {
    const { heap: a } = strictHeap();
    const { heap: b, bad } = strictHeap(a);
    const small = Array.from({ length: 700 }, (_, i) => a.malloc(8 + (i % 13) * 100));
    const large = [a.malloc(5 * MIB), a.malloc(70_000), a.malloc(9 * MIB)];
    for (let i = 0; i < 700; i += 3) a.free(small[i]!);
    a.free(large[0]!);
    const { blocks, bytesUsed, bytesHeld } = a.usage;
    const remains = structuredClone(a.detach()!);
    b.free(small[1]!);
    b.free(large[2]!);
    b.free(small[1]! + 1);
    expect(b.usage.blocks).toBe(0);
    const before = b.totals;
    b.adopt(remains);
    expect(before.bytesTaken).toBeGreaterThan(b.totals.bytesTaken);
    expect(b.usage.blocks).toBe(blocks - 2);
    expect(b.usage.bytesUsed).toBe(bytesUsed - 9 * MIB - 112);
    expect(b.usage.bytesHeld).toBe(bytesHeld - 9 * MIB);
    expect(bad).toEqual([small[1]! + 1]);
    expect(() => b.adopt(remains)).toThrow(
      /adopt: what thread 1 left has been adopted, or is lost/,
    );
    for (let i = 2; i < 700; i++) if (i % 3 !== 0) b.free(small[i]!);
    b.free(large[1]!);
    expect(b.detach()).toBeUndefined();
  });

  it("hands on what it could not deliver", () => {
    const [a, b, c] = heapsOf(3);
    const blocks = Array.from({ length: 2 * BAG_CELLS }, () => a!.malloc(64));
    for (const block of blocks) b!.free(block);
    const remains = b!.detach()!;
    expect(remains.pending.length).toBeGreaterThanOrEqual(BAG_CELLS);
    c!.adopt(structuredClone(remains));
    for (let round = 0; round < 200; round++) {
      a!.collect();
      c!.collect();
    }
    expect(a!.usage.blocks).toBe(0);
    // The adopter owned some of them itself.
    const own = c!.malloc(64);
    expect(remains.pending).not.toContain(own);
  });

  it("sends on a free that came for the one who had its number before", () => {
    const { heap: a } = strictHeap();
    const { heap: b } = strictHeap(a);
    const block = a.malloc(64);
    const number = numberOf(a.id);
    b.adopt(a.detach()!);
    // A thread that ended after it had looked who the owner was.
    new Bags(new HeapShared(START / 4096, (16 * SPAN) / 4096, b.shared)).put(number, block);
    const { heap: next, bad } = strictHeap(b);
    expect(numberOf(next.id)).toBe(number);
    next.collect();
    b.collect();
    expect([b.usage.blocks, bad]).toEqual([0, []]);
  });
});

describe("a thread that ended without a word", () => {
  it("is buried: its number is free, its spans are lost, its blocks are nobody's", () => {
    const { heap: a } = strictHeap();
    const { heap: b, bad } = strictHeap(a);
    const [lost, own] = [a.malloc(64), b.malloc(64)];
    a.free(own);
    b.free(lost);
    expect(b.bury(a.id)).toBe(true);
    b.free(lost);
    expect(b.totals).toMatchObject({ threads: 1, bytesLost: SPAN, bytesTaken: SPAN });
    expect(() => b.sizeOf(lost)).toThrow(/lies in pages of a thread that is gone/);
    for (const id of [a.id, 1.5, 0, 3, -1, Number.NaN]) expect(b.bury(id)).toBe(false);
    expect(() => b.bury(b.id)).toThrow(/thread 2 is the caller/);

    const { heap: c } = strictHeap(b);
    expect(numberOf(c.id)).toBe(numberOf(a.id));
    // It is not the one that ended.
    expect(b.bury(a.id)).toBe(false);
    expect(c.malloc(64)).toBeGreaterThanOrEqual(START + 2 * SPAN);
    b.collect();
    expect([b.usage.blocks, bad]).toEqual([0, []]);
  });

  it("is buried also if it never began", () => {
    const [a] = heapsOf(1);
    const [id, other] = [a!.invite(), a!.invite()];
    const invited = new Heap({ start: a!.start, end: a!.end, shared: a!.shared, id });
    invited.malloc(64);
    expect([invited.id, a!.totals.threads]).toEqual([id, 3]);
    expect([a!.bury(other), a!.bury(id), a!.totals.threads]).toEqual([true, true, 1]);
    const late = () => new Heap({ start: a!.start, end: a!.end, shared: a!.shared, id: other });
    expect(late).toThrow(AssertionError);
  });

  it("is buried with what it left and nobody adopts", () => {
    const [a, b] = heapsOf(2);
    const block = a!.malloc(64);
    const remains = a!.detach()!;
    expect(b!.bury(remains.id)).toBe(true);
    expect(() => b!.adopt(remains)).toThrow(/has been adopted, or is lost/);
    b!.free(block);
    expect(b!.totals).toMatchObject({ threads: 1, bytesLost: SPAN });
  });
});
