/**
 * One row a frame, one column a property: the kernel's struct page without the structs. The
 * only writer of page state. RAM and device memory share the table; `pagemap` tells them apart.
 *
 * A frame is free (no references, in its zone's free set) or used (references > 0). A used
 * frame that is mapped has one reference for each mapping, and what holds it besides (a fault,
 * a migration, a pin) has one each. Only a frame of a large page may be neither: nobody has it,
 * and it is free when nobody has any of the others.
 */
import { assert, type Pfn, pfn as pfnOf, type Result, unreachable } from "../base/index.ts";
import {
  type Column,
  noteAcquired,
  noteReleased,
  type Scheduler,
  Shared,
  type Sleeps,
  WaitQueue,
} from "../sync/index.ts";
import type { MemoryGroup } from "./accounting.ts";
import {
  LARGE_FRAMES,
  PG_CACHED,
  PG_HUGETLB,
  PG_LARGE,
  PG_LOCKED,
  PG_RESERVED,
} from "./page-flags.ts";
import type { Zone } from "./zone.ts";

/** The frame behind every read of memory that nobody has written. Below all zones. */
export const ZERO_PFN: Pfn = pfnOf(1);

/** The first frame that a zone may own; pages below 64 KiB are never mapped. */
export const FIRST_ZONE_PFN: Pfn = pfnOf(16);

export class Pages {
  // Pfn -> references; 0 is free
  refs: Int32Array;
  // Pfn -> page table entries that map it, present or not (device-private and migration too)
  mapcount: Int32Array;
  // Pfn -> long-term pins; each has a reference as well
  pins: Int32Array;
  // Pfn -> those of its pins whose holder may write
  writePins: Int32Array;
  // Pfn -> PG_ flags
  flags: Uint16Array;
  // Pfn -> PagemapId | 0 for RAM
  pagemap: Uint8Array;
  // Pfn -> who can tell which Vmas map it (an anonymous reverse map or a file) | 0
  mapping: Int32Array;
  // Pfn -> its page offset there
  index: Int32Array;
  // first Pfn of a large page -> frames of it that have references
  live: Int16Array;

  // Pfn -> index into #groups | 0 when nobody pays
  charged: Uint8Array;

  readonly #groups: (MemoryGroup | undefined)[] = [undefined];
  readonly #zones: Zone[] = [];
  readonly #unlocked: WaitQueue;
  readonly #scheduler: Scheduler;
  readonly #chargesShared: Shared | undefined;

  constructor(scheduler: Scheduler, frames: number) {
    this.#scheduler = scheduler;
    this.#unlocked = new WaitQueue(scheduler, "a page lock");
    this.#chargesShared = Shared.of(scheduler);
    this.refs = this.#watched(new Int32Array(frames));
    this.mapcount = this.#watched(new Int32Array(frames));
    this.pins = this.#watched(new Int32Array(frames));
    this.writePins = this.#watched(new Int32Array(frames));
    this.flags = this.#watched(new Uint16Array(frames));
    this.pagemap = this.#watched(new Uint8Array(frames));
    this.mapping = this.#watched(new Int32Array(frames));
    this.index = this.#watched(new Int32Array(frames));
    this.live = this.#watched(new Int16Array(frames));
    this.charged = this.#watched(new Uint8Array(frames));
    this.refs[ZERO_PFN] = 1;
    this.flags[ZERO_PFN] = PG_RESERVED;
  }

  get capacity(): number {
    return this.refs.length;
  }

  get zones(): readonly Zone[] {
    return this.#zones;
  }

