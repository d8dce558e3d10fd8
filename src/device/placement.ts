/**
 * Where a page belongs in device memory: pages of a mapping that follow each other lie in frames
 * that do, as far as there is room, so that a run of them is found by a subtraction. The first
 * mapping that has pages here begins with the first frame, the others where they are furthest from
 * all before: in the middle, then at a quarter, at three quarters …
 */
import { addrOf, assert, type Vpn, vpn, vpnOf } from "../base/index.ts";
import type { AddressSpace } from "../mm/index.ts";

const MAPPINGS_MAX = 256;

interface Placed {
  readonly space: AddressSpace;
  readonly start: Vpn;
  end: Vpn;
  /** Place of the frame that the page at `start` belongs into. */
  readonly at: number;
}

export class Placement {
  readonly #frames: number;
  #mappings: Placed[] = [];
  #last: Placed | undefined;

  constructor(frames: number) {
    assert(frames > 0, "device memory has frames");
    this.#frames = frames;
  }

  /** The memory is empty. */
  begin(): void {
    this.#mappings = [];
    this.#last = undefined;
  }

  /** The place of the frame of `page`, 0 up. */
  indexOf(space: AddressSpace, page: Vpn): number {
    const last = this.#last;
    const isThere =
      last !== undefined && last.space === space && page >= last.start && page < last.end;
    const mapping = isThere ? last : this.#find(space, page);
    this.#last = mapping;
    return (page - mapping.start + mapping.at) % this.#frames;
  }

  #find(space: AddressSpace, page: Vpn): Placed {
    const vma = space.vmas.find(addrOf(page));
    const start = vma === undefined ? page : vpnOf(vma.start);
    const end = vma === undefined ? vpn(page + 1) : vpnOf(vma.end);
    // It may have grown, or another may be part of it now.
    const known = this.#mappings.find(
      (each) => each.space === space && each.start <= page && each.end >= start,
    );
    if (known !== undefined) {
      known.end = end;
      return known;
    }
    // It is a preference: who has so many may have another.
    if (this.#mappings.length === MAPPINGS_MAX) this.#mappings = [];
    const at = Math.floor(this.#frames * halves(this.#mappings.length));
    const placed = { space, start, end, at };
    this.#mappings.push(placed);
    return placed;
  }
}

/** 0, 1/2, 1/4, 3/4, 1/8, 5/8 …: the bits of `k` behind the point, the last one first. */
function halves(k: number): number {
  let value = 0;
  for (let bit = 0.5, left = k; left > 0; left >>>= 1, bit /= 2) value += (left & 1) * bit;
  return value;
}
