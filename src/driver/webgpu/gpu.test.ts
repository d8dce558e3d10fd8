import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { AssertionError, PAGE_SIZE } from "../../base/index.ts";
import { AdapterError } from "./adapter.ts";
import { Gpu, GpuError, type LaunchList, type RoundResult } from "./gpu.ts";
import { DeviceLostError } from "./round.ts";
import { FAULT_RECORDS, KernelCompileError, LOG_IS_FULL, SPILL_IS_FULL } from "./wgsl/index.ts";

const FRAMES = 512;
const WORDS = PAGE_SIZE / 4;
const READ = 1;
const WRITE = 3;
/** Flags of a fault record. */
const BY_WRITE = 1;
const MISALIGNED = 2;
const GUESS = 4;

let opened: Gpu | undefined;
let gpu: Gpu;
let reason: string | undefined;
const mapped = new Set<number>();
beforeAll(async () => {
  try {
    opened = await Gpu.open({ prefer: "auto", frames: FRAMES });
    gpu = opened;
  } catch (error) {
    if (!(error instanceof AdapterError)) throw error;
    reason = error.message;
  }
});
afterAll(() => opened?.destroy());
beforeEach((ctx) => {
  if (reason !== undefined) ctx.skip(reason);
  for (const page of mapped) gpu.setEntry(page, 0);
  mapped.clear();
});

function map(page: number, frame: number, rights: number): void {
  gpu.setEntry(page, (frame << 8) | rights);
  mapped.add(page);
}

/** Writes whole pages, given as words; what is not given is 0. */
function put(frame: number, words: ArrayLike<number>): void {
  const pages = Math.max(1, Math.ceil(words.length / WORDS));
  const bytes = new Uint8Array(pages * PAGE_SIZE);
  new Uint32Array(bytes.buffer).set(words);
  const frames = Int32Array.from({ length: pages }, (_, k) => frame + k);
  gpu.upload(frames, pages, (target, from, to) =>
    target.set(bytes.subarray(from * PAGE_SIZE, to * PAGE_SIZE)),
  );
}

async function readback(frames: Int32Array): Promise<Uint8Array> {
  const bytes = new Uint8Array(frames.length * PAGE_SIZE);
  await gpu.readback(frames, frames.length, (mapped) => bytes.set(mapped));
  return bytes;
}

async function get(frame: number, words: number): Promise<number[]> {
  const pages = Math.ceil(words / WORDS);
  const frames = Int32Array.from({ length: pages }, (_, k) => frame + k);
  const bytes = await readback(frames);
  return Array.from(new Uint32Array(bytes.buffer, 0, words));
}

const source = (code: string, argsStruct = "") => ({ name: "k", code, argsStruct, accessors: "" });

interface Kernel {
  readonly code: string;
  readonly count?: number;
  readonly logSize?: number;
  readonly argsStruct?: string;
  readonly args?: ArrayBuffer;
}

const newList = (capacity: number, args = new ArrayBuffer(0)): LaunchList =>
  gpu.takeList(args, capacity);

/** One round of fresh invocations 0 … count - 1. */
async function round(kernel: Kernel): Promise<RoundResult & { readonly list: LaunchList }> {
  const { code, count = 1, logSize = 4, argsStruct, args } = kernel;
  const compiled = await gpu.compile(source(code, argsStruct), logSize);
  const list = newList(count, args);
  const result = await gpu.runRound({ compiled, list, fresh: { first: 0, count }, retry: 0, load });
  return { ...result, list };
}

const pairs = (faults: Uint32Array): [number, number][] =>
  Array.from({ length: faults.length / 2 }, (_, i): [number, number] => [
    faults[2 * i]!,
    faults[2 * i + 1]!,
  ]).sort(([a, x], [b, y]) => a - b || x - y);

const clean = {
  unfinished: 0,
  unbegun: 0,
  isLong: false,
  overflow: 0,
  faults: new Uint32Array(0),
};
/** More than any kernel here does. */
const load = { work: 2 ** 31, passes: 2 ** 31 };

