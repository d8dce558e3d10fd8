/**
 * Where a page belongs in device memory: pages that follow each other lie in frames that do, as far
 * as there is room, so that a run of them is found by a subtraction.
 */
import { addrOf, type Vpn, vpn, vpnOf } from "../base/index.ts";
import type { AddressSpace } from "../mm/index.ts";

export class Placement {
  readonly #frames: number;
  // The page that belongs into the first frame.
  #first: Vpn = vpn(0);

  constructor(frames: number) {
    this.#frames = frames;
  }

  /** The memory is empty: count from the mapping that its first page is in. */
  begin(space: AddressSpace, page: Vpn): void {
    this.#first = vpnOf(space.vmas.find(addrOf(page))?.start ?? addrOf(page));
  }

  /** The place of its frame, 0 up. */
  indexOf(page: Vpn): number {
    const offset = (page - this.#first) % this.#frames;
    return offset < 0 ? offset + this.#frames : offset;
  }
}
