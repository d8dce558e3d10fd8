/** The one entry: every law, and one walk of all spaces for those that look at each entry. */
import type { Pfn } from "../base/index.ts";
import { hasFrame, type Memory } from "../mm/index.ts";
import { checkArrived, checkRest } from "./at-rest.ts";
import { ChargeCount, RssCount } from "./charges.ts";
import { type Entry, walkEntries } from "./entry.ts";
import { checkIntent, checkVmas } from "./fact-within-intent.ts";
import { checkHuge } from "./huge-entries.ts";
import { checkLeafCounts } from "./leaf-counts.ts";
import { checkNotifiers } from "./notifiers.ts";
import { checkPlace } from "./places.ts";
import { ReferenceCount } from "./references.ts";
import { checkReverse, checkReverseMaps } from "./reverse-maps.ts";
import type { Shadow } from "./shadow.ts";
import { checkShadows } from "./shadow-within-fact.ts";
import { SlotCount } from "./swap-slots.ts";
import { checkWriter } from "./writers.ts";
import { checkNothingLeft, checkZones } from "./zones.ts";

export interface CheckOptions {
  /** Who reaches memory without asking: CPUs and devices. */
  readonly shadows: Iterable<Shadow>;
  /** References that somebody holds besides mappings, pins and shadows: Pfn -> how many. */
  readonly held?: ReadonlyMap<Pfn, number>;
  /** Everything has been given back: nothing may be left. */
  readonly isOver?: boolean;
  /** False while tasks run: pages may be locked and entries migrating. Default true. */
  readonly isQuiet?: boolean;
}

/** Throws an `AssertionError` that says what does not hold. */
export function checkWorld(memory: Memory, options: CheckOptions): void {
  const { isOver = false, isQuiet = true } = options;
  const shadows = [...options.shadows];
  const references = new ReferenceCount(memory, options.held ?? []);
  const slots = new SlotCount();
  for (const space of memory.spaces) {
    const rss = new RssCount(space);
    checkVmas(space);
    checkReverseMaps(space);
    checkNotifiers(space);
    walkEntries(space, (entry) => {
      rss.add(entry);
      references.add(entry);
      slots.add(entry);
      checkEntry(entry, isQuiet);
    });
    rss.check();
    checkLeafCounts(space);
  }
  checkShadows(shadows, isQuiet);
  for (const shadow of shadows) for (const frame of shadow.held ?? []) references.hold(frame);
  references.checkMapped();
  const charges = new ChargeCount(memory);
  checkZones(memory, (frame) => {
    charges.add(frame);
    references.check(frame, isQuiet);
  });
  charges.check();
  slots.check(memory.swap);
  if (isQuiet) checkRest(memory, shadows);
  if (isOver) checkNothingLeft(memory);
}

function checkEntry(entry: Entry, isQuiet: boolean): void {
  checkIntent(entry, isQuiet);
  // munmap takes the intent first, and the fact in the same event.
  if (entry.vma === undefined) return;
  checkHuge(entry);
  if (!hasFrame(entry.pte)) return;
  checkPlace(entry);
  checkWriter(entry, entry.vma);
  checkReverse(entry, entry.vma);
  if (isQuiet) checkArrived(entry);
}
