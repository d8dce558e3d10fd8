/**
 * A device without an IOMMU: the address of a frame is fixed, so all that is kept is who may use
 * it. A frame may be mapped many times (the zero page is) and has one address all the same: the
 * device may write through it as long as one of its mappings allows that. Real hardware has no
 * such table and reaches everything, always; this one catches a driver that is late.
 */
import { assert, type Pfn } from "../base/index.ts";

export class DirectMap {
  // Pfn -> live mappings
  #mappings = new Int32Array(0);
  // Pfn -> those of them that let the device write
  #writers = new Int32Array(0);

  /** Room for frames below `frames`; more are made as the table of pages grows. */
  growTo(frames: number): void {
    if (frames <= this.#mappings.length) return;
    const [mappings, writers] = [new Int32Array(frames), new Int32Array(frames)];
    mappings.set(this.#mappings);
    writers.set(this.#writers);
    this.#mappings = mappings;
    this.#writers = writers;
  }

  isMapped(frame: Pfn): boolean {
    return frame < this.#mappings.length && this.#mappings[frame]! > 0;
  }

  isWritable(frame: Pfn): boolean {
    return this.isMapped(frame) && this.#writers[frame]! > 0;
  }

  map(frame: Pfn, isWriter: boolean): void {
    this.#mappings[frame] = this.#mappings[frame]! + 1;
    if (isWriter) this.addWriter(frame);
  }

  unmap(frame: Pfn, isWriter: boolean): void {
    assert(this.isMapped(frame), () => `frame ${frame} is not mapped for DMA`);
    if (isWriter) this.removeWriter(frame);
    this.#mappings[frame] = this.#mappings[frame]! - 1;
    const isSane = this.#writers[frame]! <= this.#mappings[frame]!;
    assert(isSane, () => `frame ${frame} was mapped for DMA in another direction`);
  }

  /** One of the frame's mappings that only read may write from now on. */
  addWriter(frame: Pfn): void {
    const hasReader = this.isMapped(frame) && this.#writers[frame]! < this.#mappings[frame]!;
    assert(hasReader, () => `frame ${frame} has no mapping for DMA that only reads`);
    this.#writers[frame] = this.#writers[frame]! + 1;
  }

  removeWriter(frame: Pfn): void {
    assert(this.isWritable(frame), () => `frame ${frame} has no mapping for DMA that may write`);
    this.#writers[frame] = this.#writers[frame]! - 1;
  }
}
