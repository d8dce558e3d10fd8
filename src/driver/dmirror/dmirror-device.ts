/** The device itself: memory that the CPU cannot touch, shared by all spaces that it mirrors. */
import { PAGE_SIZE, type Pfn, type Result } from "../../base/index.ts";
import { DeviceMemory, type DeviceOps } from "../../device/index.ts";
import type { DevicePagemap } from "../../devmem/index.ts";
import type { Memory } from "../../mm/index.ts";
import { runLength } from "../../phys/index.ts";
import { Shared, type Sleeps } from "../../sync/index.ts";

export interface DmirrorDeviceOptions {
  readonly name: string;
  readonly frames: number;
  /**
   * The CPU can touch its memory: the machine's frames must have bytes for it behind those of
   * RAM. Default false.
   */
  readonly isCoherent?: boolean;
  /** It uses RAM where it is, as Linux's does. Without: it gets copies to read. Default true. */
  readonly reachesRam?: boolean;
}

export class DmirrorDevice implements DeviceOps {
  readonly memory: Memory;
  readonly deviceMemory: DeviceMemory;
  /** Device frame index * PAGE_SIZE -> bytes. */
  readonly bytes: Uint8Array;
  // index -> its bytes, once somebody has looked at them: a view costs more than a page's copy
  readonly #views: (Uint8Array | undefined)[];
  // Device frame -> its bytes, as an explorer knows them
  readonly #shared: Shared;

  constructor(memory: Memory, options: DmirrorDeviceOptions) {
    this.memory = memory;
    this.#shared = new Shared(memory.scheduler);
    this.deviceMemory = new DeviceMemory(memory, {
      ...options,
      // Who owns memory that only copies reach is that memory.
      ...(options.reachesRam === false ? {} : { owner: this }),
      ops: this,
    });
    this.bytes = new Uint8Array(this.isCoherent ? 0 : options.frames * PAGE_SIZE);
    this.#views = new Array(this.isCoherent ? 0 : options.frames).fill(undefined);
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
    const index = this.pagemap.indexOf(frame);
    const known = this.#views[index];
    if (known !== undefined) return known;
    const view = this.bytes.subarray(index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
    this.#views[index] = view;
    return view;
  }

  *copyIn(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result> {
    for (let at = 0; at < to.length; ) {
      const count = runLength(from, to, at);
      this.memory.bytes.read(from[at]!, this.#bytesOfRun(to[at]!, count), 0, count);
      at += count;
    }
    return 0;
  }

  *clear(frames: readonly Pfn[]): Sleeps<Result> {
    for (const frame of frames) this.bytesOf(frame).fill(0);
    return 0;
  }

  *copyHome(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result> {
    for (let at = 0; at < to.length; ) {
      const count = runLength(from, to, at);
      this.memory.bytes.write(to[at]!, this.#bytesOfRun(from[at]!, count), 0, count);
      at += count;
    }
    return 0;
  }

  #bytesOfRun(first: Pfn, count: number): Uint8Array {
    if (this.isCoherent) return this.memory.bytes.page(first, count);
    for (let i = 0; i < count; i++) this.#shared.write(first + i);
    const at = this.pagemap.indexOf(first);
    return this.bytes.subarray(at * PAGE_SIZE, (at + count) * PAGE_SIZE);
  }
}
