/**
 * # machine/host: what of a machine depends on the system that it runs on
 *
 * **Nouns.** *Kernel thread*: a worker that owns engine, device and the fault descriptor, so that
 * a user thread in a page fault never waits for itself. *Mailbox*: how any thread calls it.
 * *HostHandle*: what another thread needs to do so. *HostFile*: a real file behind a
 * `CachedFile`; *HostSwapStore*: a real file that pages go to when RAM is full.
 *
 * **Invariants.** The kernel thread never touches the user's window and never waits for a user
 * thread. When it dies, everybody who waits for it is told, and no page that is lost passes for
 * zeros. A page of a file is written whole up to the end of the file, never behind it; what the
 * host refuses is -EIO (or -ENOSPC), and the page stays dirty.
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
 * **What it refuses.** Directories, pipes, and to notice what other programs write to files.
 */
export { type HostProbe, probeHost, whyNotHost } from "../../cpu/index.ts";
export { AsyncScope } from "./async-scope.ts";
export { atExit } from "./at-exit.ts";
export { HostFile, type HostFileOptions, openHostFile } from "./host-file.ts";
export { attachHost, type HostHandle, type HostMachine, openHost } from "./host-machine.ts";
export { whyNotHere } from "./obstacle.ts";
export { HostSwapStore } from "./swap-store.ts";
export { warn } from "./warn.ts";
