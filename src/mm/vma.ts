/**
 * Intent: what the program asked for. A `Vma` is a run of pages with one set of rights; a
 * `VmaSet` keeps a space's, sorted, never overlapping, neighbours of one kind merged.
 * Guarded by mmapLock. Linux: struct vm_area_struct, mm/vma.c.
 */
import { type AddrRange, assert, type VirtAddr } from "../base/index.ts";

export const VM_READ = 1 << 0;
export const VM_WRITE = 1 << 1;
export const VM_EXEC = 1 << 2;
export const VM_SHARED = 1 << 3;
/** The rights; what mprotect changes. */
export const VM_ACCESS = VM_READ | VM_WRITE | VM_EXEC;

export class Vma implements AddrRange {
  start: VirtAddr;
  end: VirtAddr;
  flags: number;

  constructor(range: AddrRange, flags: number) {
    this.start = range.start;
    this.end = range.end;
    this.flags = flags;
  }

  allows(flags: number): boolean {
    return (this.flags & flags) === flags;
  }
}

export class VmaSet {
  readonly #vmas: Vma[] = [];

  get all(): readonly Vma[] {
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
    const at = this.#firstEndingAfter(vma.start);
    const next = this.#vmas[at];
    assert(next === undefined || next.start >= vma.end, "a Vma is put on top of another");
    this.#vmas.splice(at, 0, vma);
  }

  /** Cuts the Vma that contains `address` in its middle so that one begins there. */
  split(address: VirtAddr): void {
    const vma = this.find(address);
    if (vma === undefined || vma.start === address) return;
    const upper = new Vma({ start: address, end: vma.end }, vma.flags);
    vma.end = address;
    this.insert(upper);
  }

  /** Takes away what lies in [start, end), splitting at both ends, and gives it back. */
  detach(start: VirtAddr, end: VirtAddr): Vma[] {
    this.split(start);
    this.split(end);
    const gone = this.overlapping(start, end);
    if (gone.length > 0) this.#vmas.splice(this.#vmas.indexOf(gone[0]!), gone.length);
    return gone;
  }

  /** Takes back what `detach` gave: as if it had never been. */
  attach(vmas: readonly Vma[]): void {
    for (const vma of vmas) this.insert(vma);
    for (const vma of vmas) if (this.#vmas.includes(vma)) this.merge(vma);
  }

  /** Joins `vma` with neighbours that touch it and are of one kind. */
  merge(vma: Vma): Vma {
    let at = this.#vmas.indexOf(vma);
    assert(at >= 0, "a Vma that is not in the set cannot be merged");
    const next = this.#vmas[at + 1];
    if (next !== undefined && canMerge(vma, next)) {
      vma.end = next.end;
      this.#vmas.splice(at + 1, 1);
    }
    const previous = this.#vmas[at - 1];
    if (previous !== undefined && canMerge(previous, vma)) {
      previous.end = vma.end;
      this.#vmas.splice(at, 1);
      at--;
    }
    return this.#vmas[at]!;
  }

  /** The lowest hole of `bytes` within [low, high), or undefined. */
  findHole(bytes: number, low: VirtAddr, high: VirtAddr): VirtAddr | undefined {
    let at = low;
    for (const vma of this.#vmas) {
      if (vma.end <= at) continue;
      if (vma.start >= at + bytes) break;
      at = vma.end;
    }
    return at + bytes <= high ? at : undefined;
  }

  /** Binary search: the index of the first Vma whose end lies above `address`. */
  #firstEndingAfter(address: VirtAddr): number {
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

const canMerge = (lower: Vma, upper: Vma): boolean =>
  lower.end === upper.start && lower.flags === upper.flags;
