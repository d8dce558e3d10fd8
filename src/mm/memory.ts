/**
 * What all address spaces of a machine share: frames and their bytes, device page maps, the
 * scheduler, the trace. Nothing here is global: a machine makes one.
 */
import { assert } from "../base/index.ts";
import type { FrameBytes, MemoryGroup, Pages, Zone } from "../phys/index.ts";
import type { Scheduler } from "../sync/index.ts";
import type { Tracer } from "../trace/index.ts";
import type { AddressSpace } from "./address-space.ts";
import type { DevPagemap } from "./pagemap.ts";

export interface MemoryOptions {
  readonly scheduler: Scheduler;
  readonly pages: Pages;
  readonly bytes: FrameBytes;
  /** Where frames of RAM come from. */
  readonly ram: Zone;
  readonly group: MemoryGroup;
}

export class Memory {
  readonly scheduler: Scheduler;
  readonly tracer: Tracer;
  readonly pages: Pages;
  readonly bytes: FrameBytes;
  readonly ram: Zone;
  /** Who pays for the pages of all spaces. */
  readonly group: MemoryGroup;
  // PagemapId -> DevPagemap
  readonly #pagemaps: (DevPagemap | undefined)[] = [undefined];
  // SpaceId -> AddressSpace
  readonly #spaces = new Map<number, AddressSpace>();
  #nextSpace = 1;

  constructor(options: MemoryOptions) {
    this.scheduler = options.scheduler;
    this.tracer = options.scheduler.tracer;
    this.pages = options.pages;
    this.bytes = options.bytes;
    this.ram = options.ram;
    this.group = options.group;
  }

  get spaces(): Iterable<AddressSpace> {
    return this.#spaces.values();
  }

  get pagemaps(): readonly DevPagemap[] {
    return this.#pagemaps.filter((each) => each !== undefined);
  }

  space(id: number): AddressSpace | undefined {
    return this.#spaces.get(id);
  }

  /** Gives a space its number and remembers it until `forget`. */
  adopt(space: AddressSpace): number {
    const id = this.#nextSpace++;
    this.#spaces.set(id, space);
    return id;
  }

  forget(space: AddressSpace): void {
    this.#spaces.delete(space.id);
  }

  /** A number for the page map that is about to be made. */
  nextPagemapId(): number {
    const free = this.#pagemaps.indexOf(undefined, 1);
    const id = free < 0 ? this.#pagemaps.length : free;
    assert(id < 256, "a machine has at most 255 device page maps");
    return id;
  }

  addPagemap(pagemap: DevPagemap): void {
    assert(this.#pagemaps[pagemap.id] === undefined, "a page map number is used twice");
    this.#pagemaps[pagemap.id] = pagemap;
    this.pages.addZone(pagemap.zone);
  }

  removePagemap(pagemap: DevPagemap): void {
    this.pages.removeZone(pagemap.zone);
    this.#pagemaps[pagemap.id] = undefined;
  }

  pagemap(id: number): DevPagemap {
    const pagemap = this.#pagemaps[id];
    assert(pagemap !== undefined, () => `no device page map ${id}`);
    return pagemap;
  }
}
