/**
 * The smallest driver that keeps DMA mappings of a range, as an RDMA driver does for memory that
 * it pages on demand: faults, maps under its lock, unmaps in its callback. It accesses bytes only
 * by the addresses that it was given, through `DmaDevice.translate`.
 */
import {
  type AddrRange,
  EBUSY,
  PAGE_SIZE,
  type Result,
  type VirtAddr,
  virtAddr,
  vpnOf,
} from "../../../src/base/index.ts";
import type { DmaDevice } from "../../../src/dma/index.ts";
import {
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_DMA_WRITE,
  HMM_PFN_INOUT_FLAGS,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  HMM_PFN_VALID,
  type HmmDmaMap,
  type HmmRange,
  hmmDmaMapAlloc,
  hmmDmaMapFree,
  hmmDmaMapPfn,
  hmmDmaUnmapPfn,
  hmmRangeFault,
} from "../../../src/hmm/index.ts";
import { asPte, ptePfn } from "../../../src/mm/index.ts";
import { IntervalNotifier, type Invalidation } from "../../../src/notifier/index.ts";
import { PG_DIRTY } from "../../../src/phys/index.ts";
import { Mutex, type Sleeps } from "../../../src/sync/index.ts";
import type { TestWorld } from "../test-world.ts";

const ATTEMPTS_MAX = 10;

export class DmaDriver {
  readonly map: HmmDmaMap;
  readonly dma: DmaDevice;
  /** Page of the range -> the address that the device knows; 0: none. */
  readonly addresses: number[];
  readonly #world: TestWorld;
  readonly #range: AddrRange;
  readonly #lock: Mutex;
  readonly #notifier: IntervalNotifier;

  /** `isDeaf`: its callback does nothing, which breaks the contract. */
  constructor(world: TestWorld, dma: DmaDevice, range: AddrRange, isDeaf = false) {
    const count = (range.end - range.start) / PAGE_SIZE;
    const map = hmmDmaMapAlloc(dma, count);
    if (typeof map === "number") throw new Error(`no map: ${map}`);
    this.map = map;
    this.dma = dma;
    this.addresses = new Array<number>(count).fill(0);
    this.#world = world;
    this.#range = range;
    this.#lock = new Mutex(world.scheduler, "driver", "the driver's lock");
    this.#notifier = new IntervalNotifier(
      range,
      isDeaf ? undefined : { invalidate: (invalidation) => this.#invalidate(invalidation) },
    );
    const inserted = world.space.notifiers.insert(this.#notifier);
    if (inserted < 0) throw new Error(`no notifier: ${inserted}`);
  }

  /** Faults `count` pages in and maps them: how many, or a negated errno. */
  fault(index: number, count: number, write: boolean): Result {
    return this.#world.run(this.#fault(index, count, this.#requestOf(write)));
  }

  /** Maps what is there already; the rest stays as it is. */
  prefetch(index: number, count: number): Result {
    return this.#world.run(this.#fault(index, count, 0));
  }

  /** The device reads the first byte of page `index`, or fails as its hardware does. */
  readByte(index: number): number {
    const frame = this.dma.translate(this.addresses[index]!, false);
    return frame < 0 ? frame : this.#world.memory.bytes.u8[frame * PAGE_SIZE]!;
  }

  writeByte(index: number, value: number): Result {
    const frame = this.dma.translate(this.addresses[index]!, true);
    if (frame < 0) return frame;
    this.#world.memory.bytes.u8[frame * PAGE_SIZE] = value;
    return 0;
  }

  /** The flags of a page's word. */
  flags(index: number): number {
    return this.map.pfns[index]! & 0xff;
  }

  /** The end: nothing is mapped any more, and no callback comes. */
  close(): void {
    this.#world.run(this.#close());
  }

  *#close(): Sleeps<void> {
    {
      using _update = yield* this.#lock.acquire();
      for (let index = 0; index < this.addresses.length; index++) this.#unmap(index);
    }
    yield* this.#world.space.notifiers.remove(this.#notifier);
    hmmDmaMapFree(this.map);
  }

  *#fault(index: number, count: number, defaultFlags: number): Sleeps<Result> {
    const { space } = this.#world;
    const range: HmmRange = {
      start: this.#pageAt(index),
      end: this.#pageAt(index + count),
      notifier: this.#notifier,
      notifierSeq: 0,
      pfns: this.map.pfns.subarray(index, index + count),
      defaultFlags,
      pfnFlagsMask: 0,
      devPrivateOwner: undefined,
      stickyMask: HMM_PFN_INOUT_FLAGS,
    };
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      range.notifierSeq = (yield* space.notifiers.readBegin(this.#notifier))!;
      const result = yield* this.#look(range);
      if (result === -EBUSY) continue;
      if (result < 0) return result;
      using _update = yield* this.#lock.acquire();
      if (this.#notifier.readRetry(range.notifierSeq)) continue;
      return this.#program(index, count);
    }
    return -EBUSY;
  }

  *#look(range: HmmRange): Sleeps<Result> {
    const { space } = this.#world;
    using _mmap = yield* space.mmapLock.acquireRead();
    return yield* hmmRangeFault(space, range);
  }

  #program(index: number, count: number): Result {
    let mapped = 0;
    for (let i = index; i < index + count; i++) {
      if ((this.map.pfns[i]! & HMM_PFN_VALID) === 0) continue;
      const address = hmmDmaMapPfn(this.map, i);
      if (address < 0) return address;
      this.addresses[i] = address;
      mapped++;
    }
    return mapped;
  }

  *#invalidate(invalidation: Invalidation): Sleeps<boolean> {
    const update = invalidation.blockable ? yield* this.#lock.acquire() : this.#lock.tryAcquire();
    if (update === undefined) return false;
    using _held = update;
    const first = vpnOf(this.#range.start);
    const from = Math.max(vpnOf(invalidation.start) - first, 0);
    const to = Math.min(vpnOf(invalidation.end) - first, this.addresses.length);
    for (let index = from; index < to; index++) this.#unmap(index);
    return true;
  }

  #unmap(index: number): void {
    const word = this.map.pfns[index]!;
    const isWritten = word & HMM_PFN_DMA_MAPPED && word & HMM_PFN_DMA_WRITE;
    if (isWritten) this.dma.pages.setFlag(ptePfn(asPte(word)), PG_DIRTY);
    // The device keeps the address: using it now is what `translate` must catch.
    if (hmmDmaUnmapPfn(this.map, index)) this.map.pfns[index] = 0;
  }

  #requestOf(write: boolean): number {
    return write ? HMM_PFN_REQ_FAULT | HMM_PFN_REQ_WRITE : HMM_PFN_REQ_FAULT;
  }

  #pageAt(index: number): VirtAddr {
    return virtAddr(this.#range.start + index * PAGE_SIZE);
  }
}
