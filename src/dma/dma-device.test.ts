import { describe, expect, it } from "vitest";
import { EFAULT, ENOMEM, EOPNOTSUPP, PAGE_SIZE, type Pfn, pfn } from "../base/index.ts";
import { FIRST_ZONE_PFN, Pages, Zone } from "../phys/index.ts";
import { Scheduler } from "../sync/index.ts";
import {
  DMA_BIDIRECTIONAL,
  DMA_TO_DEVICE,
  type DmaBlock,
  DmaDevice,
  type DmaDeviceOptions,
  PCI_P2PDMA_MAP_BUS_ADDR,
  PCI_P2PDMA_MAP_NONE,
  PCI_P2PDMA_MAP_NOT_SUPPORTED,
  PCI_P2PDMA_MAP_THRU_HOST_BRIDGE,
} from "./index.ts";

const IOMMU = { pages: 8 };

/** Eight frames of RAM, two of a device, and another device that reaches them. */
function build(options: Partial<DmaDeviceOptions> = {}) {
  const pages = new Pages(new Scheduler(), FIRST_ZONE_PFN);
  const ram = new Zone({ name: "ram", start: FIRST_ZONE_PFN, count: 8 });
  const peer = new Zone({ name: "peer", start: pfn(100), count: 2, pagemapId: 1 });
  pages.addZone(ram);
  pages.addZone(peer);
  const dma = new DmaDevice({ name: "nic0", pages, ...options });
  const alloc = (zone = ram): Pfn => pages.alloc(zone) as Pfn;
  return { pages, dma, peer, alloc };
}

const blockOf = (dma: DmaDevice, count: number): DmaBlock => {
  const block = dma.reserve(count);
  if (typeof block === "number") throw new Error(`no block: ${block}`);
  return block;
};

