/**
 * Which frames make room: the oldest first. Where programs advise where pages belong, those that
 * belong in RAM go before all others, and those that belong on the device after them.
 */
import { addrOf, type Pfn } from "../base/index.ts";
import { mappersOf, VM_PREFER_CPU, VM_PREFER_DEVICE } from "../mm/index.ts";
import type { DeviceMemory } from "./device-memory.ts";
import { FRAME_COPY } from "./frame-list.ts";

/**
 * `count` frames that may go: none that came after arrival `keepAfter`, or whose timeslice is not
 * over. Undefined when there are not so many.
 */
export function chooseVictims(
  memory: DeviceMemory,
  count: number,
  keepAfter: number,
): Pfn[] | undefined {
  const candidates = oldestFirst(memory, keepAfter);
  const chosen = isAnyPreferred(memory)
    ? byPreference(memory, candidates, count)
    : firstOf(candidates, count);
  return chosen.length < count ? undefined : chosen.map((index) => memory.pfnAt(index));
}

function* oldestFirst({ frames, memory }: DeviceMemory, keepAfter: number): Iterable<number> {
  const { nowMs } = memory.scheduler;
  for (const index of frames.oldestFirst()) {
    if (frames.bornAt(index) > keepAfter) return;
    if (frames.expiryMs(index) <= nowMs) yield index;
  }
}

function firstOf(candidates: Iterable<number>, count: number): number[] {
  const first: number[] = [];
  for (const index of candidates) {
    if (first.length === count) break;
    first.push(index);
  }
  return first;
}

const PREFERENCES = VM_PREFER_CPU | VM_PREFER_DEVICE;

function isAnyPreferred(memory: DeviceMemory): boolean {
  for (const { vmas } of memory.spaces) {
    if (vmas.all.some(({ flags }) => (flags & PREFERENCES) !== 0)) return true;
  }
  return false;
}

function byPreference(memory: DeviceMemory, candidates: Iterable<number>, count: number): number[] {
  const early: number[] = [];
  const usual: number[] = [];
  const late: number[] = [];
  for (const index of candidates) {
    if (early.length === count) break;
    const flags = flagsOf(memory, index);
    if (flags & VM_PREFER_CPU) early.push(index);
    else if (flags & VM_PREFER_DEVICE) late.push(index);
    else usual.push(index);
  }
  return [...early, ...usual, ...late].slice(0, count);
}

/** Of a Vma that maps what the frame holds. */
function flagsOf(memory: DeviceMemory, index: number): number {
  const { frames } = memory;
  if (frames.kindOf(index) !== FRAME_COPY) {
    return mappersOf(memory.memory, memory.pfnAt(index))[0]?.vma.flags ?? 0;
  }
  const { shadow, page } = frames.copyOf(index);
  return shadow.space.vmas.find(addrOf(page))?.flags ?? 0;
}
