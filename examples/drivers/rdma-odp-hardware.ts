/**
 * An RDMA NIC: others read and write a program's memory through it, by key and offset. For each
 * key it has a table from unit to DMA address and rights. At a missing entry it asks its driver
 * and sends the packet again; it never sees a page table of the CPU.
 *
 * An access is two steps: the entry is read, and later the packet reaches memory at the address
 * that was read, through `DmaDevice.translate`. A driver that unmaps a page without `zap` first,
 * which waits for packets under way, is caught: nothing is mapped there, or another page is.
 */
import {
  assert,
  type DmaDevice,
  EBUSY,
  EINVAL,
  EPERM,
  errnoName,
  type Memory,
  PAGE_SIZE,
  type Pfn,
  type Result,
  type Sleeps,
  WaitQueue,
  YIELD,
} from "onespace/driver";

export const NIC_READ = 1 << 0;
export const NIC_WRITE = 1 << 1;

/** How often a packet is sent again before its work request fails. */
const RESENDS_MAX = 64;

/** What a packet does when it reaches memory, in one step: the bytes of the page. */
export type Arrival = (bytes: Uint8Array, frame: Pfn) => void;

export interface KeyOptions {
  /** Units that the key covers, of `1 << unitShift` bytes. */
  readonly units: number;
  readonly unitShift: number;
  /** What remote access is allowed: `NIC_READ`, `NIC_WRITE`. */
  readonly access: number;
  /** The driver's page fault handler: 0 or more when the packet may be sent again. */
  readonly fault: (unit: number, write: boolean) => Sleeps<Result>;
}

class NicTable {
  readonly options: KeyOptions;
  // unit -> DMA address; meaningless without rights
  readonly addresses: Float64Array;
  // unit -> NIC_READ, NIC_WRITE; 0: nothing there
  readonly rights: Uint8Array;
  // unit -> packets between entry and memory
  readonly underWay: Int32Array;

  constructor(options: KeyOptions) {
    this.options = options;
    this.addresses = new Float64Array(options.units);
    this.rights = new Uint8Array(options.units);
    this.underWay = new Int32Array(options.units);
  }
}

export class Nic {
  readonly memory: Memory;
  readonly dma: DmaDevice;
  readonly counts = { faults: 0, resends: 0 };
  readonly #tables = new Map<number, NicTable>();
  readonly #landed: WaitQueue;
  #nextKey = 1;

  constructor(memory: Memory, dma: DmaDevice) {
    this.memory = memory;
    this.dma = dma;
    this.#landed = new WaitQueue(memory.scheduler, "packets under way");
  }

  createKey(options: KeyOptions): number {
    const key = this.#nextKey++;
    this.#tables.set(key, new NicTable(options));
    return key;
  }

  /** Its driver has zapped every entry. */
  destroyKey(key: number): void {
    const isEmpty = this.#tableOf(key).rights.every((rights) => rights === 0);
    assert(isEmpty, "a key is destroyed while it reaches memory");
    this.#tables.delete(key);
  }

  /** Enters one unit. */
  enter(key: number, unit: number, { address, rights }: { address: number; rights: number }): void {
    const table = this.#tableOf(key);
    assert((rights & ~table.options.access) === 0, "an entry allows more than its key");
    table.addresses[unit] = address;
    table.rights[unit] = rights;
  }

  /** Packets of units [from, to) are on their way: `zap` would have to wait. */
  isBusy(key: number, from: number, to: number): boolean {
    return this.#tableOf(key)
      .underWay.subarray(from, to)
      .some((count) => count > 0);
  }

  /** Forgets units [from, to): no packet reaches memory by their entries after this. */
  *zap(key: number, from: number, to: number): Sleeps<void> {
    this.#tableOf(key).rights.fill(0, from, to);
    yield* this.#landed.until(() => !this.isBusy(key, from, to));
  }

  /** The entry of a unit, for those who check. */
  entryOf(key: number, unit: number): { readonly address: number; readonly rights: number } {
    const table = this.#tableOf(key);
    return { address: table.addresses[unit]!, rights: table.rights[unit]! };
  }

  /**
   * One remote access to the page at `offset`. -EINVAL: no such key or outside of it; -EPERM: the
   * key does not allow it; -EBUSY: sent too often; else what the fault handler says.
   */
  *access(key: number, offset: number, write: boolean, arrive: Arrival): Sleeps<Result> {
    const need = write ? NIC_WRITE : NIC_READ;
    for (let sent = 0; sent < RESENDS_MAX; sent++) {
      yield YIELD;
      const table = this.#tables.get(key);
      if (table === undefined) return -EINVAL;
      const { units, unitShift, access, fault } = table.options;
      const unit = Math.floor(offset / 2 ** unitShift);
      if (!(unit >= 0 && unit < units)) return -EINVAL;
      if ((access & need) === 0) return -EPERM;
      if ((table.rights[unit]! & need) !== 0) {
        const address = table.addresses[unit]! + (offset % 2 ** unitShift);
        return yield* this.#send(table, { unit, address, write }, arrive);
      }
      this.counts.faults++;
      if (sent > 0) this.counts.resends++;
      const result = yield* fault(unit, write);
      if (result < 0) return result;
    }
    return -EBUSY;
  }

  *#send(
    { underWay }: NicTable,
    packet: { readonly unit: number; readonly address: number; readonly write: boolean },
    arrive: Arrival,
  ): Sleeps<Result> {
    underWay[packet.unit]! += 1;
    try {
      yield YIELD;
      const frame = this.dma.translate(packet.address, packet.write);
      assert(frame >= 0, () => `a packet finds nothing at its address: ${errnoName(frame)}`);
      const at = frame * PAGE_SIZE;
      arrive(this.memory.bytes.u8.subarray(at, at + PAGE_SIZE), frame as Pfn);
      return 0;
    } finally {
      underWay[packet.unit]! -= 1;
      this.#landed.wakeAll();
    }
  }

  #tableOf(key: number): NicTable {
    const table = this.#tables.get(key);
    assert(table !== undefined, () => `key ${key} is not a key`);
    return table;
  }
}
