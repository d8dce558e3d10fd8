import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";
import { createWindow } from "../../src/cpu/index.ts";
import { AsyncScope } from "../../src/machine/host/async-scope.ts";
import { Adoption, type AdoptOptions, rewriteModule } from "../../src/machine/wasm/index.ts";

const require = createRequire(import.meta.url);
const fileOf = (name: string): Uint8Array => new Uint8Array(readFileSync(require.resolve(name)));

const SQLITE = "@sqlite.org/sqlite-wasm/sqlite3.wasm";
const MANIFOLD = "manifold-3d/manifold.wasm";
const QUICKJS = "@jitl/quickjs-wasmfile-release-sync/wasm";

/** Each on a space of its own: a module's addresses are always the same ones. */
function place(options: AdoptOptions = {}) {
  const window = createWindow();
  const sizes: number[] = [];
  const map = (bytes: number) => sizes.push(bytes);
  const host = { memory: window.memory, map, check: () => {} };
  return { window, sizes, adoption: new Adoption(host, options, new AsyncScope()) };
}

describe("modules from npm", () => {
  it.each([
    [SQLITE, { wasImported: true, minPages: 256, maxPages: 32_768, sizeCount: 1, growCount: 0 }],
    [MANIFOLD, { wasImported: false, minPages: 256, maxPages: 65_536, sizeCount: 1, growCount: 0 }],
    [QUICKJS, { wasImported: true, minPages: 256, maxPages: 32_768, sizeCount: 1, growCount: 0 }],
  ])("%s is decoded to its last instruction, and what comes out is valid", (name, use) => {
    const bytes = fileOf(name);
    const rewritten = rewriteModule(bytes);
    expect(rewritten.memory).toMatchObject(use);
    expect(WebAssembly.validate(rewritten.bytes)).toBe(true);
    const before = new WebAssembly.Module(bytes);
    const after = new WebAssembly.Module(rewritten.bytes);
    const own = (module: WebAssembly.Module) =>
      WebAssembly.Module.exports(module).filter((each) => !each.name.startsWith("onespace."));
    expect(own(after)).toEqual(own(before));
    const functions = (module: WebAssembly.Module) =>
      WebAssembly.Module.imports(module).filter(({ kind }) => kind === "function");
    expect(functions(after)).toEqual(functions(before));
  });

  it("SQLite takes memory and instance, and grows: a database of 24 MiB", async () => {
    const { adoption, window, sizes } = place({ wasm: fileOf(SQLITE) });
    const { default: init } = await import("@sqlite.org/sqlite-wasm");
    const { memory: wasmMemory, instantiateWasm } = adoption;
    const sqlite3 = await init({ wasmMemory, instantiateWasm } as never);
    expect(sizes).toEqual([16 * 2 ** 20]);
    const db = new sqlite3.oo1.DB("file:many?vfs=memdb", "c");
    db.exec(`CREATE TABLE t(a INTEGER PRIMARY KEY, b);
      WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 24000)
      INSERT INTO t SELECT i, zeroblob(1000) FROM n`);
    expect(db.selectArray("SELECT count(*), sum(length(b)) FROM t")).toEqual([24_000, 24_000_000]);
    const { capi, wasm } = sqlite3;
    const at = capi.sqlite3_serialize(db.pointer!, "main", 0, capi.SQLITE_SERIALIZE_NOCOPY);
    const head = window.u8.slice(at, at + 15);
    expect(new TextDecoder().decode(head)).toBe("SQLite format 3");
    expect([at + 24_000_000 < adoption.range.bytes, sizes.length > 1]).toEqual([true, true]);
    expect(sizes.at(-1)).toBe(adoption.range.bytes);
    expect(wasm.heap8u().buffer.byteLength).toBe(adoption.range.bytes);
    db.close();
  });

  it("SQLite says that memory is out where the limit is, and lives on", async () => {
    const { adoption } = place({ wasm: fileOf(SQLITE), bytes: 20 * 2 ** 20 });
    const { default: init } = await import("@sqlite.org/sqlite-wasm");
    const { memory: wasmMemory, instantiateWasm } = adoption;
    const sqlite3 = await init({ wasmMemory, instantiateWasm } as never);
    Object.assign(sqlite3.config, { error() {}, warn() {} });
    const db = new sqlite3.oo1.DB("file:small?vfs=memdb", "c");
    const fill = "CREATE TABLE t AS SELECT zeroblob(30000000) AS b";
    expect(() => db.exec(fill)).toThrow(/SQLITE_NOMEM|out of memory|SQLITE_FULL|full/);
    expect(adoption.growFailure?.code).toBe("ENOMEM");
    expect(db.selectValue("SELECT 6 * 7")).toBe(42);
    db.close();
  });

  it("manifold-3d has a memory of its own: the same solids as on that, and it grows", async () => {
    const { default: init } = await import("manifold-3d");
    const solid = async (options: object) => {
      const library = await (init as (options: object) => ReturnType<typeof init>)(options);
      library.setup();
      const { Manifold } = library;
      const made = Manifold.sphere(10, 512).subtract(Manifold.cube([12, 12, 12]));
      return [made.numTri(), made.volume(), made.surfaceArea()];
    };
    const { adoption } = place({ wasm: fileOf(MANIFOLD) });
    const { instantiateWasm } = adoption;
    expect(await solid({ instantiateWasm })).toEqual(await solid({}));
    expect(adoption.range.bytes).toBeGreaterThan(16 * 2 ** 20);
  });

  it("QuickJS is loaded by glue that lets nobody in: its objects are in the space", async () => {
    const { newQuickJSWASMModuleFromVariant } = await import("quickjs-emscripten-core");
    const { default: variant } = await import("@jitl/quickjs-wasmfile-release-sync");
    const { adoption, window } = place();
    const quickJs = await adoption.load(() => newQuickJSWASMModuleFromVariant(variant as never));
    const vm = quickJs.newContext();
    const code = "globalThis.list = Array.from({ length: 200000 }, (_, i) => ({ i })); list.length";
    const result = vm.unwrapResult(vm.evalCode(code));
    expect(vm.dump(result)).toBe(200_000);
    result.dispose();
    expect(adoption.range.bytes).toBeGreaterThan(16 * 2 ** 20);
    const list = vm.getProp(vm.global, "list");
    // The handle is the address of a value, whose first word is the object's address.
    expect(window.u32[(list as unknown as { value: number }).value >>> 2]).toBeLessThan(
      adoption.range.bytes,
    );
    list.dispose();
    vm.dispose();
  });
});
