/**
 * What the GPU of `svm-fault-service.ts` may reach of one space: a table that the service fills,
 * and that the mirror's callback empties, both under the lock.
 */
import {
  type AddressSpace,
  type AddrRange,
  asPte,
  HMM_PFN_HUGE,
  HMM_PFN_VALID,
  type Invalidation,
  type MirrorOps,
  type MirrorRange,
  Mutex,
  mmputAsync,
  PageTable,
  PG_DIRTY,
  PTE_NONE,
  PTE_WRITE,
  ptePfn,
  type Sleeps,
  SPACE_BYTES,
  type VirtAddr,
  VM_READ,
  VM_WRITE,
  virtAddr,
  vpn,
  vpnOf,
} from "onespace/driver";
import type { FaultingGpu } from "./svm-fault-service-hardware.ts";

export const EVERYTHING: AddrRange = { start: virtAddr(0), end: virtAddr(SPACE_BYTES) };

export interface OpenOptions {
  readonly instance: number;
  /** Default: none. */
  readonly unmanaged?: AddrRange;
}

export interface Window extends AddrRange {
  /** The program may write there: only then is writing requested. */
  readonly isWritable: boolean;
}

/** What the GPU may reach of one space. */
export class SvmSpace implements MirrorOps {
  readonly gpu: FaultingGpu;
  readonly instance: number;
  readonly space: AddressSpace;
  /** Addresses that the driver uses for buffers of its own: no shared memory is there. */
  readonly hole: AddrRange;
  readonly lock: Mutex;
  readonly table = new PageTable();

  constructor(gpu: FaultingGpu, space: AddressSpace, options: OpenOptions) {
    this.gpu = gpu;
    this.instance = options.instance;
    this.space = space;
    this.hole = options.unmanaged ?? { start: EVERYTHING.end, end: EVERYTHING.end };
    this.lock = new Mutex(space.memory.scheduler, "driver", `instance ${this.instance}`);
  }

  /** Not even the GPU's own migrations pass by: it has no memory that the program shares. */
  *syncCpuDevicePagetables(update: Invalidation): Sleeps<boolean> {
    const guard = update.blockable ? yield* this.lock.acquire() : this.lock.tryAcquire();
    if (guard === undefined) return false;
    using _update = guard;
    this.drop(update);
    return true;
  }

  /** The GPU forgets [start, end), the hole excepted. */
  drop({ start, end }: AddrRange): void {
    this.#dropPart(start, virtAddr(Math.min(end, this.hole.start)));
    this.#dropPart(virtAddr(Math.max(start, this.hole.end)), end);
  }

  /** What the range says is there, also between the faults. The range is valid. */
  program({ start, pfns }: MirrorRange): void {
    this.lock.assertHeld();
    for (const [i, word] of pfns.entries()) {
      if (word & HMM_PFN_VALID) this.table.set(vpn(vpnOf(start) + i), asPte(word & ~HMM_PFN_HUGE));
    }
  }

  /** The part of the aligned block of `bytes` around `address` that can be asked for, if any. */
  *windowAround(address: VirtAddr, bytes: number): Sleeps<Window | undefined> {
    const { space, hole } = this;
    if (!space.users.getUnlessZero()) return undefined;
    try {
      using _mmap = yield* space.mmapLock.acquireRead();
      const vma = space.vmas.find(address);
      const isInHole = address >= hole.start && address < hole.end;
      if (isInHole || vma === undefined || !vma.allows(VM_READ)) return undefined;
      const block = address - (address % bytes);
      const from = Math.max(block, vma.start, hole.end <= address ? hole.end : 0);
      const stop = hole.start > address ? hole.start : SPACE_BYTES;
      const to = Math.min(block + bytes, vma.end, stop);
      return { start: virtAddr(from), end: virtAddr(to), isWritable: vma.allows(VM_WRITE) };
    } finally {
      mmputAsync(space);
    }
  }

  #dropPart(start: VirtAddr, end: VirtAddr): void {
    this.lock.assertHeld();
    if (start >= end) return;
    const last = vpnOf(end);
    let page = this.table.nextUsed(vpnOf(start), last);
    while (page < last) {
      const entry = this.table.get(page);
      // The GPU may have written what it could write.
      if (entry & PTE_WRITE) this.space.memory.pages.setFlag(ptePfn(entry), PG_DIRTY);
      this.table.set(page, PTE_NONE);
      page = this.table.nextUsed(vpn(page + 1), last);
    }
    this.gpu.flushTlb(this.instance, vpnOf(start), last);
  }
}