describe("frames", () => {
  it("uploads to scattered frames and reads them back in the order that is asked for", async () => {
    const frames = Int32Array.of(9, 10, 11, 3, 40);
    gpu.upload(frames, 5, (target, from, to) => {
      expect([from, to]).toEqual([0, 5]);
      for (let k = 0; k < 5; k++) target.fill(k + 1, k * PAGE_SIZE, (k + 1) * PAGE_SIZE);
    });
    const bytes = await readback(Int32Array.of(40, 10, 11, 3));
    expect([0, 1, 2, 3].map((k) => bytes[k * PAGE_SIZE + 4095])).toEqual([5, 2, 3, 4]);
  });

  it("uploads more than one piece of staging", async () => {
    const frames = Int32Array.from({ length: 400 }, (_, k) => 499 - k);
    gpu.upload(frames, 400, (target, from, to) => {
      for (let page = from; page < to; page++) {
        const offset = (page - from) * PAGE_SIZE;
        target.fill(0, offset, offset + PAGE_SIZE);
        target[offset] = page & 255;
        target[offset + 1] = page >> 8;
      }
    });
    const bytes = await readback(frames);
    const found = Array.from(frames, (_, k) => bytes[k * PAGE_SIZE]! + 256 * bytes[k * 4096 + 1]!);
    expect(found).toEqual(Array.from(frames, (_, k) => k));
  });

  it("clears frames and no others", async () => {
    for (const frame of [20, 21, 22]) put(frame, new Uint32Array(WORDS).fill(7));
    gpu.zero(Int32Array.of(20, 22), 2);
    expect((await get(20, 1))[0]).toBe(0);
    expect((await get(21, WORDS)).every((word) => word === 7)).toBe(true);
    expect((await get(22, WORDS)).every((word) => word === 0)).toBe(true);
  });

  it("takes the pages of shared memory, as the caller's fill copies them", async () => {
    const shared = new Uint8Array(new SharedArrayBuffer(PAGE_SIZE)).fill(42);
    gpu.upload(Int32Array.of(5), 1, (target, offset) => target.set(shared, offset));
    expect((await get(5, 1))[0]).toBe(0x2a2a2a2a);
  });
});

