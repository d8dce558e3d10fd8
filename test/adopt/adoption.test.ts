import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { createWindow } from "../../src/cpu/index.ts";
import { HmmError } from "../../src/machine/error.ts";
import { Adoption, type AdoptOptions } from "../../src/machine/wasm/index.ts";
import { replayable } from "../replay/replay.ts";
import {
  body,
  exported,
  GROW,
  I32,
  type MemoryModule,
  memoryModule,
  module,
  raw,
  SIZE,
  section,
  text,
  type,
} from "./module-builder.ts";

const PAGE = 65_536;
const window = createWindow();

/** A place for a module; `mapped` are the sizes that it asked for. */
function place(options: AdoptOptions = {}, most = Number.POSITIVE_INFINITY) {
  const mapped: number[] = [];
  const map = (bytes: number): void => {
    if (bytes > most) throw new HmmError({ code: "ENOMEM", call: "map", detail: "no more" });
    mapped.push(bytes / PAGE);
  };
  return {
    adoption: new Adoption({ memory: window.memory, map, check: () => {} }, options),
    mapped,
  };
}

const code = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return error instanceof HmmError ? error.code : String(error);
  }
  return "nothing";
};

beforeEach(() => window.bulk.fillZero(0, 64 * PAGE));

describe("an adopted module", () => {
  it("does with sizes, growth and bytes what it does with a memory of its own", () => {
    const max = 12;
    const bytes = memoryModule({ min: 2, max });
    const step = fc.oneof(
      fc.record({ call: fc.constant("size" as const) }),
      fc.record({ call: fc.constant("grow" as const), pages: fc.integer({ min: -1, max: 4 }) }),
      fc.record({ call: fc.constant("store" as const), at: fc.nat(), value: fc.integer() }),
      fc.record({ call: fc.constant("load" as const), at: fc.nat() }),
      fc.record({ call: fc.constant("fill" as const), at: fc.nat(), value: fc.nat(255) }),
      fc.record({ call: fc.constant("copy" as const), at: fc.nat(), from: fc.nat() }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        window.bulk.fillZero(0, 16 * PAGE);
        const own = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports;
        const adopted = place({ bytes: 16 * PAGE }).adoption.instantiate(bytes).exports;
        const run = (exports: unknown): unknown[] => {
          const it = exports as MemoryModule;
          return steps.map((each) => {
            const room = it.size() * PAGE - 64;
            if (each.call === "grow") return it.grow(each.pages);
            if (each.call === "store") return it.store(each.at % room, each.value);
            if (each.call === "load") return it.load(each.at % room);
            if (each.call === "fill") return it.fill(each.at % room, each.value, 40);
            if (each.call === "copy") return it.copy(each.at % room, each.from % room, 50);
            return it.size();
          });
        };
        expect(run(adopted)).toEqual(run(own));
        const { buffer } = own.memory as WebAssembly.Memory;
        const there = new Uint8Array(window.buffer, 0, buffer.byteLength);
        expect(Buffer.compare(Buffer.from(there), Buffer.from(buffer))).toBe(0);
      }),
      replayable("wasm-adoption", { numRuns: 150 }),
    );
  });

  it("grows page by page where the host agrees, up to its own maximum and no further", () => {
    const { adoption, mapped } = place();
    const it = adoption.instantiate(memoryModule({ min: 2, max: 5 })).exports as never;
    const { size, grow } = it as MemoryModule;
    expect([size(), grow(1), size(), grow(0), grow(3), size()]).toEqual([2, 2, 3, 3, -1, 3]);
    expect(adoption.growFailure?.message).toMatch(/wants 393216 bytes, it may have 327680/);
    expect([grow(2), grow(-1), size()]).toEqual([3, -1, 5]);
    expect([mapped, adoption.range]).toEqual([[2, 3, 5], { start: 0, bytes: 5 * PAGE }]);
  });

  it("may be given less than it could use", () => {
    const { adoption } = place({ bytes: 3 * PAGE });
    const { grow } = adoption.instantiate(memoryModule({ min: 2, max: 9 }))
      .exports as never as MemoryModule;
    expect([adoption.limit, grow(2), grow(1)]).toEqual([3 * PAGE, -1, 2]);
  });

  it("may be given more at the start than it asks for", () => {
    const { adoption, mapped } = place({ initialBytes: 5 * PAGE - 1 });
    const { size } = adoption.instantiate(memoryModule({ min: 2, max: 9 }))
      .exports as never as MemoryModule;
    expect([size(), mapped]).toEqual([5, [5]]);
  });

  it("sees -1 when the host has no more, and the reason is kept", () => {
    const { adoption } = place({}, 3 * PAGE);
    const { grow, size } = adoption.instantiate(memoryModule({ min: 2, max: 9 }))
      .exports as never as MemoryModule;
    expect([grow(2), size(), grow(1), size()]).toEqual([-1, 2, 2, 3]);
    expect(adoption.growFailure?.cause).toMatchObject({ code: "ENOMEM", call: "map" });
  });

  it("knows its size before its start function runs", () => {
    const seen: number[] = [];
    const bytes = module(
      section(1, type([], []), type([I32], [])),
      section(2, [...text("e"), ...text("log"), 0, 1]),
      section(3, [0]),
      section(5, [0, 3]),
      raw(8, [1]),
      section(10, body(...SIZE, 0x10, 0, 0x41, 2, ...GROW, 0x10, 0, ...SIZE, 0x10, 0)),
    );
    place().adoption.instantiate(bytes, { e: { log: (n: number) => seen.push(n) } });
    expect(seen).toEqual([3, 3, 5]);
  });

  it("shows its exports as before, without ours", () => {
    const { adoption } = place();
    const instance = adoption.instantiate(memoryModule());
    expect(Object.keys(instance.exports).sort()).toEqual(
      ["copy", "fill", "grow", "load", "memory", "size", "store"].sort(),
    );
    expect(instance).toBeInstanceOf(WebAssembly.Instance);
    expect(instance.exports.memory).toBe(adoption.memory);
    expect(adoption.exports).toBe(instance.exports);
  });

  it("leaves imports alone that are none of its business", () => {
    class Env {
      readonly own = 1;
      log(): number {
        return 3;
      }
    }
    const bytes = module(
      section(1, type([], [I32])),
      section(2, [...text("env"), ...text("log"), 0, 0], [...text("env"), ...text("m"), 2, 0, 1]),
      section(3, [0]),
      section(7, exported("f", 0, 1)),
      section(10, body(0x10, 0)),
    );
    const env = new Env();
    const { f } = place().adoption.instantiate(bytes, { env } as never).exports;
    expect((f as () => number)()).toBe(3);
    expect(Object.keys(env)).toEqual(["own"]);
  });
});

