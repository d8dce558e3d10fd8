/** Law: whoever looks for a page by its frame finds every entry that maps it. */
import { addrOf, assert, formatRange } from "../base/index.ts";
import type { AddressSpace, Vma } from "../mm/index.ts";
import { PG_RESERVED } from "../phys/index.ts";
import type { Entry } from "./entry.ts";

/** Each Vma is in the reverse maps that it says. */
export function checkReverseMaps(space: AddressSpace): void {
  for (const vma of space.vmas.all) {
    const maps = vma.file === undefined ? vma.anonChain : [...vma.anonChain, vma.file.reverse];
    for (const map of maps) {
      assert(map.vmas.includes(vma), () => `Vma ${formatRange(vma)} is missing in a reverse map`);
    }
  }
}

/** The reverse map that the frame names leads here. */
export function checkReverse(entry: Entry, vma: Vma): void {
  const { frame, page, space } = entry;
  const { pages } = space.memory;
  if (pages.is(frame, PG_RESERVED)) return;
  const where = () => `${entry.where}, frame ${frame}`;
  const reverse = space.memory.reverseMap(pages.mapping[frame]!);
  assert(reverse?.vmas.includes(vma) === true, () => `${where()}: not in its reverse map`);
  assert(pages.index[frame] === vma.indexOf(addrOf(page)), () => `${where()}: wrong index`);
}