describe("translation", () => {
  it("follows the table, far addresses too, and stores where a write is allowed", async () => {
    map(0x10, 7, READ);
    map(0xfffff, 8, WRITE);
    put(7, [11, 22, 33]);
    put(8, []);
    const result = await round({
      code: "fn main(i: u32) { store_u32(0xfffff000u + 4u * i, load_u32(0x10000u + 4u * i) + 1u); }",
      count: 3,
      logSize: 1,
    });
    expect(result).toMatchObject(clean);
    expect(await get(8, 4)).toEqual([12, 23, 34, 0]);
  });

  it("sees every one of many changes of the table, in any order, the last one of each", async () => {
    const count = 3000;
    const pageOf = (k: number): number => 0x1000 + ((k * 7919) % count) * 100;
    for (let frame = 100; frame < 116; frame++) put(frame, [frame]);
    put(90, []);
    for (let k = 0; k < count; k++) map(pageOf(k), 99, READ);
    for (let k = 0; k < count; k++) map(pageOf(k), 100 + (k % 16), READ);
    for (let page = 0; page < 3; page++) map(0x10 + page, 90 + page, WRITE);
    const code = `fn main(i: u32) {
      let page = 0x1000u + ((i * 7919u) % ${count}u) * 100u;
      store_u32(0x10000u + 4u * i, load_u32(page << 12u));
    }`;
    expect(await round({ code, count, logSize: 1 })).toMatchObject(clean);
    expect(await get(90, count)).toEqual(Array.from({ length: count }, (_, k) => 100 + (k % 16)));
  });

  it("loads and stores every kind of value", async () => {
    map(0x10, 7, READ);
    map(0x11, 8, WRITE);
    const values = Float32Array.of(1.5, -2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16);
    put(7, new Uint32Array(values.buffer));
    const code = `fn main(i: u32) {
      let a = 0x10000u; let b = 0x11000u;
      store_vec2f(b, load_vec2f(a)); store_vec3f(b + 8u, load_vec3f(a + 8u));
      store_vec4f(b + 20u, load_vec4f(a + 20u)); store_f32(b + 36u, load_f32(a + 36u));
      store_i32(b + 40u, load_i32(a + 40u)); store_vec2u(b + 44u, load_vec2u(a + 44u));
      store_vec3i(b + 52u, load_vec3i(a + 52u)); store_vec4u(b + 64u, load_vec4u(a));
      store_vec4i(b + 80u, load_vec4i(a)); store_vec3u(b + 96u, load_vec3u(a));
      store_vec2i(b + 108u, load_vec2i(a)); store_f32(b + 116u, load_mat4x4f(a)[3][2]);
      store_f32(b + 120u, load_mat3x4f(a)[1][3]);
    }`;
    expect(await round({ code, logSize: 64 })).toMatchObject(clean);
    const words = Uint32Array.from(await get(8, 31));
    const found = Array.from(new Float32Array(words.buffer));
    const all = Array.from(values);
    const tail = [...all.slice(0, 4), ...all.slice(0, 4), ...all.slice(0, 3), ...all.slice(0, 2)];
    expect(found).toEqual([...all, ...tail, 15, 8]);
  });

  it("loads and stores a vector that straddles two pages whose frames are far apart", async () => {
    map(0x10, 30, WRITE);
    map(0x11, 6, WRITE);
    put(
      30,
      Uint32Array.from({ length: WORDS }, (_, k) => k),
    );
    put(6, [5000, 5001, 5002]);
    const code = `fn main(i: u32) {
      let v = load_vec4u(0x10ff8u);
      store_vec3u(0x10ffcu, v.yzw + 10u);
    }`;
    expect(await round({ code })).toMatchObject(clean);
    expect((await get(30, WORDS)).slice(-2)).toEqual([1022, 1033]);
    expect(await get(6, 3)).toEqual([5010, 5011, 5002]);
  });

  it.each([4, 8, 100])(
    "loads records that straddle two pages, with what was stored in a log of %i",
    async (logSize) => {
      if (logSize > 64) await gpu.growSpill();
      map(0x10, 30, WRITE);
      map(0x11, 6, WRITE);
      const floats = (from: number): Uint32Array =>
        new Uint32Array(Float32Array.from({ length: WORDS }, (_, k) => from + k).buffer);
      put(30, floats(0));
      put(6, floats(WORDS));
      // Word k of the record is 1020 + k, but for those that were stored before.
      const code = `fn main(i: u32) {
        store_f32(0x10ff4u, 7.0); store_f32(0x11008u, 9.0);
        let m = load_mat4x4f(0x10ff0u);
        let n = load_mat3x4f(0x10fe0u);
        let v = load_vec3f(0x10ffcu);
        let sum = dot(m[0], vec4f(1.0)) + m[1][2] + m[3][3] + n[1][1] + n[2][3] + v.x + v.z;
        store_f32(0x11100u, sum);
      }`;
      expect(await round({ code, logSize })).toMatchObject(clean);
      const bits = Uint32Array.from(await get(6, 65)).slice(64);
      const sum = 1020 + 7 + 1022 + 1023 + 9 + 1035 + 7 + 1027 + 1023 + 1025;
      expect([...new Float32Array(bits.buffer)]).toEqual([sum]);
    },
  );

  it("reads arguments, of odd sizes too", async () => {
    map(0x10, 7, WRITE);
    const args = new Uint8Array(Uint32Array.of(0x10000, 77, 5).buffer).slice(0, 9).buffer;
    const code = "fn main(i: u32) { store_u32(args.at, args.value + args.more); }";
    const argsStruct = "struct Args { at: u32, value: u32, more: u32 }";
    expect(await round({ code, args, argsStruct })).toMatchObject(clean);
    expect((await get(7, 1))[0]).toBe(82);
  });
});

