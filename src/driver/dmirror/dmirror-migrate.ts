/**
 * Moving a space's pages to the device and home: the driver's two parts of a migration, and the
 * loop over a range. Linux: dmirror_migrate_to_device(), dmirror_migrate_to_system().
 */
import {
  type AddrRange,
  assert,
  EINVAL,
  ENOMEM,
  type Result,
  type VirtAddr,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import {
  isMigrating,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_SYSTEM,
  type Migration,
  type MigrationDriver,
  migrateFrame,
  migratePfn,
  newMigration,
  runMigration,
} from "../../devmem/index.ts";
import {
  type AddressSpace,
  makePte,
  mmputAsync,
  PTE_VALID,
  PTE_WRITE,
  VM_READ,
  VM_WRITE,
} from "../../mm/index.ts";
import { PG_CACHED } from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { chunkEnd } from "./chunks.ts";
import type { DmirrorDevice } from "./dmirror-device.ts";
import type { DmirrorTable } from "./dmirror-table.ts";

export class DmirrorMigrations {
  readonly #device: DmirrorDevice;
  readonly #space: AddressSpace;
  readonly #table: DmirrorTable;
  readonly #toDevice: MigrationDriver = {
    copy: (migration) => this.#copyToDevice(migration),
    commit: (migration) => this.#mapMigrated(migration),
  };
  /** Nothing is left to map. */
  readonly #toRam: MigrationDriver = {
    copy: (migration) => this.#copyToRam(migration),
    *commit() {},
  };

  constructor(device: DmirrorDevice, space: AddressSpace, table: DmirrorTable) {
    this.#device = device;
    this.#space = space;
    this.#table = table;
  }

  /** Pages of `range` that moved to the device, or the first error. */
  toDevice(range: AddrRange): Sleeps<Result> {
    return this.#migrate(range, MIGRATE_VMA_SELECT_SYSTEM, this.#toDevice);
  }

  /** Pages of `range` that came home, or the first error. */
  toRam(range: AddrRange): Sleeps<Result> {
    return this.#migrate(range, this.#device.select, this.#toRam);
  }

  /** Chunk by chunk, each within one readable Vma. */
  *#migrate(range: AddrRange, select: number, driver: MigrationDriver): Sleeps<Result> {
    const space = this.#space;
    if (!space.users.getUnlessZero()) return -EINVAL;
    let moved = 0;
    try {
      using _mmap = yield* space.mmapLock.acquireRead();
      for (let at: VirtAddr = range.start; at < range.end; ) {
        const vma = space.vmas.find(at);
        if (vma === undefined || !vma.allows(VM_READ)) return -EINVAL;
        const stop = chunkEnd(at, virtAddr(Math.min(vma.end, range.end)));
        const [start, end] = [vpnOf(at), vpnOf(stop)];
        const migration = newMigration({ space, vma, start, end, select, owner: this.#device });
        const result = yield* runMigration(migration, driver);
        if (result < 0) return result;
        moved += result;
        at = stop;
      }
      return moved;
    } finally {
      mmputAsync(space);
    }
  }

  *#copyToDevice(migration: Migration): Sleeps<Result> {
    using _update = yield* this.#table.lock.acquire();
    const { bytes, pages } = this.#space.memory;
    for (let slot = 0; slot < migration.src.length; slot++) {
      const word = migration.src[slot]!;
      if (!isMigrating(word)) continue;
      const from = migrateFrame(word);
      // A file's page stays in RAM, and what the device knows of it stays right.
      if (from !== 0 && pages.is(from, PG_CACHED)) continue;
      const to = this.#device.alloc(this.#toRam);
      if (to === 0) continue;
      const page = vpn(migration.start + slot);
      this.#table.drop(page, vpn(page + 1));
      if (from === 0) this.#device.bytesOf(to).fill(0);
      else bytes.read(from, this.#device.bytesOf(to), 0);
      const mayWrite = from === 0 ? migration.vma.allows(VM_WRITE) : word & MIGRATE_PFN_WRITE;
      migration.dst[slot] = migratePfn(to) | (mayWrite ? MIGRATE_PFN_WRITE : 0);
    }
    return 0;
  }

  *#mapMigrated(migration: Migration): Sleeps<void> {
    using _update = yield* this.#table.lock.acquire();
    for (let slot = 0; slot < migration.src.length; slot++) {
      const to = migrateFrame(migration.dst[slot]!);
      if (!isMigrating(migration.src[slot]!) || to === 0) continue;
      const write = migration.dst[slot]! & MIGRATE_PFN_WRITE ? PTE_WRITE : 0;
      this.#table.set(vpn(migration.start + slot), makePte(to, PTE_VALID | write));
    }
  }

  /**
   * Pages for which there is no RAM stay on the device; one that a CPU waits for is -ENOMEM,
   * because that CPU would come back for ever.
   */
  *#copyToRam(migration: Migration): Sleeps<Result> {
    yield* this.#forgetIn(migration);
    using _update = yield* this.#table.lock.acquire();
    const { pages, bytes } = this.#space.memory;
    for (let slot = 0; slot < migration.src.length; slot++) {
      const word = migration.src[slot]!;
      const from = migrateFrame(word);
      if (from === 0 || !isMigrating(word)) continue;
      const page = vpn(migration.start + slot);
      const to = migration.space.takeFrame(page);
      if (to === 0) {
        if (from === migration.faultFrame) return -ENOMEM;
        continue;
      }
      assert(pages.tryLock(to), "a fresh frame is unlocked");
      this.#table.drop(page, vpn(page + 1));
      bytes.write(to, this.#device.bytesOf(from), 0);
      migration.dst[slot] = migratePfn(to) | (word & MIGRATE_PFN_WRITE);
    }
    return 0;
  }

  /**
   * The space whose CPU wants the page need not be the one that brought it here: its own mirror
   * passes over this device's events and must be told. (Linux's test device forgets this: a
   * child's table keeps the entry of a page that the parent brought and the child took home.)
   */
  *#forgetIn(migration: Migration): Sleeps<void> {
    const table = this.#device.tableOf(migration.space);
    if (table === undefined || table === this.#table) return;
    using _update = yield* table.lock.acquire();
    for (let slot = 0; slot < migration.src.length; slot++) {
      const page = vpn(migration.start + slot);
      if (isMigrating(migration.src[slot]!)) table.drop(page, vpn(page + 1));
    }
  }
}
