import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { HmmError } from "../../src/machine/error.ts";
import { rewriteModule } from "../../src/machine/wasm/index.ts";
import { replayable } from "../replay/replay.ts";
import {
  body,
  custom,
  exported,
  GROW,
  get,
  I32,
  leb,
  memoryModule,
  module,
  raw,
  SIZE,
  section,
  text,
  type,
} from "./module-builder.ts";

let shared: WebAssembly.Memory;

beforeAll(() => {
  shared = new WebAssembly.Memory({ initial: 65_536, maximum: 65_536, shared: true });
});

/** An instance of the rewritten module on the shared memory, its size and growth by hand. */
function instantiate(bytes: Uint8Array, imports: Record<string, Record<string, unknown>> = {}) {
  const rewritten = rewriteModule(bytes);
  const use = rewritten.memory!;
  const compiled = new WebAssembly.Module(rewritten.bytes);
  const namespace = { ...imports[use.module], [use.name]: shared };
  const instance = new WebAssembly.Instance(compiled, { ...imports, [use.module]: namespace });
  return { use, compiled, exports: instance.exports };
}

const refusal = (bytes: Uint8Array): string => {
  try {
    rewriteModule(bytes);
  } catch (error) {
    expect(error).toBeInstanceOf(HmmError);
    return (error as HmmError).message;
  }
  return "nothing";
};