  /** Makes room for `zone` and gives its frames their owner. Linux: memory hotplug. */
  addZone(zone: Zone): void {
    const end = zone.start + zone.count;
    assert(end <= 1 << 24, () => `frame ${end} does not fit the 24 bits of an entry`);
    for (const other of this.#zones) {
      const apart = end <= other.start || other.start + other.count <= zone.start;
      assert(apart, () => `zone ${zone.name} overlaps zone ${other.name}`);
    }
    if (end > this.capacity) this.#grow(end);
    this.pagemap.fill(zone.pagemapId, zone.start, end);
    this.#zones.push(zone);
    zone.shared = Shared.of(this.#scheduler);
  }

  removeZone(zone: Zone): void {
    assert(zone.usedCount === 0, () => `zone ${zone.name} still has ${zone.usedCount} frames`);
    this.#zones.splice(this.#zones.indexOf(zone), 1);
  }

  zoneOf(frame: Pfn): Zone {
    for (const zone of this.#zones) if (zone.contains(frame)) return zone;
    return unreachable(`frame ${frame} belongs to no zone`);
  }

  /** Any free frame of `zone` with one reference, or 0 when it is full. Not cleared. */
  alloc(zone: Zone): Pfn | 0 {
    const frame = zone.take();
    if (frame !== 0) this.#born(frame);
    return frame;
  }

  /** The same for as many as `most` frames, locked by the running task. */
  allocManyLocked(zone: Zone, most: number): Pfn[] {
    const frames = zone.takeMany(most);
    for (const frame of frames) {
      this.#born(frame);
      this.flags[frame] = PG_LOCKED;
    }
    this.noteLocked(frames.length);
    return frames;
  }

  /** The frame `frame` itself, when it is free. */
  allocAt(zone: Zone, frame: Pfn): Pfn | 0 {
    if (!zone.takeAt(frame)) return 0;
    this.#born(frame);
    return frame;
  }

  /**
   * A large page: 512 frames in a row, each with one reference, or 0 when no such run is free.
   * Gives the first.
   */
  allocLarge(zone: Zone, flags = 0): Pfn | 0 {
    const head = zone.takeRun(LARGE_FRAMES);
    if (head === 0) return 0;
    for (let i = 0; i < LARGE_FRAMES; i++) {
      this.#born(pfnOf(head + i));
      this.flags[head + i] = PG_LARGE | flags;
    }
    this.live[head] = LARGE_FRAMES;
    return head;
  }

  /** The frame whose lock bit locks `frame`: the first of a large page, or itself. */
  headOf(frame: Pfn): Pfn {
    return this.is(frame, PG_LARGE) ? pfnOf(frame - (frame % LARGE_FRAMES)) : frame;
  }

  /**
   * The frames of the large page of `head` are pages of their own from now on; those that nobody
   * has any more are free. The page is not locked.
   */
  splitLarge(head: Pfn): void {
    assert(this.is(head, PG_LARGE) && head === this.headOf(head), "only a large page is split");
    assert(!this.is(head, PG_HUGETLB | PG_LOCKED), () => `frame ${head} is locked or of the pool`);
    for (let at = head as number; at < head + LARGE_FRAMES; at++) {
      this.clearFlag(pfnOf(at), PG_LARGE);
      if (this.refs[at] === 0) this.#giveBack(pfnOf(at));
    }
  }

  /**
   * A frame of the pool of huge pages, which holds its one reference, goes to somebody: one more
   * reference, and nothing left of who had it before.
   */
  renew(frame: Pfn): void {
    assert(this.refs[frame] === 1 && this.is(frame, PG_HUGETLB), () => `frame ${frame} is in use`);
    this.refs[frame] = 2;
    this.flags[frame] = PG_LARGE | PG_HUGETLB;
    this.mapping[frame] = 0;
    this.index[frame] = 0;
  }

  get(frame: Pfn): void {
    if (this.refs[frame]! <= 0) unreachable(`frame ${frame} is free: no reference to take`);
    this.refs[frame] = this.refs[frame]! + 1;
  }

  /** Gives a reference back; the last one frees the frame. */
  put(frame: Pfn): void {
    const left = this.refs[frame]! - 1;
    if (left < 0) unreachable(`frame ${frame} is given back once too often`);
    this.refs[frame] = left;
    if (left === 0) this.#free(frame);
  }

  /** One more entry maps `frame`, and holds a reference for it. */
  mapped(frame: Pfn): void {
    this.get(frame);
    if (frame !== ZERO_PFN) this.mapcount[frame] = this.mapcount[frame]! + 1;
  }

  /** One entry less maps `frame`. The reference is the caller's to put, after the flush. */
  unmapped(frame: Pfn): void {
    if (frame === ZERO_PFN) return;
    if (this.mapcount[frame]! <= 0) unreachable(`frame ${frame} is mapped nowhere`);
    this.mapcount[frame] = this.mapcount[frame]! - 1;
  }

  /**
   * Nobody has `frame` but its mappings, its cache and `held` references of the caller: once its
   * entries are away, nothing changes it. A pin is a reference of somebody else. Linux:
   * folio_expected_ref_count().
   */
  isStill(frame: Pfn, held: number): boolean {
    return this.refs[frame] === this.mapcount[frame]! + held + (this.is(frame, PG_CACHED) ? 1 : 0);
  }

  /** Lets `group` pay for `frame` until it is freed. 0, or -ENOMEM at the group's limit. */
  charge(frame: Pfn, group: MemoryGroup): Result {
    assert(this.charged[frame] === 0, () => `frame ${frame} is charged twice`);
    this.#chargesShared?.write();
    const result = group.charge(1);
    if (result < 0) return result;
    let id = this.#groups.indexOf(group);
    if (id < 0) id = this.#groups.push(group) - 1;
    this.charged[frame] = id;
    return 0;
  }

  /** `to` takes the place of `from`, and its charge. */
  moveCharge(from: Pfn, to: Pfn): void {
    assert(this.charged[to] === 0, () => `frame ${to} is charged already`);
    this.charged[to] = this.charged[from]!;
    this.charged[from] = 0;
  }

  is(frame: Pfn, flag: number): boolean {
    return (this.flags[frame]! & flag) !== 0;
  }

  setFlag(frame: Pfn, flag: number): void {
    this.flags[frame] = this.flags[frame]! | flag;
  }

  clearFlag(frame: Pfn, flag: number): void {
    this.flags[frame] = this.flags[frame]! & ~flag;
  }

  isLocked(frame: Pfn): boolean {
    return this.is(this.headOf(frame), PG_LOCKED);
  }

  isDevice(frame: Pfn): boolean {
    return this.pagemap[frame] !== 0;
  }

  tryLock(page: Pfn): boolean {
    if (this.refs[page]! <= 0) unreachable(`frame ${page} is free: nothing to lock`);
    const frame = this.headOf(page);
    if (this.is(frame, PG_LOCKED)) return false;
    this.setFlag(frame, PG_LOCKED);
    noteAcquired(this.#scheduler.current, "page");
    return true;
  }

  unlock(page: Pfn): void {
    const frame = this.headOf(page);
    if (!this.is(frame, PG_LOCKED)) unreachable(`frame ${frame} is not locked`);
    this.clearFlag(frame, PG_LOCKED);
    this.noteUnlocked(1);
  }

  /** The running task has set `PG_LOCKED` of so many frames itself, where nobody had. */
  noteLocked(count: number): void {
    noteAcquired(this.#scheduler.current, "page", count);
  }

  /** The running task has cleared `PG_LOCKED` of so many frames itself. */
  noteUnlocked(count: number): void {
    if (count === 0) return;
    noteReleased(this.#scheduler.current, "page", count);
    if (this.#unlocked.length > 0) this.#unlocked.wakeAll();
  }

  /** Sleeps until a page is unlocked or unpinned somewhere: false at the deadline. */
  *waitForChange(deadlineMs: number): Sleeps<boolean> {
    return yield* this.#unlocked.sleep(deadlineMs);
  }

  /** Sleeps until `frame` is not locked. The caller must not need it to be the same page then. */
  *waitUnlocked(page: Pfn): Sleeps<void> {
    const frame = this.headOf(page);
    yield* this.#unlocked.until(() => !this.is(frame, PG_LOCKED));
  }

  /** A long-term user besides the page tables. Linux: FOLL_PIN. */
  pin(frame: Pfn, write: boolean): void {
    this.get(frame);
    this.pins[frame] = this.pins[frame]! + 1;
    if (write) this.writePins[frame] = this.writePins[frame]! + 1;
  }

  unpin(frame: Pfn, write: boolean): void {
    assert(this.pins[frame]! > 0, () => `frame ${frame} is not pinned`);
    this.pins[frame] = this.pins[frame]! - 1;
    if (write) this.writePins[frame] = this.writePins[frame]! - 1;
    if (this.#unlocked.length > 0) this.#unlocked.wakeAll();
    this.put(frame);
  }

  #born(frame: Pfn): void {
    if (this.refs[frame] !== 0) unreachable(`frame ${frame} was free and has references`);
    this.refs[frame] = 1;
    this.mapcount[frame] = 0;
    this.flags[frame] = 0;
    this.mapping[frame] = 0;
    this.index[frame] = 0;
  }

  #free(frame: Pfn): void {
    if (this.mapcount[frame] !== 0) unreachable(`frame ${frame} is freed while it is mapped`);
    if (this.pins[frame] !== 0) unreachable(`frame ${frame} is freed while it is pinned`);
    this.mapping[frame] = 0;
    this.#chargesShared?.write();
    if (this.charged[frame] !== 0) this.#groups[this.charged[frame]!]!.uncharge(1);
    this.charged[frame] = 0;
    if (this.is(frame, PG_LARGE)) this.#freePart(frame);
    else if (this.is(frame, PG_LOCKED | PG_RESERVED)) {
      unreachable(`frame ${frame} may not be freed`);
    } else this.#giveBack(frame);
  }

  /** A large page is one allocation: its frames are free when nobody has any of them. */
  #freePart(frame: Pfn): void {
    const head = this.headOf(frame);
    this.live[head] = this.live[head]! - 1;
    if (this.live[head]! > 0) return;
    assert(!this.is(head, PG_LOCKED), () => `large page ${head} is freed while it is locked`);
    for (let at = head as number; at < head + LARGE_FRAMES; at++) this.#giveBack(pfnOf(at));
  }

  #giveBack(frame: Pfn): void {
    this.flags[frame] = 0;
    this.zoneOf(frame).giveBack(frame);
  }

  #watched<Kind extends Column>(column: Kind): Kind {
    return this.#scheduler.footprint?.watch(column) ?? column;
  }

  #grow(frames: number): void {
    const capacity = Math.min(1 << 24, Math.max(frames, this.capacity * 2));
    const copy = <Kind extends Column>(from: Kind, to: Kind): Kind => {
      to.set(from);
      return this.#watched(to);
    };
    this.refs = copy(this.refs, new Int32Array(capacity));
    this.mapcount = copy(this.mapcount, new Int32Array(capacity));
    this.pins = copy(this.pins, new Int32Array(capacity));
    this.writePins = copy(this.writePins, new Int32Array(capacity));
    this.flags = copy(this.flags, new Uint16Array(capacity));
    this.pagemap = copy(this.pagemap, new Uint8Array(capacity));
    this.mapping = copy(this.mapping, new Int32Array(capacity));
    this.index = copy(this.index, new Int32Array(capacity));
    this.live = copy(this.live, new Int16Array(capacity));
    this.charged = copy(this.charged, new Uint8Array(capacity));
  }
}