describe.each([
  ["without an IOMMU", {}],
  ["behind an IOMMU", { iommu: IOMMU }],
])("a device %s", (_name, mode) => {
  it("reaches a page from the moment it is mapped until it is unmapped", () => {
    const { dma, alloc } = build(mode);
    const frame = alloc();
    const address = dma.mapPage(frame, DMA_BIDIRECTIONAL);
    expect(address).toBeGreaterThan(0);
    expect([dma.translate(address, false), dma.translate(address, true)]).toEqual([frame, frame]);
    expect(dma.translate(address + PAGE_SIZE - 1, true)).toBe(frame);
    expect(dma.translate(address + PAGE_SIZE, false)).toBe(-EFAULT);
    dma.unmapPage(address, DMA_BIDIRECTIONAL);
    expect([dma.translate(address, false), dma.translate(address, true)]).toEqual([
      -EFAULT,
      -EFAULT,
    ]);
    expect([dma.mappingCount, dma.ioPagesTaken]).toEqual([0, 0]);
  });

  it("cannot write what is mapped for reading, until that changes", () => {
    const { dma, alloc } = build(mode);
    const frame = alloc();
    const address = dma.mapPage(frame, DMA_TO_DEVICE);
    expect([dma.translate(address, false), dma.translate(address, true)]).toEqual([frame, -EFAULT]);
    dma.changeDirection(address, DMA_TO_DEVICE, DMA_BIDIRECTIONAL);
    expect(dma.translate(address, true)).toBe(frame);
    dma.changeDirection(address, DMA_BIDIRECTIONAL, DMA_BIDIRECTIONAL);
    dma.changeDirection(address, DMA_BIDIRECTIONAL, DMA_TO_DEVICE);
    expect([dma.translate(address, false), dma.translate(address, true)]).toEqual([frame, -EFAULT]);
    expect(() => dma.unmapPage(address, DMA_BIDIRECTIONAL)).toThrow(/direction|may write/);
    dma.unmapPage(address, DMA_TO_DEVICE);
  });

  it("maps a frame as often as it is asked to", () => {
    const { dma, alloc } = build(mode);
    const frame = alloc();
    const reads = dma.mapPage(frame, DMA_TO_DEVICE);
    const writes = dma.mapPage(frame, DMA_BIDIRECTIONAL);
    expect([dma.mappingCount, dma.translate(writes, true)]).toEqual([2, frame]);
    dma.unmapPage(writes, DMA_BIDIRECTIONAL);
    expect([dma.translate(reads, false), dma.translate(reads, true)]).toEqual([frame, -EFAULT]);
    dma.unmapPage(reads, DMA_TO_DEVICE);
    expect([dma.mappingCount, dma.translate(reads, false)]).toEqual([0, -EFAULT]);
  });

  it("has as many mappings as it may, and says so by an error", () => {
    const { dma, alloc } = build({ ...mode, mappingsMax: 1 });
    const first = dma.mapPage(alloc(), DMA_TO_DEVICE);
    expect(dma.mapPage(alloc(), DMA_TO_DEVICE)).toBe(-ENOMEM);
    dma.unmapPage(first, DMA_TO_DEVICE);
    expect(dma.mapPage(alloc(), DMA_TO_DEVICE)).toBeGreaterThan(0);
  });

  it("maps nothing when it would need bounce buffers", () => {
    const { dma, alloc } = build({ ...mode, needsBounce: true });
    expect([dma.mapPage(alloc(), DMA_TO_DEVICE), dma.reserve(1)]).toEqual([
      -EOPNOTSUPP,
      -EOPNOTSUPP,
    ]);
  });

  it("is caught when it reaches a frame that is free", () => {
    const { dma, pages, alloc } = build(mode);
    const frame = alloc();
    const address = dma.mapPage(frame, DMA_TO_DEVICE);
    pages.put(frame);
    expect(() => dma.translate(address, false)).toThrow(/nic0 reaches frame 16, which is free/);
    expect(() => dma.mapPage(frame, DMA_TO_DEVICE)).toThrow(/is free/);
  });

  it("is caught when its driver unmaps what is not mapped", () => {
    const { dma, alloc } = build(mode);
    const address = dma.mapPage(alloc(), DMA_TO_DEVICE);
    expect(() => dma.unmapPage(address + 1, DMA_TO_DEVICE)).toThrow(/not the address of a page/);
    dma.unmapPage(address, DMA_TO_DEVICE);
    expect(() => dma.unmapPage(address, DMA_TO_DEVICE)).toThrow(/nothing is mapped/);
    expect(() => dma.changeDirection(address, DMA_TO_DEVICE, DMA_TO_DEVICE)).toThrow(/nothing is/);
  });

  it("reaches nothing at addresses that never were", () => {
    const { dma } = build(mode);
    const wild = [0, -1, PAGE_SIZE, 2 ** 32, 2 ** 40, 2 ** 52, Number.NaN];
    for (const address of wild) expect(dma.translate(address, false)).toBe(-EFAULT);
  });
});

describe("a device without an IOMMU", () => {
  it("uses the addresses of frames, as far as its address bits go", () => {
    const { dma, alloc } = build({ addressBits: 17 });
    const frames = Array.from({ length: 8 }, () => alloc());
    for (const frame of frames) {
      expect(dma.mapPage(frame, DMA_TO_DEVICE)).toBe(frame * PAGE_SIZE);
    }
    // 17 bits are 32 frames: 16 to 23 are below, 100 is not.
    const far = build({ addressBits: 17, peerRoute: () => PCI_P2PDMA_MAP_NONE });
    expect(far.dma.mapPage(far.alloc(far.peer), DMA_TO_DEVICE)).toBe(-EFAULT);
    expect([dma.mappingCount, far.dma.mappingCount]).toEqual([8, 0]);
  });

  it("has no I/O addresses to reserve", () => {
    const { dma } = build();
    expect([dma.isBehindIommu, dma.reserve(1)]).toEqual([false, -EOPNOTSUPP]);
    const { dma: other } = build({ iommu: IOMMU });
    expect(() => other.directAddress(pfn(16))).toThrow(/I\/O addresses/);
  });

  it("notices that a page was unmapped in another direction", () => {
    const { dma, alloc } = build();
    const address = dma.mapPage(alloc(), DMA_BIDIRECTIONAL);
    expect(() => dma.unmapPage(address, DMA_TO_DEVICE)).toThrow(/another direction/);
  });

  it("learns of frames that come later", () => {
    const { dma, pages, alloc } = build();
    const early = dma.mapPage(alloc(), DMA_BIDIRECTIONAL);
    const late = new Zone({ name: "late", start: pfn(5000), count: 1 });
    pages.addZone(late);
    const address = dma.mapPage(alloc(late), DMA_BIDIRECTIONAL);
    expect([dma.translate(early, true), dma.translate(address, true)]).toEqual([16, 5000]);
  });
});

