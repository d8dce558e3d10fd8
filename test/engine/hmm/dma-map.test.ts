import { describe, expect, it } from "vitest";
import {
  EFAULT,
  EINVAL,
  ENOMEM,
  EOPNOTSUPP,
  PAGE_SIZE,
  type Pfn,
} from "../../../src/base/index.ts";
import {
  DmaDevice,
  type DmaDeviceOptions,
  PCI_P2PDMA_MAP_BUS_ADDR,
  PCI_P2PDMA_MAP_NOT_SUPPORTED,
  PCI_P2PDMA_MAP_THRU_HOST_BRIDGE,
} from "../../../src/dma/index.ts";
import {
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_DMA_WRITE,
  HMM_PFN_ERROR,
  HMM_PFN_INOUT_FLAGS,
  HMM_PFN_P2PDMA,
  HMM_PFN_P2PDMA_BUS,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmDmaMap,
  type HmmRange,
  hmmDmaMapAlloc,
  hmmDmaMapFree,
  hmmDmaMapPfn,
  hmmDmaUnmapPfn,
  hmmRangeFault,
} from "../../../src/hmm/index.ts";
import { Advice, LEAF_PAGES, VM_READ } from "../../../src/mm/index.ts";
import { IntervalNotifier } from "../../../src/notifier/index.ts";
import { PG_DIRTY } from "../../../src/phys/index.ts";
import type { Sleeps } from "../../../src/sync/index.ts";
import { RW, rangeAt, type TestWorld, type TestWorldOptions, testWorld } from "../test-world.ts";
import { DmaDriver } from "./dma-driver.ts";

const V = HMM_PFN_VALID;
const W = HMM_PFN_WRITE;
const MAPPED = HMM_PFN_DMA_MAPPED;
const MAPPED_RW = HMM_PFN_DMA_MAPPED | HMM_PFN_DMA_WRITE;

const deviceOf = (world: TestWorld, options: Partial<DmaDeviceOptions> = {}): DmaDevice =>
  new DmaDevice({ name: "nic0", pages: world.memory.pages, ...options });

/** `count` pages that begin with 1, 2, …, and a driver of all of them. */
function build(count: number, options: Partial<DmaDeviceOptions> & TestWorldOptions = {}) {
  const world = testWorld(options);
  world.map(0, count);
  for (let page = 0; page < count; page++) world.store(page, page + 1);
  const dma = deviceOf(world, options);
  const driver = new DmaDriver(world, dma, rangeAt(0, count));
  const close = (): void => {
    driver.close();
    expect([dma.mappingCount, dma.ioPagesTaken]).toEqual([0, 0]);
  };
  return { world, dma, driver, close };
}

/** How a map knows the addresses of its pages; the third way, one by one, has a test of its own. */
const MODES: readonly (readonly [string, Partial<DmaDeviceOptions>])[] = [
  ["direct addresses", {}],
  ["a block of I/O addresses", { iommu: { pages: 16 } }],
];

