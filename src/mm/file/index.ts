/**
 * # mm/file: the page cache
 *
 * **Nouns.** *CachedFile*: pages of a file by index; *FileBacking*: where they come from.
 *
 * **Invariants.** A cached page has one reference of the cache's and names the file and its index
 * there. What leaves the cache is mapped nowhere as a page of the file. A page that a shared
 * mapping may write is dirty, or its next write faults.
 *
 * **Locks.** None of its own: everything that changes the cache is plain; unmapping sleeps in
 * notifier callbacks only.
 *
 * **Example.**
 * ```ts
 * const file = new CachedFile(memory, { name: "table", bytes: 8192 });
 * file.write(0, bytes);                                   // through the cache
 * yield* mmap(space, { bytes: 8192, flags: VM_READ, file, isShared: true });
 * yield* file.truncate(4096);                             // page 1 is SIGBUS from now on
 * file.put();                                             // the mapping keeps it alive
 * ```
 *
 * **What it refuses.** Names, directories, permissions: a file is opened by somebody else.
 */
export { CachedFile, type CachedFileOptions, type FileBacking } from "./cached-file.ts";