describe("what stands in for the memory", () => {
  const memoryOf = (options?: AdoptOptions) => {
    const { adoption } = place(options);
    adoption.instantiate(memoryModule({ min: 16, max: 4000 }));
    return { memory: adoption.memory, adoption };
  };

  it("is a memory, with the module's size and everybody's bytes", () => {
    const { memory } = memoryOf();
    expect(memory).toBeInstanceOf(WebAssembly.Memory);
    expect(memory.buffer).toBeInstanceOf(SharedArrayBuffer);
    const { buffer } = memory;
    expect([buffer.byteLength, Object.is(memory.buffer, buffer)]).toEqual([16 * PAGE, true]);
    const bytes = new Uint8Array(buffer);
    bytes[0x4000_0000] = 7;
    expect([bytes.length, window.u8[0x4000_0000]]).toEqual([2 ** 32, 7]);
    window.u8[0x4000_0000] = 0;
    expect(window.memory.buffer.byteLength).toBe(2 ** 32);
  });

  it.each([
    ["3.1 and later", (wanted: number, size: number) => ((wanted - size + 65_535) / 65_536) | 0],
    ["some 3.1", (wanted: number, size: number) => (wanted - size + 65_535) / 65_536],
    ["2 and before", (wanted: number, size: number) => (wanted - size + 65_535) >>> 16],
  ])("grows as Emscripten %s reckons", (_version, pages) => {
    const { memory, adoption } = memoryOf();
    const wanted = 30 * PAGE + 5;
    expect(memory.grow(pages(wanted, memory.buffer.byteLength))).toBe(16);
    expect([adoption.range.bytes, memory.buffer.byteLength]).toEqual([31 * PAGE, 31 * PAGE]);
  });

  it("throws as a memory does", () => {
    const { memory } = memoryOf({ bytes: 20 * PAGE });
    expect(() => memory.grow(5)).toThrow(RangeError);
    expect(() => memory.grow(-1)).toThrow(TypeError);
    expect(() => memory.grow(Number.NaN)).toThrow(TypeError);
    expect(memory.buffer.byteLength).toBe(16 * PAGE);
  });

  it("may be imported by name, as the space's own memory may", () => {
    for (const pick of ["facade", "own", "none"] as const) {
      const { adoption } = place();
      const given = { facade: adoption.memory, own: window.memory, none: undefined }[pick];
      const imports = given === undefined ? {} : { env: { heap: given } };
      const it = adoption.instantiate(memoryModule({ from: ["env", "heap"] }), imports as never);
      expect((it.exports as never as MemoryModule).load(16)).toBe(0x0fbeadde);
    }
  });
});