describe("faults", () => {
  it("come once a page and kind of access, with the first address, however many ask", async () => {
    const code = `fn main(i: u32) {
      if (i < 500u) { _ = load_u32(0x50000u); } else { store_u32(0x50000u, 1u); }
    }`;
    const { faults, unfinished } = await round({ code, count: 1000 });
    expect(pairs(faults)).toEqual([
      [0x50000, 0],
      [0x50000, BY_WRITE],
    ]);
    expect(unfinished).toBe(1000);
  });

  it("come from a write to a page that may only be read, with its exact address", async () => {
    map(0x10, 7, READ);
    const { faults } = await round({ code: "fn main(i: u32) { store_u32(0x10008u, 1u); }" });
    expect(pairs(faults)).toEqual([[0x10008, BY_WRITE]]);
  });

  it("say that an address is misaligned, also where memory is", async () => {
    map(0x10, 7, WRITE);
    const code = `fn main(i: u32) {
      if (i == 0u) { _ = load_u32(0x10002u); } else { store_vec2u(0x10001u, vec2u()); }
    }`;
    const { faults, unfinished } = await round({ code, count: 2 });
    expect(pairs(faults).map(([address, flags]) => [address, flags & ~GUESS])).toContainEqual([
      0x10001,
      MISALIGNED | BY_WRITE,
    ]);
    expect(pairs(faults)).toContainEqual([0x10002, MISALIGNED]);
    expect(unfinished).toBe(2);
  });

  it("go on after the first one, as guesses", async () => {
    const code = "fn main(i: u32) { _ = load_u32(0x50000u) + load_u32(0x60004u); }";
    expect(pairs((await round({ code })).faults)).toEqual([
      [0x50000, 0],
      [0x60004, GUESS],
    ]);
  });

  it("are the first one and the last three, of one that goes on and on", async () => {
    const code = `fn main(i: u32) {
      for (var k = 0u; k < 20u; k++) { _ = load_u32(0x50000u + 0x1000u * k); }
      _ = load_u32(0x63004u);
    }`;
    expect(pairs((await round({ code })).faults)).toEqual([
      [0x50000, 0],
      [0x61000, GUESS],
      [0x62000, GUESS],
      [0x63000, GUESS],
    ]);
  });

  it("all come back when there are more than the head of the list holds", async () => {
    const code = "fn main(i: u32) { _ = load_u32(i << 12u); }";
    const { faults } = await round({ code, count: 5000, logSize: 0 });
    const pages = pairs(faults).map(([address]) => address >>> 12);
    expect(pages).toEqual(Array.from({ length: 5000 }, (_, k) => k));
  });

  it("fill the list when there are more than it holds, and nobody who made one finishes", async () => {
    const count = FAULT_RECORDS + 1000;
    const code = "fn main(i: u32) { _ = load_u32(i << 12u); }";
    const result = await round({ code, count, logSize: 0 });
    expect(result.faults.length).toBe(2 * FAULT_RECORDS);
    expect(result.unfinished).toBe(count);
  });

  it("end loops that would wait for ever", async () => {
    const code = `
      fn spin(at: u32) -> u32 { loop { let v = load_u32(at); if (v != 0u) { return v; } } }
      fn main(i: u32) {
        while (load_u32(0x50000u) == 0u) { }
        for (;;) { loop { if (load_u32(0x60000u) != 0u) { break; } } if (spin(0x70000u) != 0u) { break; } }
        loop { if (load_u32(0x80000u) == 1u) { break; } continuing { for (var k = 0u; k < 9u; k++) {} } }
      }`;
    const { faults, unfinished } = await round({ code, count: 100 });
    expect(pairs(faults)[0]).toEqual([0x50000, 0]);
    expect(unfinished).toBe(100);
  });
});

