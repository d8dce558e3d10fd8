/**
 * The pages of a registered region: a word for each, which remembers in sticky flags whether and
 * how it is mapped for DMA, and the units that the NIC knows them by. Linux: struct ib_umem_odp.
 *
 * A *unit* is what one entry of the NIC covers: a page, or 2 MiB of a region that is all huge
 * pages. Everything but `range` belongs under the umem lock.
 */
import {
  asPte,
  EINVAL,
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_HUGE,
  HMM_PFN_INOUT_FLAGS,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmDmaMap,
  type HmmRange,
  hmmDmaMapFree,
  hmmDmaMapPfn,
  hmmDmaUnmapPfn,
  type IntervalNotifier,
  type Mutex,
  PAGE_SHIFT,
  PAGE_SIZE,
  PG_DIRTY,
  ptePfn,
  type Result,
  virtAddr,
} from "onespace/driver";

/** Units of the region: [from, to). */
export interface Units {
  readonly from: number;
  readonly to: number;
}

export interface UmemOptions {
  readonly map: HmmDmaMap;
  readonly lock: Mutex;
  readonly unitShift: number;
  /** The other side may write. */
  readonly isWritable: boolean;
}

export class Umem {
  readonly lock: Mutex;
  readonly unitCount: number;
  readonly #map: HmmDmaMap;
  readonly #pagesPerUnit: number;
  readonly #isWritable: boolean;

  constructor({ map, lock, unitShift, isWritable }: UmemOptions) {
    this.lock = lock;
    this.#map = map;
    this.#pagesPerUnit = 2 ** (unitShift - PAGE_SHIFT);
    this.unitCount = map.pfns.length / this.#pagesPerUnit;
    this.#isWritable = isWritable;
  }

  /** What to ask HMM for some units of the region that `notifier` covers. */
  range(notifier: IntervalNotifier, { from, to }: Units, defaultFlags: number): HmmRange {
    const [first, end] = [from * this.#pagesPerUnit, to * this.#pagesPerUnit];
    return {
      start: virtAddr(notifier.start + first * PAGE_SIZE),
      end: virtAddr(notifier.start + end * PAGE_SIZE),
      notifier,
      notifierSeq: 0,
      pfns: this.#map.pfns.subarray(first, end),
      defaultFlags,
      // The words of last time are no requests. What they say of DMA is kept.
      pfnFlagsMask: 0,
      devPrivateOwner: undefined,
      stickyMask: HMM_PFN_INOUT_FLAGS,
    };
  }

  /**
   * Maps the pages of a unit for DMA: how many, and 0 when it is not there. -EINVAL: not one huge
   * page; -ENOMEM, -EFAULT: the device cannot. What was mapped until then stays so.
   */
  mapUnit(unit: number): Result {
    this.lock.assertHeld();
    const { pfns } = this.#map;
    const count = this.#pagesPerUnit;
    const first = unit * count;
    if ((pfns[first]! & HMM_PFN_VALID) === 0) return 0;
    if (count > 1 && (pfns[first]! & HMM_PFN_HUGE) === 0) return -EINVAL;
    let start: Result = 0;
    for (let i = 0; i < count; i++) {
      // The program may write here. The other side may not, unless it was allowed to.
      if (!this.#isWritable) pfns[first + i] = pfns[first + i]! & ~HMM_PFN_WRITE;
      const address = hmmDmaMapPfn(this.#map, first + i);
      if (address < 0) return address;
      if (i === 0) start = address;
      // One entry of the NIC has one address. (The huge page of zeros is one page 512 times.)
      if (address !== start + i * PAGE_SIZE) return -EINVAL;
    }
    return count;
  }

  /** A unit that is mapped may be written through its mapping. */
  isWritable(unit: number): boolean {
    return (this.#map.pfns[unit * this.#pagesPerUnit]! & HMM_PFN_WRITE) !== 0;
  }

  /** The DMA address of a unit, or 0 when it is not mapped. */
  addressOf(unit: number): Result {
    const first = unit * this.#pagesPerUnit;
    if ((this.#map.pfns[first]! & HMM_PFN_DMA_MAPPED) === 0) return 0;
    // Mapped already: the same address again.
    return hmmDmaMapPfn(this.#map, first);
  }

  /**
   * Unmaps what is mapped of some units: how many pages. The NIC has forgotten them. Their words
   * name frames that are somebody else's soon: nothing is mapped by them before the next walk.
   */
  unmap({ from, to }: Units): number {
    this.lock.assertHeld();
    const { pfns, dma } = this.#map;
    let count = 0;
    for (let page = from * this.#pagesPerUnit; page < to * this.#pagesPerUnit; page++) {
      const word = pfns[page]!;
      const mayHaveWritten = (word & HMM_PFN_DMA_MAPPED) !== 0 && this.#isWritable;
      // Nobody counts what the NIC writes.
      if (mayHaveWritten && word & HMM_PFN_WRITE) dma.pages.setFlag(ptePfn(asPte(word)), PG_DIRTY);
      if (hmmDmaUnmapPfn(this.#map, page)) count++;
    }
    return count;
  }

  /** Everything is unmapped, and no callback comes any more. */
  free(): void {
    hmmDmaMapFree(this.#map);
  }
}
