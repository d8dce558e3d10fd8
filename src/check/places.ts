/**
 * Law: an entry says truly where its page is. What the CPU may touch is in RAM, what is
 * device-private is not; in a window a page's bytes are at its own address.
 */
import { assert } from "../base/index.ts";
import { isDevicePrivate, isMigration } from "../mm/index.ts";
import { ZERO_PFN } from "../phys/index.ts";
import type { Entry } from "./entry.ts";

export function checkPlace(entry: Entry): void {
  const { frame, page, pte, space } = entry;
  const { memory } = space;
  const isPrivate = memory.isPrivate(frame);
  if (isDevicePrivate(pte)) assert(isPrivate, () => `${entry.where}: not on a device`);
  else assert(!isPrivate || isMigration(pte), () => `${entry.where}: wrong memory`);
  if (!space.isIdentity || isPrivate || frame === ZERO_PFN) return;
  const isInPlace = frame === memory.bytes.frameAt(page);
  assert(isInPlace, () => `${entry.where}: its bytes are not at its address`);
}
