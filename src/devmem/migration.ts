/**
 * What a migration is made of: a range, two arrays of words, and who takes part. Linux: struct
 * migrate_vma, include/linux/migrate.h.
 *
 * ```
 *  src and dst, one word a page:
 *  31 30 29                      6   5   4   3   2   1   0
 * +-----+-------------------------+---+---+---+---+---+---+
 * |  0  |     frame (24 bits)     |   .   K | W | . | M | V |
 * +-----+-------------------------+---+---+---+---+---+---+
 * ```
 */
import { assert, type Pfn, pfn as pfnNumber, type Vpn } from "../base/index.ts";
import type { AddressSpace, Vma } from "../mm/index.ts";

export const MIGRATE_PFN_VALID = 1 << 0;
export const MIGRATE_PFN_MIGRATE = 1 << 1;
export const MIGRATE_PFN_WRITE = 1 << 3;
/**
 * In `dst`, from `commit` on: the frame that the page leaves stays with its device, as a copy to
 * read with one reference, which is the device's. Whoever writes ends that (see `duplicate.ts`).
 */
export const MIGRATE_PFN_KEPT = 1 << 4;
export const MIGRATE_PFN_SHIFT = 6;

/** Pages in RAM, and places where nothing is yet. */
export const MIGRATE_VMA_SELECT_SYSTEM = 1 << 0;
/** Device-private pages of the same owner. */
export const MIGRATE_VMA_SELECT_DEVICE_PRIVATE = 1 << 1;
/** Device-coherent pages of the same owner. */
export const MIGRATE_VMA_SELECT_DEVICE_COHERENT = 1 << 2;

export const migratePfn = (frame: Pfn): number =>
  ((frame << MIGRATE_PFN_SHIFT) | MIGRATE_PFN_VALID) >>> 0;

/** The frame of a word, or 0 when it names none. */
export const migrateFrame = (word: number): Pfn | 0 =>
  word & MIGRATE_PFN_VALID ? pfnNumber(word >>> MIGRATE_PFN_SHIFT) : 0;

/** Why a page was left where it is: field `reason` of the event "devmem:skip". */
export const SkipReason = { locked: 1, pinned: 2, referenced: 3, taken: 4 } as const;

/** This page moves (so far). */
export const isMigrating = (word: number): boolean => (word & MIGRATE_PFN_MIGRATE) !== 0;

export interface Migration {
  readonly space: AddressSpace;
  readonly vma: Vma;
  /** Within `vma`. */
  readonly start: Vpn;
  readonly end: Vpn;
  /** MIGRATE_VMA_SELECT_… */
  readonly select: number;
  /** Whose device takes part; its own MIGRATE events name it. */
  readonly owner: object;
  /** The frame of the CPU fault that asks for this: locked and referenced by the fault. */
  readonly faultFrame: Pfn | 0;
  readonly src: Uint32Array;
  readonly dst: Uint32Array;
  /** Pages that still move. */
  count: number;
}

export type MigrationOptions = Omit<Migration, "src" | "dst" | "count" | "faultFrame"> & {
  readonly faultFrame?: Pfn | 0;
};

/** Field by field: a spread costs more than the migration of a page. */
export function newMigration(options: MigrationOptions): Migration {
  const length = options.end - options.start;
  assert(length > 0, "a migration has no page");
  assert(options.select !== 0, "a migration chooses nothing");
  return {
    space: options.space,
    vma: options.vma,
    start: options.start,
    end: options.end,
    select: options.select,
    owner: options.owner,
    faultFrame: options.faultFrame ?? 0,
    src: new Uint32Array(length),
    dst: new Uint32Array(length),
    count: 0,
  };
}
