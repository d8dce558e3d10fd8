/**
 * A machine whose engine has a thread of its own: opening it, and getting at it from any thread.
 */
import { once } from "node:events";
import { SHARE_ENV, Worker } from "node:worker_threads";
import { type KernelFaults, type WasmMemory, type Window, windowOf } from "../../cpu/index.ts";
import type { GpuChoice } from "../engine/index.ts";
import { hmmError, invalid } from "../error.ts";
import { show } from "../given.ts";
import type { HeapRange } from "../heap/index.ts";
import { newWindow } from "../new-window.ts";
import { atExit } from "./at-exit.ts";
import { HostPort } from "./host-port.ts";
import type { KernelThreadData, KernelThreadMessage } from "./kernel-thread.ts";
import { isMailbox, MailboxClient, newMailbox, unpackError } from "./mailbox/index.ts";
import { type WatchdogData, Word, waitUntilItHasLetGo } from "./watchdog.ts";

/** What crosses to another thread that wants to use the machine. */
export interface HostHandle {
  readonly memory: WasmMemory;
  readonly calls: SharedArrayBuffer;
  /** `Word`: what the threads of the machine tell each other. */
  readonly control: Int32Array;
  /** System calls wait for pages that are away. */
  readonly kernelFaults: boolean;
}

export interface HostMachine {
  readonly port: HostPort;
  readonly window: Window;
  readonly handle: HostHandle;
}

export interface HostOptions extends GpuChoice {
  readonly heap: HeapRange;
  /** A fault that is not served for so many milliseconds ends the process. */
  readonly limitMs: number;
  /** See `KernelThreadData`. */
  readonly kernelFaults: KernelFaults;
}

/**
 * How long a thread that ends waits for its kernel thread to let go. Milliseconds. Only one that
 * compiles takes so long.
 */
const EXIT_MS = 15_000;

/** Starts a kernel thread. Throws what it threw while it opened the device and the window. */
export async function openHost(options: HostOptions): Promise<HostMachine> {
  const window = newWindow();
  const calls = newMailbox();
  const control = new Int32Array(new SharedArrayBuffer(4 * Word.count));
  const { memory } = window;
  const { device, deviceMemory, heap, limitMs, kernelFaults } = options;
  const shared = { memory, calls, control };
  const data: KernelThreadData = { device, deviceMemory, heap, limitMs, kernelFaults, ...shared };
  const kernel = startThread("kernel", data);
  const watchdog = startThread("watchdog", {});
  const begun = (await firstWord(kernel)) as KernelThreadMessage;
  if ("error" in begun) {
    await Promise.all([kernel.terminate(), watchdog.terminate()]);
    throw unpackError(begun.error);
  }
  const watching = firstWord(watchdog);
  watchdog.postMessage({ memory, calls, control, limitMs, ...begun } satisfies WatchdogData);
  await watching;
  const mailbox = new MailboxClient(calls);
  const forget = atExit(() => {
    Atomics.store(control, Word.isEnding, 1);
    mailbox.ring();
    // Its threads are ended one by one. Were the kernel thread the first of them, one that waits
    // in a fault would never end.
    waitUntilItHasLetGo(control, EXIT_MS);
  });
  kernel.once("error", (error) => mailbox.die(`the kernel thread has failed: ${String(error)}`));
  const ended = Promise.all([exitOf(kernel), exitOf(watchdog)]);
  kernel.unref();
  watchdog.unref();
  const end = async (): Promise<void> => {
    kernel.ref();
    watchdog.ref();
    await ended;
    forget();
  };
  const handle = { memory, calls, control, kernelFaults: begun.mappings.kernelFaults };
  return { port: new HostPort(mailbox, control, end), window, handle };
}

/** The same machine for this thread. */
export function attachHost(handle: HostHandle): HostMachine {
  if (!isMailbox(handle?.calls)) {
    throw invalid("attach", `handle must be the handle of a machine, got ${show(handle)}`);
  }
  const mailbox = new MailboxClient(handle.calls);
  const { closedBecause } = mailbox;
  if (closedBecause !== undefined) {
    throw hmmError({ code: "ENODEV", call: "attach", detail: closedBecause });
  }
  const port = new HostPort(mailbox, handle.control, async () => undefined);
  return { port, window: windowOf(handle.memory), handle };
}

/** A thread of the machine. Workers cannot load TypeScript: from there it is the built program. */
function startThread(name: "kernel" | "watchdog", data: object): Worker {
  const isSource = import.meta.url.endsWith(".ts");
  const folder = isSource ? "../../../dist/machine/host" : ".";
  const file = new URL(`${folder}/${name}-thread.js`, import.meta.url);
  // By a line of code, because Node refuses files where its own program is text (--input-type).
  return new Worker(`import(${JSON.stringify(file.href)})`, {
    eval: true,
    name: `onespace ${name}`,
    // The Vulkan loader reads the process's environment, not a copy.
    env: SHARE_ENV,
    workerData: data,
  });
}

/** However it ends; an error is told by its own event. */
const exitOf = (thread: Worker): Promise<void> =>
  new Promise((resolve) => thread.once("exit", () => resolve()));

/** The first message of a thread. Rejects when it ends before. */
async function firstWord(thread: Worker): Promise<unknown> {
  const waiting = new AbortController();
  const { signal } = waiting;
  const ended = once(thread, "exit", { signal }).then(([code]) => {
    throw new Error(`a thread of the machine ended with ${code} before it began`);
  });
  try {
    const [message] = await Promise.race([once(thread, "message", { signal }), ended]);
    return message;
  } finally {
    ended.catch(() => undefined);
    waiting.abort();
  }
}
