/**
 * Intent: what the program asked for. A `Vma` is a run of pages of one kind with one set of
 * rights; a `VmaSet` keeps a space's, sorted, never overlapping, neighbours of one kind merged.
 * Guarded by mmapLock. Linux: struct vm_area_struct, mm/vma.c.
 */
import { type AddrRange, assert, PAGE_SIZE, type VirtAddr } from "../base/index.ts";
import type { Shared } from "../sync/index.ts";
import type { AddressSpace } from "./address-space.ts";
import type { CachedFile } from "./file/index.ts";
import type { HugetlbReservation } from "./large/index.ts";
import type { AnonVma, ReverseMap } from "./reverse-map.ts";

export const VM_READ = 1 << 0;
export const VM_WRITE = 1 << 1;
export const VM_EXEC = 1 << 2;
export const VM_SHARED = 1 << 3;
/** What mprotect may grant at most: the rights, four bits up. */
export const VM_MAYREAD = 1 << 4;
export const VM_MAYWRITE = 1 << 5;
export const VM_MAYEXEC = 1 << 6;
/** Huge pages are wanted here, or unwanted. */
export const VM_HUGEPAGE = 1 << 8;
export const VM_NOHUGEPAGE = 1 << 9;
/** Made of pages of the pool of huge pages only. */
export const VM_HUGETLB = 1 << 10;
/** Frames without page metadata, put there by a driver: nobody else may look behind them. */
export const VM_PFNMAP = 1 << 11;
/** Pages of a driver's own, some with metadata. */
export const VM_MIXEDMAP = 1 << 12;
/** Device registers. */
export const VM_IO = 1 << 13;
/** May not grow. */
export const VM_DONTEXPAND = 1 << 14;
/** Counted as memory that the program may yet need; keeps neighbours apart. */
export const VM_ACCOUNT = 1 << 15;
/** Stays with the parent at fork. */
export const VM_DONTCOPY = 1 << 16;
/** The rights; what mprotect changes. */
export const VM_ACCESS = VM_READ | VM_WRITE | VM_EXEC;
/** Where no page may migrate and no huge page appears. Linux: VM_SPECIAL. */
export const VM_SPECIAL = VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP;

export interface VmaOptions {
  readonly space?: AddressSpace;
  /** What is mapped; absent: anonymous memory. */
  readonly file?: CachedFile | undefined;
  /** Bytes into the file; for anonymous memory the address at which it began. */
  readonly offset?: number;
  /** Huge pages that were promised to it. */
  readonly reservation?: HugetlbReservation | undefined;
}

export class Vma implements AddrRange {
  start: VirtAddr;
  end: VirtAddr;
  flags: number;
  offset: number;
  readonly file: CachedFile | undefined;
  /** Huge pages that were promised when it was made, shared with those that it is cut into. */
  reservation: HugetlbReservation | undefined;
  readonly #space: AddressSpace | undefined;
  /** Where the anonymous pages of this Vma belong; none before the first. */
  anonVma: AnonVma | undefined;
  /** All anonymous reverse maps that list this Vma: its own and its ancestors'. */
  readonly anonChain: AnonVma[] = [];
  #isLinked = false;

  constructor(range: AddrRange, flags: number, options: VmaOptions = {}) {
    assert(range.start < range.end, "a Vma has no page");
    this.start = range.start;
    this.end = range.end;
    this.flags = flags;
    this.offset = options.offset ?? range.start;
    this.file = options.file;
    this.reservation = options.reservation;
    this.#space = options.space;
  }

