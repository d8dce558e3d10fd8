/**
 * # cpu/scoped: a window that is touched in brackets
 *
 * **Nouns.** *Bracket*: pages that are faulted in and pinned while user code touches their bytes.
 *
 * **Invariants.** The table of rights gives no more than the page table. A page with a bracket
 * on it does not migrate; one with a writing bracket gets no copies on devices.
 *
 * **Locks.** None: `mayTouch`, `install` and `revoke` are plain.
 *
 * **Example.**
 * ```ts
 * const bracket = yield* brackets.open({ start, end }, true, failure);
 * if (typeof bracket !== "number") { window.u32[start >>> 2] = 7; brackets.close(bracket); }
 * ```
 *
 * **What it refuses.** Faults in the middle of an access: outside a bracket, ask first.
 */
export { ScopedCpu } from "./scoped-cpu.ts";
