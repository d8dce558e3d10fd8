/**
 * The acts of a migration for pages of the usual kind, as many of a leaf as follow each other:
 * loops over columns, without a call a page. Usual is what lies in a table of entries, is mapped
 * once, is anonymous and small, and nobody has pinned, locked or taken. Each function begins at a
 * slot and gives the first that it has not done, at most `stop`, which ends the leaf: that page is
 * for the functions of `migrate.ts`, which know all kinds.
 */
import { assert, pfn, type Vpn, vpn } from "../base/index.ts";
import {
  asPte,
  flagsAt,
  LEAF_DEVICE,
  LEAF_PAGES,
  LEAF_VALID,
  PTE_DEVICE_PRIVATE,
  PTE_FLAG_BITS,
  PTE_MIGRATION,
  PTE_VALID,
  PTE_WRITE,
  type Pte,
  VM_WRITE,
} from "../mm/index.ts";
import {
  PG_ANON,
  PG_CACHED,
  PG_DIRTY,
  PG_DUPLICATED,
  PG_EXCLUSIVE,
  PG_LARGE,
  PG_LOCKED,
  ZERO_PFN,
} from "../phys/index.ts";
import {
  MIGRATE_PFN_MIGRATE,
  MIGRATE_PFN_SHIFT,
  MIGRATE_PFN_VALID,
  MIGRATE_PFN_WRITE,
  type Migration,
} from "./migration.ts";

const LEAF_MASK = LEAF_PAGES - 1;
const PTE_FLAGS = (1 << PTE_FLAG_BITS) - 1;
/** Read-only for the copies that devices have, and for nothing else. */
const GUARDED = PG_EXCLUSIVE | PG_DUPLICATED;
/** What a frame keeps of itself when it hands over what it is. */
const IDENTITY = PG_ANON | PG_EXCLUSIVE | PG_DIRTY;
/** In `src`: a page that moves. */
const MOVES = MIGRATE_PFN_VALID | MIGRATE_PFN_MIGRATE;

/** The slot behind the last of the leaf in which `slot` is. */
export const leafStop = ({ start, src }: Migration, slot: number): number =>
  Math.min(src.length, slot + LEAF_PAGES - ((start + slot) & LEAF_MASK));

/** Act one: what moves is locked and held, and its entry says that it is on its way. */
export function collectUsual(
  migration: Migration,
  slot: number,
  stop: number,
  isSelected: (migration: Migration, pte: Pte) => boolean,
): number {
  const { space, vma, src, dst, start } = migration;
  const { flags, refs, mapcount, pins, pagemap } = space.memory.pages;
  const words = space.cursor.wordsOf(vpn(start + slot));
  if (words === undefined) return slot;
  const fresh = vma.isAnonymous ? MIGRATE_PFN_MIGRATE : 0;
  const mayWrite = vma.allows(VM_WRITE);
  let known = -1;
  let isWanted = false;
  let freshCount = 0;
  let valid = 0;
  let device = 0;
  let firstValid = stop;
  let lastValid = slot;
  let at = slot;
  for (; at < stop; at++) {
    const index = (start + at) & LEAF_MASK;
    const pte = words[index]!;
    src[at] = 0;
    dst[at] = 0;
    if (pte === 0) {
      src[at] = fresh;
      if (fresh !== 0) freshCount++;
      continue;
    }
    const kind = pte & PTE_FLAGS & ~PTE_WRITE;
    if (kind !== PTE_VALID && kind !== PTE_DEVICE_PRIVATE) break;
    const frame = pte >>> PTE_FLAG_BITS;
    const state = flags[frame]!;
    if (frame === ZERO_PFN || (state & (PG_LARGE | PG_LOCKED)) !== 0 || pins[frame] !== 0) break;
    if (pagemap[frame] !== known) {
      known = pagemap[frame]!;
      isWanted = isSelected(migration, asPte(pte));
    }
    if (!isWanted) continue;
    assert(mapcount[frame]! > 0, "a page that moves counts no mapping");
    const isWritable = (pte & PTE_WRITE) !== 0 || ((state & GUARDED) === GUARDED && mayWrite);
    flags[frame] = state | PG_LOCKED;
    refs[frame] = refs[frame]! + 1;
    words[index] = (pte & ~PTE_FLAGS) | PTE_MIGRATION | (pte & PTE_WRITE);
    src[at] = (frame << MIGRATE_PFN_SHIFT) | MOVES | (isWritable ? MIGRATE_PFN_WRITE : 0);
    if (kind === PTE_DEVICE_PRIVATE) {
      device++;
      continue;
    }
    valid++;
    lastValid = at;
    if (firstValid > at) firstValid = at;
  }
  migration.count += freshCount + valid + device;
  space.memory.pages.noteLocked(valid + device);
  countMoves(migration, vpn(start + slot), -valid, -device);
  if (valid > 0) space.cursor.lost(vpn(start + firstValid), vpn(start + lastValid + 1));
  return at;
}

