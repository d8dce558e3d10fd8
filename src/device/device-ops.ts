/** What a driver does for `device`. */
import type { Pfn, Result } from "../base/index.ts";
import type { Sleeps } from "../sync/index.ts";

/**
 * The driver's half: it moves bytes, and knows what its hardware does. Nobody can touch the pages
 * meanwhile. A negative result: the copy failed, and all stays where it was.
 */
export interface DeviceOps {
  /** Copies frames of RAM to those of the device, one for one. */
  copyIn(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result>;
  /** Fills frames of the device with zeros. */
  clear(frames: readonly Pfn[]): Sleeps<Result>;
  /** Copies frames of the device to those of RAM, one for one. */
  copyHome(from: readonly Pfn[], to: readonly Pfn[]): Sleeps<Result>;
  /** False while the hardware may use what a table said. Default: it never does between steps. */
  readonly isIdle?: boolean;
  /** Sleeps until `isIdle`. Called with the driver's lock held, which new work waits for. */
  waitIdle?(): Sleeps<void>;
}
