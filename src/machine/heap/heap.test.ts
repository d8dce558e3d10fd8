import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../../test/replay/replay.ts";
import { ENOMEM } from "../../base/index.ts";
import { HmmError } from "../error.ts";
import { Heap } from "./heap.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const START = 0x10000;

const heapOf = (bytes: number, start = START) => new Heap({ start, end: start + bytes });

const whole = (bytes: number) => ({
  blocks: 0,
  bytesUsed: 0,
  bytesHeld: 0,
  bytesFree: bytes,
  bytesFreeRun: bytes,
});

describe("a heap", () => {
  it("puts small blocks of one size next to each other", () => {
    const heap = heapOf(MIB);
    const blocks = Array.from({ length: 4 }, () => heap.malloc(60));
    expect(blocks.map((block) => block - blocks[0]!)).toEqual([0, 64, 128, 192]);
    expect(heap.sizeOf(blocks[0]!)).toBe(64);
    expect(heap.usage).toMatchObject({ blocks: 4, bytesUsed: 256, bytesHeld: 4096 });
  });

  it("gives larger blocks pages of their own", () => {
    const heap = heapOf(MIB);
    const block = heap.malloc(5000);
    expect(block % 4096).toBe(0);
    expect(heap.sizeOf(block)).toBe(8192);
    expect(heap.usage.bytesFree).toBe(MIB - 8192);
  });

  it("aligns blocks as asked", () => {
    const heap = heapOf(64 * MIB, 0x13000);
    for (let align = 1; align <= MIB; align *= 2) {
      for (const bytes of [1, 24, 100, 1500, 5000])
        expect(heap.malloc(bytes, align) % align).toBe(0);
    }
    expect(heap.malloc(1) % 8).toBe(0);
  });

  it("uses a freed block again", () => {
    const heap = heapOf(MIB);
    const blocks = Array.from({ length: 100 }, () => heap.malloc(64));
    heap.free(blocks[42]!);
    expect(heap.malloc(64)).toBe(blocks[42]);
  });

  it("reaches the end of the space", () => {
    const heap = heapOf(64 * KIB, 2 ** 32 - 64 * KIB);
    const blocks = Array.from({ length: 1024 }, () => heap.malloc(64));
    expect(Math.max(...blocks)).toBe(2 ** 32 - 64);
    for (const block of blocks) heap.free(block);
    expect(heap.usage).toEqual(whole(64 * KIB));
  });

  it("says how much was asked, how much is free and how long the longest run is", () => {
    const heap = heapOf(64 * KIB);
    const blocks = Array.from({ length: 16 }, () => heap.malloc(4096));
    heap.free(blocks[3]!);
    heap.free(blocks[8]!);
    expect(() => heap.malloc(8192)).toThrow(
      "malloc: no room for 8192 bytes: 8192 bytes are free, " +
        "the largest free run is 4096 bytes (ENOMEM)",
    );
    expect(heap.allocate(8192)).toBe(-ENOMEM);
    expect(() => heap.malloc(2 ** 50)).toThrow(/no room/);
    expect(heap.malloc(4096)).toBe(blocks[8]);
  });

  it("gives pages that wait for small blocks to a large one rather than fail", () => {
    const heap = heapOf(64 * KIB);
    const kept = heap.malloc(16);
    for (const size of [64, 128, 256]) heap.free(heap.malloc(size));
    const large = heap.malloc(60 * KIB);
    heap.free(kept);
    heap.free(large);
    expect(heap.usage).toEqual(whole(64 * KIB));
  });

  it("refuses sizes and alignments that are none", () => {
    const heap = heapOf(MIB);
    expect(() => heap.malloc(-3)).toThrow("malloc: size must be a positive integer, got -3");
    for (const bytes of [0, 1.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => heap.malloc(bytes)).toThrow(/size must be a positive integer/);
    }
    for (const align of [0, 3, -8, 1.5, 2 ** 33]) {
      expect(() => heap.malloc(8, align)).toThrow(/align must be a power of two, got/);
    }
    expect(heap.usage).toEqual(whole(MIB));
  });

  it("names a pointer that is foreign, freed already or inside of a block", () => {
    const heap = heapOf(MIB);
    const small = heap.malloc(64);
    const large = heap.malloc(40_000);
    expect(() => heap.free(0x1000)).toThrow(/block of this heap \(0x10000..0x110000\), got 0x1000/);
    expect(() => heap.free(START + MIB)).toThrow(HmmError);
    expect(() => heap.free(Number.NaN)).toThrow(HmmError);
    expect(() => heap.free(undefined as unknown as number)).toThrow(/got undefined/);
    expect(() => heap.free(small + 8)).toThrow(
      /free: address 0x10008 lies inside a block, which begins at 0x10000/,
    );
    expect(() => heap.free(small + 64)).toThrow(/0x10040 is free already or was never/);
    expect(() => heap.free(large + 8192)).toThrow(/lies inside a block, which begins at 0x11000/);
    expect(() => heap.free(large + 1)).toThrow(/lies inside a block/);
    heap.malloc(64);
    heap.free(small);
    heap.free(large);
    expect(() => heap.free(small)).toThrow(/is free already/);
    expect(() => heap.free(large)).toThrow(/is free already/);
    expect(() => heap.sizeOf(large)).toThrow(/sizeOf: address/);
    expect(heap.usage.blocks).toBe(1);
  });

  it("ignores that null is freed", () => {
    const heap = heapOf(MIB);
    heap.free(0);
    expect(heap.usage).toEqual(whole(MIB));
  });

  it("reports exactly the pages that nothing lies in any more", () => {
    const freed: [number, number][] = [];
    const heap = new Heap({
      start: START,
      end: START + MIB,
      onPagesFree: (start, end) => freed.push([start, end]),
    });
    const small = [heap.malloc(2048), heap.malloc(2048)];
    const large = heap.malloc(3 * 4096);
    const other = heap.malloc(4096);
    heap.free(large);
    expect(freed).toEqual([[large / 4096, large / 4096 + 3]]);
    heap.free(small[0]!);
    heap.free(small[1]!);
    expect(freed).toHaveLength(1);
    heap.free(other);
    expect(freed.slice(1)).toEqual([
      [other / 4096, other / 4096 + 1],
      [START / 4096, START / 4096 + 4],
    ]);
  });

  it("makes blocks of pages that are here, if any are, and passes over the others", () => {
    const away = new Set<number>();
    const moving = new Set<number>();
    const each = (start: number, end: number) =>
      Array.from({ length: end - start }, (_, i) => start + i);
    const heap = new Heap({
      start: START,
      end: START + MIB,
      presence: {
        isHere: (start, end) =>
          each(start, end).every((page) => !away.has(page) && !moving.has(page)),
        renew: (start, end) => {
          for (const page of each(start, end)) away.delete(page);
          return each(start, end).every((page) => !moving.has(page));
        },
      },
    });
    const first = heap.malloc(8);
    const page = START / 4096;
    for (let i = 0; i < 20; i++) away.add(page + i);
    const second = heap.malloc(8);
    expect([second, heap.malloc(8)]).toEqual([first + 4096, first + 4104]);
    away.delete(page);
    for (let i = 0; i < 509; i++) heap.malloc(8);
    expect([heap.malloc(8), heap.malloc(8)]).toEqual([first + 4096 + 511 * 8, first + 8]);
    for (let i = 2; i < 18; i++) moving.add(page + i);
    expect(heap.malloc(5000)).toBeGreaterThanOrEqual(START + 18 * 4096);
    const { bytesHeld } = heap.usage;
    for (let i = 18; i < 256; i++) moving.add(page + i);
    // Nothing is here: it does not go on taking more.
    moving.add(page);
    for (let i = 0; i < 100; i++) heap.malloc(8);
    expect(heap.usage.bytesHeld).toBe(bytesHeld);
  });

  it("holds 871,414 blocks and forgets them all", () => {
    const heap = heapOf(64 * MIB);
    const blocks = Array.from({ length: 871_414 }, () => heap.malloc(64));
    expect(new Set(blocks).size).toBe(871_414);
    expect(heap.usage.bytesUsed).toBe(871_414 * 64);
    for (const block of blocks) heap.free(block);
    expect(heap.usage).toEqual(whole(64 * MIB));
  });

  it("never hands out a byte twice, and is one run again when all is freed", () => {
    const step = fc.record({
      bytes: fc.oneof(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 1, max: 3000 }),
        fc.integer({ min: 1, max: 60_000 }),
      ),
      align: fc.constantFrom(1, 8, 8, 8, 16, 64, 256, 4096, 65_536),
      pick: fc.nat(),
      kind: fc.constantFrom("malloc", "malloc", "free"),
    });
    const BYTES = 512 * KIB;
    fc.assert(
      fc.property(fc.array(step, { maxLength: 800, size: "max" }), (steps) => {
        const freed = new Uint8Array(BYTES / 4096).fill(1);
        const used = new Uint8Array(BYTES);
        const start = 0x7000;
        const heap = new Heap({
          start,
          end: start + BYTES,
          onPagesFree: (from, to) => {
            freed.fill(1, from - 7, to - 7);
            const bytes = used.subarray((from - 7) * 4096, (to - 7) * 4096);
            expect(bytes.indexOf(1)).toBe(-1);
          },
        });
        const live = new Map<number, number>();
        for (const { bytes, align, pick, kind } of steps) {
          if (kind === "malloc") {
            const block = heap.allocate(bytes, align);
            if (block === -ENOMEM) continue;
            const size = heap.sizeOf(block);
            expect(block % align === 0 && size >= bytes && !live.has(block)).toBe(true);
            const place = used.subarray(block - start, block - start + size);
            expect(place.length === size && place.indexOf(1) === -1).toBe(true);
            place.fill(1);
            live.set(block, size);
            const pageEnd = Math.ceil((block - start + size) / 4096);
            freed.fill(0, Math.floor((block - start) / 4096), pageEnd);
          } else if (live.size > 0) {
            const [block, size] = [...live][pick % live.size]!;
            used.fill(0, block - start, block - start + size);
            live.delete(block);
            heap.free(block);
            expect(() => heap.free(block)).toThrow(HmmError);
          }
        }
        expect(heap.usage.blocks).toBe(live.size);
        expect(heap.usage.bytesUsed).toBe([...live.values()].reduce((sum, size) => sum + size, 0));
        used.fill(0);
        for (const block of live.keys()) heap.free(block);
        expect(heap.usage).toEqual(whole(BYTES));
        expect(freed.indexOf(0)).toBe(-1);
      }),
      replayable("heap", { numRuns: 60 }),
    );
  });
});
