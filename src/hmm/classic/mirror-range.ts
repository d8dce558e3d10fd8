/**
 * A short-lived look at part of a space: the HMM range API of Linux 5.2 (register, wait until
 * valid, snapshot, fault, unregister) on top of sequences. `valid` means that nothing has
 * invalidated the range since it was read; it never turns true again for what was read before.
 */
import {
  type AddrRange,
  assert,
  EAGAIN,
  EBUSY,
  EFAULT,
  EINVAL,
  EPERM,
  formatRange,
  PAGE_SHIFT,
  type Result,
  virtAddr,
  vpnOf,
} from "../../base/index.ts";
import type { DmaDevice } from "../../dma/index.ts";
import { mmputAsync, VM_IO, VM_PFNMAP, VM_READ } from "../../mm/index.ts";
import { IntervalNotifier, type Seq } from "../../notifier/index.ts";
import type { CancelSignal, Sleeps } from "../../sync/index.ts";
import {
  HMM_PFN_ERROR,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  type HmmRange,
} from "../hmm-range.ts";
import { hmmRangeFault, tryHmmRangeFault } from "../range-fault.ts";
import type { DeviceEntries, EntryContext, EntryFormat } from "./entry-format.ts";
import type { Mirror } from "./mirror.ts";
import { mapRangeForDma, unmapRangeForDma } from "./range-dma.ts";

/** How long `waitUntilValid` waits unless told otherwise, in milliseconds. */
export const HMM_RANGE_DEFAULT_TIMEOUT = 1000;

/** Memory that no device may map: bare frame numbers. Linux: VM_IO, VM_PFNMAP. */
const DEVICE_VMA = VM_IO | VM_PFNMAP;

export interface RangeOptions<E extends DeviceEntries = Uint32Array> extends AddrRange {
  /** What is requested of every entry, in the bits of `format`. Default: nothing. */
  readonly defaultFlags?: number | bigint;
  /** Which bits of an entry's own request count. Default: none. */
  readonly pfnFlagsMask?: number | bigint;
  /**
   * The size of the device's pages: PAGE_SHIFT (default), or that of the pages of a hugetlb
   * mapping, with one entry for each.
   */
  readonly pageShift?: number;
  /** How the device wants its entries. Default: words as `hmm-range.ts` describes, for free. */
  readonly format?: EntryFormat<E>;
}

export interface WaitOptions {
  /** Default `HMM_RANGE_DEFAULT_TIMEOUT`. */
  readonly timeoutMs?: number;
  /** Ends the wait. */
  readonly signal?: CancelSignal;
}

export interface FaultOptions {
  /** Requests all pages for writing (true) or reading (false), besides what the flags request. */
  readonly write?: boolean;
}

