/**
 * The device itself: memory that the CPU cannot touch, shared by all spaces that the device
 * mirrors, and the way home for a page that a CPU touches.
 */
import { assert, PAGE_SIZE, type Pfn, type Result, vpn } from "../../base/index.ts";
import {
  DevicePagemap,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  type MigrationDriver,
  newMigration,
  runMigration,
} from "../../devmem/index.ts";
import type { Fault, Memory } from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";

export class DmirrorDevice {
  readonly memory: Memory;
  readonly pagemap: DevicePagemap;
  /** Device frame index * PAGE_SIZE -> bytes. */
  readonly bytes: Uint8Array;
  // Pfn -> who brings its page home: the mirror that brought it here
  readonly #wayHome = new Map<Pfn, MigrationDriver>();

  constructor(memory: Memory, options: { readonly name: string; readonly frames: number }) {
    this.memory = memory;
    this.bytes = new Uint8Array(options.frames * PAGE_SIZE);
    this.pagemap = new DevicePagemap(memory, {
      name: options.name,
      owner: this,
      frames: options.frames,
      migrateToRam: (fault) => this.#migrateToRam(fault),
      pageFree: (frame) => this.#wayHome.delete(frame),
    });
  }

  bytesOf(frame: Pfn): Uint8Array {
    const at = this.pagemap.indexOf(frame) * PAGE_SIZE;
    return this.bytes.subarray(at, at + PAGE_SIZE);
  }

  /** A locked frame for a page that `toRam` can bring home again, or 0. */
  alloc(toRam: MigrationDriver): Pfn | 0 {
    const frame = this.pagemap.allocLocked();
    if (frame !== 0) this.#wayHome.set(frame, toRam);
    return frame;
  }

  /** Moves just the page that was touched. Linux: dmirror_devmem_fault(). */
  *#migrateToRam(fault: Fault): Sleeps<Result> {
    const toRam = this.#wayHome.get(fault.frame);
    assert(toRam !== undefined, "a private page has a mirror that brought it here");
    const { space, vma, page, frame } = fault;
    const migration = newMigration({
      space,
      vma,
      start: page,
      end: vpn(page + 1),
      select: MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
      owner: this,
      faultFrame: frame,
    });
    return Math.min(yield* runMigration(migration, toRam), 0);
  }
}