  get space(): AddressSpace {
    assert(this.#space !== undefined, "a Vma of no space");
    return this.#space;
  }

  /** Nothing but memory behind it. Shared anonymous memory has a file without a name. */
  get isAnonymous(): boolean {
    return this.file === undefined && (this.flags & VM_SPECIAL) === 0;
  }

  get isShared(): boolean {
    return (this.flags & VM_SHARED) !== 0;
  }

  /** A private mapping that may become writable: pages are copied when written. */
  get isCow(): boolean {
    return (this.flags & (VM_SHARED | VM_MAYWRITE)) === VM_MAYWRITE;
  }

  get isHugetlb(): boolean {
    return (this.flags & VM_HUGETLB) !== 0;
  }

  allows(flags: number): boolean {
    return (this.flags & flags) === flags;
  }

  /** The page offset of `address` in the file or in the anonymous reverse map. */
  indexOf(address: number): number {
    return (this.offset + (address - this.start)) / PAGE_SIZE;
  }

  /** Where page `index` lies, or undefined when outside. */
  addressOf(index: number): VirtAddr | undefined {
    const address = this.start + index * PAGE_SIZE - this.offset;
    return address >= this.start && address < this.end ? (address as VirtAddr) : undefined;
  }

  /** Another one of the same kind, in the same reverse maps. */
  cloneAt(range: AddrRange, offset: number): Vma {
    const { file, reservation } = this;
    const options = { file, offset, reservation };
    const clone = new Vma(
      range,
      this.flags,
      this.#space === undefined ? options : { ...options, space: this.#space },
    );
    clone.anonVma = this.anonVma;
    for (const anon of this.anonChain) clone.joinAnon(anon);
    clone.link();
    return clone;
  }

  /** Lists it with its file, which it holds. */
  link(): void {
    assert(!this.#isLinked, "a Vma is linked twice");
    assert(this.start < this.end, "a Vma without pages is linked");
    this.#isLinked = true;
    if (this.file === undefined) return;
    this.file.get();
    this.file.reverse.link(this);
  }

  /** Out of every reverse map: nobody finds pages here any more. */
  unlink(): void {
    if (!this.#isLinked) return;
    this.#isLinked = false;
    this.file?.reverse.unlink(this);
    this.file?.put();
    for (const anon of this.anonChain) {
      anon.unlink(this);
      if (anon.vmas.length === 0) this.#space?.memory.forgetReverseMap(anon);
    }
    this.anonChain.length = 0;
    this.anonVma = undefined;
    this.reservation?.release(this.offset, this.offset + (this.end - this.start));
  }

  /** A huge page at `address` was promised: now it is used. False: it takes a free one. */
  takeReserved(address: number): boolean {
    return this.reservation?.take(this.offset + (address - this.start)) ?? false;
  }

  /** The huge page at `address` is given up: it is promised again. Linux: restore_reserve. */
  restoreReserved(address: number): void {
    this.reservation?.restore(this.offset + (address - this.start));
  }

  joinAnon(anon: AnonVma): void {
    assert(!this.anonChain.includes(anon), "a Vma is listed twice by a reverse map");
    this.anonChain.push(anon);
    anon.link(this);
  }

  /** Other bounds: it moves behind those that begin where it begins now. */
  resize(start: VirtAddr, end: VirtAddr): void {
    assert(start < end, "a Vma is left without a page");
    assert(this.offset + start >= this.start, "a Vma begins before what it maps");
    for (const map of this.#maps()) map.unlink(this);
    this.offset += start - this.start;
    this.start = start;
    this.end = end;
    for (const map of this.#maps()) map.link(this);
  }

  #maps(): ReverseMap[] {
    return this.file === undefined || !this.#isLinked
      ? this.anonChain
      : [this.file.reverse, ...this.anonChain];
  }
}

export class VmaSet {
  readonly #vmas: Vma[] = [];
  readonly #shared: Shared | undefined;

  /** `shared`: what an explorer knows all Vmas of a space by. */
  constructor(shared?: Shared) {
    this.#shared = shared;
  }

  /** Whoever looks at a Vma that it did not get from here says so. */
  looks(): void {
    this.#shared?.read();
  }

  /** Whoever is about to change a Vma in place says so. */
  changes(): void {
    this.#shared?.write();
  }

  get all(): readonly Vma[] {
    this.#shared?.read();
    return this.#vmas;
  }

  /** The Vma that contains `address`. Linux: vma_lookup(). */
  find(address: VirtAddr): Vma | undefined {
    const vma = this.#vmas[this.#firstEndingAfter(address)];
    return vma !== undefined && vma.start <= address ? vma : undefined;
  }

  /** The first Vma that ends after `address`. Linux: find_vma(). */
  findNext(address: VirtAddr): Vma | undefined {
    return this.#vmas[this.#firstEndingAfter(address)];
  }

  /** The neighbours of `vma`, touching or not. */
  neighbours(vma: Vma): readonly [before: Vma | undefined, after: Vma | undefined] {
    this.#shared?.read();
    const at = this.#vmas.indexOf(vma);
    assert(at >= 0, "a Vma is looked for in a set that it is not in");
    return [this.#vmas[at - 1], this.#vmas[at + 1]];
  }

  /** Those that overlap [start, end), in order. */
  overlapping(start: VirtAddr, end: VirtAddr): Vma[] {
    const found: Vma[] = [];
    for (let i = this.#firstEndingAfter(start); i < this.#vmas.length; i++) {
      const vma = this.#vmas[i]!;
      if (vma.start >= end) break;
      found.push(vma);
    }
    return found;
  }

  insert(vma: Vma): void {
    this.changes();
    const at = this.#firstEndingAfter(vma.start);
    const next = this.#vmas[at];
    assert(next === undefined || next.start >= vma.end, "a Vma is put on top of another");
    assert((this.#vmas[at - 1]?.end ?? 0) <= vma.start, "a Vma begins within another");
    this.#vmas.splice(at, 0, vma);
  }

  /** Cuts the Vma that contains `address` in its middle so that one begins there. */
  split(address: VirtAddr): void {
    const vma = this.find(address);
    if (vma === undefined || vma.start === address) return;
    this.changes();
    const upper = vma.cloneAt({ start: address, end: vma.end }, vma.offset + address - vma.start);
    vma.resize(vma.start, address);
    this.insert(upper);
    assert(vma.end === upper.start, "the halves of a Vma do not touch");
    const isOne = vma.offset + (vma.end - vma.start) === upper.offset;
    assert(isOne, "the halves of a Vma do not continue each other");
  }

  /** Takes away what lies in [start, end), splitting at both ends, and gives it back. */
  detach(start: VirtAddr, end: VirtAddr): Vma[] {
    this.split(start);
    this.split(end);
    const gone = this.overlapping(start, end);
    if (gone.length === 0) return gone;
    assert(gone[0]!.start >= start, "more is taken away below than was asked for");
    assert(gone.at(-1)!.end <= end, "more is taken away above than was asked for");
    this.changes();
    this.#vmas.splice(this.#vmas.indexOf(gone[0]!), gone.length);
    return gone;
  }

  /** Takes back what `detach` gave: as if it had never been. */
  attach(vmas: readonly Vma[]): void {
    for (const vma of vmas) this.insert(vma);
    for (const vma of vmas) if (this.#vmas.includes(vma)) this.merge(vma);
  }

  /**
   * Joins `vma`, which is new or has changed, with the neighbours that touch it and are of one
   * kind. Each side is decided by the reverse map that `vma` itself has, before it joins anybody;
   * then both outer ones come together unless they have two different ones. Linux:
   * vma_merge_existing_range(), vma_merge_new_range().
   */
  merge(vma: Vma): Vma {
    const [previous, next] = this.neighbours(vma);
    const joinsDown = previous !== undefined && canJoin(previous, vma, previous);
    const joinsUp = next !== undefined && canJoin(vma, next, next);
    const merged = joinsDown ? this.#join(previous, vma) : vma;
    if (!joinsUp || (joinsDown && haveTwoAnons(previous, next))) return merged;
    return this.#join(merged, next);
  }

  /**
   * `vma` reaches up to `end`, over a hole. What it touches then may join it; the one below it is
   * not asked, as nothing changed there. Linux: vma_merge_extend().
   */
  extend(vma: Vma, end: VirtAddr): Vma {
    const [, next] = this.neighbours(vma);
    assert(end > vma.end, "a Vma is extended by nothing");
    assert(next === undefined || next.start >= end, "a Vma is extended over another");
    this.changes();
    vma.resize(vma.start, end);
    return next !== undefined && canJoin(vma, next, next) ? this.#join(vma, next) : vma;
  }

  /** The two as one, in the reverse maps of the one that has some. */
  #join(lower: Vma, upper: Vma): Vma {
    assert(lower.end === upper.start, "two Vmas are joined that do not touch");
    assert(!haveTwoAnons(lower, upper), "two Vmas are joined that have two reverse maps");
    this.changes();
    const { end } = upper;
    if (lower.anonVma === undefined && upper.anonVma !== undefined) {
      lower.anonVma = upper.anonVma;
      for (const anon of upper.anonChain) lower.joinAnon(anon);
    }
    this.#vmas.splice(this.#vmas.indexOf(upper), 1);
    upper.reservation = undefined;
    upper.unlink();
    lower.resize(lower.start, end);
    return lower;
  }

  /** The lowest hole of `bytes` within [low, high) at a multiple of `align`, or undefined. */
  findHole(bytes: number, low: VirtAddr, high: VirtAddr, align = PAGE_SIZE): VirtAddr | undefined {
    const up = (address: number): number => Math.ceil(address / align) * align;
    let at = up(low);
    for (const vma of this.all) {
      if (vma.end <= at) continue;
      if (vma.start >= at + bytes) break;
      at = up(vma.end);
    }
    return at + bytes <= high ? (at as VirtAddr) : undefined;
  }

  /** Binary search: the index of the first Vma whose end lies above `address`. */
  #firstEndingAfter(address: VirtAddr): number {
    this.#shared?.read();
    let low = 0;
    let high = this.#vmas.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#vmas[middle]!.end > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/** Whether the two may become one; `old` is the one of them that has not changed. */
const canJoin = (lower: Vma, upper: Vma, old: Vma): boolean =>
  lower.end === upper.start &&
  (lower.flags & VM_SPECIAL) === 0 &&
  lower.flags === upper.flags &&
  lower.file === upper.file &&
  lower.reservation === upper.reservation &&
  lower.offset + (lower.end - lower.start) === upper.offset &&
  canShareAnon(lower, upper, old);

/**
 * Pages of both would have to be found in one reverse map. A Vma that came by fork does not take
 * in one without pages: its pages are spread over its ancestors'. One that has no reverse map does
 * not take in one that has. Linux: is_mergeable_anon_vma().
 */
const canShareAnon = (lower: Vma, upper: Vma, old: Vma): boolean =>
  lower.anonVma === upper.anonVma || (!haveTwoAnons(lower, upper) && old.anonChain.length === 1);

const haveTwoAnons = ({ anonVma: one }: Vma, { anonVma: other }: Vma): boolean =>
  one !== undefined && other !== undefined && one !== other;

/**
 * The reverse map of a neighbour that differs in rights only: the two may merge one day.
 * Linux: find_mergeable_anon_vma().
 */
export function borrowAnon(vmas: VmaSet, vma: Vma): AnonVma | undefined {
  const [previous, next] = vmas.neighbours(vma);
  if (next !== undefined && next.anonChain.length === 1 && fitTogether(vma, next)) {
    if (next.anonVma !== undefined) return next.anonVma;
  }
  if (previous !== undefined && previous.anonChain.length === 1 && fitTogether(previous, vma)) {
    return previous.anonVma;
  }
  return undefined;
}

const fitTogether = (lower: Vma, upper: Vma): boolean =>
  lower.end === upper.start &&
  lower.file === upper.file &&
  ((lower.flags ^ upper.flags) & ~VM_ACCESS) === 0 &&
  lower.offset + (lower.end - lower.start) === upper.offset;
