/**
 * The device itself: memory that the CPU cannot touch, shared by all spaces that the device
 * mirrors, and the way home for a page that a CPU touches.
 */
import { assert, PAGE_SIZE, type Pfn, type Result, vpn } from "../../base/index.ts";
import {
  DevicePagemap,
  evictPagemap,
  MIGRATE_VMA_SELECT_DEVICE_COHERENT,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  type MigrationDriver,
  newMigration,
  runMigration,
} from "../../devmem/index.ts";
import type { AddressSpace, Fault, Memory } from "../../mm/index.ts";
import { Shared, type Sleeps } from "../../sync/index.ts";
import type { DmirrorTable } from "./dmirror-table.ts";

export interface DmirrorDeviceOptions {
  readonly name: string;
  readonly frames: number;
  /**
   * The CPU can touch its memory: the machine's frames must have bytes for it behind those of
   * RAM. Default false.
   */
  readonly isCoherent?: boolean;
}

export class DmirrorDevice {
  readonly memory: Memory;
  readonly pagemap: DevicePagemap;
  /** Device frame index * PAGE_SIZE -> bytes. */
  readonly bytes: Uint8Array;
  // the device's shadow of each space that it mirrors
  readonly #tables = new Map<AddressSpace, DmirrorTable>();
  // Pfn -> who brings its page home: the mirror that brought it here
  readonly #wayHome = new Map<Pfn, MigrationDriver>();
  // Device frame -> its bytes and its way home, as an explorer knows them; 0: the tables.
  readonly #shared: Shared;

  constructor(memory: Memory, options: DmirrorDeviceOptions) {
    const { name, frames, isCoherent = false } = options;
    this.memory = memory;
    this.#shared = new Shared(memory.scheduler);
    this.bytes = new Uint8Array(isCoherent ? 0 : frames * PAGE_SIZE);
    this.pagemap = new DevicePagemap(memory, {
      name,
      owner: this,
      frames,
      isCoherent,
      migrateToRam: (fault) => this.#migrateToRam(fault),
      pageFree: (frame) => {
        this.#shared.write(frame);
        this.#wayHome.delete(frame);
      },
    });
  }

  /** A mirror of `space` opens: this is its table. */
  addTable(space: AddressSpace, table: DmirrorTable): void {
    this.#shared.write();
    this.#tables.set(space, table);
  }

  removeTable(space: AddressSpace): void {
    this.#shared.write();
    this.#tables.delete(space);
  }

  tableOf(space: AddressSpace): DmirrorTable | undefined {
    this.#shared.read();
    return this.#tables.get(space);
  }

  get isCoherent(): boolean {
    return this.pagemap.isCoherent;
  }

  /** Which pages are this device's, for a migration. */
  get select(): number {
    return this.isCoherent ? MIGRATE_VMA_SELECT_DEVICE_COHERENT : MIGRATE_VMA_SELECT_DEVICE_PRIVATE;
  }

  /**
   * Every page of the device comes home, whoever maps it: how many. Pages that somebody holds
   * stay. Linux: dmirror_device_evict_chunk().
   */
  evictAll(): Sleeps<Result> {
    return evictPagemap(this.memory, this.pagemap, (from, to) => this.#copyHome(from, to));
  }

  *#copyHome(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result> {
    from.forEach((frame, i) => {
      if (to[i] !== 0) this.memory.bytes.write(to[i]!, this.bytesOf(frame), 0);
    });
    return 0;
  }

  bytesOf(frame: Pfn): Uint8Array {
    if (this.isCoherent) return this.memory.bytes.page(frame);
    this.#shared.write(frame);
    const at = this.pagemap.indexOf(frame) * PAGE_SIZE;
    return this.bytes.subarray(at, at + PAGE_SIZE);
  }

  /** A locked frame for a page that `toRam` can bring home again, or 0. */
  alloc(toRam: MigrationDriver): Pfn | 0 {
    const frame = this.pagemap.allocLocked();
    if (frame === 0) return 0;
    this.#shared.write(frame);
    this.#wayHome.set(frame, toRam);
    return frame;
  }

  /** Moves just the page that was touched, or pinned for long. Linux: dmirror_devmem_fault(). */
  *#migrateToRam(fault: Fault): Sleeps<Result> {
    this.#shared.read(fault.frame);
    const toRam = this.#wayHome.get(fault.frame);
    assert(toRam !== undefined, "a page of the device has a mirror that brought it here");
    const { space, vma, page, frame } = fault;
    const migration = newMigration({
      space,
      vma,
      start: page,
      end: vpn(page + 1),
      select: this.select,
      owner: this,
      faultFrame: frame,
    });
    return Math.min(yield* runMigration(migration, toRam), 0);
  }
}
