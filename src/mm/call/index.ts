/**
 * # mm/call: what a program asks of its space
 *
 * **Nouns.** A file a system call, named as Linux names it: `map`, `unmap`, `protect`, `remap`,
 * `advise`, `fork`, `exit`; and `special`, what drivers map.
 *
 * **Invariants.** Bad calls change nothing and say what Linux says; calls over a hole do what they
 * can first where Linux does. Intent changes first and is put back if the call is killed.
 *
 * **Locks.** mmapLock for writing around every change of intent.
 *
 * **Example.** `yield* mremap(space, { start, bytes: 8192, newBytes: 4096 })`.
 *
 * **What it refuses.** Ranges that are not whole pages of the space.
 */
export { Advice, adviseAccess, madvise, madviseDontNeed } from "./advise.ts";
export { mmput, mmputAsync } from "./exit.ts";
export { fork } from "./fork.ts";
export { MapMode, type MmapOptions, mmap } from "./map.ts";
export { mprotect } from "./protect.ts";
export { mremap } from "./remap.ts";
export {
  mapSpecial,
  poisonPage,
  releaseSpecial,
  SpecialKind,
} from "./special.ts";
export { munmap } from "./unmap.ts";
