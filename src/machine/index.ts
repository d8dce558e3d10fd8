/**
 * # machine: the public face
 *
 * **Nouns.** *Machine*: one address space, the CPU's window on it, a device; on any number of
 * threads where the CPU has page faults (`host`). *Space*: allocation, mappings, access brackets,
 * adopted modules. *Kernel*: WGSL over the same pointers. *Schemas* (`struct`, `ptr`,
 * `array`, `u32` …): how memory is laid out, in TypeScript and in WGSL. *World*: a memory system
 * without a face, for tests and replays.
 *
 * **Invariants.** Whatever fails throws `HmmError` with an errno code, naming argument, value and
 * rule, and leaves nothing half done. A call that may have to wait is a promise; its twin that ends
 * in `Sync` blocks the calling thread, never the engine.
 *
 * **Locks.** None is held between calls.
 *
 * **Example.**
 * ```ts
 * await using machine = await Machine.create();
 * const { space } = machine;
 * const numbers = space.array(u32, 1000);
 * for (let i = 0; i < 1000; i++) numbers.set(i, i);
 * const double = machine.kernel({
 *   args: { at: ptr(u32) },
 *   code: "fn main(i: u32) { let a = args.at + 4u * i; store_u32(a, 2u * load_u32(a)); }",
 * });
 * await double.run(1000, { at: numbers });
 * if (!machine.hasPageFaults) await space.populate(numbers, "read");
 * new Uint32Array(space.window, numbers.address, 1000)[999];      // 1998
 * ```
 *
 * **What it refuses.** Copy calls: there are none. On the portable backend (`scoped`), touching
 * memory that is on the device outside of a bracket (EAGAIN): JavaScript cannot wait there.
 */
export type { ArgsSchema, ArgValue, ArgValues } from "./args.ts";
export { type ErrorCode, HmmError } from "./error.ts";
export { Heap, type HeapUsage } from "./heap/index.ts";
export { type HostProbe, probeHost, whyNotHost } from "./host/index.ts";
export {
  type Count,
  FunctionKernel,
  type FunctionKernelOptions,
  Kernel,
  type KernelOptions,
  type KernelUses,
  type LaunchReport,
  type RunOptions,
} from "./kernel/index.ts";
export {
  atomicAdd,
  atomicAnd,
  atomicCompareExchange,
  atomicExchange,
  atomicLoad,
  atomicMax,
  atomicMin,
  atomicOr,
  atomicStore,
  atomicSub,
  atomicXor,
  type KernelFunction,
  type KernelPtr,
  type KernelValues,
  type KernelVector,
  NULL,
  type Null,
  type Toolkit,
} from "./lang/index.ts";
export {
  type CpuPreference,
  type DevicePreference,
  Machine,
  type MachineHandle,
  type MachineOptions,
  type MachineReport,
} from "./machine.ts";
export type { MemoryAccess } from "./memory-access.ts";
export {
  Access,
  type AccessMode,
  type Advice,
  type MemoryRange,
  type MmapOptions,
  type Place,
  type PrefetchTarget,
  type Rights,
} from "./place/index.ts";
export {
  type ArraySchema,
  array,
  f32,
  type Infer,
  i32,
  type Ptr,
  type PtrSchema,
  ptr,
  type ScalarSchema,
  type Schema,
  type StructSchema,
  u32,
  type VectorSchema,
  vec2f,
  vec2i,
  vec2u,
  vec3f,
  vec3i,
  vec3u,
  vec4f,
  vec4i,
  vec4u,
} from "./schema.ts";
export { Space } from "./space.ts";
export { HostFile, type HostFileOptions, HostSwapStore, openHostFile } from "./store/index.ts";
export { type Struct, struct } from "./struct.ts";
export { ArrayView, type Cursor, VectorView, type View, viewOf } from "./view.ts";
export { Adoption, type AdoptOptions } from "./wasm/index.ts";
export { buildWorld, type World, type WorldOptions } from "./world.ts";