describe.each(MODES)("a DMA map with %s", (_name, mode) => {
  it("lets the device read and write the program's bytes", () => {
    const { world, dma, driver, close } = build(4, mode);
    expect([driver.fault(0, 4, true), dma.mappingCount]).toEqual([4, 4]);
    expect([0, 1, 2, 3].map((page) => driver.readByte(page))).toEqual([1, 2, 3, 4]);
    expect([driver.writeByte(2, 77), world.load(2)]).toEqual([0, 77]);
    expect(new Set(driver.addresses).size).toBe(4);
    close();
  });

  it("is read only where the page is", () => {
    const { world, driver, close } = build(2, mode);
    world.protect(0, 2, VM_READ);
    expect(driver.fault(0, 2, false)).toBe(2);
    expect([driver.flags(0), driver.readByte(0)]).toEqual([V | MAPPED, 1]);
    expect([driver.writeByte(0, 9), world.load(0)]).toEqual([-EFAULT, 1]);
    close();
  });

  it("ends for a page in the callback that reports its invalidation", () => {
    const { world, dma, driver, close } = build(4, mode);
    driver.fault(0, 4, true);
    const frame = world.frame(1);
    expect(world.unmap(1, 2)).toBe(0);
    expect([world.memory.pages.refs[frame], dma.mappingCount]).toEqual([0, 2]);
    expect([0, 1, 2, 3].map((page) => driver.readByte(page))).toEqual([1, -EFAULT, -EFAULT, 4]);
    expect(driver.writeByte(1, 5)).toBe(-EFAULT);
    close();
  });

  it("has unmapped before anybody changes the page", () => {
    const { world, dma, driver, close } = build(2, mode);
    driver.fault(0, 2, true);
    const seen: number[] = [];
    world.during(0, function* () {
      seen.push(dma.mappingCount, driver.readByte(0), world.frame(0));
    });
    const frame = world.frame(0);
    world.unmap(0, 2);
    expect(seen).toEqual([0, -EFAULT, frame]);
    close();
  });

  it("marks what the device could write as dirty before it goes", () => {
    const { world, driver, close } = build(2, mode);
    const { pages } = world.memory;
    const frames = [world.frame(0), world.frame(1)];
    for (const frame of frames) pages.clearFlag(frame, PG_DIRTY);
    world.protect(0, 1, VM_READ);
    driver.fault(0, 1, false);
    driver.fault(1, 1, true);
    world.protect(0, 2, VM_READ);
    expect(frames.map((frame) => pages.is(frame, PG_DIRTY))).toEqual([false, true]);
    close();
  });

  it("survives a second fault, with the same addresses and no second mapping", () => {
    const { world, dma, driver, close } = build(4, mode);
    driver.fault(0, 4, true);
    const [words, addresses] = [[...driver.map.pfns], [...driver.addresses]];
    world.protect(1, 1, RW);
    expect(driver.fault(0, 4, true)).toBe(4);
    expect(driver.fault(2, 2, false)).toBe(2);
    expect([[...driver.map.pfns], driver.addresses, dma.mappingCount]).toEqual([
      words,
      addresses,
      4,
    ]);
    close();
  });

  it("lets the device write in place once the page may be written", () => {
    const { world, dma, driver, close } = build(1, mode);
    // Shared with a child that is gone: read-only until somebody writes, and then in place.
    world.fork().leave();
    expect([driver.fault(0, 1, false), driver.flags(0)]).toEqual([1, V | MAPPED]);
    const [address, frame] = [driver.addresses[0], world.frame(0)];
    expect(driver.writeByte(0, 9)).toBe(-EFAULT);
    expect([driver.fault(0, 1, true), driver.flags(0)]).toEqual([1, V | W | MAPPED_RW]);
    expect([driver.addresses[0], world.frame(0), dma.mappingCount]).toEqual([address, frame, 1]);
    expect([driver.writeByte(0, 9), world.load(0)]).toEqual([0, 9]);
    close();
  });

  it("maps the new frame when a page gets one", () => {
    const { world, dma, driver, close } = build(2, mode);
    const child = world.fork();
    driver.fault(0, 2, false);
    const old = world.frame(0);
    expect([driver.writeByte(0, 9), driver.fault(0, 1, true)]).toEqual([-EFAULT, 1]);
    expect(world.frame(0)).not.toBe(old);
    expect([driver.writeByte(0, 9), world.load(0), child.load(0)]).toEqual([0, 9, 1]);
    expect(dma.mappingCount).toBe(2);
    close();
  });

  it("maps what is there and leaves holes when nothing is requested", () => {
    const { world, driver, close } = build(3, mode);
    world.advise(1, 1, Advice.dontNeed);
    expect(driver.prefetch(0, 3)).toBe(2);
    expect([0, 1, 2].map((page) => driver.readByte(page))).toEqual([1, -EFAULT, 3]);
    expect(hmmDmaMapPfn(driver.map, 1)).toBe(-EFAULT);
    close();
  });

  it("keeps what it could map, and clears the rest, when mappings run out", () => {
    const { dma, driver, close } = build(4, { ...mode, mappingsMax: 2 });
    driver.map.pfns[2] = HMM_PFN_P2PDMA | HMM_PFN_P2PDMA_BUS;
    expect([driver.fault(0, 4, true), dma.mappingCount]).toEqual([-ENOMEM, 2]);
    expect([0, 1, 2, 3].map((page) => driver.flags(page))).toEqual([
      V | W | MAPPED_RW,
      V | W | MAPPED_RW,
      V | W,
      V | W,
    ]);
    expect([driver.map.mappedCount, hmmDmaUnmapPfn(driver.map, 2)]).toEqual([2, false]);
    close();
  });

  it("catches a driver that sleeps through an invalidation", () => {
    const world = testWorld();
    world.map(0, 1);
    world.load(0);
    const dma = deviceOf(world, mode);
    const deaf = new DmaDriver(world, dma, rangeAt(0, 1), true);
    expect(deaf.fault(0, 1, false)).toBe(1);
    // The zero page gives way to a page of its own.
    world.store(0, 7);
    expect(() => deaf.fault(0, 1, false)).toThrow(/another frame and was not unmapped/);
    const [word] = deaf.map.pfns;
    deaf.map.pfns[0] = (1 << 8) | (word! & 0xff);
    expect(hmmDmaUnmapPfn(deaf.map, 0)).toBe(true);
    deaf.close();
  });

  it("catches a device that reaches a page that was freed", () => {
    const world = testWorld();
    world.map(0, 1);
    world.store(0, 1);
    const deaf = new DmaDriver(world, deviceOf(world, mode), rangeAt(0, 1), true);
    deaf.fault(0, 1, true);
    world.unmap(0, 1);
    expect(() => deaf.readByte(0)).toThrow(/which is free/);
    deaf.close();
  });

  it("is given back once, when nothing of it is mapped", () => {
    const { driver, close } = build(2, mode);
    driver.fault(0, 2, true);
    expect(() => hmmDmaMapFree(driver.map)).toThrow(/2 pages mapped/);
    expect([hmmDmaUnmapPfn(driver.map, 0), hmmDmaUnmapPfn(driver.map, 0)]).toEqual([true, false]);
    expect(() => hmmDmaMapPfn(driver.map, 2)).toThrow(/not in a DMA map of 2/);
    close();
    expect(() => hmmDmaMapFree(driver.map)).toThrow(/freed twice/);
    expect(() => hmmDmaMapPfn(driver.map, 0)).toThrow(/after it was freed/);
  });
});

