/**
 * # cpu/host: the CPU with real page faults
 *
 * **Nouns.** *HostMemory*: a window over a memory file, whose pages the host maps as it is told
 * and whose faults it tells (userfaultfd). *Direct map*: a second mapping that never faults.
 * *HostCpu*: the backend. *Obstacle*: why this machine cannot, and what would help.
 *
 * **Invariants.** The hardware maps no more than the page table allows, and `revoke` returns when
 * that is so. A thread whose fault was read is woken, or its access was reported as bad. The
 * thread that serves a window never touches it: it uses the direct map.
 *
 * **Locks.** `revoke`, `install`, `close` are plain. Serving a fault takes mmapLock for reading.
 *
 * **Example.**
 * ```ts
 * const memory = HostMemory.open(window.buffer);         // on the thread that will serve it
 * const cpu = new HostCpu(space, memory, { onBadAccess: (bad) => end(bad) });
 * for (;;) {
 *   memory.poll(Infinity, 60);
 *   memory.drainDoorbell();
 *   cpu.serveFaults();
 *   scheduler.run();
 * }
 * ```
 *
 * **What it refuses.** Kernels before 6.4, systems that are not Linux: `whyNotHost()`. Faults
 * inside system calls need privilege; without, such a call answers EFAULT: open a bracket first.
 */
export type { BadAccess, FaultServiceOptions as HostCpuOptions } from "./fault-service.ts";
export { HostCpu } from "./host-cpu.ts";
export {
  HostMemory,
  type HostMemoryOptions,
  POLL_DOORBELL,
  POLL_FAULTS,
} from "./host-memory.ts";
export type { Mappings } from "./mappings.ts";
export type { PageRun } from "./page-run.ts";
export { type HostProbe, probeHost, whyNotHost } from "./probe.ts";
export { isInSystemCall } from "./system-call.ts";
export { HostUnavailable, type Obstacle } from "./unavailable.ts";
export { KERNEL_FAULTS_CURE, type KernelFaults } from "./userfaultfd.ts";
export type { Waiter } from "./waiting-faults.ts";
