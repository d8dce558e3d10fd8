/**
 * Filling gaps: a launch that has asked for most of what a program keeps between two of its pages
 * gets the rest, if there is room. Where no gaps are a kernel finds its words by a subtraction
 * (`wgsl/translation.ts`), and the rest would have come in more rounds.
 */
import { addrOf, type Result, type Vpn, virtAddr, vpn, vpnOf } from "../../base/index.ts";
import { prefetch } from "../../device/index.ts";
import { VM_READ, type Vma } from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";

interface Gaps {
  readonly start: Vpn;
  readonly end: Vpn;
  /** Pages that have content and are not on the device. */
  readonly missing: number;
}

/**
 * Brings the rest of every mapping of whose content, from the first page that the device has to
 * the last one, half or more is there. Evicts nothing. 0, or why a copy failed.
 */
export function* fillGaps(device: WebGpuDevice): Sleeps<Result> {
  const { shadow, memory, space } = device;
  const { low, high } = device.gpu.tableBounds;
  if (low >= high) return 0;
  const start = addrOf(vpn(low));
  for (const vma of space.vmas.overlapping(start, virtAddr(addrOf(vpn(high))))) {
    const gaps = gapsOf(device, vma, vpn(low), vpn(high));
    if (gaps === undefined || gaps.missing > memory.pagemap.zone.freeCount) continue;
    const options = { write: false, keepAfter: memory.frames.arrivals };
    const result = yield* prefetch(shadow, gaps, options, { address: start });
    if (result < 0) return result;
  }
  return 0;
}

function gapsOf(device: WebGpuDevice, vma: Vma, low: Vpn, high: Vpn): Gaps | undefined {
  if (!vma.allows(VM_READ) || !vma.isAnonymous) return undefined;
  const { pageTable } = device.space;
  const { table } = device.gpu;
  const end = Math.min(high, vpnOf(vma.end));
  let [first, last] = [-1, -1];
  let [there, missing, waiting] = [0, 0, 0];
  let page = pageTable.nextUsed(vpn(Math.max(low, vpnOf(vma.start))), vpn(end));
  for (; page < end; page = pageTable.nextUsed(vpn(page + 1), vpn(end))) {
    if (table[page] === 0) {
      waiting++;
      continue;
    }
    if (first < 0) [first, waiting] = [page, 0];
    missing += waiting;
    waiting = 0;
    there++;
    last = page;
  }
  if (missing === 0 || there < missing) return undefined;
  return { start: vpn(first), end: vpn(last + 1), missing };
}