describe("I/O addresses of a DMA map", () => {
  it("are a block: page i of the range is page i of it", () => {
    const { dma, driver, close } = build(4, { iommu: { pages: 16 } });
    const { start } = driver.map.block!;
    expect([dma.ioPagesTaken, driver.map.addresses]).toEqual([4, undefined]);
    driver.fault(0, 4, false);
    expect(driver.addresses).toEqual([0, 1, 2, 3].map((page) => start + page * PAGE_SIZE));
    close();
  });

  it("are looked up page by page where no block is left", () => {
    const world = testWorld();
    world.map(0, 4);
    for (let page = 0; page < 4; page++) world.store(page, page + 1);
    const dma = deviceOf(world, { iommu: { pages: 6 } });
    const first = hmmDmaMapAlloc(dma, 3) as HmmDmaMap;
    const driver = new DmaDriver(world, dma, rangeAt(0, 4));
    expect([driver.map.block, driver.map.addresses?.length]).toEqual([undefined, 4]);
    expect([driver.fault(0, 4, true), dma.ioPagesTaken]).toEqual([-ENOMEM, 6]);
    expect([0, 1, 2, 3].map((page) => driver.readByte(page))).toEqual([1, 2, 3, -EFAULT]);
    hmmDmaMapFree(first);
    const addresses = driver.addresses.slice(0, 3);
    expect([driver.fault(0, 4, true), driver.addresses.slice(0, 3)]).toEqual([4, addresses]);
    expect(driver.readByte(3)).toBe(4);
    world.unmap(0, 2);
    expect([driver.readByte(0), driver.readByte(2), dma.ioPagesTaken]).toEqual([-EFAULT, 3, 2]);
    expect([...driver.map.addresses!].map((address) => address !== 0)).toEqual([
      false,
      false,
      true,
      true,
    ]);
    driver.close();
    expect([dma.mappingCount, dma.ioPagesTaken]).toEqual([0, 0]);
  });

  it("are no longer taken once a map is freed", () => {
    const dma = deviceOf(testWorld(), { iommu: { pages: 4 } });
    const map = hmmDmaMapAlloc(dma, 4) as HmmDmaMap;
    expect([map.block?.count, dma.ioPagesTaken]).toEqual([4, 4]);
    hmmDmaMapFree(map);
    expect(dma.ioPagesTaken).toBe(0);
  });
});

