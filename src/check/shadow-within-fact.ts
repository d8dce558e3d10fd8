/**
 * Law: shadow is within fact. A shadow names the same frame and has no right that the page table
 * does not give; a copy is of a page that cannot change meanwhile; who believes that it has a page
 * for itself is the only one. While an invalidation is open on a page, devices may lag behind
 * there; the CPU never does.
 */
import { addrOf, assert, formatAddress, SPACE_PAGES, type Vpn, vpn } from "../base/index.ts";
import {
  isDevicePrivate,
  isExclusive,
  isMigration,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  ptePfn,
} from "../mm/index.ts";
import { PG_DUPLICATED } from "../phys/index.ts";
import { REACH_COPY, REACH_EXCLUSIVE, REACH_WRITE, type Shadow } from "./shadow.ts";

export function checkShadows(shadows: readonly Shadow[], isQuiet: boolean): void {
  // space and page -> who believes that it has the page for itself
  const owners = new Map<number, Shadow>();
  for (const shadow of shadows) {
    const { isCpu, name, space } = shadow;
    shadow.forEachReachable((page, frame, reach) => {
      if (!isQuiet && !isCpu && isLagging(shadow, page)) return;
      const fact = space.pageTable.get(page);
      const where = () => `${name} at ${formatAddress(addrOf(page))}`;
      assert(frame === ptePfn(fact), () => `${where()} names another frame`);
      const isGiven = (fact & PTE_VALID) !== 0 || (!isCpu && isAway(fact, reach, isQuiet));
      assert(isGiven, () => `${where()}: the page table gives nothing there`);
      const isWritable = (fact & PTE_WRITE) !== 0;
      assert(isWritable || (reach & REACH_WRITE) === 0, () => `${where()} may write too much`);
      if (reach & REACH_COPY) {
        assert(!isWritable, () => `${where()} is a copy of a page that can change`);
        const { pages } = space.memory;
        const isKnown = pages.is(frame, PG_DUPLICATED);
        assert(isKnown, () => `${where()}: the page does not know that it has a copy`);
      }
      if ((reach & REACH_EXCLUSIVE) === 0) return;
      assert(isExclusive(fact), () => `${where()} believes that it has the page for itself`);
      const key = space.id * SPACE_PAGES + page;
      const other = owners.get(key);
      assert(other === undefined, () => `${where()} and ${other!.name} both have the page alone`);
      owners.set(key, shadow);
    });
  }
}

/** The page table has the page for devices only. */
function isAway(fact: Pte, reach: number, isQuiet: boolean): boolean {
  if (isExclusive(fact)) return (reach & REACH_EXCLUSIVE) !== 0;
  return isDevicePrivate(fact) || (isMigration(fact) && !isQuiet);
}

function isLagging({ space }: Shadow, page: Vpn): boolean {
  return space.notifiers.isInvalidating({ start: addrOf(page), end: addrOf(vpn(page + 1)) });
}
