/**
 * Memory that the CPU cannot touch: a zone of frames with an owner who copies and moves them.
 * Linux: struct dev_pagemap of type MEMORY_DEVICE_PRIVATE, memremap_pages().
 */
import { assert, type Pfn, pfn, type Result, unreachable } from "../base/index.ts";
import type { DevPagemap, Fault, Memory } from "../mm/index.ts";
import { FIRST_ZONE_PFN, Zone } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";

export interface DevicePagemapOptions {
  readonly name: string;
  /** Compared for identity: whose private pages these are. */
  readonly owner: object;
  readonly frames: number;
  /** The CPU can touch it: pages are mapped where they are. Default false. */
  readonly isCoherent?: boolean;
  /** Brings the page of a CPU fault home; see `DevPagemap.migrateToRam`. */
  readonly migrateToRam: (fault: Fault) => Sleeps<Result>;
  /** The last reference of a frame is gone: the device may forget its content. */
  readonly pageFree?: (frame: Pfn) => void;
}

export class DevicePagemap implements DevPagemap {
  readonly id: number;
  readonly owner: object;
  readonly zone: Zone;
  readonly isCoherent: boolean;
  readonly #memory: Memory;
  readonly #migrateToRam: (fault: Fault) => Sleeps<Result>;

  constructor(memory: Memory, options: DevicePagemapOptions) {
    assert(options.frames > 0, () => `device memory ${options.name} has no frames`);
    this.#memory = memory;
    this.id = memory.nextPagemapId();
    this.owner = options.owner;
    this.isCoherent = options.isCoherent ?? false;
    this.#migrateToRam = options.migrateToRam;
    this.zone = new Zone({
      name: options.name,
      start: firstFreeFrame(memory, options.frames),
      count: options.frames,
      pagemapId: this.id,
      ...(options.pageFree === undefined ? {} : { onFree: options.pageFree }),
    });
    memory.addPagemap(this);
    assert(memory.pages.isDevice(this.zone.start), "frames of a device name its page map");
  }

  migrateToRam(fault: Fault): Sleeps<Result> {
    return this.#migrateToRam(fault);
  }

  /** A frame with one reference, `at` itself if that is free; 0 when full. */
  alloc(at: Pfn | 0 = 0): Pfn | 0 {
    const { pages } = this.#memory;
    const own = at === 0 ? 0 : pages.allocAt(this.zone, at);
    return own === 0 ? pages.alloc(this.zone) : own;
  }

  /** The same, locked, for a page that is about to move here. */
  allocLocked(at: Pfn | 0 = 0): Pfn | 0 {
    const { pages } = this.#memory;
    const frame = this.alloc(at);
    if (frame === 0) return 0;
    assert(this.zone.contains(frame), () => `frame ${frame} is not of ${this.zone.name}`);
    assert(pages.refs[frame] === 1, () => `frame ${frame} is fresh and somebody has it`);
    assert(pages.tryLock(frame), "a fresh frame is unlocked");
    return frame;
  }

  /**
   * The same for `count` pages: fewer when it is full. They follow each other where they can, so
   * that one copy moves many.
   */
  allocManyLocked(count: number): Pfn[] {
    const frames = this.#memory.pages.allocManyLocked(this.zone, count);
    assert(frames.length <= count, "more frames than were asked for");
    return frames;
  }

  /** The frame's place in the device's own memory, 0 up. */
  indexOf(frame: Pfn): number {
    if (!this.zone.contains(frame)) unreachable(`frame ${frame} is not of ${this.zone.name}`);
    return frame - this.zone.start;
  }

  /** Gives the frames back; all must be free. Linux: memunmap_pages(). */
  remove(): void {
    const { name } = this.zone;
    assert(this.#memory.pagemap(this.id) === this, () => `${name} is removed twice`);
    this.#memory.removePagemap(this);
    assert(!this.#memory.pages.zones.includes(this.zone), () => `${name} is gone and has frames`);
  }
}

/** Where a zone of `frames` fits above all others, or in a gap that a removed one left. */
function firstFreeFrame(memory: Memory, frames: number): Pfn {
  const zones = [...memory.pages.zones].sort((a, b) => a.start - b.start);
  let at: number = FIRST_ZONE_PFN;
  for (const zone of zones) {
    if (zone.start - at >= frames) return pfn(at);
    at = zone.start + zone.count;
  }
  return pfn(at);
}
