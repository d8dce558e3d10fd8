/**
 * Memory that is not the program's own: pages of a driver, put into a mapping by the driver, and
 * pages whose memory is broken. Linux: vm_insert_page(), remap_pfn_range(), memory_failure().
 */
import {
  assert,
  EBUSY,
  EFAULT,
  EINVAL,
  EOPNOTSUPP,
  isPageRange,
  PAGE_SIZE,
  type Pfn,
  type Result,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpnOf,
} from "../../base/index.ts";
import { Invalidation, MMU_NOTIFY_CLEAR } from "../../notifier/index.ts";
import {
  PG_ANON,
  PG_CACHED,
  PG_LARGE,
  PG_POISONED,
  PG_RESERVED,
  ZERO_PFN,
} from "../../phys/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { AddressSpace } from "../address-space.ts";
import { presentFlags } from "../entry-flags.ts";
import { splitHuge } from "../large/huge.ts";
import { splitLargePage } from "../large/split-page.ts";
import { mappersOf } from "../migration-entries.ts";
import { hasFrame, makePte, makeSpecial, PTE_NONE, ptePfn, SPECIAL_POISON } from "../pte.ts";
import {
  VM_DONTEXPAND,
  VM_IO,
  VM_MAYREAD,
  VM_MAYWRITE,
  VM_MIXEDMAP,
  VM_PFNMAP,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  Vma,
} from "../vma.ts";

/** What a driver maps. */
export const SpecialKind = {
  /** Frames with metadata: may be looked at and used by whoever walks. */
  mixed: "mixed",
  /** Bare frame numbers: nobody but the CPU may use them. */
  raw: "raw",
} as const;
export type SpecialKind = (typeof SpecialKind)[keyof typeof SpecialKind];

export interface MapSpecialOptions {
  readonly start: VirtAddr;
  readonly kind: SpecialKind;
  /** The driver's frames, one a page; it keeps its own reference to each. */
  readonly frames: readonly Pfn[];
  /** VM_READ, VM_WRITE. */
  readonly flags: number;
}

/** Maps a driver's frames at `start`: the address, or -EINVAL, -EBUSY when something is there. */
export function* mapSpecial(space: AddressSpace, options: MapSpecialOptions): Sleeps<Result> {
  const { start, frames } = options;
  const end = virtAddr(start + frames.length * PAGE_SIZE);
  if (!isPageRange(start, end)) return -EINVAL;
  using _mmap = yield* space.mmapLock.acquireWrite();
  if (space.vmas.overlapping(start, end).length > 0) return -EBUSY;
  const kind = options.kind === SpecialKind.mixed ? VM_MIXEDMAP : VM_PFNMAP | VM_IO;
  const rights = options.flags & (VM_READ | VM_WRITE);
  const flags = rights | VM_MAYREAD | VM_MAYWRITE | VM_SHARED | VM_DONTEXPAND | kind;
  const vma = new Vma({ start, end }, flags, { space });
  space.vmas.insert(vma);
  vma.link();
  const cursor = space.cursor.begin();
  frames.forEach((frame, i) => {
    const { pages } = space.memory;
    assert(pages.refs[frame]! > 0, () => `frame ${frame} is mapped and its driver has it not`);
    assert(!pages.is(frame, PG_ANON | PG_CACHED), () => `frame ${frame} is no driver's own`);
    pages.setFlag(frame, PG_RESERVED);
    cursor.map((vpnOf(start) + i) as Vpn, makePte(frame, presentFlags(vma, true)));
  });
  cursor.flush();
  return start;
}

/** The driver wants its frames back: nothing maps them any more. */
export function releaseSpecial(space: AddressSpace, frames: readonly Pfn[]): void {
  const { pages } = space.memory;
  for (const frame of frames) {
    assert(pages.refs[frame]! > 0, () => `frame ${frame} goes back and its driver has it not`);
    assert(pages.mapcount[frame] === 0, () => `frame ${frame} goes back and is mapped`);
    pages.clearFlag(frame, PG_RESERVED);
  }
}

/**
 * The memory behind `address` is broken: every space that maps it gets an entry that is a SIGBUS
 * to touch, and the frame is never used again. -EFAULT where no page is, -EINVAL for pages of
 * devices and drivers, -EOPNOTSUPP for pages of the pool, -EBUSY for part of a large page that
 * somebody holds. Linux: MADV_HWPOISON.
 */
export function* poisonPage(space: AddressSpace, address: VirtAddr): Sleeps<Result> {
  using _mmap = yield* space.mmapLock.acquireRead();
  const page = vpnOf(address);
  if (space.vmas.find(address)?.isHugetlb) return -EOPNOTSUPP;
  yield* splitHuge(space, page);
  const { memory } = space;
  const found = space.pageTable.get(page);
  if (hasFrame(found) && memory.pages.is(ptePfn(found), PG_LARGE)) {
    // One allocation until it is split: else all of it would be lost with the broken frame.
    if (!(yield* splitLargePage(memory, ptePfn(found)))) return -EBUSY;
  }
  const pte = space.pageTable.get(page);
  if (!hasFrame(pte) || ptePfn(pte) === ZERO_PFN) return -EFAULT;
  const frame = ptePfn(pte);
  if (memory.pages.is(frame, PG_RESERVED) || memory.pages.isDevice(frame)) return -EINVAL;
  // Kept for good, once: a broken frame never goes back to its zone.
  if (!memory.pages.is(frame, PG_POISONED)) {
    memory.pages.get(frame);
    memory.pages.setFlag(frame, PG_POISONED);
    memory.poisoned.push(frame);
  }
  for (const { vma, address: at } of mappersOf(memory, frame)) {
    const event = new Invalidation({
      start: at,
      end: virtAddr(at + PAGE_SIZE),
      event: MMU_NOTIFY_CLEAR,
    });
    yield* splitHuge(vma.space, vpnOf(at));
    yield* vma.space.notifiers.change(event, () => replaceByPoison(vma.space, vpnOf(at), frame));
  }
  return 0;
}

function replaceByPoison(space: AddressSpace, page: Vpn, frame: Pfn): void {
  const pte = space.pageTable.get(page);
  if (pte === PTE_NONE || !hasFrame(pte) || ptePfn(pte) !== frame) return;
  const { pages } = space.memory;
  assert(pages.is(frame, PG_POISONED), () => `frame ${frame} is taken away and is not broken`);
  assert(pages.refs[frame]! > pages.mapcount[frame]!, () => `broken frame ${frame} would go back`);
  const cursor = space.cursor.begin();
  cursor.unmap(page);
  cursor.set(page, makeSpecial(SPECIAL_POISON));
  cursor.flush();
}
