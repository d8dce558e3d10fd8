/**
 * # machine/place: pieces of memory that a call is about
 *
 * **Nouns.** *Place*: a view, a typed array on the window, or `{ start, bytes }`; a *range* is what
 * it comes down to, of any alignment. *Rights*: what a mapping allows. *Access*: an open bracket.
 *
 * **Invariants.** Each is checked once, by what every call shares, before anything is asked of the
 * engine. What the engine refuses becomes an error that names the user's call, the bytes and the
 * reason.
 *
 * **Locks.** None.
 *
 * **Example.**
 * ```ts
 * const range = pagesOf("munmap", address, bytes);
 * throwIf(await ask({ port, call: "munmap" }, "munmap", range), "munmap", range);
 * ```
 *
 * **What it refuses.** To round: bytes are taken as they are given.
 */
export { Access, type AccessMode, askFor } from "./access.ts";
export { type Advice, advise } from "./advice.ts";
export { type Asker, ask, askNow, askSync } from "./ask.ts";
export {
  mustWait,
  notInSpace,
  notMapped,
  refusedHeap,
  refusedModule,
  throwIf,
  touched,
  zero,
} from "./outcome.ts";
export {
  asAddress,
  type Cut,
  cutIntoPages,
  type MemoryRange,
  type Place,
  pagesOf,
  rangeOf,
} from "./place.ts";
export { type PrefetchTarget, populate, populateSync, prefetchRange } from "./prefetch.ts";
export { askToMap, type MmapOptions, type Rights, rightsOf } from "./rights.ts";
