/**
 * # machine/kernel: code for the device, with typed arguments
 *
 * **Nouns.** *Kernel*: WGSL, or a function whose own text becomes WGSL (`lang`). *Run*: so many
 * invocations of it, or a grid of them. *Group*: invocations that share memory and barriers.
 * *Report*: what a run did.
 *
 * **Invariants.** All that a run is given is checked before the engine hears of it: it begins whole
 * or not at all.
 *
 * **Locks.** None.
 *
 * **Example.** `await new Kernel(port, { args: { at: ptr(u32) }, code }).run([64, 64], { at })`.
 *
 * **What it refuses.** To know devices: it asks the engine by its port.
 */
export {
  FunctionKernel,
  type FunctionKernelOptions,
  type KernelUses,
  type NoUses,
} from "./function-kernel.ts";
export type { Count } from "./grid.ts";
export { Kernel, type KernelOptions, type LaunchReport, type RunOptions } from "./kernel.ts";