describe("the store log", () => {
  it.each([1, 2, 8, 100])("of %i: an invocation sees its own stores", async (logSize) => {
    if (logSize > 64) await gpu.growSpill();
    map(0x10, 7, WRITE);
    put(7, [5, 6]);
    const code = `fn main(i: u32) {
      store_u32(0x10000u, 9u);
      store_u32(0x10000u, load_u32(0x10000u) + load_vec2u(0x10000u).x + load_u32(0x10004u));
    }`;
    expect(await round({ code, logSize })).toMatchObject(clean);
    expect(await get(7, 2)).toEqual([24, 6]);
  });

  it("takes any number of stores to the same words", async () => {
    map(0x10, 7, WRITE);
    put(7, [1, 2]);
    const code = `fn main(i: u32) {
      for (var k = 0u; k < 100u; k++) { store_u32(0x10000u + 4u * (k & 1u), k); }
    }`;
    expect(await round({ code, logSize: 2 })).toMatchObject(clean);
    expect(await get(7, 2)).toEqual([98, 99]);
  });

  it.each([0, 1, 2])("of %i: too many stores are said, and have no effect", async (logSize) => {
    map(0x10, 7, WRITE);
    put(7, [5, 5, 5]);
    const code = `fn main(i: u32) {
      store_u32(0x10000u, 1u); store_u32(0x10004u, 2u); store_u32(0x10008u, 3u);
    }`;
    const { overflow, unfinished, faults } = await round({ code, logSize });
    expect({ overflow, unfinished, faults: faults.length }).toEqual({
      overflow: LOG_IS_FULL,
      unfinished: 1,
      faults: 0,
    });
    expect(await get(7, 3)).toEqual([5, 5, 5]);
  });

  it.each([1, 4])("of %i: a fault after a store leaves no trace of it", async (logSize) => {
    map(0x10, 7, WRITE);
    put(7, [5]);
    const code = "fn main(i: u32) { store_u32(0x10000u, 1u); _ = load_u32(0x50000u); }";
    expect((await round({ code, logSize })).unfinished).toBe(1);
    expect(await get(7, 1)).toEqual([5]);
  });

  it("makes a sum in place exact however its operands arrive", async () => {
    const count = 4096;
    const pages = count / WORDS;
    const [a, b] = [0x100, 0x200];
    for (let k = 0; k < pages; k++) put(10 + k, new Uint32Array(WORDS).fill(3));
    for (let k = 0; k < pages; k++) put(20 + k, new Uint32Array(WORDS).fill(100));
    const code = `fn main(i: u32) {
      let at = ${b << 12}u + 4u * i;
      store_u32(at, load_u32(at) + load_u32(${a << 12}u + 4u * i));
      store_u32(at, load_u32(at) * 2u);
    }`;
    const compiled = await gpu.compile(source(code), 2);
    const list = newList(count);
    // Operands come in different rounds: page by page, those that are read after those written.
    for (let step = 0; step <= 2 * pages; step++) {
      const fresh = { first: 0, count: step === 0 ? count : 0 };
      await gpu.runRound({ compiled, list, fresh, retry: list.pending, load });
      if (step < pages) map(b + step, 20 + step, WRITE);
      else if (step < 2 * pages) map(a + 2 * pages - 1 - step, 10 + 2 * pages - 1 - step, READ);
    }
    expect(list.pending).toBe(0);
    expect((await get(20, count)).every((word) => word === 206)).toBe(true);
    list.destroy();
  });
});

describe("a log that has spilled", () => {
  const LOG = 100;

  it("is the invocation's own, grows as it goes on, and is committed once", async () => {
    for (let page = 0; page < 8; page++) map(0x10 + page, 40 + page, WRITE);
    put(40, new Uint32Array(8 * WORDS).fill(1));
    await gpu.growSpill();
    // Two invocations, a half each; every sum reads what the last one stored.
    const code = `fn main(i: u32) {
      let base = 0x10000u + i * ${16 * WORDS}u;
      for (var k = 1u; k < ${4 * WORDS}u; k++) {
        let at = base + 4u * k;
        store_u32(at, load_u32(at) + load_u32(at - 4u));
      }
      store_vec2u(base, load_vec2u(base) * 10u);
    }`;
    expect(await round({ code, count: 2, logSize: LOG })).toMatchObject(clean);
    const sums = Array.from({ length: 4 * WORDS }, (_, k) => (k < 2 ? 10 * (k + 1) : k + 1));
    expect(await get(40, 8 * WORDS)).toEqual([...sums, ...sums]);
    // And nothing of it is left for those who come later.
    const bump = "fn main(i: u32) { store_u32(0x10000u, load_u32(0x10000u) + 1u); }";
    expect(await round({ code: bump, logSize: LOG })).toMatchObject(clean);
    expect((await get(40, 1))[0]).toBe(11);
  });

  it("leaves no trace of an invocation that missed a page after many stores", async () => {
    map(0x10, 7, WRITE);
    put(7, new Uint32Array(WORDS).fill(5));
    const code = `fn main(i: u32) {
      for (var k = 0u; k < ${WORDS}u; k++) { store_u32(0x10000u + 4u * k, k); }
      _ = load_u32(0x50000u);
    }`;
    await gpu.growSpill();
    expect((await round({ code, logSize: LOG })).unfinished).toBe(1);
    expect(await get(7, WORDS)).toEqual(new Array(WORDS).fill(5));
  });

  it("says so when there is no room, and has no effect; more room can be made up to a limit", async () => {
    const own = await Gpu.open({ prefer: "auto", frames: 16 });
    own.setEntry(0x10, (7 << 8) | WRITE);
    const code = "fn main(i: u32) { store_u32(0x10000u, 1u); }";
    const compiled = await own.compile(source(code), LOG);
    const list = own.takeList(new ArrayBuffer(0), 1);
    const fresh = { first: 0, count: 1 };
    const full = await own.runRound({ compiled, list, fresh, retry: 0, load });
    expect([full.overflow, full.unfinished]).toEqual([SPILL_IS_FULL, 1]);
    const grown: boolean[] = [];
    while (grown.at(-1) !== false) grown.push(await own.growSpill());
    expect(grown).toEqual([true, true, true, false]);
    const none = { first: 1, count: 0 };
    const done = await own.runRound({ compiled, list, fresh: none, retry: 1, load });
    expect([done.overflow, done.unfinished]).toEqual([0, 0]);
    own.destroy();
  });
});

