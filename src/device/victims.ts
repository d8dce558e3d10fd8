/**
 * Which frames make room: the oldest first. Where programs advise where pages belong, those that
 * belong in RAM go before all others, and those that belong on the device after them.
 */
import { addrOf, type Pfn } from "../base/index.ts";
import { mappersOf, VmHint } from "../mm/index.ts";
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
  const preferences = preferencesIn(memory);
  const chosen =
    preferences === 0
      ? firstOf(candidates, count)
      : byPreference(memory, candidates, count, preferences);
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

/** What anybody prefers. */
function preferencesIn(memory: DeviceMemory): number {
  let all = 0;
  for (const { vmas } of memory.spaces) for (const { flags } of vmas.all) all |= flags;
  return all & (VmHint.preferCpu | VmHint.preferDevice);
}

function byPreference(
  memory: DeviceMemory,
  candidates: Iterable<number>,
  count: number,
  preferences: number,
): number[] {
  const hasEarly = (preferences & VmHint.preferCpu) !== 0;
  const early: number[] = [];
  const usual: number[] = [];
  const late: number[] = [];
  for (const index of candidates) {
    if ((hasEarly ? early : usual).length === count) break;
    const flags = flagsOf(memory, index);
    if (flags & VmHint.preferCpu) early.push(index);
    else if (flags & VmHint.preferDevice) late.push(index);
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