describe("a DMA map cannot be had", () => {
  it("by a device that needs bounce buffers", () => {
    const dma = deviceOf(testWorld(), { needsBounce: true, iommu: { pages: 4 } });
    expect([hmmDmaMapAlloc(dma, 2), dma.ioPagesTaken]).toEqual([-EOPNOTSUPP, 0]);
  });

  it("for no pages", () => {
    const dma = deviceOf(testWorld());
    for (const count of [0, -1, 1.5]) expect(hmmDmaMapAlloc(dma, count)).toBe(-EINVAL);
  });
});

describe("a page that lives in another device's coherent memory", () => {
  /** One page in RAM, one on the device. */
  function buildPeers(route: number, options: Partial<DmaDeviceOptions> = {}) {
    const peerRoute = (_frame: Pfn): number => route;
    const built = build(2, { isCoherent: true, peerRoute, ...options });
    expect(built.world.toDevice(1, 1)).toBe(0);
    expect(built.world.memory.pages.isDevice(built.world.frame(1))).toBe(true);
    return built;
  }

  it.each(MODES)("is mapped through the host bridge, with %s", (_name, mode) => {
    const { world, dma, driver, close } = buildPeers(PCI_P2PDMA_MAP_THRU_HOST_BRIDGE, mode);
    expect([driver.fault(0, 2, true), dma.mappingCount]).toEqual([2, 2]);
    expect([driver.flags(0), driver.flags(1)]).toEqual([
      V | W | MAPPED_RW,
      V | W | MAPPED_RW | HMM_PFN_P2PDMA,
    ]);
    expect([driver.readByte(1), driver.writeByte(1, 42), world.load(1)]).toEqual([2, 0, 42]);
    // It comes home: the mapping goes with its frame.
    world.toRam(1, 1);
    expect([driver.readByte(1), dma.mappingCount]).toEqual([-EFAULT, 1]);
    expect([driver.fault(0, 2, true), driver.flags(1)]).toEqual([2, V | W | MAPPED_RW]);
    expect(driver.readByte(1)).toBe(42);
    close();
  });

  it.each(MODES)("is reached by its bus address, without a mapping, with %s", (_name, mode) => {
    const { world, dma, driver, close } = buildPeers(PCI_P2PDMA_MAP_BUS_ADDR, mode);
    expect([driver.fault(0, 2, true), dma.mappingCount]).toEqual([2, 1]);
    expect(driver.flags(1) & ~HMM_PFN_DMA_WRITE).toBe(V | W | MAPPED | HMM_PFN_P2PDMA_BUS);
    expect(driver.addresses[1]).toBe(dma.busAddress(world.frame(1)));
    expect([driver.writeByte(1, 42), world.load(1)]).toEqual([0, 42]);
    const address = driver.addresses[1];
    expect([driver.fault(0, 2, true), driver.addresses[1]]).toEqual([2, address]);
    expect([driver.map.mappedCount, hmmDmaUnmapPfn(driver.map, 1)]).toEqual([2, true]);
    expect([driver.flags(1), dma.mappingCount]).toEqual([V | W, 1]);
    close();
  });

  it("is out of reach when the devices cannot talk, or are too far apart", () => {
    for (const [route, addressBits] of [
      [PCI_P2PDMA_MAP_NOT_SUPPORTED, 48],
      [PCI_P2PDMA_MAP_BUS_ADDR, 40],
    ] as const) {
      const { driver, close } = buildPeers(route, { addressBits });
      expect([driver.fault(0, 2, true), driver.flags(1)]).toEqual([-EFAULT, V | W]);
      expect([driver.readByte(0), driver.map.mappedCount]).toEqual([1, 1]);
      close();
    }
  });
});

