/**
 * # driver/webgpu/buffers: what a device keeps on the GPU
 *
 * **Nouns.** *DeviceTable*: the page table, as an array here and as its image there. *Run*: pages
 * that lie on the device in the order of their addresses. *LaunchList*: the arguments of a launch
 * and who waits to run again. *SpillBuffer*: large store logs.
 * *RecordBuffer*: atomics that have happened. *ReadbackPool*: the way back.
 *
 * **Invariants.** What is written here takes effect with the next submission, in the order of the
 * queue. No view on shared memory reaches Dawn, which crashes on them (`plainBytes`).
 *
 * **Locks.** None.
 *
 * **Example.**
 * ```ts
 * const table = new DeviceTable(device);
 * table.set(page, entry);
 * table.flush();
 * ```
 *
 * **What it refuses.** To know what a frame holds, or for whom.
 */
export { DeviceTable } from "./device-table.ts";
export { forEachRun } from "./frame-runs.ts";
export { type GridSize, LaunchList, type LaunchListParts, type LaunchSize } from "./launch-list.ts";
export { plainBytes } from "./plain-bytes.ts";
export { ReadbackPool } from "./readback.ts";
export { NO_ROOM, RecordBuffer } from "./record-buffer.ts";
export { LOG_WORDS_MAX, SpillBuffer } from "./spill-buffer.ts";
