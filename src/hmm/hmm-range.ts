/**
 * What a caller wants to know about [start, end) and the words that it gets back, one a page.
 * The words are page table entries cut down to what a device may use. Linux: struct hmm_range,
 * include/linux/hmm.h.
 */
import type { AddrRange, VirtAddr, Vpn } from "../base/index.ts";
import {
  PTE_DEVICE_PRIVATE,
  PTE_ERROR,
  PTE_EXCLUSIVE,
  PTE_HUGE,
  PTE_MIGRATION,
  PTE_PROTNONE,
  PTE_VALID,
  PTE_WRITE,
} from "../mm/index.ts";
import type { IntervalNotifier, Seq } from "../notifier/index.ts";

/** Output: the page may be read. */
export const HMM_PFN_VALID = PTE_VALID;
/** Output: the page may be written. */
export const HMM_PFN_WRITE = PTE_WRITE;
/** Output: a request here would fail. */
export const HMM_PFN_ERROR = PTE_ERROR;
/** Output: one entry of the CPU's page table maps the 2 MiB around the page. */
export const HMM_PFN_HUGE = PTE_HUGE;
/** Request: fault the page in unless it is valid. Shares its bit with `HMM_PFN_VALID`. */
export const HMM_PFN_REQ_FAULT = HMM_PFN_VALID;
/** Request, together with REQ_FAULT: for writing. */
export const HMM_PFN_REQ_WRITE = HMM_PFN_WRITE;

/**
 * Sticky flags: what `dma-map.ts` knows of a page, carried from input to output by a range whose
 * `stickyMask` has them. Their bits say in a page table why an entry is not a plain one; what HMM
 * hands out is plain (a page is there or not), so the bits are free in its words. A driver that
 * copies words into a table of its own masks them off.
 */
/** Sticky: mapped for the device. */
export const HMM_PFN_DMA_MAPPED = PTE_MIGRATION;
/** Sticky: memory of another device, mapped through the host bridge. */
export const HMM_PFN_P2PDMA = PTE_EXCLUSIVE;
/** Sticky: memory of another device that is reached by its bus address. */
export const HMM_PFN_P2PDMA_BUS = PTE_PROTNONE;
/** Sticky, ours: the mapping lets the device write. Linux maps for writing whatever was asked. */
export const HMM_PFN_DMA_WRITE = PTE_DEVICE_PRIVATE;
/** All sticky flags. */
export const HMM_PFN_INOUT_FLAGS =
  HMM_PFN_DMA_MAPPED | HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS | HMM_PFN_DMA_WRITE;

export interface HmmRange extends AddrRange {
  start: VirtAddr;
  end: VirtAddr;
  /** Who is told of invalidations; covers [start, end). */
  notifier: IntervalNotifier;
  /** From `readBegin`, before the walk. */
  notifierSeq: Seq;
  /** In: requests. Out: frame << 8 | flags, or 0 where nothing is. */
  readonly pfns: Uint32Array;
  /** Request of every page, or-ed with its own. */
  defaultFlags: number;
  /** Which bits of a page's own request count. */
  pfnFlagsMask: number;
  /** Device-private pages of this owner are reported; those of others come home if requested. */
  devPrivateOwner: object | undefined;
  /**
   * True: a page of the caller's own that may not be written is brought home when writing is
   * requested, like anybody else's. Default false, as in Linux: it is reported as it is, valid
   * and not writable, and the driver must notice.
   */
  readonly requireWrite?: boolean;
  /**
   * Sticky flags (of `HMM_PFN_INOUT_FLAGS`) that a word keeps when it is overwritten. Default 0;
   * with any, leaves are walked page by page instead of copied whole.
   */
  readonly stickyMask?: number;
  /** Out: the first page whose word is not output; the end of the range after a success. */
  last?: Vpn;
}