/** The first page from `slot` on that somebody else maps or has: `src.length` for none. */
export function nextShared({ src, space }: Migration, slot: number): number {
  const { flags, refs, mapcount } = space.memory.pages;
  for (let at = slot; at < src.length; at++) {
    const word = src[at]!;
    if ((word & MIGRATE_PFN_VALID) === 0) continue;
    const frame = word >>> MIGRATE_PFN_SHIFT;
    const state = flags[frame]!;
    const cache = state & PG_CACHED ? 1 : 0;
    if (mapcount[frame] !== 1 || refs[frame] !== 2 + cache || state & PG_LARGE) return at;
    assert((word & MIGRATE_PFN_MIGRATE) !== 0, "a page was collected, not to move");
    assert((state & PG_LOCKED) !== 0, "a page is unmapped without its lock");
  }
  return src.length;
}

/** Act two: what pages are passes from the frames of `src` to those of `dst`. */
export function handOverUsual(migration: Migration, slot: number): number {
  const { src, dst, space } = migration;
  const { flags, refs, mapcount, mapping, index, charged } = space.memory.pages;
  let at = slot;
  for (; at < src.length; at++) {
    const word = src[at]!;
    if ((word & MOVES) !== MOVES) continue;
    if ((dst[at]! & MIGRATE_PFN_VALID) === 0) break;
    const from = word >>> MIGRATE_PFN_SHIFT;
    const to = dst[at]! >>> MIGRATE_PFN_SHIFT;
    const state = flags[from]!;
    if ((state & (PG_CACHED | PG_LARGE)) !== 0 || refs[from] !== mapcount[from]! + 1) break;
    assert((state & PG_LOCKED) !== 0, "a frame hands over what it is without its lock");
    assert((flags[to]! & PG_LOCKED) !== 0, "a frame takes a page over without its lock");
    assert(mapcount[to] === 0, "a frame takes a page over and is mapped already");
    assert(charged[to] === 0, "a frame takes a page over and is charged already");
    flags[to] = flags[to]! | (state & IDENTITY);
    mapping[to] = mapping[from]!;
    index[to] = index[from]!;
    charged[to] = charged[from]!;
    charged[from] = 0;
  }
  return at;
}

/** Act three: entries name the frames of `dst`, all are unlocked, and those of `src` are left. */
export function settleUsual(migration: Migration, slot: number, stop: number): number {
  const { space, vma, src, dst, start, faultFrame } = migration;
  const { cursor, memory } = space;
  const { flags, refs, mapcount, pagemap } = memory.pages;
  const words = cursor.wordsOf(vpn(start + slot));
  if (words === undefined) return slot;
  let known = -1;
  let flagsRead = 0;
  let flagsWrite = 0;
  let valid = 0;
  let device = 0;
  let settled = 0;
  let at = slot;
  for (; at < stop; at++) {
    const word = src[at]!;
    if (word === 0 && dst[at] === 0) continue;
    if ((word & MOVES) === MIGRATE_PFN_MIGRATE && dst[at] === 0) continue;
    if ((word & MOVES) !== MOVES || (dst[at]! & MIGRATE_PFN_VALID) === 0) break;
    const from = word >>> MIGRATE_PFN_SHIFT;
    const to = dst[at]! >>> MIGRATE_PFN_SHIFT;
    const entry = words[(start + at) & LEAF_MASK]!;
    if ((entry & ~(PTE_WRITE | PTE_MIGRATION)) >>> 0 !== from * (PTE_FLAGS + 1)) break;
    if (from === faultFrame || mapcount[from] !== 1 || refs[from] !== 2) break;
    const state = flags[from]!;
    if ((state & flags[to]! & PG_ANON) === 0 || mapcount[to] !== 0) break;
    assert((state & PG_LOCKED) !== 0, "a frame is settled and not held");
    assert((flags[to]! & PG_LOCKED) !== 0, "a page arrives at a frame that is not locked");
    if (pagemap[to] !== known) {
      known = pagemap[to]!;
      flagsRead = flagsAt(vma, pfn(to), 0);
      flagsWrite = flagsAt(vma, pfn(to), PTE_WRITE);
    }
    // The copies that kept the page from being written are gone.
    const isUnguarded = (word & MIGRATE_PFN_WRITE) !== 0 && (state & PG_DUPLICATED) !== 0;
    const entryFlags = (entry & PTE_WRITE) !== 0 || isUnguarded ? flagsWrite : flagsRead;
    words[(start + at) & LEAF_MASK] = (to << PTE_FLAG_BITS) | entryFlags;
    if (entryFlags & PTE_VALID) valid++;
    if (entryFlags & PTE_DEVICE_PRIVATE) device++;
    // The reference that the migration had to it is that of its entry now.
    mapcount[to] = 1;
    flags[to] = flags[to]! & ~PG_LOCKED;
    flags[from] = state & ~PG_LOCKED;
    refs[from] = 1;
    cursor.drop(pfn(from));
    settled++;
  }
  memory.pages.noteUnlocked(2 * settled);
  countMoves(migration, vpn(start + slot), valid, device);
  return at;
}

/** So many more entries of the leaf of `page` are valid, so many more name private pages. */
function countMoves({ space }: Migration, page: Vpn, valid: number, device: number): void {
  if (valid !== 0) space.pageTable.recount(page, LEAF_VALID, valid);
  if (device !== 0) space.pageTable.recount(page, LEAF_DEVICE, device);
}
