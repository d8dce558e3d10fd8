/**
 * Bringing what nobody has asked for yet. What a launch is given as arrays and structs comes
 * beforehand, if it is small: a page that is first written late in a run would cost a round.
 *
 * While a new kernel compiles, all of the mappings comes into which pointers lead, if so many
 * invocations may well need it: the time passes anyway, and then the direct shader does.
 *
 * Filling gaps: a launch that has asked for much of what a program keeps between two of its pages
 * gets the rest, if there is room. Where no gaps are a kernel finds its words by a subtraction
 * (`wgsl/translation.ts`), and the rest would have come in more rounds.
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
import { prefetch } from "../../device/index.ts";
import { PTE_NONE, VM_READ, type Vma } from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";

/** Memory that a launch was given as such, not only a pointer to it. */
export interface LaunchView {
  readonly start: number;
  /** May be 0. */
  readonly bytes: number;
  /** The code says that it stores there. */
  readonly write: boolean;
  /** What is reached from there may lie anywhere. */
  readonly leadsOn: boolean;
}

/** So many pages of all views together come beforehand: 8 MiB, some 10 ms. */
const VIEW_PAGES_MAX = 2048;

/** Brings small views, as far as there is room. Evicts nothing. 0, or why a copy failed. */
export function* bringViews(device: WebGpuDevice, views: readonly LaunchView[]): Sleeps<Result> {
  const { shadow, memory } = device;
  let left = VIEW_PAGES_MAX;
  for (const { start, bytes, write } of views) {
    const first = vpnOf(virtAddr(start));
    const end = vpn(Math.ceil((start + bytes) / PAGE_SIZE));
    if (end - first > left) continue;
    left -= end - first;
    const missing = yield* missingOf(device, first, end, write);
    if (missing === 0 || missing > memory.pagemap.zone.freeCount) continue;
    const options = { write, keepAfter: memory.frames.arrivals };
    const failure = { address: virtAddr(start) };
    const result = yield* prefetch(shadow, { start: first, end }, options, failure);
    // The launch finds out by itself, if it goes there.
    if (result < 0 && result !== -EFAULT) return result;
  }
  return 0;
}

/** What comes in good time while a kernel compiles: 96 MiB, some 120 ms. */
const REACHED_PAGES_MAX = 24_576;
/** So many invocations may well need a page. */
const INVOCATIONS_A_PAGE = 8;

/**
 * What has to come for a launch to find all that it was given, and all that pointers lead to:
 * mappings, or none. Undefined: more than can come beforehand.
 */
export function* reachedBy(
  device: WebGpuDevice,
  views: readonly LaunchView[],
  invocations: number,
): Sleeps<readonly Vma[] | undefined> {
  const { space, memory, shadow } = device;
  using _mmap = yield* space.mmapLock.acquireRead();
  const reached = new Set<Vma>();
  for (const { start, bytes, write, leadsOn } of views) {
    const end = vpn(Math.ceil((start + bytes) / PAGE_SIZE));
    for (let page = vpnOf(virtAddr(start)); page < end; page = vpn(page + 1)) {
      if (!shadow.allows(page, write)) return undefined;
    }
    const vma = leadsOn ? space.vmas.find(virtAddr(start)) : undefined;
    if (vma?.isAnonymous === true) reached.add(vma);
  }
  let left = Math.min(
    REACHED_PAGES_MAX,
    invocations / INVOCATIONS_A_PAGE,
    memory.pagemap.zone.freeCount,
  );
  for (const vma of reached) left -= contentOf(device, vma, left);
  return left < 0 ? undefined : [...reached];
}

/** Pages with content, counted up to `most` and one more. */
function contentOf({ space }: WebGpuDevice, vma: Vma, most: number): number {
  const [start, end] = [vpnOf(vma.start), vpnOf(vma.end)];
  space.catchUp(start, end);
  let count = 0;
  let page = space.pageTable.nextUsed(start, end);
  for (; page < end && count <= most; page = space.pageTable.nextUsed(vpn(page + 1), end)) count++;
  return count;
}

/** Brings copies of all pages of mappings. 0, or why a copy failed. */
export function* bringAll(device: WebGpuDevice, vmas: readonly Vma[]): Sleeps<Result> {
  const { shadow, memory } = device;
  for (const vma of vmas) {
    const range = { start: vpnOf(vma.start), end: vpnOf(vma.end) };
    const options = { write: false, keepAfter: memory.frames.arrivals };
    const result = yield* prefetch(shadow, range, options, { address: vma.start });
    if (result < 0 && result !== -EFAULT) return result;
  }
  return 0;
}

/** Pages that would come. */
export function* missingOf(
  { shadow, space }: WebGpuDevice,
  start: Vpn,
  end: Vpn,
  write: boolean,
): Sleeps<number> {
  using _mmap = yield* space.mmapLock.acquireRead();
  // What the host has given unasked is not in the page table yet.
  if (!write) space.catchUp(start, end);
  let missing = 0;
  for (let page = start; page < end; page = vpn(page + 1)) {
    if (shadow.allows(page, write)) continue;
    if (write || space.pageTable.get(page) !== PTE_NONE) missing++;
  }
  return missing;
}

interface Gaps {
  readonly start: Vpn;
  readonly end: Vpn;
  /** Pages that have content and are on the device, and that are not. */
  readonly there: number;
  readonly missing: number;
}

/** What it takes to bring a page with its neighbours, in milliseconds (SwiftShader, 2 cores). */
const PAGE_MS = 0.005;

/**
 * Brings the rest of mappings, from the first page of content that the device has to the last one,
 * where half of it or more is there, or where it takes less time than the launch has lost by rounds
 * that missed pages (`lostMs`): so who fills in vain loses no more than twice what it had to.
 * Evicts nothing. 0, or why a copy failed.
 */
export function* fillGaps(device: WebGpuDevice, lostMs: number): Sleeps<Result> {
  const { shadow, memory, space } = device;
  const { low, high } = device.gpu.tableBounds;
  if (low >= high) return 0;
  const start = addrOf(vpn(low));
  for (const vma of space.vmas.overlapping(start, virtAddr(addrOf(vpn(high))))) {
    const gaps = gapsOf(device, vma, vpn(low), vpn(high));
    if (gaps === undefined) continue;
    if (gaps.there < gaps.missing && gaps.missing * PAGE_MS > lostMs) continue;
    if (gaps.missing > memory.pagemap.zone.freeCount) continue;
    const options = { write: false, keepAfter: memory.frames.arrivals };
    const result = yield* prefetch(shadow, gaps, options, { address: start });
    // It may have been unmapped just now.
    if (result < 0 && result !== -EFAULT) return result;
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
  if (missing === 0) return undefined;
  return { start: vpn(first), end: vpn(last + 1), there, missing };
}
