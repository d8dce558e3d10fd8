/**
 * # cpu/soft: the referee
 *
 * **Nouns.** *SoftCpu*: loads and stores through a TLB and the page table.
 *
 * **Invariants.** A TLB entry gives no more than the page table does; `revoke` forgets it.
 *
 * **Locks.** None of its own; a miss takes mmapLock for reading.
 *
 * **Example.**
 * ```ts
 * const cpu = new SoftCpu(space);
 * yield* cpu.store(virtAddr(0x10000000), 7);
 * ```
 *
 * **What it refuses.** Speed, unaligned words.
 */
export { SoftCpu } from "./soft-cpu.ts";
