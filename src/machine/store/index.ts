/**
 * # machine/store: real files behind mappings and swap
 *
 * **Nouns.** *HostFile*: a real file behind a `CachedFile`. *HostSwapStore*: a real file that pages
 * go to when RAM is full.
 *
 * **Invariants.** A page of a file is written whole up to the end of the file, never behind it;
 * what the system refuses is -EIO (or -ENOSPC), and the page stays dirty.
 *
 * **Locks.** None. Every call blocks its thread until the system has answered.
 *
 * **Example.**
 * ```ts
 * const file = openHostFile(memory, "data.bin", { write: true });
 * const start = yield* mmap(space, { bytes, flags, file });
 * const swap = new SwapArea(4096, new HostSwapStore("/tmp/swap"));
 * ```
 *
 * **What it refuses.** Directories, pipes, and to notice what other programs write to files.
 */
export { HostFile, type HostFileOptions, openHostFile } from "./host-file.ts";
export { HostSwapStore } from "./swap-store.ts";
