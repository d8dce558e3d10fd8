/**
 * # machine/host: the kernel thread, which serves page faults for all threads of a machine
 *
 * **Nouns.** *Kernel thread*: a worker that owns engine, device and the fault descriptor, so that
 * a user thread in a page fault never waits for itself. *Mailbox*: how any thread calls it.
 * *Watchdog*: another worker, which tells everybody when the kernel thread has died. *HostHandle*:
 * what another thread needs to call it.
 *
 * **Invariants.** The kernel thread never touches the user's window and never waits for a user
 * thread. When it dies, everybody who waits for it is told, and no page that is lost passes for
 * zeros.
 *
 * **Locks.** None between threads but the mailbox's slots, each a word that changes by
 * compare-and-exchange.
 *
 * **Example.**
 * ```ts
 * const { port, window, handle } = await openHost({ device: "auto", deviceMemory, heap });
 * const again = attachHost(handle);                      // on any other thread
 * again.port.callNow("mmap", { bytes: 8192, flags: VM_READ | VM_WRITE });
 * ```
 *
 * **What it refuses.** To be made on a worker: its threads end with the one that makes it.
 */
export { type HostProbe, probeHost, whyNotHost } from "../../cpu/index.ts";
export { AsyncScope } from "./async-scope.ts";
export { atExit } from "./at-exit.ts";
export { attachHost, type HostHandle, type HostMachine, openHost } from "./host-machine.ts";
export { whyNotHere } from "./obstacle.ts";
export { warn } from "./warn.ts";
