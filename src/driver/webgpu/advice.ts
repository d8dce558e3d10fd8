/**
 * What programs advise about where pages belong: what comes before a launch and with a fault, and
 * what goes home after it. All of it is a hope: nothing is evicted for it, and what does not come
 * comes when it is needed. Copies that stay when pages go home are `device`'s (`move.ts`), and so
 * is the order of evictions (`victims.ts`). CUDA: cudaMemAdvise().
 */
import {
  addrOf,
  EFAULT,
  PAGE_SIZE,
  type Result,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { MIGRATION_PAGES, prefetch } from "../../device/index.ts";
import { type Vma, VmHint } from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { bringViews, fillGaps, type LaunchView, missingOf } from "./fill.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";

const COMES = VmHint.preferDevice | VmHint.accessedByDevice;

interface Pages {
  readonly start: Vpn;
  readonly end: Vpn;
}

/** What belongs on the device, and what a launch was given. 0, or why a copy failed. */
export function* bringBefore(device: WebGpuDevice, views: readonly LaunchView[]): Sleeps<Result> {
  for (const range of advised(device, COMES)) {
    const result = yield* bringCopies(device, range);
    if (result < 0) return result;
  }
  return yield* bringViews(device, views);
}

/**
 * After a round's faults (pairs of address and flags) were served: the neighbours of those that
 * read what is mostly read, and the rest of mappings (`fillGaps`). 0, or why a copy failed.
 */
export function* bringAround(
  device: WebGpuDevice,
  faults: Uint32Array,
  lostMs: number,
): Sleeps<Result> {
  for (const range of windowsOf(device, faults)) {
    const result = yield* bringCopies(device, range);
    if (result < 0) return result;
  }
  return yield* fillGaps(device, lostMs);
}

/** At the end of a launch: what belongs in RAM goes there, as far as nobody holds it. */
export function* sendHome(device: WebGpuDevice): Sleeps<void> {
  for (const { start, end } of advised(device, VmHint.preferCpu)) {
    yield* device.moveHome(addrOf(start), end * PAGE_SIZE, true);
  }
}

const advised = ({ space }: WebGpuDevice, flags: number): Pages[] =>
  space.vmas.all.filter((vma) => (vma.flags & flags) !== 0).map(pagesOf);

const pagesOf = (vma: Vma): Pages => ({ start: vpnOf(vma.start), end: vpnOf(vma.end) });

/** 2 MiB, aligned, around each page that was to be read. */
function windowsOf({ space }: WebGpuDevice, faults: Uint32Array): Pages[] {
  if (!space.vmas.all.some((vma) => vma.allows(VmHint.readMostly))) return [];
  const windows = new Map<number, Pages>();
  for (let i = 0; i < faults.length; i += 2) {
    const address = virtAddr(faults[i]!);
    const first = Math.floor(vpnOf(address) / MIGRATION_PAGES) * MIGRATION_PAGES;
    if (windows.has(first)) continue;
    const vma = space.vmas.find(address);
    if (!vma?.allows(VmHint.readMostly)) continue;
    const { start, end } = pagesOf(vma);
    windows.set(first, {
      start: vpn(Math.max(start, first)),
      end: vpn(Math.min(end, first + MIGRATION_PAGES)),
    });
  }
  return [...windows.values()];
}

/** Copies of what is in RAM, if there is room for all of it. 0, or why a copy failed. */
function* bringCopies(device: WebGpuDevice, { start, end }: Pages): Sleeps<Result> {
  const { shadow, memory } = device;
  const missing = yield* missingOf(device, start, end, false);
  if (missing === 0 || missing > memory.pagemap.zone.freeCount) return 0;
  const before = memory.frames.arrivals;
  const options = { write: false, keepAfter: before };
  const result = yield* prefetch(shadow, { start, end }, options, { address: addrOf(start) });
  memory.counters.pagesAdvised += memory.frames.arrivals - before;
  // It may not be read, or was unmapped just now.
  return result === -EFAULT ? 0 : result;
}
