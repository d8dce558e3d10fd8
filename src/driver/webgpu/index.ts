/**
 * # driver/webgpu: any WebGPU adapter as a device
 *
 * A GPU without page faults gets software ones. Device memory is a storage buffer of frames; the
 * device page table is a flat array in another; a kernel's loads and stores go through it; a
 * miss records a fault, the invocation ends without effect and is run again after the driver
 * has served the faults.
 *
 * **Nouns.** *Gpu*: buffers, pipelines, rounds; knows nothing of address spaces.
 * *WebGpuDevice*: what `device` needs of a Gpu. *serveRound*: from faults to entries.
 * *Admission*: how many run at once when memory is short. *Pace*: how much one round may do.
 * *launch*: the loop of rounds. *Shaders*: a kernel as it finds what is missing, and as it is fast
 * when nothing is (*direct*).
 *
 * **Invariants.**
 * - A page that the device reads is a copy (its original is write-protected) or lives there; one
 *   that it writes lives there.
 * - While an invalidation is open on a page no round that could use it runs.
 * - An invocation's stores happen once: they are logged and committed when it completes.
 * - A round ends soon whatever the kernel does (`pace.ts`).
 *
 * **Locks.** `launchLock` (one launch at a time), mmapLock, `shadow.lock` ("driver").
 *
 * **Example.**
 * ```ts
 * const gpu = await Gpu.open({ prefer: "auto", frames: 65_536 });
 * const device = WebGpuDevice.attach(gpu, space) as WebGpuDevice;
 * const outcome = yield* launch(device, new KernelCache(), { source, count, args, isAborted });
 * ```
 *
 * **What it refuses.** Barriers between invocations that do not run in groups;
 * a working set of one invocation that is larger than device memory; an invocation that takes
 * longer than 1.5 s by itself, or stores to more words than its log can hold (`pace.ts`,
 * `buffers/spill-buffer.ts`).
 */
export { AdapterError, describeAdapters } from "./adapter.ts";
export { type DeviceInfo, Gpu, GpuError } from "./gpu.ts";
export { KernelCache } from "./kernel-cache.ts";
export { type LaunchProgress, type LaunchRequest, launch, prepare } from "./launch.ts";
export type { LaunchEnd, LaunchOutcome } from "./launch-end.ts";
export type { LaunchStats } from "./stats.ts";
export { WebGpuDevice } from "./webgpu-device.ts";
export { KernelCompileError, type KernelSource, storedArguments } from "./wgsl/index.ts";
