/**
 * What maps a file: taking its pages out of every page table, or the right to write them.
 * Linux: unmap_mapping_range(), folio_mkclean().
 */
import { assert, PAGE_SIZE, type VirtAddr, virtAddr, vpnOf } from "../../base/index.ts";
import {
  Invalidation,
  MMU_NOTIFY_CLEAR,
  MMU_NOTIFY_PROTECTION_PAGE,
} from "../../notifier/index.ts";
import { PG_ANON } from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { hasFrame, isWritable, PTE_WRITE, type Pte, ptePfn, withFlags } from "../pte.ts";
import type { Vma } from "../vma.ts";
import type { CachedFile } from "./cached-file.ts";

export interface UnmapOptions {
  /** Bytes into the file, whole pages. */
  readonly start: number;
  /** Default: everything from `start` on. */
  readonly end?: number;
  /** Private copies of the pages go, too. */
  readonly evenCopies: boolean;
}

/** Empties the entries of the file's pages in [start, end), in every space. */
export function* unmapMappings(file: CachedFile, options: UnmapOptions): Sleeps<void> {
  const { start, end = Number.POSITIVE_INFINITY, evenCopies } = options;
  for (const vma of file.reverse.overlapping(start, end)) {
    const from = virtAddr(vma.start + Math.max(start - vma.offset, 0));
    const to = virtAddr(Math.min(vma.start + (end - vma.offset), vma.end));
    const event = new Invalidation({ start: from, end: to, event: MMU_NOTIFY_CLEAR });
    assert(vma.file === file, () => `${file.name} lists a Vma of another file`);
    assert(from < to, () => `no page of ${file.name} is where its reverse map has one`);
    const { pages } = file.memory;
    const isCopy = (pte: Pte): boolean => !hasFrame(pte) || pages.is(ptePfn(pte), PG_ANON);
    yield* vma.space.notifiers.change(event, () => {
      const cursor = vma.space.cursor.begin();
      cursor.clearRange(vpnOf(from), vpnOf(to), evenCopies ? undefined : isCopy);
      cursor.flush();
    });
  }
}

/** Takes the right to write page `index` from every shared mapping that has it. */
export function* protectMappings(file: CachedFile, index: number): Sleeps<void> {
  const offset = index * PAGE_SIZE;
  for (const vma of file.reverse.overlapping(offset, offset + PAGE_SIZE)) {
    if (vma.isShared) yield* protectMapping(vma, vma.addressOf(index)!);
  }
}

function* protectMapping(vma: Vma, address: VirtAddr): Sleeps<void> {
  const { space } = vma;
  const page = vpnOf(address);
  const event = new Invalidation({
    start: address,
    end: virtAddr(address + PAGE_SIZE),
    event: MMU_NOTIFY_PROTECTION_PAGE,
  });
  yield* space.notifiers.change(event, () => {
    const pte = space.pageTable.get(page);
    if (!hasFrame(pte) || !isWritable(pte)) return;
    assert(vma.isShared, () => `page ${page} is private: its writes are nobody's to see`);
    assert(!space.memory.pages.is(ptePfn(pte), PG_ANON), () => `page ${page} is not the file's`);
    const cursor = space.cursor.begin();
    cursor.set(page, withFlags(pte, 0, PTE_WRITE));
    cursor.flush();
  });
}
