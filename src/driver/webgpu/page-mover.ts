/**
 * Moving pages between RAM and the GPU's memory: the driver's two parts of a migration. A copy
 * that is on the device already becomes the page without a byte moved; on the way home entries
 * go first and no round may still run, so that what is read back is still.
 */
import { assert, EIO, ENODEV, type Pfn, type Result, type Vpn, vpn } from "../../base/index.ts";
import {
  isMigrating,
  MIGRATE_PFN_WRITE,
  MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
  type Migration,
  type MigrationDriver,
  migrateFrame,
  migratePfn,
  newMigration,
  runMigration,
} from "../../devmem/index.ts";
import { PTE_FLAG_BITS, VM_WRITE } from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { awaitPromise } from "./await.ts";
import { FRAME_COPY, FRAME_PRIVATE } from "./frame-cache.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";

export class PageMover {
  readonly #device: WebGpuDevice;

  constructor(device: WebGpuDevice) {
    this.#device = device;
  }

  /** RAM to device. */
  readonly toDevice: MigrationDriver = {
    copy: (migration) => this.#copyToDevice(migration),
    commit: (migration) => this.#mapMigrated(migration),
  };

  readonly #toRam: MigrationDriver = {
    copy: (migration) => this.#copyToRam(migration),
    *commit() {},
  };

  /** Brings the private pages of [start, end) of a Vma home. The caller holds mmapLock. */
  *moveHome(
    run: Pick<Migration, "vma" | "start" | "end"> & { readonly faultFrame?: Pfn },
  ): Sleeps<Result> {
    const migration = newMigration({
      ...run,
      space: this.#device.space,
      select: MIGRATE_VMA_SELECT_DEVICE_PRIVATE,
      owner: this.#device,
    });
    return yield* runMigration(migration, this.#toRam);
  }

  *#copyToDevice(migration: Migration): Sleeps<Result> {
    using _update = yield* this.#device.lock.acquire();
    yield* this.#device.waitIdle();
    const { pages, bytes } = this.#device.space.memory;
    const length = migration.src.length;
    const upload: number[] = [];
    const clear: number[] = [];
    const sources: Pfn[] = [];
    for (let slot = 0; slot < length; slot++) {
      const word = migration.src[slot]!;
      if (!isMigrating(word)) continue;
      const page = vpn(migration.start + slot);
      const from = migrateFrame(word);
      const to = this.#adopt(page) ?? this.#allocPrivate(page);
      if (to === undefined) continue;
      const index = this.#device.pagemap.indexOf(to.frame);
      if (from === 0) clear.push(index);
      else if (!to.hasBytes) {
        upload.push(index);
        sources.push(from);
      }
      const mayWrite = from === 0 ? migration.vma.allows(VM_WRITE) : word & MIGRATE_PFN_WRITE;
      migration.dst[slot] = migratePfn(to.frame) | (mayWrite ? MIGRATE_PFN_WRITE : 0);
      assert(pages.refs[to.frame] === 1, "a destination has one reference");
    }
    if (clear.length > 0) this.#device.gpu.zero(Int32Array.from(clear), clear.length);
    if (upload.length > 0) {
      this.#device.gpu.upload(Int32Array.from(upload), upload.length, (target, offset, index) =>
        bytes.read(sources[index]!, target, offset),
      );
      this.#device.counters.pagesToDevice += upload.length;
    }
    return 0;
  }

  /** The copy of `page` that is here already becomes the page: nothing has to be moved. */
  #adopt(page: Vpn): { readonly frame: Pfn; readonly hasBytes: boolean } | undefined {
    const entry = this.#device.entryOf(page);
    if (entry === 0) return undefined;
    const index = entry >>> PTE_FLAG_BITS;
    this.#device.gpu.setEntry(page, 0);
    if (this.#device.frames.kind[index] !== FRAME_COPY) return undefined;
    this.#device.frames.promote(index);
    const frame = this.#device.pfnOf(index);
    assert(this.#device.space.memory.pages.tryLock(frame), "nobody locks a copy");
    return { frame, hasBytes: true };
  }

  #allocPrivate(page: Vpn): { readonly frame: Pfn; readonly hasBytes: boolean } | undefined {
    const frame = this.#device.pagemap.allocLocked();
    if (frame === 0) return undefined;
    this.#device.frames.add(this.#device.pagemap.indexOf(frame), page, FRAME_PRIVATE);
    return { frame, hasBytes: false };
  }

  *#mapMigrated(migration: Migration): Sleeps<void> {
    using _update = yield* this.#device.lock.acquire();
    for (let slot = 0; slot < migration.src.length; slot++) {
      const to = migrateFrame(migration.dst[slot]!);
      if (!isMigrating(migration.src[slot]!) || to === 0) continue;
      const write = (migration.dst[slot]! & MIGRATE_PFN_WRITE) !== 0;
      this.#device.mapPrivate(vpn(migration.start + slot), to, write);
    }
  }

  /** Drops the entries first, waits until no round can write any more, then reads back. */
  *#copyToRam(migration: Migration): Sleeps<Result> {
    const { pages, bytes } = this.#device.space.memory;
    const frames: number[] = [];
    const targets: Pfn[] = [];
    {
      using _update = yield* this.#device.lock.acquire();
      yield* this.#device.waitIdle();
      for (let slot = 0; slot < migration.src.length; slot++) {
        const word = migration.src[slot]!;
        const from = migrateFrame(word);
        if (from === 0 || !isMigrating(word)) continue;
        const page = vpn(migration.start + slot);
        const to = this.#device.space.takeFrame(page);
        if (to === 0) continue;
        assert(pages.tryLock(to), "a fresh frame is unlocked");
        this.#device.gpu.setEntry(page, 0);
        frames.push(this.#device.pagemap.indexOf(from));
        targets.push(to);
        migration.dst[slot] = migratePfn(to) | (word & MIGRATE_PFN_WRITE);
      }
    }
    if (frames.length === 0) return 0;
    if (this.#device.lost !== undefined) return -ENODEV;
    const data = yield* this.#readBack(frames);
    if (data === undefined) return -EIO;
    for (let i = 0; i < targets.length; i++) bytes.write(targets[i]!, data, i * 4096);
    this.#device.counters.pagesToHost += frames.length;
    return 0;
  }

  /** The bytes of device frames, or undefined when the GPU failed; `failure` says how. */
  *#readBack(frames: number[]): Sleeps<Uint8Array | undefined> {
    const { scheduler } = this.#device.space.memory;
    try {
      const reading = this.#device.gpu.readback(Int32Array.from(frames), frames.length);
      return yield* awaitPromise(scheduler, reading, "a readback");
    } catch (error) {
      this.#device.failure ??= error;
      return undefined;
    }
  }
}
