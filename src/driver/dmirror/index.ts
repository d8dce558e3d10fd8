/**
 * # driver/dmirror: the test device
 *
 * **Nouns.** *DmirrorDevice*: memory of its own. *Dmirror*: one space as that device sees it.
 *
 * **Invariants.** Its table (the shadow) gives no more than the page table, outside an
 * invalidation. Everything in it was entered under `lock` after a check of the sequence.
 *
 * **Locks.** `lock` (class "driver").
 *
 * **Example.**
 * ```ts
 * const device = new DmirrorDevice(memory, { name: "dmirror0", frames: 1024 });
 * const mirror = Dmirror.open(device, space) as Dmirror;
 * yield* mirror.read(start, 4, (page, bytes) => { … });
 * ```
 *
 * **What it refuses.** Being fast.
 */
export {
  DMIRROR_PROT_DEV_COHERENT_LOCAL,
  DMIRROR_PROT_DEV_COHERENT_REMOTE,
  DMIRROR_PROT_DEV_PRIVATE_LOCAL,
  DMIRROR_PROT_DEV_PRIVATE_REMOTE,
  DMIRROR_PROT_ERROR,
  DMIRROR_PROT_NONE,
  DMIRROR_PROT_PMD,
  DMIRROR_PROT_READ,
  DMIRROR_PROT_WRITE,
  DMIRROR_PROT_ZERO,
  Dmirror,
  type DmirrorResult,
} from "./dmirror.ts";
export { DmirrorDevice } from "./dmirror-device.ts";
