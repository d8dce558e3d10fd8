/**
 * Emptying device memory without asking whose pages they are: by frame, in whatever spaces they
 * are mapped, with no mmapLock. For a device that goes away, or needs room. Linux:
 * migrate_device_range().
 */
import { assert, ENOMEM, type Pfn, pfn, type Result, vpnOf } from "../base/index.ts";
import { holdStill, type Memory, mappersOf, thawMappings } from "../mm/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { eventId } from "../trace/index.ts";
import type { DevicePagemap } from "./device-pagemap.ts";
import { handOver } from "./migrate.ts";
import { SkipReason } from "./migration.ts";

const SKIP = eventId("devmem:skip");
const TO_RAM = eventId("devmem:to-ram");

/** Copies the pages of device frames to those of RAM, one for one, where `to` is not 0. */
export type CopyHome = (from: readonly Pfn[], to: readonly Pfn[]) => Sleeps<Result>;

/**
 * Brings every page of `pagemap` home that nobody holds: how many, or why the copy failed (then
 * all stay). Pages that are locked, pinned or referenced stay, too, and may be tried again.
 */
export function* evictPagemap(
  memory: Memory,
  pagemap: DevicePagemap,
  copy: CopyHome,
): Sleeps<Result> {
  const from: Pfn[] = [];
  pagemap.zone.forEachUsed((frame) => from.push(frame));
  return yield* evictFrames(memory, from, copy);
}

export function* evictFrames(
  memory: Memory,
  frames: readonly Pfn[],
  copy: CopyHome,
): Sleeps<Result> {
  const from: Pfn[] = [];
  const to: Pfn[] = [];
  let result: Result = -ENOMEM;
  try {
    for (const frame of frames) if (yield* hold(memory, frame)) from.push(frame);
    for (const frame of from) to.push(frameForHome(memory, frame));
    result = yield* copy(from, to);
  } finally {
    const moved = settle(memory, from, to, result >= 0);
    if (result >= 0) result = moved;
  }
  return result;
}

/** False when somebody else has the page, or it is free by now. */
function* hold(memory: Memory, frame: Pfn): Sleeps<boolean> {
  yield* memory.precedence.giveWay();
  const { pages } = memory;
  if (pages.refs[frame] === 0) return false;
  if (yield* holdStill(memory, frame)) {
    assert(pages.isLocked(frame), () => `frame ${frame} is held and not locked`);
    assert(pages.pins[frame] === 0, () => `frame ${frame} is pinned and leaves its device`);
    return true;
  }
  memory.tracer.emit(SKIP, 0, frame, SkipReason.referenced);
  return false;
}

/** A locked frame of RAM at the place where the page is mapped, or 0. */
function frameForHome(memory: Memory, frame: Pfn): Pfn {
  const mapper = mappersOf(memory, frame)[0];
  if (mapper === undefined) return pfn(0);
  const { pages } = memory;
  const home = mapper.vma.space.takeFrame(vpnOf(mapper.address));
  if (home === 0) return pfn(0);
  assert(!pages.isDevice(home), () => `frame ${home} is a device's, not RAM to come home to`);
  assert(pages.tryLock(home), "a fresh frame is unlocked");
  return home;
}

/** Every page is in exactly one place again; how many of them came home. */
function settle(memory: Memory, from: Pfn[], to: Pfn[], isCopied: boolean): number {
  const { pages } = memory;
  assert(to.length <= from.length, "more pages come home than were taken");
  let moved = 0;
  from.forEach((frame, i) => {
    const home = to[i] ?? 0;
    assert(pages.isLocked(frame), () => `frame ${frame} is settled and not held`);
    const isMoved = isCopied && home !== 0 && pages.isStill(frame, 1);
    if (isMoved) {
      handOver(memory, frame, pfn(home));
      moved++;
    }
    thawMappings(memory, frame, isMoved ? pfn(home) : frame);
    const isLeft = isMoved && pages.mapcount[frame]! > 0;
    assert(!isLeft, () => `frame ${frame} has moved and is still mapped`);
    pages.unlock(frame);
    pages.put(frame);
    if (home === 0) return;
    pages.unlock(pfn(home));
    pages.put(pfn(home));
  });
  if (moved > 0) memory.tracer.emit(TO_RAM, 0, 0, moved);
  return moved;
}
