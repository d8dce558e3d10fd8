/**
 * The device's page table: an array here, which everybody reads and the driver writes, and its
 * image in a storage buffer, brought up to date before a submission.
 */
import { SPACE_PAGES } from "../../../base/index.ts";
import { plainBytes } from "./plain-bytes.ts";
import { RunTable } from "./run-table.ts";

/** Dirty entries this close together are written at once, clean ones between them included. */
const GAP = 512;

export class DeviceTable {
  readonly runs = new RunTable();
  readonly buffer: GPUBuffer;
  readonly #device: GPUDevice;
  // pages whose entries differ from the buffer's, in order of change
  #dirty = new Uint32Array(1024);
  #dirtyCount = 0;

  constructor(device: GPUDevice) {
    const { COPY_DST, STORAGE } = GPUBufferUsage;
    const usage = STORAGE | COPY_DST;
    this.#device = device;
    this.buffer = device.createBuffer({ label: "page table", size: SPACE_PAGES * 4, usage });
  }

  set(page: number, entry: number): void {
    if (!this.runs.set(page, entry)) return;
    if (this.#dirtyCount === this.#dirty.length) this.#grow();
    this.#dirty[this.#dirtyCount++] = page;
  }

  get entries(): Uint32Array {
    return this.runs.entries;
  }

  /** Enqueues the writes that make the buffer say what `entries` says. */
  flush(): void {
    const dirty = this.#dirty.subarray(0, this.#dirtyCount).sort();
    for (let i = 0; i < dirty.length; ) {
      const start = dirty[i]!;
      let last = start;
      for (; i < dirty.length && dirty[i]! - last <= GAP; i++) last = dirty[i]!;
      const count = last - start + 1;
      const run = plainBytes(this.entries.subarray(start, start + count));
      this.#device.queue.writeBuffer(this.buffer, start * 4, run);
    }
    this.#dirtyCount = 0;
  }

  #grow(): void {
    const grown = new Uint32Array(this.#dirty.length * 2);
    grown.set(this.#dirty);
    this.#dirty = grown;
  }
}