describe("a device behind an IOMMU", () => {
  it("links pages of a block in any order, and keeps the addresses of those it unlinks", () => {
    const { dma, alloc } = build({ iommu: IOMMU });
    const block = blockOf(dma, 4);
    const [a, b] = [alloc(), alloc()];
    const third = block.start + 2 * PAGE_SIZE;
    expect(dma.link(block, 2, a, DMA_TO_DEVICE)).toBe(third);
    expect(dma.link(block, 0, b, DMA_BIDIRECTIONAL)).toBe(block.start);
    expect([dma.translate(third, false), dma.translate(third, true)]).toEqual([a, -EFAULT]);
    expect(dma.translate(block.start + PAGE_SIZE, false)).toBe(-EFAULT);
    dma.unlink(block, 2);
    expect([dma.translate(third, false), dma.translate(block.start, true)]).toEqual([-EFAULT, b]);
    expect([dma.mappingCount, dma.ioPagesTaken]).toEqual([1, 4]);
    expect(dma.link(block, 2, b, DMA_TO_DEVICE)).toBe(third);
  });

  it("runs out of addresses, and of runs of them", () => {
    const { dma, alloc } = build({ iommu: IOMMU });
    const [low, high] = [blockOf(dma, 3), blockOf(dma, 3)];
    expect([dma.reserve(3), dma.ioPagesTaken]).toEqual([-ENOMEM, 6]);
    const single = dma.mapPage(alloc(), DMA_TO_DEVICE);
    const last = dma.mapPage(alloc(), DMA_TO_DEVICE);
    expect(dma.mapPage(alloc(), DMA_TO_DEVICE)).toBe(-ENOMEM);
    dma.unmapPage(single, DMA_TO_DEVICE);
    dma.free(low);
    // Four are free, but `last` may lie between them.
    expect(dma.ioPagesTaken).toBe(4);
    expect(dma.mapPage(alloc(), DMA_TO_DEVICE)).toBeGreaterThan(0);
    dma.unmapPage(last, DMA_TO_DEVICE);
    dma.free(high);
    expect([dma.mappingCount, dma.ioPagesTaken]).toEqual([1, 1]);
  });

  it("never gives an address twice, nor 0, nor one beyond its bits", () => {
    const { dma, alloc } = build({ iommu: { pages: 100 }, addressBits: 15 });
    // 15 bits are 8 pages; page 0 is nobody's.
    const frame = alloc();
    const addresses = Array.from({ length: 7 }, () => dma.mapPage(frame, DMA_TO_DEVICE));
    expect([...addresses].sort((a, b) => a - b)).toEqual(
      [1, 2, 3, 4, 5, 6, 7].map((page) => page * PAGE_SIZE),
    );
    expect(dma.mapPage(frame, DMA_TO_DEVICE)).toBe(-ENOMEM);
  });

  it("leaves an address that was given back unused for a while", () => {
    const { dma, alloc } = build({ iommu: IOMMU });
    const frame = alloc();
    const late = dma.mapPage(frame, DMA_TO_DEVICE);
    dma.unmapPage(late, DMA_TO_DEVICE);
    for (let i = 0; i < 7; i++) dma.mapPage(frame, DMA_TO_DEVICE);
    expect(dma.translate(late, false)).toBe(-EFAULT);
    expect(dma.mapPage(frame, DMA_TO_DEVICE)).toBe(late);
  });

  it("is caught when its driver mixes up blocks and pages", () => {
    const { dma, alloc } = build({ iommu: IOMMU });
    const block = blockOf(dma, 2);
    const frame = alloc();
    const address = dma.link(block, 0, frame, DMA_TO_DEVICE);
    expect(() => dma.unmapPage(address, DMA_TO_DEVICE)).toThrow(/unlink it/);
    expect(() => dma.link(block, 0, frame, DMA_TO_DEVICE)).toThrow(/mapped twice/);
    expect(() => dma.link(block, 2, frame, DMA_TO_DEVICE)).toThrow(/not in a block of 2/);
    expect(() => dma.unlink(block, 1)).toThrow(/not mapped/);
    expect(() => dma.free(block)).toThrow(/while it is mapped/);
    dma.unlink(block, 0);
    dma.free(block);
    expect(() => dma.free(block)).toThrow(/has no block/);
    expect(() => dma.reserve(0)).toThrow(/cannot have 0 pages/);
  });

  it("links no more than it may map", () => {
    const { dma, alloc } = build({ iommu: IOMMU, mappingsMax: 1 });
    const block = blockOf(dma, 2);
    expect(dma.link(block, 0, alloc(), DMA_TO_DEVICE)).toBe(block.start);
    expect(dma.link(block, 1, alloc(), DMA_TO_DEVICE)).toBe(-ENOMEM);
    expect(dma.translate(block.start + PAGE_SIZE, false)).toBe(-EFAULT);
  });
});

