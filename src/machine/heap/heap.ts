/**
 * malloc and free over a piece of the address space, for one of the threads that share it. All
 * bookkeeping is outside of the heap's own pages: these may be on a device, and looking at them
 * would bring them home. Synchronous.
 *
 * Blocks up to 2 KiB come from slabs (`slabs.ts`); larger ones, and slabs, are runs of pages
 * (`own-pages.ts`). Whatever a thread knows of its blocks is in its own `Heap`, so a block of
 * another thread is given to that thread: it goes into its bag (`bags.ts`).
 */
import { assert, EINVAL, ENOMEM, isPageRange, PAGE_SIZE, type Result } from "../../base/index.ts";
import { type HmmError, invalid } from "../error.ts";
import { show } from "../given.ts";
import { Bags } from "./bags.ts";
import type { HeapOptions, HeapTotals, HeapUsage } from "./options.ts";
import { OwnPages } from "./own-pages.ts";
import { noBlock, noRoom, notInHeap, notOwn } from "./refusal.ts";
import { type HeapRemains, packRemains, unpackRemains } from "./remains.ts";
import { HeapShared, LOST, MAPPED, NOBODY, numberOf } from "./shared.ts";
import { classOf, classPages, Slabs, SMALL_MAX } from "./slabs.ts";
import { spanOf } from "./spans.ts";

const NONE = -1;
const ALIGN_DEFAULT = 8;

/** After so many calls of malloc it is time to look whether others freed something. */
const LOOK_EVERY = 256;
/** So many frees that found a full bag are tried again at a time. */
const RETRIES = 16;

/** What became of an address that was to be freed. */
const FREED = 0;
const BAG_FULL = 1;
const NO_BLOCK = 2;

export class Heap {
  readonly start: number;
  readonly end: number;
  /** The thread in this heap: for `bury`, should it end without `detach`. */
  readonly id: number;
  // What its spans and its bag go by; another thread's after `detach`.
  readonly #number: number;
  readonly #options: HeapOptions;
  readonly #shared: HeapShared;
  readonly #bags: Bags;
  #pages: OwnPages;
  #slabs: Slabs;
  #isDetached = false;
  #untilLook = LOOK_EVERY;
  // Addresses whose bag was full; where to try next.
  readonly #pending: number[] = [];
  #nextPending = 0;
  #blocks = 0;
  #largeBytes = 0;

