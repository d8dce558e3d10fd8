/**
 * Pages of a file: mapped with their neighbours when read, copied when a private mapping writes,
 * shared otherwise. Linux: mm/memory.c do_fault(), mm/filemap.c filemap_map_pages().
 */
import {
  addrOf,
  assert,
  EIO,
  ENOMEM,
  type Pfn,
  pfn,
  type Result,
  type Vpn,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import { PG_DIRTY, PG_POISONED } from "../../phys/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { presentFlags } from "../entry-flags.ts";
import type { CachedFile } from "../file/cached-file.ts";
import { leafEnd, leafStart } from "../page-table.ts";
import { makePte, PTE_NONE } from "../pte.ts";
import type { Vma } from "../vma.ts";

/** Pages that a read fault looks at around the one that it needs. Linux: fault_around_bytes. */
const FAULT_AROUND_PAGES = 16;

export function faultFile(space: AddressSpace, vma: Vma, page: Vpn, write: boolean): Result {
  const file = vma.file!;
  assert(!vma.isAnonymous, "a fault in a file's mapping that has no file");
  if (!write) mapAround(space, vma, page);
  if (space.pageTable.get(page) !== PTE_NONE) return 0;
  const index = vma.indexOf(addrOf(page));
  if (index >= file.pageCount) return -EIO;
  const loaded = file.load(index);
  if (loaded < 0) return loaded;
  const cached = pfn(loaded);
  const { index: indices, mapping } = space.memory.pages;
  const isFiles = mapping[cached] === file.reverse.id && indices[cached] === index;
  assert(isFiles, () => `frame ${cached} is not page ${index} of ${file.name}`);
  if (write && !vma.isShared) return mapCopy(space, vma, page, cached);
  if (write) space.memory.pages.setFlag(cached, PG_DIRTY);
  const cursor = space.cursor.begin();
  cursor.map(page, makePte(cached, presentFlags(vma, write || isBornWritable(vma, file))));
  cursor.flush();
  return 0;
}

/** A shared mapping of what is never written back needs no fault to learn of writes. */
const isBornWritable = (vma: Vma, file: CachedFile): boolean => vma.isShared && file.isShmem;

/**
 * Maps what is cached already in the aligned window around `page`, within the Vma, its 2 MiB,
 * and the file.
 */
function mapAround(space: AddressSpace, vma: Vma, page: Vpn): void {
  const file = vma.file!;
  const { pages } = space.memory;
  const aligned = page - (page % FAULT_AROUND_PAGES);
  const start = Math.max(aligned, vpnOf(vma.start));
  const end = Math.min(start + FAULT_AROUND_PAGES, leafEnd(page), vpnOf(vma.end));
  const flags = presentFlags(vma, isBornWritable(vma, file));
  assert(start <= page && page < end, () => `page ${page} is not among those around it`);
  assert(start >= leafStart(page), "pages around one leave its 2 MiB");
  const cursor = space.cursor.begin();
  for (let at = vpn(start); at < end; at = vpn(at + 1)) {
    const index = vma.indexOf(addrOf(at));
    if (index >= file.pageCount) break;
    const cached = file.find(index);
    if (cached === 0 || pages.isLocked(cached) || pages.is(cached, PG_POISONED)) continue;
    if (cursor.get(at) === PTE_NONE) cursor.map(at, makePte(cached, flags));
  }
  cursor.flush();
}

/** A private mapping writes a page that it never read: its own copy at once, no event needed. */
function mapCopy(space: AddressSpace, vma: Vma, page: Vpn, cached: Pfn): Result {
  const { pages, bytes } = space.memory;
  const frame = space.allocFrame(page);
  if (frame === 0) return -ENOMEM;
  assert(pages.refs[cached]! > 0, () => `page ${page} is copied from frame ${cached}, free`);
  assert(frame !== cached, () => `page ${page} is its own copy`);
  bytes.copy(cached, frame);
  space.ownAnonymous(frame, vma, page);
  pages.setFlag(frame, PG_DIRTY);
  const cursor = space.cursor.begin();
  cursor.map(page, makePte(frame, presentFlags(vma, true)));
  cursor.flush();
  pages.put(frame);
  return 0;
}