describe("memory of another device", () => {
  it("cannot be reached unless somebody says how", () => {
    const { dma, peer, alloc } = build();
    const frame = alloc(peer);
    expect(dma.peerRoute(frame)).toBe(PCI_P2PDMA_MAP_NOT_SUPPORTED);
    expect(dma.mapPage(frame, DMA_TO_DEVICE)).toBe(-EFAULT);
    expect(dma.peerRoute(alloc())).toBe(PCI_P2PDMA_MAP_NONE);
  });

  it("is mapped like RAM through the host bridge", () => {
    const { dma, peer, alloc } = build({ peerRoute: () => PCI_P2PDMA_MAP_THRU_HOST_BRIDGE });
    const frame = alloc(peer);
    const address = dma.mapPage(frame, DMA_TO_DEVICE);
    expect([dma.translate(address, false), dma.translate(address, true)]).toEqual([frame, -EFAULT]);
  });

  it("has a bus address on the same bus, without a mapping", () => {
    const { dma, peer, alloc } = build({ peerRoute: () => PCI_P2PDMA_MAP_BUS_ADDR });
    const frame = alloc(peer);
    const address = dma.busAddress(frame);
    expect([dma.translate(address + 5, true), dma.mappingCount]).toEqual([frame, 0]);
    expect(() => dma.mapPage(frame, DMA_TO_DEVICE)).toThrow(/has a bus address/);
    // RAM is not there.
    const ram = dma.busAddress(alloc());
    expect(dma.translate(ram, false)).toBe(-EFAULT);
  });

  it("may be too far away on the bus", () => {
    const options = { peerRoute: () => PCI_P2PDMA_MAP_BUS_ADDR };
    const { dma, peer, alloc } = build({ ...options, addressBits: 40 });
    const frame = alloc(peer);
    const far = build(options).dma.busAddress(frame);
    expect([dma.busAddress(frame), dma.translate(far, false)]).toEqual([-EFAULT, -EFAULT]);
  });
});

describe("a device that cannot be", () => {
  it.each([
    [{ addressBits: 12 }, /12 bits wide/],
    [{ addressBits: 53 }, /53 bits wide/],
    [{ addressBits: 32.5 }, /32.5 bits wide/],
    [{ iommu: { pages: 0 } }, /0 pages/],
    [{ iommu: { pages: 2 ** 20 } }, /1048576 pages/],
  ])("is not built: %o", (options, message) => {
    expect(() => build(options)).toThrow(message);
  });
});
