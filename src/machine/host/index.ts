/**
 * # machine/host: files of the machine that we run on
 *
 * **Nouns.** *HostFile*: a real file behind a `CachedFile`; *HostSwapStore*: a real file that pages
 * go to when RAM is full.
 *
 * **Invariants.** A page is written whole up to the end of the file, never behind it. What the
 * host refuses is -EIO (or -ENOSPC), and the page stays dirty.
 *
 * **Locks.** None; calls block, they do not sleep.
 *
 * **Example.**
 * ```ts
 * const file = openHostFile(memory, "points.bin", { write: true });
 * yield* mmap(space, { bytes: 8192, flags: VM_READ | VM_WRITE, file, isShared: true });
 * yield* file.sync();                                    // what the program stored is on disk
 * file.put();
 * ```
 *
 * **What it refuses.** Directories, pipes, and to notice what other programs write meanwhile.
 */
export { HostFile, type HostFileOptions, openHostFile } from "./host-file.ts";
export { HostSwapStore } from "./swap-store.ts";
