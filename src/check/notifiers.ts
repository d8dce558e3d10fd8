/**
 * Law: a subscription knows how many open invalidations touch its range, no more and no less; its
 * sequence has moved once for each.
 */
import { assert, formatRange } from "../base/index.ts";
import type { AddressSpace } from "../mm/index.ts";

export function checkNotifiers(space: AddressSpace): void {
  space.notifiers.forEachInterval((notifier, open) => {
    const { active, seq } = notifier;
    const where = () => `interval notifier ${formatRange(notifier)} of space ${space.id}`;
    assert(active === open, () => `${where()} counts ${active} open events, there are ${open}`);
    assert(seq >= active, () => `${where()}: its sequence did not move`);
  });
}
