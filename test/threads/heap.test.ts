/**
 * Worker threads that allocate and free each other's blocks at random. Every block is stamped in
 * words beside the heap: two that overlap are seen by whoever stamps second. Workers end as they
 * like, or are terminated anywhere.
 */
import { Worker } from "node:worker_threads";
import { describe, expect, it } from "vitest";
import { Heap, type HeapOptions, type HeapRemains } from "../../src/machine/heap/index.ts";

const MIB = 1024 * 1024;
const START = 0x4000_0000;
/** Where threads leave blocks for others. */
const PLACES = 512;
const FAILURES = 16;
const WORKERS = 3;
const RUN_MS = 2500;

interface StressData extends HeapOptions {
  readonly shared: SharedArrayBuffer;
  readonly id: number;
  /** By eight bytes of the heap: the stamp of the small block there, or 0. */
  readonly stamps: Int32Array;
  /** By page: how many small blocks begin there, or the negated stamp of a large one. */
  readonly pages: Int32Array;
  /** Pairs: address - start + 1, or 0; bytes. Whoever takes the address has the block. */
  readonly places: Int32Array;
  /** How many failures, then what the first were. */
  readonly failures: Int32Array;
  /** What threads left that ended before. */
  readonly remains: readonly HeapRemains[];
  readonly seed: number;
  readonly runMs: number;
}

type HeapClass = new (options: HeapOptions) => Heap;

/** What a thread does, and what it answers. Self-contained: its text is sent to workers. */
function stress(
  HeapOf: HeapClass,
  data: StressData,
): { readonly remains: HeapRemains | undefined; readonly calls: number } {
  const { start, end, shared, id, stamps, pages, places, failures, seed, runMs } = data;
  let calls = 0;
  let state = seed * 7919;
  const random = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    return (state >>> 8) % below;
  };
  const check = (isRight: boolean, what: number): void => {
    if (isRight) return;
    const at = Atomics.add(failures, 0, 1) + 1;
    if (at < failures.length) failures[at] = what;
  };
  const onBadFree = (address: number): void => check(false, address | 0);
  const heap = new HeapOf({ start, end, shared, id, onBadFree });
  /** Turns the words of a block from one stamp into another, or 0. */
  const mark = (offset: number, bytes: number, from: number, to: number): void => {
    if (bytes <= 2048) {
      const before = Atomics.add(pages, offset >>> 12, to === 0 ? -1 : 1);
      check(before >= (to === 0 ? 1 : 0), 1);
      for (let word = offset / 8; word < (offset + bytes) / 8; word++) {
        check(Atomics.compareExchange(stamps, word, from, to) === from, 2);
      }
      return;
    }
    for (let page = offset >>> 12; page < (offset + bytes) / 4096; page++) {
      check(Atomics.compareExchange(pages, page, -from, -to) === -from, 3);
    }
  };
  const free = (offset: number, bytes: number): void => {
    const stamp = bytes <= 2048 ? stamps[offset / 8]! : -pages[offset >>> 12]!;
    check(stamp > 0, 4);
    mark(offset, bytes, stamp, 0);
    heap.free(start + offset);
  };
  const malloc = (): void => {
    const kind = random(100);
    const most = kind < 70 ? 600 : kind < 97 ? 20_000 : kind < 99 ? 1_000_000 : 9_000_000;
    const bytes = 1 + random(most);
    const address = heap.allocate(bytes);
    if (address < 0) return;
    const offset = address - start;
    mark(offset, bytes, 0, (id % 256) * 4_000_000 + (++calls % 4_000_000));
    // Whoever takes the first word of a place has both; -1: somebody has it.
    const place = 2 * random(places.length / 2);
    const before = Atomics.exchange(places, place, -1);
    if (before !== -1) {
      const beforeBytes = places[place + 1]!;
      places[place + 1] = bytes;
      Atomics.store(places, place, offset + 1);
      if (before > 0) free(before - 1, beforeBytes);
    } else free(offset, bytes);
  };
  for (const remains of data.remains) heap.adopt(remains);
  const until = Date.now() + runMs;
  while (Date.now() < until) for (let i = 0; i < 100; i++) malloc();
  return { remains: heap.detach(), calls };
}

const WORKER = `
  const { parentPort, workerData } = require("node:worker_threads");
  import(workerData.module).then(({ Heap }) => {
    const done = (${stress.toString()})(Heap, workerData);
    parentPort.postMessage(done);
  });`;

const MODULE = new URL("../../dist/machine/heap/index.js", import.meta.url).href;

type Done = ReturnType<typeof stress>;

