import { describe, expect, it } from "vitest";
import { EBUSY, EFAULT, EINVAL, EOPNOTSUPP, PAGE_SIZE } from "../../../src/base/index.ts";
import {
  DmaDevice,
  type DmaDeviceOptions,
  PCI_P2PDMA_MAP_BUS_ADDR,
} from "../../../src/dma/index.ts";
import { mapRangeForDma, unmapRangeForDma } from "../../../src/hmm/classic/range-dma.ts";
import {
  HMM_PFN_ERROR,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
  type HmmRange,
  hmmRangeFault,
  Mirror,
  type MirrorRange,
} from "../../../src/hmm/index.ts";
import { Advice, asPte, ptePfn, VM_READ } from "../../../src/mm/index.ts";
import { IntervalNotifier } from "../../../src/notifier/index.ts";
import { PG_DIRTY } from "../../../src/phys/index.ts";
import type { Sleeps } from "../../../src/sync/index.ts";
import { rangeAt, type TestWorld, type TestWorldOptions, testWorld } from "../test-world.ts";

const always = (): boolean => true;

function* looked(world: TestWorld, range: HmmRange): Sleeps<number> {
  using _mmap = yield* world.space.mmapLock.acquireRead();
  return yield* hmmRangeFault(world.space, range);
}

/**
 * Five pages and their words: 0 and 1 may be written, 2 was never touched, 3 may be read, 4 is no
 * memory.
 */
function build(options: Partial<DmaDeviceOptions> & TestWorldOptions = {}) {
  const world = testWorld(options);
  world.map(0, 4);
  for (let page = 0; page < 4; page++) world.store(page, page + 1);
  world.advise(2, 1, Advice.dontNeed);
  world.protect(3, 1, VM_READ);
  const dma = new DmaDevice({ name: "nic0", pages: world.memory.pages, ...options });
  const addresses = new Float64Array(5).fill(7);
  return { world, dma, addresses, words: wordsOf(world) };
}

function wordsOf(world: TestWorld): Uint32Array {
  const notifier = new IntervalNotifier(rangeAt(0, 5));
  expect(world.space.notifiers.insert(notifier)).toBe(0);
  const range: HmmRange = {
    ...rangeAt(0, 5),
    notifier,
    notifierSeq: notifier.seq,
    pfns: new Uint32Array(5),
    defaultFlags: 0,
    pfnFlagsMask: 0,
    devPrivateOwner: undefined,
  };
  expect(world.run(looked(world, range))).toBe(0);
  world.space.notifiers.removeSilent(notifier);
  return range.pfns;
}

const framesOf = (words: Uint32Array): number[] => Array.from(words, (w) => ptePfn(asPte(w)));

describe.each([
  ["without an IOMMU", {}],
  ["behind an IOMMU", { iommu: { pages: 4 } }],
])("mapping a range for a device %s", (_name, mode) => {
  it("maps every page that is there, in the direction that it allows", () => {
    const { dma, addresses, words } = build(mode);
    const [a, b, , d] = framesOf(words);
    expect([mapRangeForDma(words, dma, addresses, always), dma.mappingCount]).toEqual([3, 3]);
    const reached = [...addresses].map((at) => [dma.translate(at, false), dma.translate(at, true)]);
    const no = [-EFAULT, -EFAULT];
    expect(reached).toEqual([[a, a], [b, b], no, [d, -EFAULT], no]);
    expect([addresses[2], addresses[4]]).toEqual([0, 0]);
    unmapRangeForDma(words, dma, addresses);
    expect([dma.mappingCount, dma.ioPagesTaken]).toEqual([0, 0]);
  });

  it("is undone for every page, which is forgotten", () => {
    const { world, dma, addresses, words } = build(mode);
    const { pages } = world.memory;
    const frames = [world.frame(0), world.frame(1), world.frame(3)];
    for (const frame of frames) pages.clearFlag(frame, PG_DIRTY);
    mapRangeForDma(words, dma, addresses, always);
    const used = [...addresses];
    expect(unmapRangeForDma(words, dma, addresses, { dirty: true })).toBe(3);
    expect([[...words], [...addresses]]).toEqual([
      [0, 0, 0, 0, HMM_PFN_ERROR],
      [0, 0, 0, 0, 0],
    ]);
    for (const address of used) expect(dma.translate(address, false)).toBe(-EFAULT);
    // Only what the device could write.
    expect(frames.map((frame) => pages.is(frame, PG_DIRTY))).toEqual([true, true, false]);
    expect(unmapRangeForDma(words, dma, addresses, { dirty: true })).toBe(0);
  });

  it("leaves pages clean that the device did not write", () => {
    const { world, dma, addresses, words } = build(mode);
    world.memory.pages.clearFlag(world.frame(0), PG_DIRTY);
    mapRangeForDma(words, dma, addresses, always);
    expect(unmapRangeForDma(words, dma, addresses)).toBe(3);
    expect(world.memory.pages.is(world.frame(0), PG_DIRTY)).toBe(false);
  });

  it("maps nothing when a page in the middle cannot be mapped", () => {
    const { dma, addresses, words } = build({ ...mode, mappingsMax: 2 });
    const before = [...words];
    expect(mapRangeForDma(words, dma, addresses, always)).toBe(-EFAULT);
    expect([dma.mappingCount, dma.ioPagesTaken]).toEqual([0, 0]);
    expect([[...addresses], [...words]]).toEqual([[0, 0, 0, 0, 0], before]);
  });

  it("maps nothing when the range becomes invalid on the way", () => {
    for (const good of [0, 1, 2]) {
      const { dma, addresses, words } = build(mode);
      let asked = 0;
      const isStillValid = (): boolean => asked++ < good;
      expect(mapRangeForDma(words, dma, addresses, isStillValid)).toBe(-EBUSY);
      expect([dma.mappingCount, [...addresses], asked]).toEqual([0, [0, 0, 0, 0, 0], good + 1]);
    }
  });

  it("needs words, and an address for each", () => {
    const { dma, words } = build(mode);
    const [none, few] = [new Uint32Array(0), new Float64Array(4)];
    expect([
      mapRangeForDma(none, dma, few, always),
      mapRangeForDma(words, dma, few, always),
      unmapRangeForDma(none, dma, few),
      unmapRangeForDma(words, dma, few),
    ]).toEqual([-EINVAL, -EINVAL, -EINVAL, -EINVAL]);
    expect(dma.mappingCount).toBe(0);
  });

  it("is refused by a device that needs bounce buffers", () => {
    const { dma, addresses, words } = build({ ...mode, needsBounce: true });
    expect(mapRangeForDma(words, dma, addresses, always)).toBe(-EOPNOTSUPP);
  });
});

