/**
 * # driver: devices
 *
 * **Nouns.** *dmirror*: a test device in plain memory. *webgpu*: a real GPU API.
 *
 * **Invariants.** A device's table gives no more than the page table; what it holds was entered
 * under the driver's lock after a check of the sequence.
 *
 * **Locks.** "svm" (a launch's fault service), then mmapLock, then "driver".
 *
 * **Example.** `new DmirrorDevice(memory, { name: "dmirror0", frames: 1024 })`.
 *
 * **What it refuses.** Siblings that know each other.
 */
export {
  DMIRROR_PROT_DEV_COHERENT_LOCAL,
  DMIRROR_PROT_DEV_COHERENT_REMOTE,
  DMIRROR_PROT_DEV_PRIVATE_LOCAL,
  DMIRROR_PROT_DEV_PRIVATE_REMOTE,
  DMIRROR_PROT_ERROR,
  DMIRROR_PROT_NONE,
  DMIRROR_PROT_PMD,
  DMIRROR_PROT_READ,
  DMIRROR_PROT_WRITE,
  DMIRROR_PROT_ZERO,
  Dmirror,
  DmirrorDevice,
  type DmirrorResult,
} from "./dmirror/index.ts";
export {
  AdapterError,
  type DeviceInfo,
  describeAdapters,
  Gpu,
  GpuError,
  KernelCache,
  KernelCompileError,
  type KernelSource,
  type LaunchEnd,
  type LaunchOutcome,
  type LaunchProgress,
  type LaunchRequest,
  type LaunchStats,
  launch,
  prepare,
  storedArguments,
  WebGpuDevice,
} from "./webgpu/index.ts";
