/** The device itself: memory that the CPU cannot touch, shared by all spaces that it mirrors. */
import { PAGE_SIZE, type Pfn, type Result } from "../../base/index.ts";
import { DeviceMemory, type DeviceOps } from "../../device/index.ts";
import type { DevicePagemap } from "../../devmem/index.ts";
import type { Memory } from "../../mm/index.ts";
import { Shared, type Sleeps } from "../../sync/index.ts";

export interface DmirrorDeviceOptions {
  readonly name: string;
  readonly frames: number;
  /**
   * The CPU can touch its memory: the machine's frames must have bytes for it behind those of
   * RAM. Default false.
   */
  readonly isCoherent?: boolean;
}

export class DmirrorDevice implements DeviceOps {
  readonly memory: Memory;
  readonly deviceMemory: DeviceMemory;
  /** Device frame index * PAGE_SIZE -> bytes. */
  readonly bytes: Uint8Array;
  // Device frame -> its bytes, as an explorer knows them
  readonly #shared: Shared;

  constructor(memory: Memory, options: DmirrorDeviceOptions) {
    this.memory = memory;
    this.#shared = new Shared(memory.scheduler);
    this.deviceMemory = new DeviceMemory(memory, { ...options, owner: this, ops: this });
    this.bytes = new Uint8Array(this.isCoherent ? 0 : options.frames * PAGE_SIZE);
  }

  get pagemap(): DevicePagemap {
    return this.deviceMemory.pagemap;
  }

  get isCoherent(): boolean {
    return this.pagemap.isCoherent;
  }

  /**
   * Every page of the device comes home, whoever maps it: how many. Pages that somebody holds
   * stay. Linux: dmirror_device_evict_chunk().
   */
  evictAll(): Sleeps<Result> {
    return this.deviceMemory.evictAll();
  }

  bytesOf(frame: Pfn): Uint8Array {
    if (this.isCoherent) return this.memory.bytes.page(frame);
    this.#shared.write(frame);
    const at = this.pagemap.indexOf(frame) * PAGE_SIZE;
    return this.bytes.subarray(at, at + PAGE_SIZE);
  }

  *copyIn(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result> {
    to.forEach((frame, i) => {
      this.memory.bytes.read(from[i]!, this.bytesOf(frame), 0);
    });
    return 0;
  }

  *clear(frames: readonly Pfn[]): Sleeps<Result> {
    for (const frame of frames) this.bytesOf(frame).fill(0);
    return 0;
  }

  *copyHome(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result> {
    to.forEach((frame, i) => {
      this.memory.bytes.write(frame, this.bytesOf(from[i]!), 0);
    });
    return 0;
  }
}
