/**
 * One space as one device sees it: its table, the one lock around it that an invalidation takes,
 * and what may be entered. Linux: struct drm_gpusvm, without its ranges.
 */
import {
  type AddrRange,
  addrOf,
  assert,
  ENOMEM,
  type Pfn,
  type Result,
  SPACE_BYTES,
  SPACE_PAGES,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../base/index.ts";
import {
  REACH_COPY,
  REACH_EXCLUSIVE,
  REACH_WRITE,
  type Shadow,
  type ShadowVisitor,
} from "../check/index.ts";
import { isMigrating, type Migration, migrateFrame } from "../devmem/index.ts";
import { type AddressSpace, hasFrame, PTE_EXCLUSIVE, PTE_WRITE, ptePfn } from "../mm/index.ts";
import {
  IntervalNotifier,
  type Invalidation,
  MMU_NOTIFY_MIGRATE,
  MMU_NOTIFY_PROTECTION_PAGE,
} from "../notifier/index.ts";
import { ZERO_PFN } from "../phys/index.ts";
import { Mutex, Shared, type Sleeps } from "../sync/index.ts";
import type { DeviceMemory } from "./device-memory.ts";
import { allows, ENTRY_NONE, type Entry, type EntryTable, entryFrame, newEntry } from "./entry.ts";
import { MIGRATION_PAGES } from "./move.ts";

export interface ShadowOptions {
  /** Where the words are: the driver's. Empty. Written through the shadow only. */
  readonly table: EntryTable;
  /** Pages behind an event that go as well. Default 0. */
  readonly pagesBehind?: number;
}

export class DeviceShadow implements Shadow {
  readonly name: string;
  readonly isCpu = false;
  readonly memory: DeviceMemory;
  readonly space: AddressSpace;
  readonly table: EntryTable;
  /** The lock that an invalidation takes; guards the table. */
  readonly lock: Mutex;
  readonly notifier: IntervalNotifier;
  readonly #pagesBehind: number;
  // Migrations whose bytes are here, and whose pages are not yet.
  readonly #arriving = new Set<Migration>();
  readonly #shared: Shared | undefined;
  #isClosed = false;

  private constructor(memory: DeviceMemory, space: AddressSpace, options: ShadowOptions) {
    this.name = memory.pagemap.zone.name;
    this.memory = memory;
    this.space = space;
    this.table = options.table;
    this.#pagesBehind = options.pagesBehind ?? 0;
    this.#shared = Shared.of(space.memory.scheduler);
    this.lock = new Mutex(space.memory.scheduler, "driver", "the device's update lock");
    this.notifier = new IntervalNotifier(
      { start: virtAddr(0), end: virtAddr(SPACE_BYTES) },
      { invalidate: (invalidation) => this.#invalidate(invalidation) },
    );
  }

  /** The device sees `space` from now on. -EINVAL: the space is going away. -ENOMEM: no frame. */
  static open(
    memory: DeviceMemory,
    space: AddressSpace,
    options: ShadowOptions,
  ): DeviceShadow | Result {
    const shadow = new DeviceShadow(memory, space, options);
    if (!memory.addShadow(shadow)) return -ENOMEM;
    const result = space.notifiers.insert(shadow.notifier);
    if (result === 0) return shadow;
    memory.removeShadow(shadow);
    return result;
  }

  /**
   * The device sees it no more; pages stay where they are. First the entries go, then the
   * subscription: an event in between would not reach what is left. Again is nothing.
   */
  *close(): Sleeps<void> {
    {
      using _update = yield* this.lock.acquire();
      yield* this.memory.waitIdle();
      this.#isClosed = true;
      this.drop(vpn(0), vpn(SPACE_PAGES));
    }
    if (this.notifier.isRegistered) yield* this.space.notifiers.remove(this.notifier);
    this.memory.removeShadow(this);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get(page: Vpn): Entry {
    return this.table.get(page);
  }

  /** The device may do that to `page`. */
  allows(page: Vpn, write: boolean): boolean {
    return allows(this.table.get(page), write);
  }

  /** The page itself is in the device's memory, whatever the device's table says. */
  isHere(page: Vpn): boolean {
    const pte = this.space.pageTable.get(page);
    return hasFrame(pte) && this.memory.pagemap.zone.contains(ptePfn(pte));
  }

  /** Writes a word; the caller has the lock and knows that it is true. */
  set(page: Vpn, entry: Entry): void {
    this.lock.assertHeld();
    assert(!this.#isClosed, "nothing is entered into a table that is closed");
    this.table.set(page, entry);
  }

  /** Enters a page where it is: in the device's memory, or in RAM that the device reaches. */
  enterPage(page: Vpn, frame: Pfn, write: boolean): void {
    this.set(page, newEntry(frame, write));
  }

  /** Enters the device's zero page. */
  enterZero(page: Vpn): void {
    this.set(page, newEntry(this.memory.zeroFrame as Pfn, false));
  }

  /** Enters a frame that is to hold a copy of `source`, for reading: which, or 0 for none. */
  enterCopy(page: Vpn, source: Pfn): Pfn | 0 {
    assert(source !== ZERO_PFN, "the zero page is not copied");
    assert(this.get(page) === ENTRY_NONE, () => `page ${page} is on the device already`);
    const frame = this.memory.allocCopy(this, page, source);
    if (frame !== 0) this.set(page, newEntry(frame, false));
    return frame;
  }

  /**
   * Brings every page of [start, end) that is here home, Vma by Vma: how many. Those that find no
   * RAM, or that somebody holds, stay. `toRead`: see `DeviceMemory.moveHome`.
   */
  *moveHome(start: VirtAddr, end: number, toRead = false): Sleeps<Result> {
    if (this.memory.frames.pageCount === 0) return 0;
    const { space } = this;
    let moved = 0;
    using _mmap = yield* space.mmapLock.acquireRead();
    for (const vma of [...space.vmas.overlapping(start, virtAddr(end))]) {
      const last = vpnOf(virtAddr(Math.min(vma.end, end)));
      let page = this.#nextHere(vpnOf(virtAddr(Math.max(vma.start, start))), last);
      while (page < last) {
        const stop = vpn(Math.min(last, page + MIGRATION_PAGES));
        const result = yield* this.memory.moveHome({ space, vma, start: page, end: stop, toRead });
        if (result < 0) return result;
        moved += result;
        page = this.#nextHere(stop, last);
      }
    }
    return moved;
  }

  /**
   * The copy of `page` that is here becomes the page, and has no entry any more: its frame, locked,
   * or 0 when there is none. The caller has the lock; nothing runs.
   */
  adopt(page: Vpn): Pfn | 0 {
    const entry = this.get(page);
    if (entry === ENTRY_NONE || !this.#isCopy(entry)) return 0;
    const frame = entryFrame(entry);
    this.set(page, ENTRY_NONE);
    this.memory.frames.promote(this.memory.pagemap.indexOf(frame));
    assert(this.space.memory.pages.tryLock(frame), "nobody locks a copy");
    return frame;
  }

  /**
   * `page` goes home to `home`, and its frame here holds a copy from now on, with an entry. The
   * caller has the lock, and nobody can change the page before it is known that it has copies.
   */
  keep(page: Vpn, frame: Pfn, home: Pfn): void {
    assert(this.get(page) === ENTRY_NONE, () => `page ${page} goes home and has an entry still`);
    const { frames, pagemap } = this.memory;
    frames.demote(pagemap.indexOf(frame), { shadow: this, page, source: home });
    this.set(page, newEntry(frame, false));
  }

  /** The pages of `migration` are about to arrive here, until `isOver`. */
  noteArrival(migration: Migration, isOver: boolean): void {
    this.#shared?.write();
    if (isOver) this.#arriving.delete(migration);
    else this.#arriving.add(migration);
  }

  /**
   * The device forgets [start, end); copies are gone with their entries. The caller has the lock
   * and knows that nothing runs that could use them.
   */
  drop(start: Vpn, end: Vpn): void {
    this.lock.assertHeld();
    let page = this.table.nextUsed(start, end);
    while (page < end) {
      const entry = this.table.get(page);
      this.table.set(page, ENTRY_NONE);
      if (this.#isCopy(entry)) this.memory.freeCopy(entryFrame(entry));
      page = this.table.nextUsed(page + 1, end);
    }
  }

  /** Frames that it has a reference to: its copies, and (one shadow of all) the zero page. */
  get held(): Iterable<Pfn> {
    const held: Pfn[] = [];
    const { zeroFrame } = this.memory;
    if (zeroFrame !== 0 && this.memory.isFirst(this)) held.push(zeroFrame);
    this.#forEachEntry((_page, entry) => {
      if (this.#isCopy(entry)) held.push(entryFrame(entry));
    });
    return held;
  }

  forEachReachable(visit: ShadowVisitor): void {
    const { frames, pagemap, zeroFrame } = this.memory;
    this.#forEachEntry((page, entry) => {
      const frame = entryFrame(entry);
      const write = (entry & PTE_WRITE) === 0 ? 0 : REACH_WRITE;
      const reach = write | ((entry & PTE_EXCLUSIVE) === 0 ? 0 : REACH_EXCLUSIVE);
      if (frame === zeroFrame) visit(page, ZERO_PFN, reach);
      else if (!this.#isCopy(entry)) visit(page, frame, reach);
      else visit(page, frames.copyOf(pagemap.indexOf(frame)).source, reach | REACH_COPY);
    });
  }

  checkBooks(): void {
    const { frames, isIdle, pagemap, residentPages, zeroFrame } = this.memory;
    assert(isIdle, () => `${this.name} is at work`);
    this.#forEachEntry((page, entry) => {
      if (!this.#isCopy(entry)) return;
      const copy = frames.copyOf(pagemap.indexOf(entryFrame(entry)));
      const isOwn = copy.shadow === this && copy.page === page;
      assert(isOwn, () => `${this.name} page ${page} uses the copy of another page`);
    });
    const used = pagemap.zone.usedCount - (zeroFrame === 0 ? 0 : 1);
    assert(residentPages === used, () => `${residentPages} frames hold data, ${used} are used`);
  }

  #forEachEntry(visit: (page: Vpn, entry: Entry) => void): void {
    let page = this.table.nextUsed(0, SPACE_PAGES);
    while (page < SPACE_PAGES) {
      visit(vpn(page), this.table.get(page));
      page = this.table.nextUsed(page + 1, SPACE_PAGES);
    }
  }

  /**
   * Somebody changes the page table: what the device has of that goes before this returns, and
   * nothing that could have used it still runs. The device's own migrations drop what they move,
   * and its own write protection keeps copies as they are.
   */
  *#invalidate(invalidation: Invalidation): Sleeps<boolean> {
    const { event, owner, blockable } = invalidation;
    const isOwn = event === MMU_NOTIFY_MIGRATE || event === MMU_NOTIFY_PROTECTION_PAGE;
    if (isOwn && owner === this.memory.owner) {
      yield* this.#dropReplaced(invalidation);
      return true;
    }
    const start = vpnOf(invalidation.start);
    const end = vpn(Math.min(vpnOf(invalidation.end) + this.#pagesBehind, SPACE_PAGES));
    const update = blockable ? yield* this.lock.acquire() : this.lock.tryAcquire();
    if (update === undefined) return false;
    using _held = update;
    if (this.table.nextUsed(start, end) >= end) return true;
    if (!blockable && !this.memory.isIdle) return false;
    yield* this.memory.waitIdle();
    this.drop(start, end);
    return true;
  }

  /**
   * Where nothing was, a migration puts a page in an event of its own. Nobody had locked what was
   * there until then: the zero page may have been entered since the migration began.
   */
  *#dropReplaced(range: AddrRange): Sleeps<void> {
    this.#shared?.read();
    if (this.#arriving.size === 0) return;
    using _update = yield* this.lock.acquire();
    yield* this.memory.waitIdle();
    for (const { src, dst, start } of this.#arriving) {
      for (let slot = 0; slot < src.length; slot++) {
        const page = vpn(start + slot);
        const isFresh = isMigrating(src[slot]!) && migrateFrame(src[slot]!) === 0;
        const isInside = addrOf(page) >= range.start && addrOf(page) < range.end;
        if (isFresh && isInside && dst[slot] !== 0) this.drop(page, vpn(page + 1));
      }
    }
  }

  #nextHere(page: Vpn, end: Vpn): Vpn {
    const { pageTable } = this.space;
    let at = pageTable.nextUsed(page, end);
    while (at < end && !this.isHere(at)) at = pageTable.nextUsed(vpn(at + 1), end);
    return at;
  }

  /** Only a device that does not reach RAM has copies. */
  #isCopy(entry: Entry): boolean {
    return (
      !this.memory.reachesRam &&
      entryFrame(entry) !== this.memory.zeroFrame &&
      this.memory.isCopy(entryFrame(entry))
    );
  }
}