describe("the load of a round", () => {
  const few = { work: 1000, passes: 500 };

  it("ends endless loops of every kind, without effect and without asking for pages", async () => {
    map(0x10, 7, WRITE);
    put(7, [5]);
    const kinds = [
      "while (true) { }",
      "loop { }",
      "for (;;) { }",
      "for (var k = 0u; k < 9u; ) { store_u32(0x10000u, k); }",
      "loop { continuing { for (var k = 0u; k < 9u; ) { } } }",
      "while (f(i) < 9u) { }",
    ];
    for (const kind of kinds) {
      const code = `fn f(i: u32) -> u32 { loop { if (i > 100u) { return i; } } }
        fn main(i: u32) { if (i < 100u) { ${kind} } store_u32(0x10000u, 1u); _ = load_u32(0x50000u); }`;
      const compiled = await gpu.compile(source(code), 1);
      const list = newList(100);
      const fresh = { first: 0, count: 100 };
      const result = await gpu.runRound({ compiled, list, fresh, retry: 0, load: few });
      expect([kind, result.isLong, result.unfinished]).toEqual([kind, true, 100]);
      expect(result.overflow).toBe(0);
      expect(result.faults.length).toBe(0);
      list.destroy();
    }
    expect(await get(7, 1)).toEqual([5]);
  });

  it("is shared: who finds it spent waits, and each finishes once all the same", async () => {
    map(0x10, 7, WRITE);
    map(0x11, 8, WRITE);
    put(7, new Uint32Array(2 * WORDS));
    const code = `fn main(i: u32) {
      for (var k = 0u; k < 1000u; k++) { if (load_u32(0x10000u) == 77u) { return; } }
      let at = 0x10000u + 4u * i;
      store_u32(at, load_u32(at) + 1u);
    }`;
    const count = 1500;
    const compiled = await gpu.compile(source(code), 1);
    const list = newList(count);
    let rounds = 0;
    let fresh = { first: 0, count };
    for (; rounds === 0 || list.pending > 0; rounds++) {
      const retry = list.pending;
      await gpu.runRound({ compiled, list, fresh, retry, load: { work: 4000, passes: 2000 } });
      fresh = { first: count, count: 0 };
    }
    expect(rounds).toBeGreaterThan(3);
    expect(rounds).toBeLessThan(50);
    expect(await get(7, count)).toEqual(new Array(count).fill(1));
    list.destroy();
  });
});

