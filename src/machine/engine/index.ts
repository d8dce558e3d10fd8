/**
 * # machine/engine: what answers the calls of the public face
 *
 * **Nouns.** *Engine*: an address space, the CPU's shadow, a device. *Calls*: what it can be
 * asked, plain records. *Caller*: the thread that asks. *EnginePort*: the way to it; `LocalPort`
 * on its own thread, in `machine/host` from other threads. *Lifetime*: whether calls are taken,
 * faults may be mistakes, all is over. *Pool*: addresses for mappings and the heap.
 *
 * **Invariants.** A call is one task. What fails answers with a negated errno; who misuses it
 * gets what was thrown. What a thread has open ends with it, at the latest when it is in the way.
 *
 * **Locks.** None between calls.
 *
 * **Example.**
 * ```ts
 * const engine = new Engine({ host, window, cpu: (space) => new ScopedCpu(space), gpu, heap });
 * const port = new LocalPort(engine, host);
 * const address = await port.call("mmap", { bytes: 8192, flags: VM_READ });
 * ```
 *
 * **What it refuses.** Objects with behaviour in calls: they could not cross to another thread.
 */
export type {
  Answer,
  Ask,
  CallName,
  CallOptions,
  EnginePort,
  Outcome,
} from "./calls.ts";
export { Engine } from "./engine.ts";
export { LocalPort } from "./local-port.ts";
export { napAfter } from "./naps.ts";
export { type GpuChoice, openGpu } from "./open-gpu.ts";
export { PagesHere } from "./pages-here.ts";
export { EventLoopHost, Tasks } from "./tasks.ts";
export { whyNot } from "./why-not.ts";
