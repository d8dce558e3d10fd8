/**
 * What all address spaces of a machine share: frames and their bytes, device page maps, the
 * scheduler, the trace. Nothing here is global: a machine makes one.
 */
import { assert, type Pfn } from "../base/index.ts";
import { Precedence } from "../notifier/index.ts";
import type { FrameBytes, MemoryGroup, Pages, Zone } from "../phys/index.ts";
import { type Scheduler, Shared } from "../sync/index.ts";
import type { Tracer } from "../trace/index.ts";
import type { AddressSpace } from "./address-space.ts";
import type { CachedFile } from "./file/index.ts";
import { HugetlbPool } from "./large/index.ts";
import type { DevPagemap } from "./pagemap.ts";
import { AnonVma, ReverseMap } from "./reverse-map.ts";
import { SwapArea } from "./swap-area.ts";

/** Where a fault may map a huge page: wherever it fits, where madvise asked for it, nowhere. */
export type HugePagePolicy = "always" | "madvise" | "never";

export interface MemoryOptions {
  readonly scheduler: Scheduler;
  readonly pages: Pages;
  readonly bytes: FrameBytes;
  /** Where frames of RAM come from. */
  readonly ram: Zone;
  readonly group: MemoryGroup;
  /** Default "madvise". Linux: /sys/kernel/mm/transparent_hugepage/enabled. */
  readonly hugePages?: HugePagePolicy;
  /** Huge pages that are set aside for VM_HUGETLB mappings. Default 0. Linux: nr_hugepages. */
  readonly hugetlbPages?: number;
  /** Where pages go when RAM is full. Default: nowhere, then -ENOMEM. */
  readonly swap?: SwapArea;
}

export class Memory {
  readonly scheduler: Scheduler;
  readonly tracer: Tracer;
  readonly pages: Pages;
  readonly bytes: FrameBytes;
  readonly ram: Zone;
  /** Who pays for the pages of all spaces. */
  readonly group: MemoryGroup;
  readonly hugePages: HugePagePolicy;
  readonly hugetlb: HugetlbPool;
  /** Which reader of page tables goes before writers, if any. */
  readonly precedence: Precedence;
  /** Broken frames: taken out of use, with the reference that keeps them so. */
  readonly poisoned: Pfn[] = [];
  readonly #swap: SwapArea;
  #forgettableCount = 0;
  #hand = 0;
  // What tasks share here that no column holds.
  readonly #reclaimShared: Shared;
  readonly #swapShared: Shared;
  readonly #spacesShared: Shared;
  readonly #reverseShared: Shared;
  // PagemapId -> DevPagemap
  readonly #pagemaps: (DevPagemap | undefined)[] = [undefined];
  // SpaceId -> AddressSpace
  readonly #spaces = new Map<number, AddressSpace>();
  #nextSpace = 1;
  // ReverseMapId -> the Vmas that may map a page
  readonly #reverseMaps = new Map<number, ReverseMap>();
  #nextReverseMap = 1;

  constructor(options: MemoryOptions) {
    this.scheduler = options.scheduler;
    this.tracer = options.scheduler.tracer;
    this.pages = options.pages;
    this.bytes = options.bytes;
    this.ram = options.ram;
    this.group = options.group;
    this.hugePages = options.hugePages ?? "madvise";
    this.#swap = options.swap ?? new SwapArea(0);
    this.#reclaimShared = new Shared(options.scheduler);
    this.#swapShared = new Shared(options.scheduler);
    this.#spacesShared = new Shared(options.scheduler);
    this.#reverseShared = new Shared(options.scheduler);
    this.precedence = new Precedence(options.scheduler);
    this.hugetlb = new HugetlbPool(options.pages, options.ram, options.hugetlbPages ?? 0);
  }

  /** Whoever asks for it may change it. */
  get swap(): SwapArea {
    this.#swapShared.write();
    return this.#swap;
  }

  /** Cached pages of files that can be read again: what can be forgotten without swap. */
  get forgettableCount(): number {
    this.#reclaimShared.read();
    return this.#forgettableCount;
  }