describe("rounds", () => {
  const COUNT_UP = `fn main(i: u32) {
    let at = 0x10000u + 4u * i;
    store_u32(at, load_u32(at) + load_u32(0x20000u));
  }`;

  it("run again those that did not finish, as many as are admitted, each once", async () => {
    map(0x10, 7, WRITE);
    put(7, []);
    put(8, [1]);
    const compiled = await gpu.compile(source(COUNT_UP), 1);
    const list = newList(1000);
    const first = await gpu.runRound({
      compiled,
      list,
      fresh: { first: 0, count: 600 },
      retry: 0,
      load,
    });
    expect([first.unfinished, list.pending]).toEqual([600, 600]);
    const half = await gpu.runRound({
      compiled,
      list,
      fresh: { first: 0, count: 0 },
      retry: 250,
      load,
    });
    expect([half.unfinished, list.pending]).toEqual([250, 600]);
    map(0x20, 8, READ);
    const some = await gpu.runRound({
      compiled,
      list,
      fresh: { first: 0, count: 0 },
      retry: 100,
      load,
    });
    expect([some.unfinished, list.pending]).toEqual([0, 500]);
    const fresh = { first: 600, count: 400 };
    await gpu.runRound({ compiled, list, fresh, retry: list.pending, load });
    expect(list.pending).toBe(0);
    expect((await get(7, 1000)).every((word) => word === 1)).toBe(true);
    list.destroy();
  });

  it("keep the lists of several launches apart", async () => {
    map(0x10, 7, WRITE);
    put(7, []);
    put(8, [1]);
    const compiled = await gpu.compile(source(COUNT_UP), 1);
    const [a, b] = [newList(10), newList(10)];
    await gpu.runRound({ compiled, list: a, fresh: { first: 0, count: 10 }, retry: 0, load });
    await gpu.runRound({ compiled, list: b, fresh: { first: 20, count: 5 }, retry: 0, load });
    expect([a.pending, b.pending]).toEqual([10, 5]);
    expect(await gpu.firstPending(b)).toBeGreaterThanOrEqual(20);
    map(0x20, 8, READ);
    await gpu.runRound({ compiled, list: b, fresh: { first: 0, count: 0 }, retry: 5, load });
    const words = await get(7, 25);
    expect(words.slice(0, 20).every((word) => word === 0)).toBe(true);
    expect(words.slice(20)).toEqual([1, 1, 1, 1, 1]);
    a.destroy();
    b.destroy();
  });

  it("take over the list of a launch that is over, and nothing that it said", async () => {
    map(0x10, 7, WRITE);
    put(7, []);
    const argsStruct = "struct Args { value: u32, more: u32 }";
    const code = "fn main(i: u32) { store_u32(0x10000u + 4u * i, args.value + args.more); }";
    const compiled = await gpu.compile(source(code, argsStruct), 1);
    const count = 3;
    const run = async (list: LaunchList, first: number): Promise<void> => {
      const { faults } = await gpu.runRound({
        compiled,
        list,
        fresh: { first, count },
        retry: 0,
        load,
      });
      expect([list.pending, faults.length]).toEqual([0, 0]);
    };
    const first = gpu.takeList(Uint32Array.of(1, 50).buffer, 4);
    await run(first, 0);
    gpu.keepList(first);
    const second = gpu.takeList(Uint32Array.of(2).buffer, 3);
    expect(second).toBe(first);
    await run(second, 3);
    gpu.keepList(second);
    const larger = gpu.takeList(new ArrayBuffer(0), 5);
    expect([larger === first, larger.capacity]).toEqual([false, 5]);
    await run(larger, 6);
    larger.destroy();
    expect(await get(7, 9)).toEqual([51, 51, 51, 2, 2, 2, 0, 0, 0]);
  });

  it("record a page again that an earlier round recorded, with rounds between or without", async () => {
    map(0x10, 7, WRITE);
    const missing = await gpu.compile(source("fn main(i: u32) { _ = load_u32(0x55000u); }"), 0);
    const present = await gpu.compile(source("fn main(i: u32) { _ = load_u32(0x10000u); }"), 0);
    const fresh = { first: 0, count: 1 };
    for (const compiled of [missing, missing, present, present, missing]) {
      const list = newList(1);
      const { faults } = await gpu.runRound({ compiled, list, fresh, retry: 0, load });
      expect(pairs(faults)).toEqual(compiled === missing ? [[0x55000, 0]] : []);
      list.destroy();
    }
  });

  it("dispatch more groups than one dimension holds", async () => {
    const count = 65_536 * 64 + 100;
    map(0x10, 7, WRITE);
    put(7, []);
    const code = `fn main(i: u32) { if (i >= ${count - 2}u) { store_u32(0x10000u + 4u * (i & 1u), i); } }`;
    const compiled = await gpu.compile(source(code), 1);
    const list = newList(count);
    await gpu.runRound({ compiled, list, fresh: { first: 0, count }, retry: 0, load });
    expect(await get(7, 3)).toEqual([count - 2, count - 1, 0]);
    list.destroy();
  });

  it("run one at a time, and never more than the list has room for", async () => {
    const compiled = await gpu.compile(source("fn main(i: u32) {}"), 0);
    const list = newList(4);
    const fresh = { first: 0, count: 4 };
    const running = gpu.runRound({ compiled, list, fresh, retry: 0, load });
    expect(() => gpu.runRound({ compiled, list, fresh, retry: 0, load })).toThrow(AssertionError);
    await running;
    const tooMany = { first: 0, count: 5 };
    await expect(gpu.runRound({ compiled, list, fresh: tooMany, retry: 0, load })).rejects.toThrow(
      /room/,
    );
    await gpu.runRound({ compiled, list, fresh, retry: 0, load });
    list.destroy();
  });
});

