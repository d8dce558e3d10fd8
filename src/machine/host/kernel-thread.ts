/**
 * The kernel thread of a machine: owns the engine, the device and the fault descriptor. It never
 * touches the user's window: a fault of its own would wait for itself.
 */
import { parentPort, workerData } from "node:worker_threads";
import {
  type BadAccess,
  HostCpu,
  HostMemory,
  HostUnavailable,
  type KernelFaults,
  type Mappings,
  type WasmMemory,
} from "../../cpu/index.ts";
import { Engine, type GpuChoice, openGpu } from "../engine/index.ts";
import { hmmError } from "../error.ts";
import type { HeapRange } from "../heap/index.ts";
import { KernelClock } from "./kernel-clock.ts";
import { KernelLoop } from "./kernel-loop.ts";
import { isAlive, MailboxServer, ownThread, packError, type ThreadId } from "./mailbox/index.ts";
import { Word } from "./watchdog.ts";

/** What the machine's thread gives a kernel thread to begin with. */
export interface KernelThreadData extends GpuChoice {
  readonly memory: WasmMemory;
  readonly calls: SharedArrayBuffer;
  readonly control: Int32Array;
  readonly heap: HeapRange;
  readonly limitMs: number;
  /** Faults inside system calls are served, too: yes, no, or where the system allows it. */
  readonly kernelFaults: KernelFaults;
}

/** The first and last message: it runs, or why not. */
export type KernelThreadMessage =
  | { readonly mappings: Mappings; readonly kernelThread: ThreadId }
  | { readonly error: unknown };

/** Throws EOPNOTSUPP with the reason and the cure when the system does not allow it. */
function openMemory({ memory, kernelFaults }: KernelThreadData): HostMemory {
  try {
    return HostMemory.open(memory.buffer, { kernelFaults });
  } catch (error) {
    if (!(error instanceof HostUnavailable)) throw error;
    throw hmmError({ code: "EOPNOTSUPP", call: "create", detail: error.message });
  }
}

async function main(data: KernelThreadData): Promise<void> {
  const gpu = await openGpu(data);
  const memory = openMemory(data);
  const server = new MailboxServer(data.calls, { doorbell: memory.doorbell });
  const clock = new KernelClock();
  let loop: KernelLoop | undefined;
  const onBadAccess = (bad: BadAccess): void => loop!.kill(bad);
  const { control, limitMs } = data;
  const engine = new Engine({
    host: clock,
    window: { buffer: memory.bytes },
    cpu: (space) => new HostCpu(space, memory, { onBadAccess }),
    gpu,
    heap: data.heap,
    launches: control.subarray(Word.launches, Word.launches + 1),
    isAlive,
  });
  loop = new KernelLoop({ engine, memory, server, clock, control, limitMs });
  process.on("uncaughtException", (error) => loop.die(error));
  process.on("unhandledRejection", (error) => loop.die(error));
  const { mappings } = memory;
  const ready: KernelThreadMessage = { mappings, kernelThread: ownThread() };
  parentPort!.postMessage(ready);
  await loop.run();
}

try {
  await main(workerData as KernelThreadData);
} catch (error) {
  parentPort!.postMessage({ error: packError(error) } satisfies KernelThreadMessage);
}
