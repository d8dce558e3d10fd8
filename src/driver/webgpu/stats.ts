/** What a launch has done: the report that `kernel.run` resolves to. */
import { PAGE_SIZE } from "../../base/index.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";

export interface LaunchStats {
  readonly invocations: number;
  /** Submissions until all invocations had finished. */
  readonly rounds: number;
  /** Of these: rounds in which nearly all was on the device in one run, found by a subtraction. */
  readonly directRounds: number;
  /** Faults of the device: distinct (page, access) pairs, summed over rounds. */
  readonly faults: number;
  readonly pagesToDevice: number;
  readonly pagesHome: number;
  readonly bytesToDevice: number;
  readonly bytesHome: number;
  /** Pages sent home, or copies thrown away, to make room. */
  readonly evictions: number;
  /** Most pages on the device when faults had been served. */
  readonly peakPages: number;
  /** Of those to the device: pages that came because a program had advised it. */
  readonly pagesAdvised: number;
  /** Copies that were here when it began, since their pages had gone home to be read. */
  readonly copiesKept: number;
}

/** What the launch itself counts. */
type Counted = Pick<
  LaunchStats,
  "invocations" | "rounds" | "directRounds" | "faults" | "peakPages"
>;

/** How far a device's counters have come when a launch begins. */
export class CountersBefore {
  readonly #device: WebGpuDevice;
  readonly #before: WebGpuDevice["counters"];
  readonly #copiesKept: number;

  constructor(device: WebGpuDevice) {
    this.#device = device;
    this.#before = { ...device.counters };
    this.#copiesKept = device.memory.frames.keptCount;
  }

  /** What has been done since. */
  stats(counted: Counted): LaunchStats {
    const now = this.#device.counters;
    const before = this.#before;
    const pagesToDevice = now.pagesToDevice - before.pagesToDevice;
    const pagesHome = now.pagesHome - before.pagesHome;
    const dropped = now.copiesDropped - before.copiesDropped;
    return {
      ...counted,
      pagesToDevice,
      pagesHome,
      bytesToDevice: pagesToDevice * PAGE_SIZE,
      bytesHome: pagesHome * PAGE_SIZE,
      evictions: dropped + now.pagesEvicted - before.pagesEvicted,
      pagesAdvised: now.pagesAdvised - before.pagesAdvised,
      copiesKept: this.#copiesKept,
    };
  }
}
