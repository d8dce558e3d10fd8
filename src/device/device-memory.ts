/**
 * The memory of one device, for all spaces that use it: frames that hold pages of programs or
 * copies of such, oldest first; who may have them for how long; and the way home, which is one
 * whether a CPU asks, a driver, or somebody who needs room. Linux: drm_pagemap.c.
 */
import { assert, type Pfn, pfn as pfnNumber, type Result, type Vpn, vpn } from "../base/index.ts";
import {
  DevicePagemap,
  evictFrames,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  type Migration,
  type MigrationDriver,
  newMigration,
  runMigration,
} from "../devmem/index.ts";
import {
  type AddressSpace,
  FAULT_REMOTE,
  FAULT_TRIED,
  FAULT_WRITE,
  type Fault,
  type Memory,
  reclaimPages,
  VmHint,
} from "../mm/index.ts";
import { Shared, type Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import type { DeviceOps } from "./device-ops.ts";
import type { DeviceShadow } from "./device-shadow.ts";
import { FRAME_COPY, FRAME_PAGE, FrameList } from "./frame-list.ts";
import { homeward } from "./move.ts";
import { Placement } from "./placement.ts";
import { ReadAhead } from "./read-ahead.ts";
import { chooseVictims } from "./victims.ts";

const EVICT = eventId("device:evict");
const TIMESLICE = eventId("device:timeslice");

/** How often an eviction tries pages that somebody holds. Linux: once, and twice more. */
const EVICT_TRIES = 3;

export interface DeviceMemoryOptions {
  readonly name: string;
  readonly frames: number;
  readonly ops: DeviceOps;
  /** Whose memory it is. Devices that may use each other's name the same. Default: this object. */
  readonly owner?: object;
  /** The CPU can touch it: pages are mapped where they are. Default false. */
  readonly isCoherent?: boolean;
  /**
   * The device can read and write RAM where it is. Default true. A device that cannot gets copies
   * of what it reads, and what it writes has to move; its memory holds zeros at first.
   */
  readonly reachesRam?: boolean;
  /** Neighbours in the space are neighbours here, as far as there is room. Default false. */
  readonly placesByAddress?: boolean;
  /** A CPU fault brings neighbours home, too. Default false: the page that was touched. */
  readonly readsAhead?: boolean;
}

/** What has been moved so far. */
export interface DeviceCounters {
  pagesToDevice: number;
  pagesHome: number;
  /** Copies that were thrown away to make room; their pages were in RAM all the time. */
  copiesDropped: number;
  /** Pages that were sent home to make room. */
  pagesEvicted: number;
  /** Copies that stayed when their pages went home. */
  copiesKept: number;
  /** Pages that came because a program had advised it, before a device asked for them. */
  pagesAdvised: number;
}

export class DeviceMemory {
  readonly memory: Memory;
  readonly pagemap: DevicePagemap;
  readonly frames: FrameList;
  readonly ops: DeviceOps;
  readonly reachesRam: boolean;
  readonly counters: DeviceCounters = {
    pagesToDevice: 0,
    pagesHome: 0,
    copiesDropped: 0,
    pagesEvicted: 0,
    copiesKept: 0,
    pagesAdvised: 0,
  };
  /** Frames that pages and copies may have. */
  readonly capacity: number;
  readonly #readAhead: ReadAhead | undefined;
  readonly #placement: Placement | undefined;
  #zeroFrame: Pfn | 0 = 0;
  readonly #shadows = new Map<AddressSpace, DeviceShadow>();
  // Which spaces are seen, and what the frames hold, as an explorer knows them.
  readonly #shared: Shared;
  readonly #home: MigrationDriver = homeward(this, false);
  readonly #homeKeeping: MigrationDriver = homeward(this, true);

  constructor(memory: Memory, options: DeviceMemoryOptions) {
    const { name, frames, owner = this, isCoherent = false } = options;
    this.memory = memory;
    this.ops = options.ops;
    this.reachesRam = options.reachesRam ?? true;
    assert(this.reachesRam || owner === this, "who shares an owner reaches the other's memory");
    this.#readAhead = options.readsAhead ? new ReadAhead() : undefined;
    this.#shared = new Shared(memory.scheduler);
    this.frames = new FrameList(frames, this.#shared);
    this.pagemap = new DevicePagemap(memory, {
      name,
      owner,
      frames,
      isCoherent,
      migrateToRam: (fault) => this.#migrateToRam(fault),
      pageFree: (frame) => this.frames.remove(this.pagemap.indexOf(frame)),
    });
    this.capacity = frames - (this.reachesRam ? 0 : 1);
    this.#placement = options.placesByAddress ? new Placement(this.capacity) : undefined;
  }

  /** Stands for RAM's zero page on a device that cannot reach it; 0 where none is needed. */
  get zeroFrame(): Pfn | 0 {
    return this.#zeroFrame;
  }

  get owner(): object {
    return this.pagemap.owner;
  }

  /** Which pages are this device's, for a migration. */
  get select(): number {
    return this.pagemap.isCoherent
      ? MIGRATE_VMA_SELECT_DEVICE_COHERENT
      : MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
  }

  /** Frames that hold pages or copies now. */
  get residentPages(): number {
    return this.frames.copyCount + this.frames.pageCount;
  }

  /** How this device sees `space`, if it does. */
  shadowOf(space: AddressSpace): DeviceShadow | undefined {
    this.#shared.read();
    return this.#shadows.get(space);
  }

  /** Those that the device sees. */
  get spaces(): Iterable<AddressSpace> {
    this.#shared.read();
    return this.#shadows.keys();
  }

  /** The first of all shadows: it answers for what they have in common. */
  isFirst(shadow: DeviceShadow): boolean {
    return this.#shadows.values().next().value === shadow;
  }

  /** False when there is no frame for the zero page, which is there as long as a shadow is. */
  addShadow(shadow: DeviceShadow): boolean {
    assert(!this.#shadows.has(shadow.space), "a device sees a space once");
    if (!this.reachesRam && this.#zeroFrame === 0) {
      // The last one, so that the others count from 0.
      this.#zeroFrame = this.pagemap.alloc(this.pfnAt(this.capacity));
      if (this.#zeroFrame === 0) return false;
    }
    this.#shared.write();
    this.#shadows.set(shadow.space, shadow);
    return true;
  }

  /** Again is nothing. */
  removeShadow(shadow: DeviceShadow): void {
    this.#shared.write();
    this.#shadows.delete(shadow.space);
    if (this.#shadows.size > 0 || this.#zeroFrame === 0) return;
    this.memory.pages.put(this.#zeroFrame);
    this.#zeroFrame = 0;
  }

  /** False while the hardware may use what a table said. */
  get isIdle(): boolean {
    return this.ops.isIdle ?? true;
  }

  *waitIdle(): Sleeps<void> {
    if (!this.isIdle) yield* this.ops.waitIdle!();
  }

  /**
   * Locked frames for the pages at `slots` from `first` on, which are about to live here: fewer
   * when it is full.
   */
  allocPages(shadow: DeviceShadow, first: Vpn, slots: readonly number[]): Pfn[] {
    const frames =
      this.#placement === undefined
        ? this.pagemap.allocManyLocked(slots.length)
        : this.#allocPlaced(shadow, first, slots);
    for (const frame of frames) this.frames.addPage(this.pagemap.indexOf(frame));
    return frames;
  }

  #allocPlaced(shadow: DeviceShadow, first: Vpn, slots: readonly number[]): Pfn[] {
    const frames: Pfn[] = [];
    for (const slot of slots) {
      const frame = this.pagemap.allocLocked(this.#placeOf(shadow, vpn(first + slot)));
      if (frame === 0) break;
      frames.push(frame);
    }
    return frames;
  }

  /** A frame for a copy that `shadow` will have at `page`, or 0. */
  allocCopy(shadow: DeviceShadow, page: Vpn, source: Pfn): Pfn | 0 {
    const frame = this.pagemap.alloc(this.#placeOf(shadow, page));
    if (frame !== 0) {
      this.frames.addCopy(this.pagemap.indexOf(frame), { shadow, page, source });
    }
    return frame;
  }

  /** The frame in which `page` should be, or 0 where that does not matter. */
  #placeOf(shadow: DeviceShadow, page: Vpn): Pfn | 0 {
    const placement = this.#placement;
    if (placement === undefined) return 0;
    if (this.residentPages === 0) placement.begin();
    return this.pfnAt(placement.indexOf(shadow.space, page));
  }

  /** The copy in `frame` has no entry any more. */
  freeCopy(frame: Pfn): void {
    this.memory.pages.put(frame);
  }

  isCopy(frame: Pfn): boolean {
    return this.frames.kindOf(this.pagemap.indexOf(frame)) === FRAME_COPY;
  }

  /**
   * Brings the pages of [start, end), which is within `vma`, home: how many. Without RAM a page
   * stays; one that a CPU waits for (`faultFrame`) goes first and is -ENOMEM without RAM, because
   * that CPU would come back for ever. `toRead`: they will be read there, so copies stay here
   * where the program says that it mostly reads. The caller holds mmapLock.
   */
  moveHome(
    run: Pick<Migration, "space" | "vma" | "start" | "end"> & {
      readonly faultFrame?: Pfn;
      readonly toRead?: boolean;
    },
  ): Sleeps<Result> {
    const { select, owner } = this;
    const { space, vma, start, end, faultFrame = 0, toRead = false } = run;
    const migration = newMigration({ space, vma, start, end, faultFrame, select, owner });
    const keeps = toRead && vma.allows(VmHint.readMostly) && !this.reachesRam;
    return runMigration(migration, keeps ? this.#homeKeeping : this.#home);
  }

  /**
   * Brings pages home by frame, whoever maps them: no space, no Vma, no mmapLock, and a timeslice
   * does not count. How many, or why the copy failed. Pages that somebody holds are tried three
   * times, and stay; so does what finds no RAM. Linux: drm_pagemap_evict_to_ram().
   */
  *evict(frames: readonly Pfn[]): Sleeps<Result> {
    let evicted = 0;
    for (let tries = 0; tries < EVICT_TRIES; tries++) {
      const left = frames.filter((frame) => this.isPage(frame));
      if (left.length === 0) break;
      yield* this.#waitForOneLocked(left);
      const missing = left.length - this.memory.ram.freeCount;
      if (missing > 0 && this.memory.canReclaim) yield* reclaimPages(this.memory, missing);
      const copy = (from: readonly Pfn[], to: readonly Pfn[]) => this.#copyEvicted(from, to);
      const moved = yield* evictFrames(this.memory, left, copy);
      if (moved < 0) return moved;
      evicted += moved;
    }
    return evicted;
  }

  /** Every page comes home, as far as it can: how many, or why the copy failed. */
  evictAll(): Sleeps<Result> {
    const frames: Pfn[] = [];
    for (const index of this.frames.oldestFirst()) frames.push(this.pfnAt(index));
    return this.evict(frames);
  }

  /**
   * Makes `count` frames free, oldest first unless programs advise otherwise (`victims.ts`): copies
   * are thrown away, pages go home. Never one that
   * came after arrival `keepAfter`, or whose timeslice is not over: it is promised to somebody.
   * False when that is not enough; then nothing was evicted for it.
   */
  *makeRoom(count: number, keepAfter = Number.POSITIVE_INFINITY): Sleeps<boolean> {
    const { zone } = this.pagemap;
    if (zone.freeCount >= count) return true;
    if (count > this.capacity) return false;
    const victims = chooseVictims(this, count - zone.freeCount, keepAfter);
    if (victims === undefined) return false;
    const isCopy = (frame: Pfn): boolean => this.isCopy(frame);
    const copies = victims.filter(isCopy);
    const pages = victims.filter((frame) => !isCopy(frame));
    yield* this.#dropCopies(copies);
    const evicted = yield* this.evict(pages);
    if (evicted > 0) this.counters.pagesEvicted += evicted;
    this.memory.tracer.emit(EVICT, this.pagemap.id, copies.length + pages.length, pages.length);
    return zone.freeCount >= count;
  }

  /** Gives the frames back; all must be free. */
  remove(): void {
    this.pagemap.remove();
  }

  isPage(frame: Pfn): boolean {
    return this.frames.kindOf(this.pagemap.indexOf(frame)) === FRAME_PAGE;
  }

  /** The frame at place `index` of this memory. */
  pfnAt(index: number): Pfn {
    return pfnNumber(this.pagemap.zone.start + index);
  }

  /** Under the lock of whoever has them, and while no hardware could use them. */
  *#dropCopies(frames: readonly Pfn[]): Sleeps<void> {
    let left = frames.filter((frame) => this.isCopy(frame));
    while (left.length > 0) {
      const { shadow } = this.frames.copyOf(this.pagemap.indexOf(left[0]!));
      using _update = yield* shadow.lock.acquire();
      yield* this.waitIdle();
      for (const frame of left.filter((each) => this.isCopy(each))) {
        const copy = this.frames.copyOf(this.pagemap.indexOf(frame));
        if (copy.shadow !== shadow) continue;
        shadow.drop(copy.page, vpn(copy.page + 1));
        this.counters.copiesDropped++;
      }
      left = left.filter((frame) => this.isCopy(frame));
    }
  }

  /** Whoever moves a page has it locked: the next try is for when that is over. */
  *#waitForOneLocked(frames: readonly Pfn[]): Sleeps<void> {
    const { pages } = this.memory;
    const locked = frames.find((frame) => pages.isLocked(frame));
    if (locked !== undefined) yield* pages.waitUnlocked(locked);
  }

  /** `to` is 0 where there is no RAM. */
  *#copyEvicted(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result> {
    const goes = from.filter((_, i) => to[i] !== 0);
    const result = yield* this.ops.copyHome(
      goes,
      to.filter((frame) => frame !== 0),
    );
    if (result >= 0) this.counters.pagesHome += goes.length;
    return result;
  }

  /**
   * A CPU touched a page. With its own timeslice to wait out, it leaves with nothing held; else
   * the page comes home, and neighbours with it if there is RAM for all. Linux:
   * drm_pagemap_migrate_to_ram().
   */
  *#migrateToRam(fault: Fault): Sleeps<Result> {
    const { space, vma, page, frame, flags } = fault;
    const leftMs = this.#timesliceLeft(fault);
    if (leftMs > 0) {
      this.memory.tracer.emit(TIMESLICE, space.id, page, leftMs);
      return leftMs;
    }
    const { start, end } =
      this.#readAhead?.around(page, vma, this.memory.ram.freeCount) ?? alone(page);
    const toRead = (flags & FAULT_WRITE) === 0;
    const run = { space, vma, start, end, faultFrame: frame, toRead };
    return Math.min(yield* this.moveHome(run), 0);
  }

  /** Only CPUs wait, and each access once. */
  #timesliceLeft({ flags, frame }: Fault): number {
    if (flags & (FAULT_REMOTE | FAULT_TRIED)) return 0;
    const expiryMs = this.frames.expiryMs(this.pagemap.indexOf(frame));
    return Math.max(0, Math.ceil(expiryMs - this.memory.scheduler.nowMs));
  }
}

const alone = (page: Vpn): { readonly start: Vpn; readonly end: Vpn } => ({
  start: page,
  end: vpn(page + 1),
});
