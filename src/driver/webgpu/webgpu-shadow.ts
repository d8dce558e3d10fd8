/**
 * What a WebGPU device reaches, as checkers see it: pages that live there, the zero page, and
 * copies, which stand for the frames of RAM that they were made from.
 */
import { assert, type Pfn, SPACE_PAGES, vpn } from "../../base/index.ts";
import { REACH_COPY, REACH_WRITE, type Shadow, type ShadowVisitor } from "../../check/index.ts";
import { type AddressSpace, PTE_FLAG_BITS, PTE_WRITE } from "../../mm/index.ts";
import { ZERO_PFN } from "../../phys/index.ts";
import { FRAME_COPY } from "./frame-cache.ts";
import type { WebGpuDevice } from "./webgpu-device.ts";

export class WebGpuShadow implements Shadow {
  readonly name = "GPU";
  readonly isCpu = false;
  readonly #device: WebGpuDevice;

  constructor(device: WebGpuDevice) {
    this.#device = device;
  }

  get space(): AddressSpace {
    return this.#device.space;
  }

  forEachReachable(visit: ShadowVisitor): void {
    const device = this.#device;
    this.#forEachEntry((page, index, write) => {
      if (index === 0) visit(vpn(page), ZERO_PFN, write);
      else if (device.frames.kind[index] !== FRAME_COPY)
        visit(vpn(page), device.pfnOf(index), write);
      else visit(vpn(page), device.sourceOf(index), write | REACH_COPY);
    });
  }

  /** The device's own zero page, and its copies. */
  get held(): Iterable<Pfn> {
    const device = this.#device;
    const held = [device.pfnOf(0)];
    this.#forEachEntry((_page, index) => {
      if (index !== 0 && device.frames.kind[index] === FRAME_COPY) held.push(device.pfnOf(index));
    });
    return held;
  }

  checkBooks(): void {
    const { frames, isInFlight, pagemap, residentPages } = this.#device;
    assert(!isInFlight, "a round is running");
    let copies = 0;
    this.#forEachEntry((page, index) => {
      if (index === 0) return;
      if (frames.kind[index] === FRAME_COPY) copies++;
      const isOwn = frames.page[index] === page;
      assert(isOwn, () => `GPU page ${page} uses frame ${index}, which is another page's`);
    });
    assert(copies === frames.copyCount, () => `${frames.copyCount} copies, ${copies} are in use`);
    const used = pagemap.zone.usedCount - 1;
    assert(residentPages === used, () => `${residentPages} frames hold data, ${used} are used`);
  }

  #forEachEntry(visit: (page: number, index: number, write: number) => void): void {
    const { table } = this.#device.gpu;
    for (let page = 0; page < SPACE_PAGES; page++) {
      const entry = table[page]!;
      if (entry === 0) continue;
      visit(page, entry >>> PTE_FLAG_BITS, (entry & PTE_WRITE) === 0 ? 0 : REACH_WRITE);
    }
  }
}
