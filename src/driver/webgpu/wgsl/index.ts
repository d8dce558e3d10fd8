/**
 * # driver/webgpu/wgsl: from a kernel's code to a shader
 *
 * A kernel is `fn main(i: u32)` and what it calls. Around it come the walk of the page table,
 * the records of faults, the log of stores, and a check in every loop that may be long.
 *
 * **Nouns.** *Shader*: the whole text, which can say where a place of it is in the user's code.
 * *Guard*: the check at the start of a loop body; a *counted* loop, which ends soon by itself, is
 * charged as a whole instead. *Store log*: what an invocation has stored and not committed. *Unit
 * of work*: 64 loop passes of an invocation, or 64 invocations begun.
 *
 * **Invariants.**
 * - An invocation that misses a page, finds no room in its log, makes more passes than it may,
 *   or finds that the work of the round is spent, ends without effect and is in the list of those
 *   that run again.
 * - What an atomic gave is kept until its invocation finishes: it happens once (`atomics.ts`).
 * - What we add begins with `os_`, stands before the user's code or on the same line of it, and
 *   no message of a compiler speaks of it.
 *
 * **Locks.** None: text in, text out.
 *
 * **Example.** `const { wgsl, userPlace } = wrapKernel(source, logSize);`
 *
 * **What it refuses.** What `rules.ts` lists: entry points and bindings of the user's own,
 * extensions and directives; barriers where invocations do not run in groups.
 */
export { atomicsExpected, CHUNK_RECORDS, CHUNK_WORDS, NAMES_CHUNK } from "./atomics.ts";
export { blockChunks, WORKGROUP_SIZE } from "./entry.ts";
export type { CompileMessage } from "./rules.ts";
export {
  isSpilled,
  LOG_IS_FULL,
  PASSES_ARE_OVER,
  RECORDS_ARE_FULL,
  SPILL_IS_FULL,
} from "./store-log.ts";
export { storedArguments } from "./stored-arguments.ts";
export {
  CONTROL_WORDS,
  FAULT_RECORDS,
  KernelCompileError,
  type KernelSource,
  type Shader,
  wrapKernel,
} from "./wrap-kernel.ts";