describe("compile", () => {
  const errorOf = async (code: string): Promise<KernelCompileError> => {
    const error = await gpu.compile(source(code), 1).catch((each: unknown) => each);
    expect(error).toBeInstanceOf(KernelCompileError);
    return error as KernelCompileError;
  };

  it("names the user's line and column, behind guards and letters of any script", async () => {
    const code =
      "fn main(i: u32) {\n  // \u00e4\u{1f409}\n  for (;;) { /* \u{1f409} */ let x = nothing; }\n}";
    const { messages, message } = await errorOf(code);
    expect(messages[0]).toMatchObject({ line: 3, column: 31 });
    expect(messages[0]!.message).toContain("nothing");
    expect(message).toContain("kernel k");
  });

  it("says so when main has other parameters", async () => {
    const { messages } = await errorOf("\nfn main(a: u32, b: u32) {}");
    expect(messages[0]!.line).toBe(2);
  });

  it("says so when the kernel brings buffers of its own", async () => {
    const code = `@group(1) @binding(0) var<storage> x: array<u32>;
      fn main(i: u32) { store_u32(0u, x[i]); }`;
    await errorOf(code);
  });

  it("leaves the device in order after an error", async () => {
    await errorOf("fn main(i: u32) { nothing }");
    expect(await round({ code: "fn main(i: u32) {}" })).toMatchObject(clean);
  });

  it("takes loops that are left by return only", async () => {
    const code = `fn find(at: u32) -> vec2<u32> {
      var k = at;
      loop { k++; if (k % 7u == 0u) { return vec2u(k); } }
    }
    fn main(i: u32) { for (;;) { if (find(i).x > 0u) { return; } } }`;
    expect(await round({ code, count: 10 })).toMatchObject(clean);
  });

  it("makes a pipeline once", async () => {
    const kernel = source("fn main(i: u32) { store_u32(0u, 0u); }");
    const [a, b] = await Promise.all([gpu.compile(kernel, 1), gpu.compile(kernel, 1)]);
    expect(a).toBe(b);
    expect(await gpu.compile(kernel, 2)).not.toBe(a);
  });
});

describe("failures", () => {
  it("refuses more memory than the adapter has, with both numbers", async () => {
    const frames = 2 ** 23;
    const error = await Gpu.open({ prefer: "auto", frames }).catch((each: unknown) => each);
    expect(error).toBeInstanceOf(GpuError);
    expect((error as Error).message).toMatch(`${frames * PAGE_SIZE} bytes of device memory`);
  });

  it("rejects all that is under way, and all that comes later, when the device goes", async () => {
    const lost = await Gpu.open({ prefer: "auto", frames: 16 });
    const compiled = await lost.compile(source("fn main(i: u32) {}"), 0);
    const list = lost.takeList(new ArrayBuffer(0), 64);
    const fresh = { first: 0, count: 64 };
    const running = lost.runRound({ compiled, list, fresh, retry: 0, load });
    const reading = lost.readback(Int32Array.of(1), 1, () => undefined);
    const failures = Promise.allSettled([running, reading]);
    lost.destroy();
    for (const failure of await failures) {
      expect(failure.status).toBe("rejected");
      expect((failure as PromiseRejectedResult).reason).toBeInstanceOf(DeviceLostError);
    }
    expect(await lost.lost).toMatch(/./);
    await expect(lost.compile(source("fn main(i: u32) {}"), 0)).rejects.toThrow(DeviceLostError);
    await expect(lost.readback(Int32Array.of(1), 1, () => undefined)).rejects.toThrow(
      DeviceLostError,
    );
    expect(() => lost.zero(Int32Array.of(1), 1)).toThrow(DeviceLostError);
    expect(() => lost.runRound({ compiled, list, fresh, retry: 0, load })).toThrow(DeviceLostError);
    lost.destroy();
  });

  it("gives back what Dawn reports aside instead of swallowing it", async () => {
    const broken = await Gpu.open({ prefer: "auto", frames: 16 });
    const reading = broken.readback(Int32Array.of(5000), 1, () => undefined);
    await expect(reading).rejects.toThrow(GpuError);
    broken.destroy();
  });
});
