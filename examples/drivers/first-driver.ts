/**
 * The smallest whole driver, for a device that has a page table of its own and uses a program's
 * memory at the program's addresses: one lock, one callback, one loop. `docs/driver-guide.md`
 * explains it, and `wrong-versions.ts` shows what each line is for.
 */
import {
  type AddressSpace,
  type AddrRange,
  addrOf,
  asPte,
  EBUSY,
  HMM_PFN_HUGE,
  type Invalidation,
  Mirror,
  type MirrorOps,
  type MirrorRange,
  Mutex,
  PAGE_SIZE,
  PageTable,
  PG_DIRTY,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  type Result,
  type Sleeps,
  SPACE_BYTES,
  type Vpn,
  vpn,
  vpnOf,
} from "onespace/driver";

export const ATTEMPTS_MAX = 100;

export class FirstDriver implements MirrorOps {
  readonly space: AddressSpace;
  readonly table = new PageTable();
  readonly lock: Mutex;
  mirror!: Mirror;

  constructor(space: AddressSpace) {
    this.space = space;
    this.lock = new Mutex(space.memory.scheduler, "driver", "the first driver's lock");
  }

  /** Sets `mirror`. 0, or -EINVAL: the space is going away. */
  *open(): Sleeps<Result> {
    const mirror = yield* Mirror.register(this.space, { ops: this });
    if (typeof mirror === "number") return mirror;
    this.mirror = mirror;
    return 0;
  }

  /** The device reaches nothing any more. Before or after the end of the space. */
  *close(): Sleeps<void> {
    yield* this.mirror.unregister();
    using _update = yield* this.lock.acquire();
    this.drop(vpn(0), vpn(SPACE_BYTES / PAGE_SIZE));
  }

  /** Something changes: forget it before returning true. */
  *syncCpuDevicePagetables(event: Invalidation): Sleeps<boolean> {
    using update = event.blockable ? yield* this.lock.acquire() : this.lock.tryAcquire();
    if (update === undefined) return false;
    this.drop(vpnOf(event.start), vpnOf(event.end));
    return true;
  }

  /** The device forgets [start, end). What it may have written counts as written. */
  drop(start: Vpn, end: Vpn): void {
    this.lock.assertHeld();
    const { table } = this;
    for (let at = table.nextUsed(start, end); at < end; at = table.nextUsed(vpn(at + 1), end)) {
      const entry = table.get(at);
      if (entry & PTE_WRITE) this.space.memory.pages.setFlag(ptePfn(entry), PG_DIRTY);
      table.set(at, PTE_NONE);
    }
  }

  /** The device may reach `part` afterwards; or a negated errno. */
  *serviceFault(part: AddrRange, write: boolean): Sleeps<Result> {
    const range = this.mirror.range(part);
    if (typeof range === "number") return range;
    using _registered = range;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      if (!(yield* range.waitUntilValid())) return -EBUSY;
      const result = yield* range.fault({ write });
      if (result === -EBUSY) continue;
      if (result < 0) return result;
      using _update = yield* this.lock.acquire();
      if (range.valid) return this.program(range);
    }
    return -EBUSY;
  }

  /** Enters what `range` says. Under the lock, in the same step as the check. */
  program(range: Pick<MirrorRange, "start" | "pfns">): Result {
    this.lock.assertHeld();
    for (const [i, word] of range.pfns.entries()) {
      this.table.set(vpn(vpnOf(range.start) + i), asPte(word & ~HMM_PFN_HUGE));
    }
    return 0;
  }

  /** The device itself: reads or writes a page through its table, and faults when it cannot. */
  *access(page: Vpn, write: boolean, use: (bytes: Uint8Array) => void): Sleeps<Result> {
    const need = write ? PTE_VALID | PTE_WRITE : PTE_VALID;
    const part = { start: addrOf(page), end: addrOf(vpn(page + 1)) };
    let entry = this.lookUp(page);
    while ((entry & need) !== need) {
      const result = yield* this.serviceFault(part, write);
      if (result < 0) return result;
      entry = this.lookUp(page);
    }
    use(this.bytesOf(entry));
    return 0;
  }

  /** What the device finds in its table. */
  lookUp(page: Vpn): Pte {
    return this.table.get(page);
  }

  /** What the device reaches through an entry. */
  bytesOf(entry: Pte): Uint8Array {
    const at = ptePfn(entry) * PAGE_SIZE;
    return this.space.memory.bytes.u8.subarray(at, at + PAGE_SIZE);
  }
}
