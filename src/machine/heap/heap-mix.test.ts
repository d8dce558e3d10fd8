/** Threads of a heap that come and go, in one thread: any mix of their calls. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { replayable } from "../../../test/replay/replay.ts";
import { ENOMEM } from "../../base/index.ts";
import { Heap, type HeapRemains } from "./index.ts";

const MIB = 1024 * 1024;
const SPAN = 4 * MIB;
const START = 0x4000_0000;

describe("any mix of calls of several threads", () => {
  const BYTES = 10 * SPAN - 64 * 1024;
  const step = fc.record({
    thread: fc.nat({ max: 3 }),
    bytes: fc.oneof(
      fc.integer({ min: 1, max: 3000 }),
      fc.integer({ min: 1, max: 100_000 }),
      fc.integer({ min: MIB, max: 11 * MIB }),
    ),
    align: fc.constantFrom(8, 8, 8, 64, 4096, 65_536),
    pick: fc.nat(),
    kind: fc.constantFrom("malloc", "malloc", "malloc", "free", "free", "collect", "end"),
  });

  it("gives no byte to two, loses no block, and leaves every span free", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 600, size: "max" }), (steps) => {
        const threads = new Threads(BYTES);
        for (const { thread, bytes, align, pick, kind } of steps) {
          if (kind === "malloc") threads.malloc(thread, bytes, align);
          else if (kind === "free") threads.free(thread, pick);
          else if (kind === "collect") threads.heaps[thread]!.collect();
          else threads.end(thread, pick);
        }
        threads.freeAll();
        expect(threads.bad).toEqual([]);
        expect(threads.heaps[0]!.totals).toEqual({
          threads: 4,
          bytesTaken: 0,
          bytesLost: 0,
          bytesFree: BYTES,
        });
      }),
      replayable("heap-threads", { numRuns: 80 }),
    );
  });
});

/** Four threads of a heap, what is allocated, and the remains of those that ended. */
class Threads {
  readonly heaps: Heap[] = [];
  readonly bad: number[] = [];
  readonly #live = new Map<number, number>();
  readonly #remains: HeapRemains[] = [];
  readonly #range: { readonly start: number; readonly end: number };

  constructor(bytes: number) {
    this.#range = { start: START, end: START + bytes };
    for (let thread = 0; thread < 4; thread++) this.#attach(thread);
  }

  malloc(thread: number, bytes: number, align: number): void {
    const heap = this.heaps[thread]!;
    const block = heap.allocate(bytes, align);
    if (block === -ENOMEM) {
      // Small blocks come in four pages.
      expect(heap.usage.bytesFreeRun).toBeLessThan(Math.max(bytes, 16_384) + align + 4096);
      return;
    }
    const size = heap.sizeOf(block);
    expect(block % align === 0 && size >= bytes).toBe(true);
    expect(block >= START && block + size <= this.#range.end).toBe(true);
    this.#expectFree(block, block + size);
    this.#live.set(block, size);
  }

  free(thread: number, pick: number): void {
    const block = [...this.#live.keys()][pick % Math.max(1, this.#live.size)];
    if (block === undefined) return;
    this.#live.delete(block);
    this.heaps[thread]!.free(block);
  }

  /** The thread ends, another takes its place; somebody adopts, sooner or later. */
  end(thread: number, pick: number): void {
    const remains = this.heaps[thread]!.detach();
    if (remains !== undefined) this.#remains.push(remains);
    this.#attach(thread);
    if (pick % 2 === 0) this.#adoptOne(pick % 4);
  }

  freeAll(): void {
    for (let i = 0; this.#live.size > 0; i++) this.free(i % 4, i * 7);
    while (this.#remains.length > 0) this.#adoptOne(this.#remains.length % 4);
    for (let round = 0; round < 4; round++) for (const heap of this.heaps) heap.collect();
    for (let thread = 0; thread < 4; thread++) {
      expect(this.heaps[thread]!.usage).toMatchObject({ blocks: 0, bytesUsed: 0, bytesHeld: 0 });
      expect(this.heaps[thread]!.detach()).toBeUndefined();
      this.#attach(thread);
    }
  }

  #adoptOne(thread: number): void {
    const remains = this.#remains.shift();
    if (remains !== undefined) this.heaps[thread]!.adopt(structuredClone(remains));
  }

  #attach(thread: number): void {
    const shared = this.heaps.find((_, i) => i !== thread)?.shared;
    this.heaps[thread] = new Heap({
      ...this.#range,
      ...(shared === undefined ? {} : { shared }),
      onPagesFree: (start, end) => this.#expectFree(start * 4096, end * 4096),
      onBadFree: (address) => this.bad.push(address),
    });
  }

  /** What is given out, or forgotten, is nobody's block. */
  #expectFree(start: number, end: number): void {
    for (const [block, size] of this.#live) {
      if (block < end && start < block + size) {
        expect.fail(`${start}..${end} overlaps the block ${block} + ${size}`);
      }
    }
  }
}