describe("a rewritten module", () => {
  it("imports the shared memory in place of its own, and exports it under the old name", () => {
    const { use, exports } = instantiate(memoryModule({ min: 2, max: 9 }));
    expect(use).toEqual({
      module: "onespace",
      name: "memory",
      wasImported: false,
      minPages: 2,
      maxPages: 9,
      exports: ["memory"],
      pagesExport: "onespace.pages",
      growExport: "onespace.grow",
      startExport: undefined,
      sizeCount: 1,
      growCount: 1,
    });
    expect(exports.memory).toBe(shared);
    expect(new Uint8Array(shared.buffer, 16, 4)).toEqual(new Uint8Array([0xde, 0xad, 0xbe, 0x0f]));
  });

  it("takes a memory that it imported already from the same place, with our limits", () => {
    const before = module(
      section(1, type([], [I32])),
      section(
        2,
        [...text("env"), ...text("first"), 0, 0],
        [...text("env"), ...text("heap"), 2, 1, ...leb(300), ...leb(4000)],
        [...text("env"), ...text("last"), 3, I32, 0],
      ),
      section(3, [0]),
      section(7, exported("last", 0, 1)),
      section(10, body(0x23, 0)),
    );
    const { use, exports } = instantiate(before, { env: { first: () => 5, last: 77 } });
    expect([use.module, use.name, use.wasImported]).toEqual(["env", "heap", true]);
    expect([use.minPages, use.maxPages, use.sizeCount]).toEqual([300, 4000, 0]);
    expect((exports.last as () => number)()).toBe(77);
  });

  it("takes a shared memory with a smaller maximum than the space", () => {
    const { use } = instantiate(memoryModule({ from: ["a", "b"], isShared: true, max: 40 }));
    expect([use.module, use.name, use.maxPages]).toEqual(["a", "b", 40]);
  });

  it("has a size that is a global and a growth that is a call", () => {
    const { exports } = instantiate(memoryModule());
    const pages = exports["onespace.pages"] as WebAssembly.Global;
    const table = exports["onespace.grow"] as WebAssembly.Table;
    const size = exports.size as () => number;
    expect([pages.value, size(), table.length, table.get(0)]).toEqual([0, 0, 1, null]);
    pages.value = 12;
    expect(size()).toBe(12);
    expect(() => (exports.grow as (n: number) => number)(1)).toThrow(WebAssembly.RuntimeError);
    table.set(0, exports.load);
    expect((exports.grow as (n: number) => number)(16)).toBe(0x0fbeadde);
  });

  it("keeps every index: functions, tables, globals, types, names, data and custom sections", () => {
    const names = [...text("main"), 0];
    const before = module(
      custom("first"),
      section(1, type([], []), type([I32], [I32]), type([], [I32])),
      section(
        2,
        [...text("e"), ...text("f"), 0, 1],
        [...text("e"), ...text("g"), 3, I32, 0],
        [...text("e"), ...text("t"), 1, 0x70, 0, 2],
      ),
      section(3, [2], [2], [1]),
      section(4, [0x70, 0, 3]),
      section(5, [0, 1]),
      section(6, [I32, 1, 0x41, 21, 0x0b]),
      section(
        7,
        exported("own", 0, 1),
        exported("size", 0, 2),
        exported("grow", 0, 3),
        exported("t", 1, 1),
      ),
      section(9, [2, 1, 0x41, 1, 0x0b, 0, 1, 0]),
      // own: f(global 0) + global 1 + the function in slot 1 of table 1, which is f, of 1
      section(
        10,
        body(...[0x23, 0, 0x10, 0, 0x23, 1, 0x6a], 0x41, 1, 0x41, 1, 0x11, 1, 1, 0x6a),
        body(...SIZE),
        body(...get(0), ...GROW),
      ),
      custom("name", names),
      custom("last", [1, 2, 3]),
    );
    const imports = {
      e: {
        f: (n: number) => n * 10,
        g: 7,
        t: new WebAssembly.Table({ element: "anyfunc", initial: 2 }),
      },
    };
    const { exports, compiled, use } = instantiate(before, imports);
    expect((exports.own as () => number)()).toBe(70 + 21 + 10);
    expect((exports.t as WebAssembly.Table).length).toBe(3);
    const customs = (name: string) =>
      WebAssembly.Module.customSections(compiled, name).map((bytes) => [...new Uint8Array(bytes)]);
    expect([customs("first"), customs("name"), customs("last")]).toEqual([
      [[]],
      [names],
      [[1, 2, 3]],
    ]);
    // What was added is behind all that was there, of which some is imported.
    (exports[use.pagesExport!] as WebAssembly.Global).value = 33;
    expect((exports.size as () => number)()).toBe(33);
    const { exports: other } = instantiate(memoryModule());
    new Uint8Array(shared.buffer)[8] = 6;
    (exports[use.growExport!] as WebAssembly.Table).set(0, other.load);
    expect((exports.grow as (pages: number) => number)(8) & 0xff).toBe(6);
    expect((exports[use.growExport!] as WebAssembly.Table).length).toBe(1);
    expect((exports.t as WebAssembly.Table).get(0)).toBeNull();
    expect((exports.own as () => number)()).toBe(70 + 21 + 10);
  });

  it("loses hints about places in its code, which have moved", () => {
    const withHint = memoryModule({ extra: [custom("metadata.code.branch_hint"), custom("kept")] });
    const { compiled } = instantiate(withHint);
    const count = (name: string) => WebAssembly.Module.customSections(compiled, name).length;
    expect([count("metadata.code.branch_hint"), count("kept")]).toEqual([0, 1]);
  });

  it("has its start called later, when size and growth can be asked for", () => {
    const log: number[] = [];
    const before = module(
      section(1, type([], []), type([I32], [])),
      section(2, [...text("e"), ...text("log"), 0, 1]),
      section(3, [0]),
      section(5, [0, 3]),
      raw(8, [1]),
      section(10, body(...SIZE, 0x10, 0)),
    );
    const { exports, use } = instantiate(before, { e: { log: (n: number) => log.push(n) } });
    expect([log, use.startExport]).toEqual([[], "onespace.start"]);
    (exports["onespace.pages"] as WebAssembly.Global).value = 3;
    (exports["onespace.start"] as () => void)();
    expect(log).toEqual([3]);
  });

  it("keeps its start where nothing asks for the size", () => {
    let calls = 0;
    const before = module(
      section(1, type([], [])),
      section(2, [...text("e"), ...text("f"), 0, 0]),
      section(5, [0, 1]),
      raw(8, [0]),
    );
    const { use } = instantiate(before, { e: { f: () => calls++ } });
    expect([calls, use.startExport]).toEqual([1, undefined]);
  });

  it("gives its own exports other names when they are taken", () => {
    const before = module(
      section(1, type([], [I32])),
      section(3, [0]),
      section(5, [0, 1]),
      section(7, exported("onespace.pages", 0, 0), exported("onespace.pages_", 0, 0)),
      section(10, body(...SIZE)),
    );
    const { use, exports } = instantiate(before);
    expect(use.pagesExport).toBe("onespace.pages__");
    expect((exports["onespace.pages"] as () => number)()).toBe(0);
  });

  it("gets the type of growing when it has none, behind its own types", () => {
    const before = module(
      section(1, type([], [0x7e])),
      section(3, [0]),
      section(5, [0, 1]),
      section(7, exported("f", 0, 0)),
      // i64 of memory.grow(2)
      section(10, body(0x41, 2, ...GROW, 0xac)),
    );
    const { exports } = instantiate(before);
    const { exports: other } = instantiate(memoryModule());
    (exports["onespace.grow"] as WebAssembly.Table).set(0, other.load);
    new Uint8Array(shared.buffer, 0, 8).set([9, 9, 0xfe, 0xff, 0xff, 0xff, 9, 9]);
    expect((exports.f as () => bigint)()).toBe(-2n);
  });
});

