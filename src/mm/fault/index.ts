/**
 * # mm/fault: from intent to fact
 *
 * **Nouns.** *Fault*: one access that the page table does not allow yet. A file a kind of memory:
 * `anonymous`, `file`, `swapped`; and a kind of absence: `device`, `locked-out`.
 *
 * **Invariants.** A fault does one thing and says 0: the access is tried again. Rights that grow
 * need no event; an entry that is replaced does.
 *
 * **Locks.** mmapLock for reading, held by the caller throughout.
 *
 * **Example.** `yield* handleMmFault(space, vma, page, FAULT_WRITE)`.
 *
 * **What it refuses.** To touch a page that the Vma does not allow: -EFAULT.
 */

export { cpuFault, handleMmFault, tryFault } from "./fault.ts";
export {
  FAULT_REMOTE,
  FAULT_SIGBUS,
  FAULT_TRIED,
  FAULT_WRITE,
  type Fault,
  permits,
} from "./flags.ts";
export { changeProtNuma } from "./locked-out.ts";