/** A heap, its stamps, and the main thread's part in it. */
class Stage {
  readonly bad: number[] = [];
  readonly heap: Heap;
  readonly stamps: Int32Array;
  readonly pages: Int32Array;
  readonly places = shared32(2 * PLACES);
  readonly failures = shared32(FAILURES);
  calls = 0;
  ended = 0;
  readonly #remains: HeapRemains[] = [];
  buried = 0;
  #seed = 1;

  constructor(bytes: number) {
    const onBadFree = (address: number): void => {
      this.bad.push(address);
    };
    this.heap = new Heap({ start: START, end: START + bytes, onBadFree });
    this.stamps = shared32(bytes / 8);
    this.pages = shared32(bytes / 4096);
  }

  /** Runs a worker to its end; it is terminated after `killMs`. */
  run(runMs: number, killMs?: number): Promise<void> {
    const { stamps, pages, places, failures } = this;
    const { start, end, shared } = this.heap;
    const id = this.heap.invite();
    const words = { start, end, shared, stamps, pages, places, failures };
    const remains = this.#remains.splice(0);
    const worker = new Worker(WORKER, {
      eval: true,
      workerData: { ...words, id, remains, runMs, module: MODULE, seed: this.#seed++ },
    });
    if (killMs !== undefined) setTimeout(() => void worker.terminate(), killMs);
    let isDone = false;
    return new Promise((resolve, reject) => {
      worker.on("message", (done: Done) => {
        isDone = true;
        this.calls += done.calls;
        this.ended++;
        if (done.remains !== undefined) this.#remains.push(done.remains);
      });
      worker.on("error", reject);
      worker.on("exit", () => {
        if (!isDone && this.heap.bury(id)) this.buried++;
        // What it did not come to adopt: the rest is its own by now, or lost with it.
        for (const each of remains) this.heap.bury(each.id);
        resolve();
      });
    });
  }

  /** Frees what was left for others. */
  clear(): void {
    for (const remains of this.#remains.splice(0)) this.heap.adopt(remains);
    for (let place = 0; place < this.places.length; place += 2) {
      const offset = this.places[place]! - 1;
      if (offset < 0) continue;
      const bytes = this.places[place + 1]!;
      if (bytes > 2048) this.pages.fill(0, offset >>> 12, Math.ceil((offset + bytes) / 4096));
      else this.pages[offset >>> 12]!--;
      this.heap.free(START + offset);
    }
    this.heap.collect();
  }
}

const shared32 = (length: number): Int32Array =>
  new Int32Array(new SharedArrayBuffer(length * Int32Array.BYTES_PER_ELEMENT));

/** As many workers at a time as there are lanes, one after another, for RUN_MS. */
async function lanes(next: () => Promise<void>): Promise<void> {
  const until = Date.now() + RUN_MS;
  const lane = async (): Promise<void> => {
    while (Date.now() < until) await next();
  };
  await Promise.all(Array.from({ length: WORKERS }, lane));
}

describe("a heap of several worker threads", () => {
  it("gives no byte to two, and all is free when all have ended", async () => {
    const bytes = 40 * MIB - 65_536;
    const stage = new Stage(bytes);
    await lanes(() => stage.run(50 + ((stage.ended * 37) % 400)));
    expect([...stage.failures.filter((word) => word !== 0)]).toEqual([]);
    expect(stage.ended).toBeGreaterThan(5);
    expect(stage.calls).toBeGreaterThan(10_000);
    expect(stage.buried).toBe(0);
    stage.clear();
    expect(stage.bad).toEqual([]);
    expect(stage.heap.usage).toMatchObject({ blocks: 0, bytesUsed: 0, bytesHeld: 0 });
    expect(stage.heap.detach()).toBeUndefined();
    const { totals } = new Heap({ start: START, end: START + bytes, shared: stage.heap.shared });
    expect(totals.bytesFree).toBe(bytes);
  });

  it("is right for the others when some are terminated anywhere", async () => {
    // What they take along is lost: there must be enough.
    const bytes = 256 * MIB;
    const stage = new Stage(bytes);
    let count = 0;
    await lanes(() => {
      count++;
      return count % 4 === 0 ? stage.run(1000, (count * 31) % 250) : stage.run((count * 13) % 100);
    });
    expect([...stage.failures.filter((word) => word !== 0)]).toEqual([]);
    expect(stage.calls).toBeGreaterThan(1000);
    expect(stage.buried).toBeGreaterThan(0);
    stage.clear();
    expect(stage.bad).toEqual([]);
    const { threads, bytesTaken, bytesLost, bytesFree } = stage.heap.totals;
    expect(threads).toBe(1);
    expect(bytesTaken + bytesLost + bytesFree).toBe(bytes);
    // What can still be had is nobody's: what ended threads held is marked for ever.
    for (let block = 0; block >= 0; block = stage.heap.allocate(4096)) {
      if (block > 0) expect(stage.pages[(block - START) >>> 12]).toBe(0);
    }
  });
});