describe("a module without a memory", () => {
  it("comes back as it is", () => {
    const bytes = module(section(1, type([], [I32])), section(3, [0]), section(10, body(0x41, 7)));
    expect(rewriteModule(bytes)).toEqual({ bytes, memory: undefined });
    expect(rewriteModule(bytes).bytes).toBe(bytes);
  });

  it("may be empty", () => {
    expect(rewriteModule(module()).memory).toBeUndefined();
  });
});

describe("what is refused, by name", () => {
  const withMemory = (...limits: number[]) => module(section(5, limits));

  it.each([
    ["text", new TextEncoder().encode("hello, world"), /no \\0asm at byte 0.*EINVAL/],
    ["nothing", new Uint8Array(0), /no \\0asm/],
    ["a component", new Uint8Array([0, 0x61, 0x73, 0x6d, 0xd, 0, 1, 0]), /the component model/],
    ["another version", new Uint8Array([0, 0x61, 0x73, 0x6d, 2, 0, 0, 0]), /version 2/],
    ["a 64-bit memory", withMemory(4, 1), /a 64-bit memory.*EOPNOTSUPP/],
    ["small pages", withMemory(8, 1, 0), /page size of its own/],
    ["two memories", module(section(5, [0, 1], [0, 1])), /several memories/],
    [
      "an imported and an own one",
      module(section(2, [...text("a"), ...text("b"), 2, 0, 1]), section(5, [0, 1])),
      /several memories/,
    ],
    ["limits that no one knows", withMemory(0x13, 1), /limits of kind 19/],
    ["more than 4 GiB", withMemory(0, ...leb(65_537)), /a memory above 4 GiB/],
    ["less at most than at least", withMemory(1, 3, 2), /has 3 pages and at most 2/],
    ["a recursive type", module(section(1, [0x4e, 0]), section(5, [0, 1])), /garbage-collected/],
    ["a struct type", module(section(1, [0x5f, 0])), /garbage-collected types \(type 0/],
    ["a reference to a type", module(section(1, type([0x64], []))), /garbage collection or typed/],
    ["sections out of order", module(section(5, [0, 1]), section(3)), /section 3 twice or out of/],
    ["a section twice", module(section(1), section(1)), /section 1 twice/],
    ["an unknown section", module(raw(14, [])), /a section of kind 14/],
    ["a section past the end", module([1, 5, 0]), /ends too early/],
    ["bytes behind a section", module(raw(5, [1, 0, 1, 9])), /memory section with bytes left/],
    ["an import of no kind", module(section(2, [0, 0, 9])), /import of kind 9/],
    ["a table of 64 bits", module(section(2, [0, 0, 1, 0x70, 4, 1])), /limits of kind 4/],
    ["a bad name", module(section(2, [1, 0xff, 0, 0, 0])), /not UTF-8/],
  ])("%s", (_name, bytes, message) => {
    expect(refusal(bytes)).toMatch(message);
  });

  it("a module cut anywhere, without reading past its end", () => {
    const whole = memoryModule({ extra: [custom("name", [1, 2, 3])] });
    let refused = 0;
    for (let length = 0; length < whole.length; length++) {
      if (refusal(whole.slice(0, length)) !== "nothing") refused++;
    }
    // At the end of a section it is a smaller module.
    expect(whole.length - refused).toBe(7);
  });

  it("any bytes that are changed: an answer or a refusal, never another error", () => {
    const whole = memoryModule();
    const change = fc.record({ at: fc.nat(whole.length - 1), to: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = whole.slice();
        for (const { at, to } of changes) bytes[at] = to;
        const answer = refusal(bytes);
        // What is valid and has a memory that we can give must not be refused.
        if (WebAssembly.validate(bytes)) expect(answer).toBe("nothing");
      }),
      replayable("wasm-rewrite", { numRuns: 2_000 }),
    );
  });
});