  /** Throws EAGAIN when too many threads use the heap. */
  constructor(options: HeapOptions) {
    const { start, end, shared } = options;
    assert(isPageRange(start, end) && start > 0, () => `heap: ${start}..${end} are not its pages`);
    this.start = start;
    this.end = end;
    this.#options = options;
    this.#shared = new HeapShared(start / PAGE_SIZE, (end - start) / PAGE_SIZE, shared);
    this.#bags = new Bags(this.#shared);
    this.id = options.id ?? this.#shared.attach();
    assert(this.#shared.isLive(this.id), () => `heap: ${options.id} is no thread that was invited`);
    this.#number = numberOf(this.id);
    this.#pages = this.#newPages();
    this.#slabs = new Slabs(start, end, this.#pages);
  }

  /** What the Heap of another thread needs to share this heap. */
  get shared(): SharedArrayBuffer {
    return this.#shared.buffer;
  }

  /**
   * An id for a thread that is about to start: whoever starts it can `bury` it, even if it ends
   * before it has made its Heap. Throws EAGAIN when too many threads use the heap.
   */
  invite(): number {
    this.#assertAttached();
    return this.#shared.attach();
  }

  /** The address of a new block. Its bytes are what the last user left there. */
  malloc(bytes: number, align = ALIGN_DEFAULT, call = "malloc"): number {
    const result = this.allocate(bytes, align);
    if (result >= 0) return result;
    if (result === -ENOMEM) throw noRoom(call, bytes, this.usage);
    if (!Number.isSafeInteger(bytes) || bytes <= 0) {
      throw invalid(call, `size must be a positive integer, got ${show(bytes)}`);
    }
    throw invalid(call, `align must be a power of two, got ${show(align)}`);
  }

  /** malloc as the engine speaks: an address, -ENOMEM, or -EINVAL. */
  allocate(bytes: number, align = ALIGN_DEFAULT): Result {
    if (!Number.isSafeInteger(bytes) || bytes <= 0) return -EINVAL;
    if (
      typeof align !== "number" ||
      align >>> 0 !== align ||
      align === 0 ||
      (align & (align - 1)) !== 0
    )
      return -EINVAL;
    if (--this.#untilLook === 0) {
      this.#untilLook = LOOK_EVERY;
      this.collect();
    }
    if (bytes > SMALL_MAX || align > SMALL_MAX) return this.#takePages(bytes, align);
    const index = classOf(bytes, align);
    let address = this.#slabs.take(index);
    if (address === NONE) address = this.#takeSlotSlowly(index);
    if (address === NONE) return -ENOMEM;
    this.#blocks++;
    return address;
  }

  /**
   * Gives a block back, of whichever thread. 0 is no block and nothing happens, as in C. Throws
   * EINVAL for what is no block, if this thread can know; else its owner hears of it
   * (`onBadFree`). A block of a thread that ended without `detach` is gone already.
   */
  free(address: number): void {
    if (address === 0) return;
    if (typeof address !== "number") throw notInHeap("free", address, this.start, this.end);
    if (!this.#freeOwn(address)) this.#freeOther(address);
  }

  /** The bytes that the block at `address` may use: at least those asked for. Own blocks only. */
  sizeOf(address: number): number {
    const slab = this.#slabs.slabAt(address);
    if (slab !== NONE) {
      if (this.#slabs.blockOver(slab, address) === address) return this.#slabs.slotBytes(slab);
    } else {
      const page = this.#blockPage(address);
      if (page !== NONE) return this.#pages.lengthOf(page) * PAGE_SIZE;
    }
    throw this.#refusal("sizeOf", address);
  }

  /**
   * Frees what other threads gave this one to free, and tries again what they had no room for.
   * malloc does this now and then; a thread that does not allocate for long may.
   */
  collect(): void {
    this.#assertAttached();
    if (this.#bags.isHinted(this.#number)) this.#emptyBag(this.#number);
    this.#retryPending();
  }

  /**
   * The thread ends: spans without blocks go back. What is still allocated stays, and frees of it
   * wait, until another thread adopts the answer (plain data, to be sent); `undefined` when
   * nothing is. No call of this Heap is allowed any more.
   */
  detach(): HeapRemains | undefined {
    this.#assertAttached();
    this.#emptyBag(this.#number);
    this.#slabs.dropSpares();
    this.#pages.giveAllFree();
    const remains = packRemains(this.id, this.#pages, this.#slabs, this.#pending);
    const isNothing = remains.runs.length === 0 && remains.pending.length === 0;
    if (isNothing) this.#shared.leave(this.id);
    else this.#shared.orphan(this.id);
    this.#isDetached = true;
    this.#pages = this.#newPages();
    this.#slabs = new Slabs(this.start, this.end, this.#pages);
    this.#blocks = 0;
    this.#largeBytes = 0;
    return isNothing ? undefined : remains;
  }

  /**
   * Takes over the blocks of a thread that detached, and with them the room between. Best done by
   * a thread that allocates: it uses that room, and sees what others free. EINVAL: it is too late.
   */
  adopt(remains: HeapRemains): void {
    this.#assertAttached();
    const { id, pending } = remains;
    if (!this.#shared.clearOrphan(id, this.#number)) {
      throw invalid("adopt", `what thread ${numberOf(id)} left has been adopted, or is lost`);
    }
    const { blocks, largeBytes } = unpackRemains(remains, this.#pages, this.#slabs);
    this.#blocks += blocks;
    this.#largeBytes += largeBytes;
    // Who saw the old owner puts there before this, or looks again and takes it back.
    this.#emptyBag(numberOf(id));
    this.#shared.release(id, this.#number);
    for (const address of pending) this.#settle(address);
  }

  /**
   * Thread `id` has ended, maybe without `detach`, and nobody will adopt what it left: its spans
   * are lost, to free a block in them does nothing, and another thread gets its number. False:
   * nothing was left, or it is adopted.
   */
  bury(id: number): boolean {
    this.#assertAttached();
    if (id === this.id) throw invalid("bury", `thread ${this.#number} is the caller`);
    const isLive = this.#shared.clearLive(id, this.#number);
    if (!isLive && !this.#shared.clearOrphan(id, this.#number)) return false;
    // Before its number is another's: what it was about to adopt is lost with it.
    for (;;) {
      const orphan = this.#shared.clearInstead(numberOf(id), this.#number);
      if (orphan === 0) break;
      this.#lose(orphan);
    }
    this.#lose(id);
    return true;
  }

  /** Part of [start, end) is the heap's and not lent to mappings: only the heap may unmap it. */
  hasAny(start: number, end: number): boolean {
    const { spans } = this.#pages;
    const last = Math.min(end, this.end);
    for (let at = Math.max(start, this.start); at < last; ) {
      const span = spanOf((at - this.start) / PAGE_SIZE);
      if (spans.ownerOf(span) !== MAPPED) return true;
      at = this.start + spans.endPage(span) * PAGE_SIZE;
    }
    return false;
  }

  /** Of the blocks that this thread allocated or adopted. */
  get usage(): HeapUsage {
    const { bytesFree, bytesFreeRun, bytesTaken } = this.#pages;
    return {
      blocks: this.#blocks,
      bytesUsed: this.#slabs.bytesUsed + this.#largeBytes,
      bytesHeld: bytesTaken,
      bytesFree,
      bytesFreeRun,
    };
  }

  /** Counted while others go on: true of each span at some moment. */
  get totals(): HeapTotals {
    const { spans } = this.#pages;
    const bytes = (isCounted: (owner: number) => boolean): number =>
      spans.pagesWhere(isCounted) * PAGE_SIZE;
    return {
      threads: this.#shared.threads,
      bytesTaken: bytes((owner) => owner > NOBODY),
      bytesLost: bytes((owner) => owner === LOST),
      bytesFree: bytes((owner) => owner === NOBODY),
    };
  }

  #takeSlotSlowly(index: number): number {
    this.collect();
    const address = this.#slabs.take(index);
    if (address !== NONE) return address;
    // One that is elsewhere: its pages are as good as any, once nobody needs what they hold.
    this.#slabs.dropSpare(index);
    const pages = classPages(index);
    const page = this.#takeRun(pages, 1);
    if (page === NONE) return this.#slabs.take(index, true);
    // No better than what there is: nothing can be touched just now.
    if (this.#slabs.hasSlot(index) && !this.#pages.isHere(page, pages)) this.#pages.give(page);
    else this.#slabs.open(index, page);
    return this.#slabs.take(index, true);
  }

  #takePages(bytes: number, align: number): Result {
    const pages = Math.ceil(bytes / PAGE_SIZE);
    const first = this.#takeRun(pages, Math.max(align / PAGE_SIZE, 1));
    if (first === NONE) return -ENOMEM;
    this.#blocks++;
    this.#largeBytes += pages * PAGE_SIZE;
    return this.start + first * PAGE_SIZE;
  }

  #takeRun(pages: number, align: number): number {
    const first = this.#findRun(pages, align);
    return first === NONE ? NONE : this.#pages.renewed(first, pages, align);
  }

  /** Takes pages; when there are none, after giving back those that only wait to be used. */
  #findRun(pages: number, align: number): number {
    const first = this.#pages.take(pages, align);
    if (first !== NONE) return first;
    this.collect();
    const more = this.#pages.takeOrGrow(pages, align);
    if (more !== NONE || !this.#slabs.dropSpares()) return more;
    return this.#pages.takeOrGrow(pages, align);
  }

  /** Frees a large block of this thread; false: it is none. */
  #givePages(address: number): boolean {
    const page = this.#blockPage(address);
    if (page === NONE) return false;
    this.#largeBytes -= this.#pages.lengthOf(page) * PAGE_SIZE;
    this.#pages.give(page);
    return true;
  }

  /** Frees a block of this thread; false: it is none. */
  #freeOwn(address: number): boolean {
    const slab = this.#slabs.slabAt(address);
    const isFreed = slab === NONE ? this.#givePages(address) : this.#slabs.give(slab, address);
    if (!isFreed) return false;
    this.#blocks--;
    if (this.#blocks === 0) this.#slabs.dropSpares();
    return true;
  }

  #freeOther(address: number): void {
    this.#assertAttached();
    const isAddress = this.#isInHeap(address) && Number.isInteger(address);
    const result = isAddress ? this.#send(address) : NO_BLOCK;
    if (result === NO_BLOCK) throw this.#refusal("free", address);
    if (this.#pending.length > 0) this.#retryPending();
    if (result === BAG_FULL) this.#pending.push(address);
  }

  /** Frees what another thread gave away, or gives it to whose it is. */
  #settle(address: number): void {
    const result = this.#freeOwn(address) ? FREED : this.#send(address);
    if (result === NO_BLOCK) this.#options.onBadFree?.(address);
    if (result === BAG_FULL) this.#pending.push(address);
  }

  /** Puts the address of a block that is not this thread's into the bag of whose it is. */
  #send(address: number): number {
    const span = spanOf((address - this.start) / PAGE_SIZE);
    const { spans } = this.#pages;
    for (;;) {
      const owner = spans.ownerOf(span);
      if (owner === NOBODY || owner === MAPPED || owner === this.#number) return NO_BLOCK;
      if (owner === LOST) return FREED;
      const cell = this.#bags.put(owner, address);
      if (cell === NONE) return BAG_FULL;
      // An adopter changes the owner first and empties the bag then: one of us sees the other.
      if (spans.ownerOf(span) === owner) return FREED;
      if (!this.#bags.takeBack(cell, address)) return FREED;
    }
  }

  #lose(id: number): void {
    this.#pages.spans.lose(numberOf(id));
    this.#emptyBag(numberOf(id));
    this.#shared.release(id, this.#number);
  }

  #emptyBag(number: number): void {
    this.#bags.empty(number, (address) => this.#settle(address));
  }

  /** Tries the next few again; those whose bag is still full do not stop the others. */
  #retryPending(): void {
    const pending = this.#pending;
    for (let tries = Math.min(pending.length, RETRIES); tries > 0 && pending.length > 0; tries--) {
      const at = this.#nextPending % pending.length;
      const address = pending[at]!;
      const result = this.#freeOwn(address) ? FREED : this.#send(address);
      if (result === BAG_FULL) {
        this.#nextPending = at + 1;
        continue;
      }
      pending[at] = pending[pending.length - 1]!;
      pending.pop();
      if (result === NO_BLOCK) this.#options.onBadFree?.(address);
    }
  }

  #newPages(): OwnPages {
    return new OwnPages(this.#shared, this.#number, this.start / PAGE_SIZE, this.#options);
  }

  #assertAttached(): void {
    assert(!this.#isDetached, "heap: the thread has detached");
  }

  #isInHeap(address: number): boolean {
    return address >= this.start && address < this.end;
  }

  /** The first page of this thread's large block at `address`, or -1. */
  #blockPage(address: number): number {
    if (!this.#isInHeap(address) || address % PAGE_SIZE !== 0) return NONE;
    const page = (address - this.start) / PAGE_SIZE;
    return this.#pages.isTaken(page) ? page : NONE;
  }

  /** Why `call` cannot have the block at `address`. */
  #refusal(call: string, address: number): HmmError {
    if (!this.#isInHeap(address)) return notInHeap(call, address, this.start, this.end);
    const page = Math.floor((address - this.start) / PAGE_SIZE);
    const owner = this.#pages.spans.ownerOf(spanOf(page));
    if (owner === MAPPED) return notInHeap(call, address, this.start, this.end);
    if (owner !== this.#number && owner !== NOBODY) return notOwn(call, address, owner);
    const slab = this.#slabs.slabAt(address);
    if (slab !== NONE) return noBlock(call, address, this.#slabs.blockOver(slab, address));
    const first = this.#pages.coveredBy(page);
    return noBlock(call, address, first === NONE ? NONE : this.start + first * PAGE_SIZE);
  }
}
