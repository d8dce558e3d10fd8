/**
 * # cpu: the CPU's shadow
 *
 * What user code can touch at once, as far as it is known. Three backends, one interface
 * (`CpuMmu` of `mm`), one test suite.
 *
 * **Nouns.** *Window*: one shared WebAssembly.Memory of 4 GiB that user code reads and writes
 * directly, address = byte offset. `soft`: no window, every access walks, the referee. `scoped`: a
 * window that is touched inside access brackets. `host`: the same with real page faults, so that it
 * needs none; on Linux, where the system allows it. *Bracket*: pages that stay while somebody
 * touches them; `Brackets` is the one table of those.
 *
 * **Invariants.** A shadow gives no more than the page table.
 *
 * **Locks.** None; backends are called with whatever the caller holds and never sleep.
 * `Brackets.open` takes mmapLock for reading.
 *
 * **Example.** `new SoftCpu(space)`, `new ScopedCpu(space)`, `new HostCpu(space, memory, options)`.
 *
 * **What it refuses.** Deciding anything: the TypeScript mm is the authority.
 */
export { type Bracket, type BracketOwner, Brackets } from "./brackets.ts";
export {
  type BadAccess,
  HostCpu,
  type HostCpuOptions,
  HostMemory,
  type HostMemoryOptions,
  type HostProbe,
  HostUnavailable,
  isInSystemCall,
  KERNEL_FAULTS_CURE,
  type KernelFaults,
  type Mappings,
  type Obstacle,
  type PageRun,
  POLL_DOORBELL,
  POLL_FAULTS,
  probeHost,
  type Waiter,
  whyNotHost,
} from "./host/index.ts";
export { ScopedCpu } from "./scoped/index.ts";
export { SoftCpu } from "./soft/index.ts";
export { createWindow, type WasmMemory, type Window, windowOf } from "./window.ts";
