/**
 * # machine/lang/text: the two texts of a kernel
 *
 * **Nouns.** *WGSL*: `fn main(i: u32)` over `args` and the loads and stores of the driver.
 * *JavaScript*: a function that runs the kernel for every index below a count.
 *
 * **Invariants.**
 * - Both compute the same, to the bit where WGSL says what comes out.
 * - What is not chosen is not loaded: where WGSL has no expression for that, there is an `if`.
 * - Names that are not plain letters and digits, or that a text needs itself, are others there.
 *
 * **Locks.** None: values in, text out.
 *
 * **Example.** `wgslText(program)`; `jsFunction(program, memory)(count, words, failed)`.
 *
 * **What it refuses.** Nothing: what cannot be written is no intermediate form.
 */
export { jsFunction, type KernelMemory, type RunHere } from "./emit-js.ts";
export { wgslText } from "./emit-wgsl.ts";
export { NESTING_MAX, nestingOf } from "./nesting.ts";