describe("Emscripten's resize_heap", () => {
  it("is answered with what is asked for, rounded up to whole MiB", () => {
    const bytes = module(
      section(1, type([I32], [I32]), type([], [I32])),
      section(2, [...text("env"), ...text("emscripten_resize_heap"), 0, 0]),
      section(3, [0], [1]),
      section(5, [1, 16, ...[0x80, 0x40]]),
      section(7, exported("resize", 0, 1), exported("size", 0, 2)),
      section(10, body(0x20, 0, 0x10, 0), body(...SIZE)),
    );
    const env = { emscripten_resize_heap: () => expect.unreachable("the glue's own") };
    const { adoption } = place({ bytes: 40 * PAGE });
    const { resize, size } = adoption.instantiate(bytes, { env }).exports as Record<
      "resize" | "size",
      (bytes?: number) => number
    >;
    expect([resize(16 * PAGE), size()]).toEqual([1, 16]);
    expect([resize(16 * PAGE + 1), size()]).toEqual([1, 32]);
    expect([resize(39 * PAGE), size()]).toEqual([1, 40]);
    expect([resize(40 * PAGE + 1), size()]).toEqual([0, 40]);
    expect(resize(-1)).toBe(0);
  });
});

describe("what adoption refuses", () => {
  it("a second module", () => {
    const { adoption } = place();
    adoption.instantiate(memoryModule());
    expect(code(() => adoption.instantiate(memoryModule()))).toBe("EBUSY");
  });

  it("a module without a memory, and one compiled by somebody else", () => {
    const { adoption } = place();
    expect(code(() => adoption.instantiate(module()))).toBe("EINVAL");
    expect(code(() => adoption.instantiate(new WebAssembly.Module(memoryModule())))).toBe("EINVAL");
    expect(code(() => place({ wasm: module() }))).toBe("EINVAL");
  });

  it("a memory that is neither of ours", () => {
    const { adoption } = place();
    const imports = { env: { heap: new WebAssembly.Memory({ initial: 1 }) } };
    const bytes = memoryModule({ from: ["env", "heap"] });
    expect(() => adoption.instantiate(bytes, imports as never)).toThrow(
      /env\.heap is a memory, but/,
    );
    expect(adoption.exports).toBeUndefined();
  });

  it("a module that is too large from the beginning", () => {
    const bytes = memoryModule({ min: 5, max: 9 });
    expect(code(() => place({ bytes: 4 * PAGE }).adoption.instantiate(bytes))).toBe("ENOMEM");
    expect(code(() => place({ bytes: 4 * PAGE, wasm: bytes }))).toBe("ENOMEM");
    expect(code(() => place({}, PAGE).adoption.instantiate(bytes))).toBe("ENOMEM");
  });

  it("what the engine does not take either", () => {
    const bytes = memoryModule();
    bytes[bytes.indexOf(0x3f)] = 0x1a;
    expect(() => place().adoption.compile(bytes)).toThrow(WebAssembly.CompileError);
  });

  it.each([
    [{ bytes: 100 }, /bytes must be a multiple of 65536/],
    [{ bytes: 0 }, /bytes must be/],
    [{ bytes: 0x1000_0000 }, /up to 268369920/],
    [{ initialBytes: -1 }, /initialBytes must be/],
    [{ bytes: PAGE, initialBytes: PAGE + 1 }, /initialBytes must be an integer in 0\.\.65536/],
    [{ size: 4 }, /unknown option size/],
  ])("%o", (options, message) => {
    expect(() => place(options as AdoptOptions)).toThrow(message);
  });

  it("instantiateWasm without a binary", () => {
    expect(() => place().adoption.instantiateWasm).toThrow(/needs the option wasm/);
  });
});

describe("instantiateWasm", () => {
  it("calls with the instance, and gives the exports or what the glue answers", () => {
    const { adoption } = place({ wasm: memoryModule({ from: ["a", "m"] }) });
    expect(adoption.range.bytes).toBe(PAGE);
    const given: unknown[] = [];
    const answer = adoption.instantiateWasm({}, (instance, compiled) => {
      given.push(instance, compiled);
    });
    expect(answer).toBe(adoption.exports);
    expect([given[0], given[1]]).toEqual([
      expect.any(WebAssembly.Instance),
      expect.any(WebAssembly.Module),
    ]);
    const other = place({ wasm: memoryModule().buffer });
    expect(other.adoption.instantiateWasm({}, () => "mine")).toBe("mine");
  });
});
