/** A range of a program that a GPU may use: its notifier, its words, and how they are. */
import {
  type AddrRange,
  HMM_PFN_REQ_FAULT,
  HMM_PFN_REQ_WRITE,
  type HmmRange,
  IntervalNotifier,
  type Invalidation,
  type Sleeps,
  type VirtAddr,
  vpnOf,
} from "onespace/driver";

export type OnEvent = (buffer: UserBuffer, event: Invalidation) => Sleeps<boolean>;

export class UserBuffer implements AddrRange {
  readonly start: VirtAddr;
  readonly end: VirtAddr;
  readonly isWritable: boolean;
  /** Its words, and the sequence of the time when they were right. */
  readonly range: HmmRange;
  /** Events since its pages were brought; a new buffer has no pages. Guarded by the lock. */
  invalid = 1;
  /** There was no memory when its pages were wanted: jobs that touch it fail. */
  isGone = false;

  constructor(range: AddrRange, isWritable: boolean, onEvent: OnEvent) {
    const notifier = new IntervalNotifier(range, { invalidate: (event) => onEvent(this, event) });
    this.start = range.start;
    this.end = range.end;
    this.isWritable = isWritable;
    this.range = {
      start: range.start,
      end: range.end,
      notifier,
      notifierSeq: 0,
      pfns: new Uint32Array(vpnOf(range.end) - vpnOf(range.start)),
      defaultFlags: HMM_PFN_REQ_FAULT | (isWritable ? HMM_PFN_REQ_WRITE : 0),
      // The words of last time are no requests.
      pfnFlagsMask: 0,
      devPrivateOwner: undefined,
    };
  }
}
