/**
 * The acts of a migration for pages of the usual kind, as many of a leaf as follow each other:
 * loops over columns, without a call a page. Usual is what lies in a table of entries, is mapped
 * once, is anonymous and small, and nobody has pinned, locked or taken. Each function begins at a
 * slot and gives the first that it has not done, at most `stop`, which ends the leaf: that page is
 * for the functions of `migrate.ts`, which know all kinds.
 */
import { assert, pfn, vpn } from "../base/index.ts";
import {
  asPte,
  flagsAt,
  LEAF_PAGES,
  LEAF_VALID,
  LEAF_WRITABLE,
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
  PG_RESERVED,
} from "../phys/index.ts";
import {
  MIGRATE_PFN_KEPT,
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
  const leafMask = LEAF_MASK;
  const pteFlags = PTE_FLAGS;
  const isWrite = PTE_WRITE;
  const isValid = PTE_VALID;
  const isPrivate = PTE_DEVICE_PRIVATE;
  const pteShift = PTE_FLAG_BITS;
  const isMoving = PTE_MIGRATION;
  const refused = PG_LARGE | PG_LOCKED | PG_RESERVED;
  const locked = PG_LOCKED;
  const guarded = GUARDED;
  const shift = MIGRATE_PFN_SHIFT;
  const moves = MOVES;
  const writes = MIGRATE_PFN_WRITE;
  let known = -1;
  let isWanted = false;
  let freshCount = 0;
  let valid = 0;
  let taken = 0;
  let firstValid = slot;
  let at = slot;
  for (; at < stop; at++) {
    const index = (start + at) & leafMask;
    const pte = words[index]!;
    src[at] = 0;
    dst[at] = 0;
    if (pte === 0) {
      src[at] = fresh;
      if (fresh !== 0) freshCount++;
      continue;
    }
    const kind = pte & pteFlags & ~isWrite;
    if (kind !== isValid && kind !== isPrivate) break;
    const frame = pte >>> pteShift;
    const state = flags[frame]!;
    if ((state & refused) !== 0 || pins[frame] !== 0) break;
    if (pagemap[frame] !== known) {
      known = pagemap[frame]!;
      isWanted = isSelected(migration, asPte(pte));
    }
    if (!isWanted) continue;
    assert(mapcount[frame]! > 0, "a page that moves counts no mapping");
    const isWritable = (pte & isWrite) !== 0 || ((state & guarded) === guarded && mayWrite);
    flags[frame] = state | locked;
    refs[frame] = refs[frame]! + 1;
    words[index] = (pte & ~pteFlags) | isMoving | (pte & isWrite);
    src[at] = (frame << shift) | moves | (isWritable ? writes : 0);
    taken++;
    if (kind === isValid && valid++ === 0) firstValid = at;
  }
  migration.count += freshCount + taken;
  space.memory.pages.noteLocked(taken);
  if (valid === 0) return at;
  space.pageTable.recount(vpn(start + slot), LEAF_VALID, -valid);
  space.cursor.lost(vpn(start + firstValid), vpn(start + at));
  return at;
}

/** The first page from `slot` on that somebody else maps or has: `src.length` for none. */
export function nextShared({ src, space }: Migration, slot: number): number {
  const { flags, refs, mapcount } = space.memory.pages;
  const isFrame = MIGRATE_PFN_VALID;
  const shift = MIGRATE_PFN_SHIFT;
  const cached = PG_CACHED;
  const large = PG_LARGE;
  const locked = PG_LOCKED;
  const isMoving = MIGRATE_PFN_MIGRATE;
  for (let at = slot; at < src.length; at++) {
    const word = src[at]!;
    if ((word & isFrame) === 0) continue;
    const frame = word >>> shift;
    const state = flags[frame]!;
    const cache = state & cached ? 1 : 0;
    if (mapcount[frame] !== 1 || refs[frame] !== 2 + cache || state & large) return at;
    assert((word & isMoving) !== 0, "a page was collected, not to move");
    assert((state & locked) !== 0, "a page is unmapped without its lock");
  }
  return src.length;
}