describe("mapping a range", () => {
  it("gives pages of a device on the same bus their bus address", () => {
    const { world, dma, addresses } = build({
      isCoherent: true,
      peerRoute: () => PCI_P2PDMA_MAP_BUS_ADDR,
    });
    expect(world.toDevice(0, 1)).toBe(0);
    const words = wordsOf(world);
    expect([mapRangeForDma(words, dma, addresses, always), dma.mappingCount]).toEqual([3, 2]);
    expect([addresses[0], dma.translate(addresses[0]!, true)]).toEqual([
      dma.busAddress(world.frame(0)),
      world.frame(0),
    ]);
    expect([unmapRangeForDma(words, dma, addresses), dma.mappingCount]).toEqual([3, 0]);
  });

  it("uses at most as many I/O addresses as there are", () => {
    const { dma, addresses, words } = build({ iommu: { pages: 2 } });
    expect(mapRangeForDma(words, dma, addresses, always)).toBe(-EFAULT);
    expect([dma.mappingCount, dma.ioPagesTaken]).toEqual([0, 0]);
  });

  it("notices words that changed between mapping and unmapping", () => {
    const { dma, addresses, words } = build({ iommu: { pages: 4 } });
    mapRangeForDma(words, dma, addresses, always);
    const word = words[0]!;
    words[0] = word & ~HMM_PFN_WRITE;
    expect(() => unmapRangeForDma(words, dma, addresses)).toThrow(/mapped in another direction/);
    words[0] = word;
    // A word that lost its page is unmapped all the same: the address says that it is mapped.
    words[3] = words[3]! & ~HMM_PFN_VALID;
    expect([unmapRangeForDma(words, dma, addresses), dma.mappingCount]).toEqual([3, 0]);
  });

  it("reaches the bytes of a page at every offset", () => {
    const { world, dma, addresses, words } = build();
    mapRangeForDma(words, dma, addresses, always);
    const last = addresses[1]! + PAGE_SIZE - 1;
    expect(dma.translate(last, true)).toBe(world.frame(1));
    expect(unmapRangeForDma(words, dma, addresses)).toBe(3);
  });
});

describe("a mirror's range that is mapped for DMA", () => {
  /** Pages 0 and 1, faulted in for writing. */
  function buildRange() {
    const { world, dma } = build();
    const ops = {
      *syncCpuDevicePagetables() {
        return true;
      },
    };
    const mirror = world.run(Mirror.register(world.space, { ops })) as Mirror;
    const range = mirror.range(rangeAt(0, 2)) as MirrorRange;
    world.run(range.waitUntilValid());
    expect(world.run(range.fault({ write: true }))).toBe(2);
    return { world, dma, range, addresses: new Float64Array(2) };
  }

  it("has an address for each page until it is unmapped, which makes pages dirty", () => {
    const { world, dma, range, addresses } = buildRange();
    expect(range.dmaMap(dma, addresses)).toBe(2);
    expect(dma.translate(addresses[1]!, true)).toBe(world.frame(1));
    world.memory.pages.clearFlag(world.frame(1), PG_DIRTY);
    expect(() => range.unregister()).toThrow(/still mapped for DMA/);
    expect(() => range.dmaMap(dma, addresses)).toThrow(/mapped for DMA already/);
    expect(() => world.run(range.snapshot())).toThrow(/unmap it first/);
    expect(range.dmaUnmap(dma, addresses, { dirty: true })).toBe(2);
    expect([...range.pfns, ...addresses, dma.mappingCount]).toEqual([0, 0, 0, 0, 0]);
    expect(world.memory.pages.is(world.frame(1), PG_DIRTY)).toBe(true);
    expect([range.dmaUnmap(dma, addresses), range.unregister()]).toEqual([0, true]);
  });

  it("is not mapped when it is not valid any more", () => {
    const { world, dma, range, addresses } = buildRange();
    world.unmap(1, 1);
    expect([range.dmaMap(dma, addresses), dma.mappingCount]).toEqual([-EBUSY, 0]);
    range.unregister();
  });
});
