/**
 * # machine/wasm: existing WebAssembly modules in the space
 *
 * **Nouns.** *Rewriting*: a binary's memory becomes an import of the space's. *Module memory*:
 * [0, size) of the space, with a size that grows; *facade*: what glue code takes for its
 * `WebAssembly.Memory`. *Adoption*: one module, its memory, and the ways to get it past its glue.
 *
 * **Invariants.** A module's addresses do not change: its pointers are addresses of the space. No
 * index in the binary changes (see `rewrite.ts`). Below the limit only the module allocates. The
 * `WebAssembly` object is as it was when `load` ends, however it ends.
 *
 * **Locks.** One `load` at a time in a realm.
 *
 * **Example.**
 * ```ts
 * const adoption = new Adoption({ memory, map, check }, { wasm: readFileSync("sql-wasm.wasm") });
 * const { instantiateWasm, memory: wasmMemory } = adoption;
 * const sql = await initSqlJs({ instantiateWasm, wasmMemory });
 * await adoption.load(() => import("glue-that-lets-nobody-in"));
 * ```
 *
 * **What it refuses.** A second module (its data would lie at the same addresses), 64-bit and
 * several memories, garbage-collected types, side modules that share their parent's memory.
 */
export { Adoption, type AdoptOptions, limitOf } from "./adoption.ts";
/** @forTests */
export { rewriteModule } from "./rewrite.ts";