/** Act two: what pages are passes from the frames of `src` to those of `dst`. */
export function handOverUsual(migration: Migration, slot: number): number {
  const { src, dst, space } = migration;
  const { flags, refs, mapcount, mapping, index, charged } = space.memory.pages;
  const moves = MOVES;
  const isFrame = MIGRATE_PFN_VALID;
  const shift = MIGRATE_PFN_SHIFT;
  const locked = PG_LOCKED;
  const identity = IDENTITY;
  let at = slot;
  for (; at < src.length; at++) {
    const word = src[at]!;
    if ((word & moves) !== moves) continue;
    if ((dst[at]! & isFrame) === 0) break;
    const from = word >>> shift;
    const to = dst[at]! >>> shift;
    const state = flags[from]!;
    if ((state & (PG_CACHED | PG_LARGE)) !== 0 || refs[from] !== mapcount[from]! + 1) break;
    assert((state & locked) !== 0, "a frame hands over what it is without its lock");
    assert((flags[to]! & locked) !== 0, "a frame takes a page over without its lock");
    assert(mapcount[to] === 0, "a frame takes a page over and is mapped already");
    assert(charged[to] === 0, "a frame takes a page over and is charged already");
    flags[to] = flags[to]! | (state & identity);
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
  const { flags, refs, mapcount, pagemap, mapping } = memory.pages;
  const words = cursor.wordsOf(vpn(start + slot));
  if (words === undefined) return slot;
  const moves = MOVES;
  const isFrame = MIGRATE_PFN_VALID;
  const isFresh = MIGRATE_PFN_MIGRATE;
  const shift = MIGRATE_PFN_SHIFT;
  const leafMask = LEAF_MASK;
  const pteFlags = PTE_FLAGS;
  const isWrite = PTE_WRITE;
  const isValid = PTE_VALID;
  const pteShift = PTE_FLAG_BITS;
  const isMoving = PTE_MIGRATION;
  const locked = PG_LOCKED;
  const anon = PG_ANON;
  const duplicated = PG_DUPLICATED;
  const writes = MIGRATE_PFN_WRITE;
  const keeps = MIGRATE_PFN_KEPT;
  let known = -1;
  let flagsRead = 0;
  let flagsWrite = 0;
  let valid = 0;
  let writable = 0;
  let settled = 0;
  let at = slot;
  for (; at < stop; at++) {
    const word = src[at]!;
    if (word === 0 && dst[at] === 0) continue;
    if ((word & moves) === isFresh && dst[at] === 0) continue;
    if ((word & moves) !== moves || (dst[at]! & isFrame) === 0) break;
    const from = word >>> shift;
    const to = dst[at]! >>> shift;
    const entry = words[(start + at) & leafMask]!;
    if ((entry & ~(isWrite | isMoving)) >>> 0 !== from * (pteFlags + 1)) break;
    if (from === faultFrame || mapcount[from] !== 1 || refs[from] !== 2) break;
    const state = flags[from]!;
    if ((state & flags[to]! & anon) === 0 || mapcount[to] !== 0) break;
    assert((state & locked) !== 0, "a frame is settled and not held");
    assert((flags[to]! & locked) !== 0, "a page arrives at a frame that is not locked");
    if (pagemap[to] !== known) {
      known = pagemap[to]!;
      flagsRead = flagsAt(vma, pfn(to), 0);
      flagsWrite = flagsAt(vma, pfn(to), isWrite);
    }
    // The copies that kept the page from being written are gone.
    const isUnguarded = (word & writes) !== 0 && (state & duplicated) !== 0;
    const isKept = (dst[at]! & keeps) !== 0;
    const mayWrite = ((entry & isWrite) !== 0 || isUnguarded) && !isKept;
    const entryFlags = mayWrite ? flagsWrite : flagsRead;
    words[(start + at) & leafMask] = (to << pteShift) | entryFlags;
    if (entryFlags & isValid) valid++;
    writable += ((entryFlags & isWrite) !== 0 ? 1 : 0) - ((entry & isWrite) !== 0 ? 1 : 0);
    // The reference that the migration had to it is that of its entry now.
    mapcount[to] = 1;
    // Kept as a copy: nothing is left of the page but its bytes, with a reference of the device.
    flags[to] = (flags[to]! & ~locked) | (isKept ? duplicated : 0);
    flags[from] = isKept ? 0 : state & ~locked;
    refs[from] = isKept ? 2 : 1;
    if (isKept) mapping[from] = 0;
    cursor.drop(pfn(from));
    settled++;
  }
  memory.pages.noteUnlocked(2 * settled);
  if (valid !== 0) space.pageTable.recount(vpn(start + slot), LEAF_VALID, valid);
  if (writable !== 0) space.pageTable.recount(vpn(start + slot), LEAF_WRITABLE, writable);
  return at;
}
