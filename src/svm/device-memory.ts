/**
 * Memory of one device, for all spaces that use it: handed out in allocations, one a migration,
 * that live until their last page is free. Nothing here knows where a page is mapped: fork and
 * mremap would make that wrong. Linux: drm_pagemap.c, struct drm_pagemap_zdd.
 */
import {
  addrOf,
  assert,
  EBUSY,
  ENOMEM,
  PAGE_SIZE,
  type Pfn,
  type Result,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../base/index.ts";
import {
  type CopyHome,
  DevicePagemap,
  evictFrames,
  isMigrating,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  type Migration,
  type MigrationDriver,
  migrateFrame,
  migratePfn,
  newMigration,
  runMigration,
} from "../devmem/index.ts";
import { FAULT_REMOTE, FAULT_TRIED, type Fault, type Memory, reclaimPages } from "../mm/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import { blockAround } from "./svm-range.ts";

const TIMESLICE = eventId("device:timeslice");

/** How often an eviction tries pages that somebody holds. Linux: once, and twice more. */
const EVICT_TRIES = 3;

/** The driver's half: it moves bytes. Nobody can touch the pages meanwhile. */
export interface SvmMemoryOps {
  /** Copies frames of RAM to those of the device, one for one; 0 is a page of zeros. */
  copyToDevice(from: readonly (Pfn | 0)[], to: readonly Pfn[]): Sleeps<Result>;
  /** Copies frames of the device to those of RAM, one for one, where `to` is not 0. */
  copyToRam(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result>;
  /** The last page of an allocation is free. Must not sleep. */
  release?(allocation: SvmAllocation): void;
}

export interface SvmDeviceMemoryOptions {
  readonly name: string;
  readonly frames: number;
  /** Whose memory it is. Devices that may use each other's name the same. Default: this object. */
  readonly owner?: object;
  readonly ops: SvmMemoryOps;
}

/** The pages that one migration brought to the device. */
export class SvmAllocation {
  /** Pages that it was made for. */
  readonly pageCount: number;
  /** Until then a CPU that touches a page of it waits. Linux: timeslice_expiration. */
  expiryMs = Number.NEGATIVE_INFINITY;
  // those that are still in use
  readonly frames = new Set<Pfn>();

  constructor(pageCount: number) {
    this.pageCount = pageCount;
  }
}

export class SvmDeviceMemory {
  readonly memory: Memory;
  readonly pagemap: DevicePagemap;
  readonly #ops: SvmMemoryOps;
  // frame's place in the zone -> whose it is
  readonly #allocationAt: (SvmAllocation | undefined)[];
  // those with pages, oldest first
  readonly #allocations = new Set<SvmAllocation>();
  readonly #copyToRam: CopyHome = (from, to) => this.#ops.copyToRam(from, to);
  readonly #toRam: MigrationDriver = {
    copy: (migration) => this.#copyHome(migration),
    // The device has nothing to map: the migration's own event has dropped it.
    *commit() {},
  };

  constructor(memory: Memory, options: SvmDeviceMemoryOptions) {
    const { name, frames, owner = this } = options;
    this.memory = memory;
    this.#ops = options.ops;
    this.#allocationAt = new Array(frames).fill(undefined);
    this.pagemap = new DevicePagemap(memory, {
      name,
      owner,
      frames,
      migrateToRam: (fault) => this.#migrateToRam(fault),
      pageFree: (frame) => this.#pageFree(frame),
    });
  }

  get allocations(): readonly SvmAllocation[] {
    return [...this.#allocations];
  }

  /** Whose a frame of this memory is; none when it is free. */
  allocationOf(frame: Pfn): SvmAllocation | undefined {
    return this.#allocationAt[this.pagemap.indexOf(frame)];
  }

  /** A locked frame for a page that moves here as part of `allocation`; 0 when there is none. */
  alloc(allocation: SvmAllocation): Pfn | 0 {
    const frame = this.pagemap.allocLocked();
    if (frame === 0) return 0;
    this.#allocationAt[this.pagemap.indexOf(frame)] = allocation;
    allocation.frames.add(frame);
    this.#allocations.add(allocation);
    return frame;
  }

  copyToDevice(from: readonly (Pfn | 0)[], to: readonly Pfn[]): Sleeps<Result> {
    return this.#ops.copyToDevice(from, to);
  }

  /**
   * Brings what is left of `allocation` home, whoever maps it, by frame: no space, no Vma, no
   * mmapLock; its timeslice does not count. 0, -EBUSY (somebody holds pages), -ENOMEM (no RAM), or
   * why a copy failed. Linux: drm_pagemap_evict_to_ram().
   */
  *evict(allocation: SvmAllocation): Sleeps<Result> {
    const { ram } = this.memory;
    for (let tries = 0; tries < EVICT_TRIES && allocation.frames.size > 0; tries++) {
      yield* this.#waitForOneLocked(allocation);
      const frames = [...allocation.frames];
      if (ram.freeCount < frames.length && this.memory.canReclaim) {
        yield* reclaimPages(this.memory, frames.length - ram.freeCount);
      }
      const result = yield* evictFrames(this.memory, frames, this.#copyToRam);
      if (result < 0) return result;
    }
    if (allocation.frames.size === 0) return 0;
    return ram.freeCount === 0 ? -ENOMEM : -EBUSY;
  }

  /** Whoever moves a page has it locked: the next try is for when that is over. */
  *#waitForOneLocked(allocation: SvmAllocation): Sleeps<void> {
    const { pages } = this.memory;
    for (const frame of allocation.frames) {
      if (pages.isLocked(frame)) return yield* pages.waitUnlocked(frame);
    }
  }

  /** Everything comes home, as far as it can: 0, or why something stays. */
  *evictAll(): Sleeps<Result> {
    let result: Result = 0;
    for (const allocation of this.allocations) {
      const evicted = yield* this.evict(allocation);
      if (result === 0) result = evicted;
    }
    return result;
  }

  /**
   * Evicts allocations whose timeslice is over, oldest first, until `count` frames are free: the
   * others are promised to whoever brought them. False when that is not enough.
   */
  *makeRoom(count: number): Sleeps<boolean> {
    const { zone } = this.pagemap;
    if (zone.count < count) return false;
    for (const allocation of this.allocations) {
      if (zone.freeCount >= count) break;
      if (allocation.expiryMs > this.memory.scheduler.nowMs) continue;
      yield* this.evict(allocation);
    }
    return zone.freeCount >= count;
  }

  /** Gives the frames back; all must be free. */
  remove(): void {
    this.pagemap.remove();
  }

  #pageFree(frame: Pfn): void {
    const index = this.pagemap.indexOf(frame);
    const allocation = this.#allocationAt[index]!;
    this.#allocationAt[index] = undefined;
    allocation.frames.delete(frame);
    if (allocation.frames.size > 0) return;
    this.#allocations.delete(allocation);
    this.#ops.release?.(allocation);
  }

  /**
   * A CPU touched a page. With its own timeslice to wait out, it leaves with nothing held; else
   * the page comes home, and its neighbours with it if there is RAM for all. Takes no lock of the
   * driver: a fault on the device holds the svm lock while it waits for this. Linux:
   * drm_pagemap_migrate_to_ram().
   */
  *#migrateToRam(fault: Fault): Sleeps<Result> {
    const { space, vma, page, frame } = fault;
    const allocation = this.allocationOf(frame);
    assert(allocation !== undefined, "a used frame belongs to an allocation");
    const leftMs = Math.ceil(allocation.expiryMs - this.memory.scheduler.nowMs);
    if (leftMs > 0 && (fault.flags & (FAULT_REMOTE | FAULT_TRIED)) === 0) {
      this.memory.tracer.emit(TIMESLICE, space.id, page, leftMs);
      return leftMs;
    }
    const isRoomy = this.memory.ram.freeCount > allocation.pageCount;
    const block = blockAround(addrOf(page), isRoomy ? allocation.pageCount * PAGE_SIZE : PAGE_SIZE);
    const migration = newMigration({
      space,
      vma,
      start: vpnOf(virtAddr(Math.max(block.start, vma.start))),
      end: vpnOf(virtAddr(Math.min(block.end, vma.end))),
      select: MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
      owner: this.pagemap.owner,
      faultFrame: frame,
    });
    return Math.min(yield* runMigration(migration, this.#toRam), 0);
  }

  /** The page that is waited for first: without it all is in vain. */
  *#copyHome(migration: Migration): Sleeps<Result> {
    const from: Pfn[] = [];
    const to: Pfn[] = [];
    const { faultFrame, src } = migration;
    const waited = src.findIndex((word) => migrateFrame(word) === faultFrame);
    for (let i = -1; i < src.length; i++) {
      const slot = i < 0 ? waited : i;
      if (i === waited || !this.#isOurs(src[slot]!)) continue;
      const home = takeHome(migration, vpn(migration.start + slot));
      if (home === 0 && i < 0) return -ENOMEM;
      if (home === 0) continue;
      migration.dst[slot] = migratePfn(home) | (src[slot]! & MIGRATE_PFN_WRITE);
      from.push(migrateFrame(src[slot]!) as Pfn);
      to.push(home);
    }
    return yield* this.#copyToRam(from, to);
  }

  /** It moves, and it is in this memory: another one of the same owner has its own way home. */
  #isOurs(word: number): boolean {
    const frame = migrateFrame(word);
    return isMigrating(word) && frame !== 0 && this.pagemap.zone.contains(frame);
  }
}

/** A locked frame of RAM for a page that comes home, or 0. */
function takeHome({ space }: Migration, page: Vpn): Pfn | 0 {
  const frame = space.takeFrame(page);
  if (frame !== 0) assert(space.memory.pages.tryLock(frame), "a fresh frame is unlocked");
  return frame;
}