export class MirrorRange<E extends DeviceEntries = Uint32Array> implements AddrRange {
  readonly start: AddrRange["start"];
  readonly end: AddrRange["end"];
  readonly pageShift: number;
  /**
   * In: what is requested of each entry beyond the default flags, where `pfnFlagsMask` lets it
   * count. Never written here, so a retry asks for the same again. (In Linux requests and results
   * share an array, and who forgets to fill it again requests the results.)
   */
  readonly requests: E;
  /** Out: an entry for each page, in the device's format. */
  readonly entries: E;
  /** Out: the same in the engine's own words (`hmm-range.ts`); `entries` itself without format. */
  readonly pfns: Uint32Array;
  readonly #mirror: Mirror;
  readonly #hmm: HmmRange;
  readonly #format: EntryFormat<E> | undefined;
  readonly #context: EntryContext = {
    isPrivate: (frame) => this.#mirror.space.memory.isPrivate(frame),
    isSpecial: (index) => {
      const address = this.start + index * 2 ** this.pageShift;
      const vma = this.#mirror.space.vmas.find(virtAddr(address));
      return vma !== undefined && (vma.flags & DEVICE_VMA) !== 0;
    },
  };
  // when the words were read; none: not yet
  #readSeq: Seq | undefined;
  #isArmed = false;
  #isRegistered = true;
  #isMapped = false;

  /** Only `Mirror.range` calls this; it holds the space. */
  constructor(mirror: Mirror, options: RangeOptions<E>) {
    const { start, end, format, defaultFlags = 0, pfnFlagsMask = 0 } = options;
    this.start = start;
    this.end = end;
    this.pageShift = options.pageShift ?? PAGE_SHIFT;
    this.#format = format;
    this.#mirror = mirror;
    const pages = vpnOf(end) - vpnOf(start);
    const count = pages >> (this.pageShift - PAGE_SHIFT);
    this.pfns = new Uint32Array(count);
    // Without a format E is Uint32Array.
    this.entries = format?.newEntries(count) ?? (this.pfns as E);
    this.requests = format?.newEntries(count) ?? (new Uint32Array(count) as E);
    this.#hmm = {
      start,
      end,
      notifier: new IntervalNotifier(options),
      notifierSeq: 0,
      pfns: count === pages ? this.pfns : new Uint32Array(pages),
      defaultFlags: this.#requestOf(defaultFlags),
      pfnFlagsMask: this.#requestOf(pfnFlagsMask),
      devPrivateOwner: mirror.devPrivateOwner,
      requireWrite: true,
    };
    const inserted = mirror.space.notifiers.insert(this.#hmm.notifier);
    assert(inserted === 0, "a range of a live space can be registered");
  }

  /**
   * Sleeps until no invalidation is open on the range and begins to read it. False when the time
   * is over or `signal` aborts first. Not with the driver's lock or mmapLock held.
   */
  *waitUntilValid(options: WaitOptions = {}): Sleeps<boolean> {
    this.#assertRegistered();
    const { notifiers } = this.#mirror.space;
    const deadlineMs = notifiers.nowMs + (options.timeoutMs ?? HMM_RANGE_DEFAULT_TIMEOUT);
    this.#isArmed = false;
    return this.#arm(yield* notifiers.readBegin(this.#hmm.notifier, deadlineMs, options.signal));
  }

  /** The same for code that may not sleep: false while an invalidation is open. */
  tryUntilValid(): boolean {
    this.#assertRegistered();
    return this.#arm(this.#hmm.notifier.tryReadBegin());
  }

  /**
   * Nothing has touched the range since it was read (before it is read: since `waitUntilValid`).
   * Final only under the driver's lock. Never true again for what was read before an event, however
   * often is waited: it has to be read again.
   */
  get valid(): boolean {
    return this.#mayRead && (this.#readSeq ?? this.#hmm.notifierSeq) === this.#hmm.notifierSeq;
  }

  /**
   * What is there now, without faulting: how many pages were looked at, or a negated errno.
   * -EBUSY: not valid (any more), wait again. -EFAULT: no memory that a device may see is mapped
   * somewhere; -EPERM: it may not be read; -EINVAL: its pages have another size than `pageShift`.
   * After an error the entries say "nothing" from the first page that was not looked at. (-EBUSY
   * before anything was looked at leaves them as they were.)
   */
  *snapshot(): Sleeps<Result> {
    if (!this.#mayRead) return -EBUSY;
    using _mmap = yield* this.#mirror.space.mmapLock.acquireRead();
    return this.#refuse() || (yield* this.#walk(this.#ask(0, 0)));
  }

  /**
   * The same after faulting in what is requested. Besides: -EPERM, written may not be what is
   * requested for writing; -EFAULT, a requested page cannot be had (its entry says "error");
   * -ENOMEM. Own device-private pages are reported where they are, those of others come home.
   */
  *fault(options: FaultOptions = {}): Sleeps<Result> {
    if (!this.#mayRead) return -EBUSY;
    using _mmap = yield* this.#mirror.space.mmapLock.acquireRead();
    return this.#refuse() || (yield* this.#walk(this.#askWith(options)));
  }

  /**
   * `fault` for code that may not sleep. -EAGAIN when it would have to, for a lock, a device, a
   * file, an event: begin again where sleeping is allowed. Linux 5.2: hmm_range_fault(block=false).
   */
  tryFault(options: FaultOptions = {}): Result {
    if (!this.#mayRead) return -EBUSY;
    const { space } = this.#mirror;
    using mmap = space.mmapLock.tryAcquireRead();
    if (mmap === undefined) return -EAGAIN;
    const refused = this.#refuse();
    if (refused < 0) return refused;
    const asked = this.#askWith(options);
    return this.#finish(tryHmmRangeFault(space, asked), asked);
  }

  /**
   * Maps every valid page for `dma` and puts its DMA address into `addresses`, a page of
   * PAGE_SIZE each; 0 where none is. How many, or -EBUSY: not valid any more; -EFAULT: a page
   * cannot be mapped; -EINVAL: too few addresses; -EOPNOTSUPP: `dma` needs bounce buffers. After
   * an error nothing is mapped. With the driver's lock held: what is mapped is valid until the
   * callback, which must unmap. Linux 5.2's hmm_range_dma_map() also faults, and so cannot be
   * called under that lock.
   */
  dmaMap(dma: DmaDevice, addresses: Float64Array): Result {
    assert(!this.#isMapped, () => `range ${formatRange(this)} is mapped for DMA already`);
    this.#assertRegistered();
    const mapped = mapRangeForDma(this.#hmm.pfns, dma, addresses, () => this.valid);
    this.#isMapped = mapped > 0;
    return mapped;
  }

  /**
   * Undoes `dmaMap`: how many pages. With `dirty`, those that the device could write are dirty
   * now. All entries that had an address say "nothing". With the driver's lock held.
   */
  dmaUnmap(dma: DmaDevice, addresses: Float64Array, options: { dirty?: boolean } = {}): Result {
    this.#assertRegistered();
    if (!this.#isMapped) return 0;
    const unmapped = unmapRangeForDma(this.#hmm.pfns, dma, addresses, options);
    if (unmapped < 0) return unmapped;
    this.#isMapped = false;
    this.#handOver();
    return unmapped;
  }

  /**
   * Ends the hold; tells whether the range was valid to the end. Once; every later use is an
   * assertion that names the range.
   */
  unregister(): boolean {
    const valid = this.valid;
    assert(!this.#isMapped, () => `range ${formatRange(this)} is still mapped for DMA`);
    this.#isRegistered = false;
    this.#mirror.space.notifiers.removeSilent(this.#hmm.notifier);
    mmputAsync(this.#mirror.space);
    return valid;
  }

  [Symbol.dispose](): void {
    if (this.#isRegistered) this.unregister();
  }

  /** Nothing has touched the range since `waitUntilValid`. */
  get #mayRead(): boolean {
    this.#assertRegistered();
    if (!this.#isArmed || !this.#mirror.isRegistered) return false;
    return !this.#hmm.notifier.readRetry(this.#hmm.notifierSeq);
  }

  *#walk(asked: HmmRange): Sleeps<Result> {
    return this.#finish(yield* hmmRangeFault(this.#mirror.space, asked), asked);
  }

  #arm(seq: number | undefined): boolean {
    this.#isArmed = seq !== undefined && this.#mirror.isRegistered;
    if (seq !== undefined) this.#hmm.notifierSeq = seq;
    return this.#isArmed;
  }

  #requestOf(flags: number | bigint): number {
    return this.#format === undefined ? Number(flags) : this.#format.requestOf(flags);
  }

  #askWith({ write }: FaultOptions): HmmRange {
    const asked = write === undefined ? 0 : HMM_PFN_REQ_FAULT | (write ? HMM_PFN_REQ_WRITE : 0);
    return this.#ask(this.#hmm.defaultFlags | asked, this.#hmm.pfnFlagsMask);
  }

  /** The bare range to walk, with the requests of each page in its words. */
  #ask(defaultFlags: number, pfnFlagsMask: number): HmmRange {
    assert(!this.#isMapped, () => `range ${formatRange(this)} is mapped for DMA: unmap it first`);
    const { pfns } = this.#hmm;
    // Requests stay out of the results, also when the task is killed or the range looked at twice.
    const words = pfnFlagsMask === 0 ? pfns : new Uint32Array(pfns.length);
    if (pfnFlagsMask !== 0) {
      const shift = this.pageShift - PAGE_SHIFT;
      for (let i = 0; i < words.length; i++) words[i] = this.#requestOf(this.requests[i >> shift]!);
    }
    return { ...this.#hmm, pfns: words, defaultFlags, pfnFlagsMask, last: vpnOf(this.start) };
  }

  /**
   * What no walk could answer, before anything is faulted in; all entries say "nothing" then, and
   * those of memory that no device may map "special". Linux 5.2 stops in front of such a Vma.
   */
  #refuse(): Result {
    const { vmas } = this.#mirror.space;
    for (let at = this.start; at < this.end; ) {
      const vma = vmas.find(at);
      if (vma === undefined) return this.#refused(-EFAULT);
      if (vma.flags & DEVICE_VMA) return this.#refused(-EFAULT, vma);
      if (!vma.allows(VM_READ)) return this.#refused(-EPERM);
      if (this.pageShift !== PAGE_SHIFT && !vma.isHugetlb) return this.#refused(-EINVAL);
      at = vma.end;
    }
    return 0;
  }

  #refused(result: Result, special?: AddrRange): Result {
    const { pfns: words } = this.#hmm;
    const first = vpnOf(this.start);
    words.fill(0);
    if (special !== undefined) {
      const from = Math.max(vpnOf(special.start) - first, 0);
      words.fill(HMM_PFN_ERROR, from, vpnOf(special.end) - first);
    }
    this.#handOver();
    return result;
  }

  /** Hands the words over in the device's format; gives the number of pages for a success. */
  #finish(result: Result, asked: HmmRange): Result {
    const { pfns: words } = this.#hmm;
    if (asked.pfns !== words) words.set(asked.pfns);
    this.#readSeq = asked.notifierSeq;
    if (result < 0) {
      const done = Math.max(asked.last! - vpnOf(this.start), 0);
      words.fill(0, done);
      if (result === -EFAULT && done < words.length) words[done] = HMM_PFN_ERROR;
    }
    this.#handOver();
    return result < 0 ? result : words.length;
  }

  #handOver(): void {
    const { pfns: words } = this.#hmm;
    if (words !== this.pfns) {
      const shift = this.pageShift - PAGE_SHIFT;
      for (let i = 0; i < this.pfns.length; i++) this.pfns[i] = words[i << shift]!;
    }
    this.#format?.encode(this.pfns, this.entries, this.pfns.length, this.#context);
  }

  #assertRegistered(): void {
    assert(
      this.#isRegistered,
      () => `range ${formatRange(this)} is used after it was unregistered`,
    );
  }
}
