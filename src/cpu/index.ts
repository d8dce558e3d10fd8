/**
 * # cpu: the CPU's shadow
 *
 * What user code can touch at once, as far as it is known. Three backends, one interface
 * (`CpuMmu` of `mm`), one test suite.
 *
 * **Nouns.** `soft`: every access walks, the referee. `scoped`: one shared WebAssembly.Memory
 * that user code reads and writes directly, inside access brackets.
 *
 * **Invariants.** A shadow gives no more than the page table.
 *
 * **Locks.** None; backends are called with whatever the caller holds and never sleep.
 *
 * **Example.** `new SoftCpu(space)`, `new ScopedCpu(space, window)`.
 *
 * **What it refuses.** Deciding anything: the TypeScript mm is the authority.
 */
export { createWindow, ScopedCpu, type WasmMemory, type Window } from "./scoped/index.ts";
export { SoftCpu } from "./soft/index.ts";
