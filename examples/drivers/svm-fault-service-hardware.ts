/**
 * A GPU with replayable page faults. Its threads use the program's addresses, through the page
 * table of their instance and a TLB in front of it. A thread that finds no entry with the rights
 * it needs puts a record into a ring and stalls until its driver says replay, to all that are
 * stalled at once, or cancel, to one. A ring that is full stalls the thread, too: no fault is lost.
 *
 * The TLB may say what the table said earlier, so a driver that changes a table and does not flush
 * is caught: the access lands in a frame that belongs to somebody else by then.
 */
import {
  assert,
  EFAULT,
  ENODEV,
  type Memory,
  PAGE_SIZE,
  type PageTable,
  type Pfn,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
  type Result,
  type Scheduler,
  type Sleeps,
  type VirtAddr,
  type Vpn,
  vpnOf,
  WaitQueue,
  YIELD,
} from "onespace/driver";

export const ACCESS_READ = 0;
export const ACCESS_WRITE = 1;
/** Reads and writes in one step. */
export const ACCESS_ATOMIC = 2;
/** A hint: nobody waits for it. */
export const ACCESS_PREFETCH = 3;

export const needsWrite = (access: number): boolean =>
  access === ACCESS_WRITE || access === ACCESS_ATOMIC;

/** What the hardware knows of a fault. */
export interface FaultRecord {
  /** Whose page table the thread uses. */
  readonly instance: number;
  readonly address: VirtAddr;
  /** `ACCESS_…` */
  readonly access: number;
  /** The thread that is stalled. */
  readonly client: number;
}

/** What an access does when it reaches memory, in one step: the bytes of the page. */
export type Landing = (bytes: Uint8Array, frame: Pfn) => void;

interface Stall {
  readonly record: FaultRecord;
  outcome: "waits" | "replayed" | "cancelled";
}

interface Instance {
  readonly table: PageTable;
  // page -> entry as it was when a thread walked
  readonly tlb: Map<Vpn, Pte>;
}

/** Records from GET to PUT, oldest first. The hardware moves PUT, the driver moves GET. */
class FaultRing {
  readonly size: number;
  /** Somebody waits for a free entry. */
  readonly space: WaitQueue;
  readonly #records: FaultRecord[] = [];
  #get = 0;
  #put = 0;

  constructor(scheduler: Scheduler, size: number) {
    this.size = size;
    this.space = new WaitQueue(scheduler, "space in the fault ring");
  }

  get get(): number {
    return this.#get;
  }

  /** The records before `index` are the driver's own by now: their entries are free. */
  set get(index: number) {
    assert(index >= 0 && index < this.size, () => `GET is ${index}, the ring has ${this.size}`);
    this.#get = index;
    this.space.wakeAll();
  }

  get put(): number {
    return this.#put;
  }

  get isEmpty(): boolean {
    return this.#get === this.#put;
  }

  /** One entry stays free: a ring whose PUT has caught up with GET would look empty. */
  get isFull(): boolean {
    return (this.#put + 1) % this.size === this.#get;
  }

  read(index: number): FaultRecord {
    const record = this.#records[index];
    assert(record !== undefined, () => `nothing was ever written to entry ${index} of the ring`);
    return record;
  }

  add(record: FaultRecord): void {
    this.#records[this.#put] = record;
    this.#put = (this.#put + 1) % this.size;
  }
}

export class FaultingGpu {
  readonly memory: Memory;
  readonly ring: FaultRing;
  readonly counts = { stalls: 0, replays: 0, cancels: 0 };
  /** Called when a record is in the ring. Set by the driver. */
  interrupt: () => void = () => {};
  readonly #instances = new Map<number, Instance>();
  // client -> why it stands still
  readonly #stalls = new Map<number, Stall>();
  readonly #released: WaitQueue;
  #isOn = true;

  constructor(memory: Memory, { ringSize = 8 } = {}) {
    this.memory = memory;
    this.ring = new FaultRing(memory.scheduler, ringSize);
    this.#released = new WaitQueue(memory.scheduler, "replay or cancel");
  }

  bind(instance: number, table: PageTable): void {
    assert(!this.#instances.has(instance), () => `instance ${instance} is bound twice`);
    this.#instances.set(instance, { table, tlb: new Map() });
  }

  unbind(instance: number): void {
    this.#instances.delete(instance);
  }

  /** Forgets what the TLB says of pages [from, to). Done when it returns. */
  flushTlb(instance: number, from: Vpn, to: Vpn): void {
    const tlb = this.#instances.get(instance)?.tlb;
    for (const page of tlb?.keys() ?? []) if (page >= from && page < to) tlb!.delete(page);
  }

  /** All stalled accesses are tried again. */
  replay(): void {
    this.counts.replays++;
    for (const stall of this.#stalls.values()) stall.outcome = "replayed";
    this.#stalls.clear();
    this.#released.wakeAll();
  }

  /** The access of `record` ends, if its thread still stands there. */
  cancel(record: FaultRecord): void {
    const stall = this.#stalls.get(record.client);
    const { instance, address, access } = record;
    const at = stall?.record;
    if (at?.instance !== instance || at.address !== address || at.access !== access) return;
    this.counts.cancels++;
    stall!.outcome = "cancelled";
    this.#stalls.delete(record.client);
    this.#released.wakeAll();
  }

  /** All accesses end, now and later. */
  powerOff(): void {
    this.#isOn = false;
    this.ring.space.wakeAll();
    this.replay();
  }

  /** Threads that wait for the driver. */
  get stalledCount(): number {
    return this.#stalls.size;
  }

  /**
   * One access of thread `client`. 0 when it has landed, -EFAULT when it was cancelled, -ENODEV
   * when there is no power. A prefetch that finds nothing does not wait: 0.
   */
  *access(record: FaultRecord, land: Landing): Sleeps<Result> {
    for (;;) {
      yield YIELD;
      if (!this.#isOn) return -ENODEV;
      const entry = this.#translate(record);
      if (entry !== undefined && record.access === ACCESS_PREFETCH) return 0;
      if (entry !== undefined) {
        const at = ptePfn(entry) * PAGE_SIZE;
        land(this.memory.bytes.u8.subarray(at, at + PAGE_SIZE), ptePfn(entry));
        return 0;
      }
      if (!(yield* this.#stall(record))) return -EFAULT;
      if (record.access === ACCESS_PREFETCH) return 0;
    }
  }

  /** The TLB, or the table when the TLB lacks the rights. */
  #translate({ instance, address, access }: FaultRecord): Pte | undefined {
    const bound = this.#instances.get(instance);
    if (bound === undefined) return undefined;
    const need = PTE_VALID | (needsWrite(access) ? PTE_WRITE : 0);
    const page = vpnOf(address);
    const cached = bound.tlb.get(page);
    if (cached !== undefined && (cached & need) === need) return cached;
    const entry = bound.table.get(page);
    if ((entry & need) !== need) return undefined;
    bound.tlb.set(page, entry);
    return entry;
  }

  /** True: try again. */
  *#stall(record: FaultRecord): Sleeps<boolean> {
    const stall: Stall = { record, outcome: "waits" };
    yield* this.ring.space.until(() => !this.ring.isFull || !this.#isOn);
    if (!this.#isOn) return true;
    this.counts.stalls++;
    this.ring.add(record);
    if (record.access !== ACCESS_PREFETCH) this.#stalls.set(record.client, stall);
    this.interrupt();
    if (record.access === ACCESS_PREFETCH) return true;
    yield* this.#released.until(() => stall.outcome !== "waits");
    return stall.outcome === "replayed";
  }
}
