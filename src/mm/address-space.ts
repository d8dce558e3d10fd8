/**
 * One address space: intent (`vmas`), fact (`pageTable`), and who must be told (`mmus`,
 * `notifiers`). Files beside this one hold an operation each. Linux: struct mm_struct.
 */
import {
  addrOf,
  assert,
  type Pfn,
  SPACE_BYTES,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
} from "../base/index.ts";
import { NotifierSubscriptions } from "../notifier/index.ts";
import { PG_ANON, PG_CACHED, PG_EXCLUSIVE, PG_REFERENCED, type Zone } from "../phys/index.ts";
import { RefCount, RwSemaphore, Shared } from "../sync/index.ts";
import type { CpuMmu } from "./cpu-mmu.ts";
import { PageTableCursor } from "./cursor.ts";
import type { Memory } from "./memory.ts";
import { PageTable } from "./page-table.ts";
import type { AnonVma } from "./reverse-map.ts";
import { MM_ANONPAGES, MM_FILEPAGES, MM_SHMEMPAGES, NR_MM_COUNTERS } from "./rss.ts";
import { borrowAnon, type Vma, VmaSet } from "./vma.ts";

/**
 * Below this nothing is mapped, so a null pointer plus an offset faults; except by who says that
 * it must be (`MmapOptions.isLow`). Linux: vm.mmap_min_addr.
 */
export const MMAP_MIN_ADDR: VirtAddr = virtAddr(0x1_0000);
/** mmap without a hint looks for a hole from here up. */
export const MMAP_BASE: VirtAddr = virtAddr(0x1000_0000);
export const MMAP_END: VirtAddr = virtAddr(SPACE_BYTES);

export interface AddressSpaceOptions {
  /**
   * True: the frame of a page is the one whose bytes lie at the page's address, because user code
   * reads the bytes of RAM at its own addresses (a window). Default false: any frame.
   */
  readonly isIdentity?: boolean;
}

export class AddressSpace {
  readonly id: number;
  readonly memory: Memory;
  readonly isIdentity: boolean;
  /** Written to change `vmas`, read to look at them and to fault. */
  readonly mmapLock: RwSemaphore;
  /** Guarded by mmapLock. */
  readonly vmas: VmaSet;
  /** Written through `cursor` only. */
  readonly pageTable: PageTable;
  readonly cursor: PageTableCursor;
  readonly notifiers: NotifierSubscriptions;
  /** Shadows of the CPU. Linux: the TLBs. */
  readonly mmus: CpuMmu[] = [];
  /** Who may look at VMAs and the page table; at 0 the space is torn down. Linux: mm_users. */
  readonly users: RefCount;
  // MM_… -> mapped pages of that kind, wherever they live; written by `cursor` only
  readonly rss: Int32Array;

  constructor(memory: Memory, options: AddressSpaceOptions = {}) {
    this.memory = memory;
    this.isIdentity = options.isIdentity ?? false;
    this.id = memory.adopt(this);
    this.mmapLock = new RwSemaphore(memory.scheduler, "mmap", `mmapLock of space ${this.id}`);
    this.cursor = new PageTableCursor(this);
    const { scheduler, tracer, precedence } = memory;
    const { footprint } = scheduler;
    this.vmas = new VmaSet(new Shared(scheduler));
    this.pageTable = new PageTable(footprint);
    const rss = new Int32Array(NR_MM_COUNTERS);
    this.rss = footprint?.watch(rss) ?? rss;
    this.notifiers = new NotifierSubscriptions(scheduler, tracer, precedence);
    this.users = new RefCount(`space ${this.id}`, new Shared(scheduler));
  }

  get ram(): Zone {
    return this.memory.ram;
  }

  /**
   * A frame of RAM for `page` with one reference that is the caller's; nobody pays for it yet
   * (a page that comes home brings its charge). Not cleared. 0 when there is none.
   */
  takeFrame(page: Vpn): Pfn | 0 {
    const { pages, bytes } = this.memory;
    return this.isIdentity ? pages.allocAt(this.ram, bytes.frameAt(page)) : pages.alloc(this.ram);
  }

  /**
   * The same for page `start + slots[i]` each, locked by the running task; 0 where there is none.
   */
  takeFrames(start: Vpn, slots: readonly number[]): (Pfn | 0)[] {
    const { pages } = this.memory;
    if (!this.isIdentity) return pages.allocManyLocked(this.ram, slots.length);
    const frames = slots.map((slot) => this.takeFrame(vpn(start + slot)));
    for (const frame of frames) {
      if (frame !== 0) assert(pages.tryLock(frame), "a fresh frame is unlocked");
    }
    return frames;
  }

  /** The same, charged. 0 also when the group's limit is reached. */
  allocFrame(page: Vpn): Pfn | 0 {
    const { pages, group } = this.memory;
    const frame = this.takeFrame(page);
    if (frame === 0) return 0;
    if (pages.charge(frame, group) < 0) {
      pages.put(frame);
      return 0;
    }
    assert(pages.refs[frame] === 1, "a frame is fresh and somebody has it");
    return frame;
  }

  /** Mapped pages of all kinds, swapped ones not among them. */
  get rssPages(): number {
    return this.rss[MM_FILEPAGES]! + this.rss[MM_ANONPAGES]! + this.rss[MM_SHMEMPAGES]!;
  }

  /** The page table says all there is in [start, end), also what it was not asked for. */
  catchUp(start: Vpn, end: Vpn, isGoing = false): void {
    for (const mmu of this.mmus) mmu.catchUp?.(start, end, isGoing);
  }

  /** The reverse map of the anonymous pages of `vma`, made now if need be. */
  anonVmaOf(vma: Vma): AnonVma {
    this.vmas.looks();
    if (vma.anonVma !== undefined) return vma.anonVma;
    this.vmas.changes();
    const anon = borrowAnon(this.vmas, vma) ?? this.memory.newAnonVma();
    assert(vma.isCow || !vma.isShared, "a shared mapping gets a reverse map for private pages");
    assert(vma.anonChain.length === 0, "a Vma without a reverse map of its own has others'");
    vma.anonVma = anon;
    vma.joinAnon(anon);
    return anon;
  }

  /** Says whose page `frame` is: anonymous, at `page` of `vma`, written by this space alone. */
  ownAnonymous(frame: Pfn, vma: Vma, page: Vpn): void {
    const { pages } = this.memory;
    assert(pages.mapcount[frame] === 0, "a frame gets an owner and is mapped already");
    assert(!pages.is(frame, PG_CACHED), "a frame is a file's and gets an owner");
    pages.setFlag(frame, PG_ANON | PG_EXCLUSIVE | PG_REFERENCED);
    pages.mapping[frame] = this.anonVmaOf(vma).id;
    pages.index[frame] = vma.indexOf(addrOf(page));
  }

  /** A page that several spaces shared is `vma`'s alone again. Linux: folio_move_anon_rmap(). */
  reclaimAnonymous(frame: Pfn, vma: Vma): void {
    const { pages } = this.memory;
    assert(pages.is(frame, PG_ANON), () => `frame ${frame} is not anonymous, nobody's alone`);
    assert(pages.mapcount[frame] === 1, () => `frame ${frame} is mapped by somebody else`);
    pages.setFlag(frame, PG_EXCLUSIVE);
    pages.mapping[frame] = this.anonVmaOf(vma).id;
  }
}
