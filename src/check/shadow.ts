/**
 * What somebody reaches without asking: all that a checker has to know of a CPU or a device. The
 * CPU backends, the drivers and the tests implement it; it is declared here, by its caller.
 */
import type { Pfn, Vpn } from "../base/index.ts";
import {
  type AddressSpace,
  type PageTable,
  PTE_EXCLUSIVE,
  PTE_WRITE,
  ptePfn,
} from "../mm/index.ts";
import { forEachEntry } from "./entry.ts";

/** It may store there. */
export const REACH_WRITE = 1 << 0;
/** It believes that nobody else, the CPU included, can touch the page. */
export const REACH_EXCLUSIVE = 1 << 1;
/** What it reaches is a copy of its own; the frame that it names is the one copied from. */
export const REACH_COPY = 1 << 2;

/** `reach`: `REACH_` bits, 0 for reading alone. */
export type ShadowVisitor = (page: Vpn, frame: Pfn, reach: number) => void;

export interface Shadow {
  /** What a failure calls it: "CPU", "dmirror0". */
  readonly name: string;
  readonly space: AddressSpace;
  /**
   * True: it shrinks in the same step as the page table, so it never lags behind, and it reaches
   * RAM only. False: invalidations tell it, so it may lag while one is open on the page.
   */
  readonly isCpu: boolean;
  /** Every page that it reaches now, with the frame whose bytes it takes for the page's. */
  forEachReachable(visit: ShadowVisitor): void;
  /** Frames that it has a reference to, besides mappings; one element a reference. */
  readonly held?: Iterable<Pfn>;
  /** Throws when its own books do not agree with each other. At rest only. */
  checkBooks?(): void;
}

/** The shadow of a device whose table has the page table's form. */
export function tableShadow(
  name: string,
  device: { readonly space: AddressSpace; readonly table: PageTable },
): Shadow {
  const { space } = device;
  const forEachReachable = (visit: ShadowVisitor): void => reachableIn(device.table, visit);
  return { name, space, isCpu: false, forEachReachable };
}

/** What is reached through a table that has the page table's form. */
export function reachableIn(table: PageTable, visit: ShadowVisitor): void {
  forEachEntry(table, (page, entry) => {
    const write = (entry & PTE_WRITE) === 0 ? 0 : REACH_WRITE;
    const exclusive = (entry & PTE_EXCLUSIVE) === 0 ? 0 : REACH_EXCLUSIVE;
    visit(page, ptePfn(entry), write | exclusive);
  });
}