describe("sticky flags", () => {
  const STICKY = HMM_PFN_INOUT_FLAGS;

  function rangeOf(world: TestWorld, count: number, stickyMask?: number): HmmRange {
    const range = rangeAt(0, count);
    const notifier = new IntervalNotifier(range);
    expect(world.space.notifiers.insert(notifier)).toBe(0);
    return {
      ...range,
      notifier,
      notifierSeq: notifier.seq,
      pfns: new CountingWords(count),
      defaultFlags: 0,
      pfnFlagsMask: 0,
      devPrivateOwner: undefined,
      ...(stickyMask === undefined ? {} : { stickyMask }),
    };
  }

  function* faultLocked(world: TestWorld, range: HmmRange): Sleeps<number> {
    using _mmap = yield* world.space.mmapLock.acquireRead();
    return yield* hmmRangeFault(world.space, range);
  }
  const fault = (world: TestWorld, range: HmmRange): number => world.run(faultLocked(world, range));

  /** Words that count how often a run of them is overwritten at once. */
  class CountingWords extends Uint32Array {
    copies = 0;
    override set(from: ArrayLike<number>, offset?: number): void {
      this.copies++;
      super.set(from, offset);
    }
  }
  const copiesOf = (range: HmmRange): number => (range.pfns as CountingWords).copies;

  function leafWorld(): TestWorld {
    const world = testWorld({ frames: LEAF_PAGES });
    world.map(0, 2 * LEAF_PAGES);
    for (let page = 0; page < 2 * LEAF_PAGES; page++) world.load(page);
    world.store(3, 1);
    return world;
  }

  it("cost nothing where nobody asks for them: leaves are copied whole", () => {
    const world = leafWorld();
    const plain = rangeOf(world, 2 * LEAF_PAGES);
    const none = rangeOf(world, 2 * LEAF_PAGES, 0);
    const sticky = rangeOf(world, 2 * LEAF_PAGES, STICKY);
    for (const range of [plain, none, sticky]) expect(fault(world, range)).toBe(0);
    expect([plain, none, sticky].map(copiesOf)).toEqual([2, 2, 0]);
    expect([...sticky.pfns]).toEqual([...plain.pfns]);
    expect([...none.pfns]).toEqual([...plain.pfns]);
  });

  it("stay in their words, of a whole leaf too, as far as the mask says", () => {
    const world = leafWorld();
    const bare = rangeOf(world, LEAF_PAGES);
    fault(world, bare);
    for (const mask of [0, MAPPED, STICKY]) {
      const range = rangeOf(world, LEAF_PAGES, mask);
      range.pfns.fill(STICKY | 0xabc00);
      expect(fault(world, range)).toBe(0);
      expect([...range.pfns]).toEqual(Array.from(bare.pfns, (word) => word | mask));
    }
  });

  it("stay where nothing is, and where nothing may be", () => {
    const world = testWorld();
    world.map(0, 1);
    const range = rangeOf(world, 2, STICKY);
    range.pfns.fill(MAPPED | 0xabc00);
    expect(fault(world, range)).toBe(0);
    expect([...range.pfns]).toEqual([MAPPED, HMM_PFN_ERROR | MAPPED]);
  });

  it("are never what HMM says by itself", () => {
    const world = testWorld();
    world.map(0, 4);
    for (let page = 0; page < 4; page++) world.store(page, 1);
    world.toDevice(0, 1);
    expect(world.exclusive(1, 1)).toBe(0);
    world.lockOut(2, 1);
    const range = { ...rangeOf(world, 4), devPrivateOwner: world.device };
    expect(fault(world, range)).toBe(0);
    expect(Array.from(range.pfns, (word) => word & STICKY)).toEqual([0, 0, 0, 0]);
    expect(() => fault(world, { ...range, stickyMask: W })).toThrow(/only sticky flags/);
  });
});
