/**
 * A device that reads and writes memory by itself, and the addresses it does that with. Each
 * mapping lets it reach one frame in one direction; what it reaches without one is a bug of its
 * driver, and `translate` says so. Linux: kernel/dma/mapping.c and debug.c.
 */
import {
  assert,
  EFAULT,
  ENOMEM,
  EOPNOTSUPP,
  formatAddress,
  PAGE_SHIFT,
  PAGE_SIZE,
  type Pfn,
  pfn,
  type Result,
} from "../base/index.ts";
import type { Pages } from "../phys/index.ts";
import { DirectMap } from "./direct-map.ts";
import {
  DMA_BIDIRECTIONAL,
  PCI_P2PDMA_MAP_BUS_ADDR,
  PCI_P2PDMA_MAP_NONE,
  PCI_P2PDMA_MAP_NOT_SUPPORTED,
} from "./directions.ts";
import { IO_SINGLE, IO_WRITE, IoSpace } from "./io-space.ts";

const ADDRESS_BITS_DEFAULT = 48;
/** Addresses stay safe integers, whatever is added to them. */
const ADDRESS_BITS_MAX = 52;
/** Most pages of I/O addresses, as many as an IOMMU gives 32-bit devices. */
const IO_PAGES_MAX = 2 ** 20 - 1;
/** Bus addresses of other devices' memory begin here, above all frames and I/O addresses. */
const BUS_OFFSET = 2 ** 40;

export interface DmaDeviceOptions {
  readonly name: string;
  readonly pages: Pages;
  /** Bits of an address that the device can put on the bus, 13 to 52. Default 48. */
  readonly addressBits?: number;
  /** Behind an IOMMU, with so many pages of I/O addresses. Default: an address is a frame's. */
  readonly iommu?: { readonly pages: number };
  /** It only reaches copies in bounce buffers, so memory cannot be shared with it. */
  readonly needsBounce?: boolean;
  /** Mappings that may live at a time. Default: no limit. */
  readonly mappingsMax?: number;
  /**
   * How the device reaches a frame of device memory, `PCI_P2PDMA_MAP_…`; not asked for RAM.
   * Default: not at all.
   */
  readonly peerRoute?: (frame: Pfn) => number;
}

/** I/O addresses in a row that belong to somebody, mapped or not. Linux: struct dma_iova_state. */
export interface DmaBlock {
  /** Its first address. */
  readonly start: number;
  /** Pages. */
  readonly count: number;
}

export class DmaDevice {
  readonly name: string;
  readonly pages: Pages;
  readonly needsBounce: boolean;
  readonly #addressEnd: number;
  readonly #mappingsMax: number;
  readonly #peerRoute: ((frame: Pfn) => number) | undefined;
  readonly #io: IoSpace | undefined;
  readonly #direct = new DirectMap();
  readonly #blocks = new Set<DmaBlock>();
  #mappingCount = 0;

  constructor(options: DmaDeviceOptions) {
    const { addressBits = ADDRESS_BITS_DEFAULT, iommu } = options;
    const isWidth = Number.isInteger(addressBits) && addressBits > PAGE_SHIFT;
    assert(isWidth && addressBits <= ADDRESS_BITS_MAX, () => `no bus is ${addressBits} bits wide`);
    this.name = options.name;
    this.pages = options.pages;
    this.needsBounce = options.needsBounce ?? false;
    this.#addressEnd = 2 ** addressBits;
    this.#mappingsMax = options.mappingsMax ?? Number.POSITIVE_INFINITY;
    this.#peerRoute = options.peerRoute;
    if (iommu === undefined) return;
    const isCount = Number.isInteger(iommu.pages) && iommu.pages > 0;
    assert(isCount && iommu.pages <= IO_PAGES_MAX, () => `no IOMMU has ${iommu.pages} pages`);
    // I/O page 0 is nobody's.
    this.#io = new IoSpace(Math.min(iommu.pages, this.#addressEnd / PAGE_SIZE - 1));
  }

  /** Its addresses are I/O addresses of its own, not those of frames. */
  get isBehindIommu(): boolean {
    return this.#io !== undefined;
  }

  /** Pages mapped now. What is reached by a bus address is not mapped. */
  get mappingCount(): number {
    return this.#mappingCount;
  }

  /** Pages of I/O addresses that are taken, mapped or not. */
  get ioPagesTaken(): number {
    return this.#io?.takenCount ?? 0;
  }

