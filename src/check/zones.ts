/**
 * Law: every frame is in one state, used or free: used ones are counted, free ones have no user.
 */
import { assert, type Pfn, pfn } from "../base/index.ts";
import type { Memory } from "../mm/index.ts";
import { LARGE_FRAMES, PG_HUGETLB } from "../phys/index.ts";

/** Calls `check` for each frame that somebody uses. */
export function checkZones({ pages }: Memory, check: (frame: Pfn) => void): void {
  for (const zone of pages.zones) {
    let used = 0;
    zone.forEachUsed((frame) => {
      used++;
      // Idle in the pool of huge pages; tens of thousands of frames may be.
      const isIdle = pages.is(frame, PG_HUGETLB) && pages.refs[frame] === 1;
      if (!isIdle) check(frame);
    });
    const { name, usedCount } = zone;
    assert(used === usedCount, () => `zone ${name} counts ${usedCount} used frames, has ${used}`);
  }
}

/** Everybody has left: nothing is used, charged or promised but what is broken or in a pool. */
export function checkNothingLeft(memory: Memory): void {
  const { group, hugetlb, pages, poisoned, ram } = memory;
  for (const zone of pages.zones) {
    const pooled = zone === ram ? hugetlb.count * LARGE_FRAMES : 0;
    const kept = pooled + poisoned.filter((frame) => zone.contains(frame)).length;
    assert(zone.usedCount === kept, () => `${zone.usedCount - kept} frames of ${zone.name} leaked`);
    for (let at = zone.start as number; at < zone.start + zone.count; at++) {
      const isKept = pages.is(pfn(at), PG_HUGETLB) || poisoned.includes(pfn(at));
      assert(pages.refs[at] === 0 || isKept, () => `frame ${at} is free and has references`);
    }
  }
  const isPaid = group.chargedPages <= poisoned.length;
  assert(isPaid, "charges are left although all pages are free");
  assert(hugetlb.reservedCount === 0, "huge pages are promised to nobody");
}