  set forgettableCount(count: number) {
    assert(count >= 0, "fewer pages of files than none can be forgotten");
    this.#reclaimShared.write();
    this.#forgettableCount = count;
  }

  /** Where reclaim looks next: an index into the frames of RAM. */
  get hand(): number {
    this.#reclaimShared.read();
    return this.#hand;
  }

  set hand(index: number) {
    assert(index >= 0 && index < this.ram.count, "the hand of reclaim points outside RAM");
    this.#reclaimShared.write();
    this.#hand = index;
  }

  newAnonVma(root?: AnonVma): AnonVma {
    this.#reverseShared.write();
    const anon = new AnonVma(this.#nextReverseMap++, { shared: this.#reverseShared, root });
    this.#reverseMaps.set(anon.id, anon);
    return anon;
  }

  newFileMap(file: CachedFile): ReverseMap {
    this.#reverseShared.write();
    const map = new ReverseMap(this.#nextReverseMap++, { shared: this.#reverseShared, file });
    this.#reverseMaps.set(map.id, map);
    return map;
  }

  /** The reverse map that pages name by `id`; none for 0 or when it is gone. */
  reverseMap(id: number): ReverseMap | undefined {
    this.#reverseShared.read();
    return this.#reverseMaps.get(id);
  }

  forgetReverseMap(map: ReverseMap): void {
    this.#reverseShared.write();
    assert(this.#reverseMaps.get(map.id) === map, () => `reverse map ${map.id} is not there`);
    assert(map.vmas.length === 0, () => `reverse map ${map.id} goes and lists Vmas`);
    this.#reverseMaps.delete(map.id);
  }

  get spaces(): Iterable<AddressSpace> {
    this.#spacesShared.read();
    return this.#spaces.values();
  }

  get pagemaps(): readonly DevPagemap[] {
    return this.#pagemaps.filter((each) => each !== undefined);
  }

  space(id: number): AddressSpace | undefined {
    this.#spacesShared.read();
    return this.#spaces.get(id);
  }

  /** Gives a space its number and remembers it until `forget`. */
  adopt(space: AddressSpace): number {
    this.#spacesShared.write();
    const id = this.#nextSpace++;
    this.#spaces.set(id, space);
    return id;
  }

  forget(space: AddressSpace): void {
    this.#spacesShared.write();
    assert(this.#spaces.get(space.id) === space, () => `space ${space.id} is forgotten twice`);
    assert(space.vmas.all.length === 0, () => `space ${space.id} is forgotten and maps something`);
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
    assert(pagemap.zone.pagemapId === pagemap.id, "frames of a page map name another one");
    this.#pagemaps[pagemap.id] = pagemap;
    this.pages.addZone(pagemap.zone);
  }

  removePagemap(pagemap: DevPagemap): void {
    assert(this.#pagemaps[pagemap.id] === pagemap, "a page map is removed that is not there");
    this.pages.removeZone(pagemap.zone);
    this.#pagemaps[pagemap.id] = undefined;
  }

  /** `frame` is device memory that the CPU cannot touch. */
  isPrivate(frame: Pfn): boolean {
    const id = this.pages.pagemap[frame]!;
    return id !== 0 && !this.pagemap(id).isCoherent;
  }

  /** There may be something to make room with. */
  get canReclaim(): boolean {
    return this.#swap.slotCount > 0 || this.forgettableCount > 0;
  }

  /** A charged frame of RAM with one reference that is the caller's, for any use; 0 for none. */
  allocFrame(): Pfn | 0 {
    const frame = this.pages.alloc(this.ram);
    if (frame === 0) return 0;
    if (this.pages.charge(frame, this.group) >= 0) return frame;
    this.pages.put(frame);
    return 0;
  }

  pagemap(id: number): DevPagemap {
    const pagemap = this.#pagemaps[id];
    assert(pagemap !== undefined, () => `no device page map ${id}`);
    return pagemap;
  }
}
