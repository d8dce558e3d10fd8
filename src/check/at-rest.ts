/**
 * Law: when nobody runs, nothing is half done: no lock is held, no invalidation open, no page on
 * its way, nobody goes first. What a device's own books say agrees then, too.
 */
import { assert } from "../base/index.ts";
import { isMigration, type Memory } from "../mm/index.ts";
import type { Entry } from "./entry.ts";
import type { Shadow } from "./shadow.ts";

export function checkRest(memory: Memory, shadows: readonly Shadow[]): void {
  for (const { mmapLock, notifiers } of memory.spaces) {
    assert(!mmapLock.isLocked, () => `${mmapLock.name} is held by nobody who runs`);
    assert(notifiers.activeCount === 0, "an invalidation was never ended");
  }
  assert(!memory.precedence.isTaken, "somebody who does not run goes first");
  for (const shadow of shadows) shadow.checkBooks?.();
}

/** The same for one entry. */
export function checkArrived(entry: Entry): void {
  assert(!isMigration(entry.pte), () => `${entry.where} is migrating for ever`);
}