  /** How the device reaches `frame`: `PCI_P2PDMA_MAP_…`. Linux: pci_p2pdma_state(). */
  peerRoute(frame: Pfn): number {
    if (!this.pages.isDevice(frame)) return PCI_P2PDMA_MAP_NONE;
    return this.#peerRoute?.(frame) ?? PCI_P2PDMA_MAP_NOT_SUPPORTED;
  }

  /**
   * Where a frame with the route `PCI_P2PDMA_MAP_BUS_ADDR` is on the bus, without any mapping.
   * -EFAULT when that is more than the device's address bits.
   */
  busAddress(frame: Pfn): Result {
    const address = BUS_OFFSET + frame * PAGE_SIZE;
    return address + PAGE_SIZE <= this.#addressEnd ? address : -EFAULT;
  }

  /** The address of `frame` for a device that is not behind an IOMMU. */
  directAddress(frame: Pfn): number {
    assert(this.#io === undefined, () => `${this.name} has I/O addresses, not those of frames`);
    return frame * PAGE_SIZE;
  }

  /**
   * Lets the device reach `frame`: its address. -EFAULT when the device cannot, -ENOMEM when it
   * has no I/O address or no mapping left, -EOPNOTSUPP when it needs bounce buffers: there are
   * none here. The caller keeps the frame alive until `unmapPage`. Linux: dma_map_page().
   */
  mapPage(frame: Pfn, direction: number): Result {
    const refused = this.#refuses(frame);
    if (refused < 0) return refused;
    return this.#io === undefined
      ? this.#mapDirect(frame, direction)
      : this.#mapSingle(this.#io, frame, direction);
  }

  /** Takes back what `mapPage` gave; `direction` is what the page is mapped for now. */
  unmapPage(address: number, direction: number): void {
    const isWriter = this.#assertMapped(address, direction);
    if (this.#io === undefined) this.#direct.unmap(frameAt(address), isWriter);
    else {
      const page = address / PAGE_SIZE;
      const isSingle = (this.#io.entryOf(page) & IO_SINGLE) !== 0;
      assert(isSingle, () => `I/O page ${page} is linked in a block: unlink it`);
      this.#io.unmap(page);
      this.#io.giveBack(page, 1);
    }
    this.#mappingCount--;
  }

  /** The page mapped at `address` in direction `from` is mapped for `to` now, where it is. */
  changeDirection(address: number, from: number, to: number): void {
    this.#assertMapped(address, from);
    if (from === to) return;
    const isWriter = to === DMA_BIDIRECTIONAL;
    if (this.#io !== undefined) this.#io.setWritable(address / PAGE_SIZE, isWriter);
    else if (isWriter) this.#direct.addWriter(frameAt(address));
    else this.#direct.removeWriter(frameAt(address));
  }

  /**
   * Reserves I/O addresses for `count` pages in a row: -ENOMEM when there is no such run,
   * -EOPNOTSUPP without an IOMMU or with bounce buffers. Linux: dma_iova_try_alloc().
   */
  reserve(count: number): DmaBlock | Result {
    assert(Number.isInteger(count) && count > 0, () => `a block cannot have ${count} pages`);
    if (this.#io === undefined || this.needsBounce) return -EOPNOTSUPP;
    const first = this.#io.take(count);
    if (first === 0) return -ENOMEM;
    const block: DmaBlock = { start: first * PAGE_SIZE, count };
    this.#blocks.add(block);
    return block;
  }

  /** Gives a block back; nothing is linked in it any more. Linux: dma_iova_free(). */
  free(block: DmaBlock): void {
    const io = this.#assertBlock(block, 0);
    io.giveBack(block.start / PAGE_SIZE, block.count);
    this.#blocks.delete(block);
  }

  /**
   * Lets the device reach `frame` at page `index` of a block: the address, or an error as of
   * `mapPage`. Linux: dma_iova_link() and dma_iova_sync(), which is where it may fail.
   */
  link(block: DmaBlock, index: number, frame: Pfn, direction: number): Result {
    const io = this.#assertBlock(block, index);
    const refused = this.#refuses(frame);
    if (refused < 0) return refused;
    const address = block.start + index * PAGE_SIZE;
    io.map(address / PAGE_SIZE, frame, direction === DMA_BIDIRECTIONAL ? IO_WRITE : 0);
    this.#mappingCount++;
    return address;
  }

  /** Takes back page `index` of a block, whatever it is linked for; the address stays reserved. */
  unlink(block: DmaBlock, index: number): void {
    const io = this.#assertBlock(block, index);
    io.unmap(block.start / PAGE_SIZE + index);
    this.#mappingCount--;
  }

  /**
   * What the hardware does when the device accesses the byte at `address`: the frame, or -EFAULT
   * where nothing is mapped, or not for writing. A bus address works for both, always: no table
   * is asked on the way. An assertion when the frame behind it is free: it was not unmapped in
   * time, and what the device finds may be anybody's.
   */
  translate(address: number, write: boolean): Result {
    const frame = this.#reach(address, write);
    if (frame < 0) return frame;
    const isAlive = this.pages.refs[frame]! > 0;
    assert(isAlive, () => `${this.name} reaches frame ${frame}, which is free`);
    return frame;
  }

  #reach(address: number, write: boolean): Result {
    if (address >= BUS_OFFSET) return this.#reachOnBus(address);
    if (this.#io === undefined) {
      const frame = frameAt(address);
      const isOpen = write ? this.#direct.isWritable(frame) : this.#direct.isMapped(frame);
      return isOpen ? frame : -EFAULT;
    }
    const page = Math.floor(address / PAGE_SIZE);
    const entry = this.#io.entryOf(page);
    if (entry === 0 || (write && (entry & IO_WRITE) === 0)) return -EFAULT;
    return this.#io.frameOf(page);
  }

  #reachOnBus(address: number): Result {
    const frame = frameAt(address - BUS_OFFSET);
    if (address >= this.#addressEnd || frame >= this.pages.capacity) return -EFAULT;
    return this.peerRoute(frame) === PCI_P2PDMA_MAP_BUS_ADDR ? frame : -EFAULT;
  }

  /** 0, or why no mapping of `frame` can be made. */
  #refuses(frame: Pfn): Result {
    assert(this.pages.refs[frame]! > 0, () => `frame ${frame} is free: nothing to map`);
    if (this.needsBounce) return -EOPNOTSUPP;
    const route = this.peerRoute(frame);
    if (route === PCI_P2PDMA_MAP_NOT_SUPPORTED) return -EFAULT;
    assert(route !== PCI_P2PDMA_MAP_BUS_ADDR, () => `frame ${frame} has a bus address`);
    return this.#mappingCount >= this.#mappingsMax ? -ENOMEM : 0;
  }

  #mapDirect(frame: Pfn, direction: number): Result {
    const address = this.directAddress(frame);
    if (address + PAGE_SIZE > this.#addressEnd) return -EFAULT;
    this.#direct.growTo(this.pages.capacity);
    this.#direct.map(frame, direction === DMA_BIDIRECTIONAL);
    this.#mappingCount++;
    return address;
  }

  #mapSingle(io: IoSpace, frame: Pfn, direction: number): Result {
    const page = io.take(1);
    if (page === 0) return -ENOMEM;
    io.map(page, frame, direction === DMA_BIDIRECTIONAL ? IO_SINGLE | IO_WRITE : IO_SINGLE);
    this.#mappingCount++;
    return page * PAGE_SIZE;
  }

  /** Something is mapped at `address`, in this direction: whether it lets the device write. */
  #assertMapped(address: number, direction: number): boolean {
    const isPage = address % PAGE_SIZE === 0;
    assert(isPage, () => `${formatAddress(address)} is not the address of a page`);
    const isWriter = direction === DMA_BIDIRECTIONAL;
    const where = () => `${this.name} at ${formatAddress(address)}`;
    if (this.#io === undefined) {
      assert(this.#direct.isMapped(frameAt(address)), () => `${where()}: nothing is mapped`);
      return isWriter;
    }
    const entry = this.#io.entryOf(address / PAGE_SIZE);
    assert(entry !== 0, () => `${where()}: nothing is mapped`);
    const isSame = ((entry & IO_WRITE) !== 0) === isWriter;
    assert(isSame, () => `${where()}: mapped in another direction`);
    return isWriter;
  }

  #assertBlock(block: DmaBlock, index: number): IoSpace {
    const isMine = this.#io !== undefined && this.#blocks.has(block);
    assert(isMine, () => `${this.name} has no block at ${formatAddress(block.start)}`);
    const isInside = Number.isInteger(index) && index >= 0 && index < block.count;
    assert(isInside, () => `page ${index} is not in a block of ${block.count}`);
    return this.#io;
  }
}

/** The frame at a direct address, or behind an offset from the bus. */
const frameAt = (address: number): Pfn => pfn(Math.floor(address / PAGE_SIZE));
