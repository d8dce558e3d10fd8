/**
 * A device's mappings of one range, page by page, that outlive the faults which found the pages:
 * each word of the range remembers in its sticky flags whether and how it is mapped. Linux:
 * struct hmm_dma_map, mm/hmm.c hmm_dma_map_alloc() and its like (6.16).
 *
 * The rule that makes it right: everything here runs under the driver's lock, the one that its
 * invalidation callback takes, and the callback unmaps what the event covers before it returns.
 * So a word that is mapped names the frame it was mapped with. That rule is the driver's to keep;
 * `hmmDmaMapPfn` asserts what it can see of it.
 */
import {
  assert,
  EFAULT,
  EINVAL,
  EOPNOTSUPP,
  PAGE_SIZE,
  type Result,
  SPACE_PAGES,
} from "../base/index.ts";
import {
  DMA_BIDIRECTIONAL,
  DMA_TO_DEVICE,
  type DmaBlock,
  type DmaDevice,
  PCI_P2PDMA_MAP_BUS_ADDR,
  PCI_P2PDMA_MAP_THRU_HOST_BRIDGE,
} from "../dma/index.ts";
import { asPte, ptePfn } from "../mm/index.ts";
import {
  HMM_PFN_DMA_MAPPED,
  HMM_PFN_DMA_WRITE,
  HMM_PFN_INOUT_FLAGS,
  HMM_PFN_P2PDMA,
  HMM_PFN_P2PDMA_BUS,
  HMM_PFN_VALID,
  HMM_PFN_WRITE,
} from "./hmm-range.ts";

export interface HmmDmaMap {
  readonly dma: DmaDevice;
  /** `HmmRange.pfns` of the whole or, as a subarray, of a part; with `HMM_PFN_INOUT_FLAGS` kept. */
  readonly pfns: Uint32Array;
  /** Behind an IOMMU: page i of the range is page i of the block. */
  readonly block: DmaBlock | undefined;
  // index -> address | 0; only without a block where unmapping needs to know it
  readonly addresses: Float64Array | undefined;
  /** Words that are mapped, also those reached by a bus address. Written here only. */
  mappedCount: number;
  isFreed: boolean;
}

/**
 * A map for `count` pages, nothing of it mapped. When the device's I/O addresses have no run of
 * that length, the pages will get one each. -EINVAL when `count` is not a number of pages,
 * -EOPNOTSUPP when the device needs bounce buffers: what it saw would not be the program's memory.
 */
export function hmmDmaMapAlloc(dma: DmaDevice, count: number): HmmDmaMap | Result {
  if (!Number.isSafeInteger(count) || count < 1 || count > SPACE_PAGES) return -EINVAL;
  if (dma.needsBounce) return -EOPNOTSUPP;
  const reserved = dma.isBehindIommu ? dma.reserve(count) : undefined;
  const block = typeof reserved === "object" ? reserved : undefined;
  // A direct address can be told from the frame.
  const needsAddresses = dma.isBehindIommu && block === undefined;
  return {
    dma,
    pfns: new Uint32Array(count),
    block,
    addresses: needsAddresses ? new Float64Array(count) : undefined,
    mappedCount: 0,
    isFreed: false,
  };
}

/** Gives the block back. The caller has unmapped every page. */
export function hmmDmaMapFree(map: HmmDmaMap): void {
  assert(!map.isFreed, "a DMA map is freed twice");
  assert(map.mappedCount === 0, () => `a DMA map is freed with ${map.mappedCount} pages mapped`);
  map.isFreed = true;
  if (map.block !== undefined) map.dma.free(map.block);
}

/**
 * The address by which the device reaches page `index`, with the rights that its word has now:
 * of a page that is mapped already the same as before, in place. Under the driver's lock, after
 * the check of the sequence. -EFAULT: the word is not valid, or the device cannot reach the
 * frame; -ENOMEM: the device has no mapping or I/O address left. Nothing is mapped then.
 */
export function hmmDmaMapPfn(map: HmmDmaMap, index: number): Result {
  const word = wordAt(map, index);
  if ((word & HMM_PFN_VALID) === 0) return -EFAULT;
  if (word & HMM_PFN_DMA_MAPPED) return resync(map, index, word);
  const frame = ptePfn(asPte(word));
  const flags = routeFlags(map.dma.peerRoute(frame)) | writeFlag(word);
  const address =
    flags & HMM_PFN_P2PDMA_BUS ? map.dma.busAddress(frame) : mapFrame(map, index, word);
  const plain = word & ~HMM_PFN_INOUT_FLAGS;
  map.pfns[index] = address < 0 ? plain : plain | flags | HMM_PFN_DMA_MAPPED;
  if (address < 0) return address;
  map.mappedCount++;
  if (map.addresses !== undefined) map.addresses[index] = address;
  return address;
}

/**
 * The device reaches page `index` no more. False, and nothing happens, unless the word is valid
 * and mapped. Under the driver's lock. Whether the page is dirty now is the driver's to say
 * (`PG_DIRTY`), before this.
 */
export function hmmDmaUnmapPfn(map: HmmDmaMap, index: number): boolean {
  const word = wordAt(map, index);
  const need = HMM_PFN_VALID | HMM_PFN_DMA_MAPPED;
  if ((word & need) !== need) return false;
  if ((word & HMM_PFN_P2PDMA_BUS) === 0) {
    if (map.block !== undefined) map.dma.unlink(map.block, index);
    else map.dma.unmapPage(addressOf(map, index, word), mappedDirection(word));
  }
  if (map.addresses !== undefined) map.addresses[index] = 0;
  map.pfns[index] = word & ~HMM_PFN_INOUT_FLAGS;
  map.mappedCount--;
  return true;
}

function wordAt(map: HmmDmaMap, index: number): number {
  assert(!map.isFreed, "a DMA map is used after it was freed");
  const word = map.pfns[index];
  assert(word !== undefined, () => `page ${index} is not in a DMA map of ${map.pfns.length}`);
  return word;
}

/** The page is mapped: its address, after its rights have followed its word. */
function resync(map: HmmDmaMap, index: number, word: number): Result {
  const address = addressOf(map, index, word);
  const direction = directionOf(word);
  // The bus knows no rights.
  if ((word & HMM_PFN_P2PDMA_BUS) === 0) {
    const isSame = map.dma.translate(address, false) === ptePfn(asPte(word));
    assert(isSame, () => `page ${index} has another frame and was not unmapped when it got it`);
    map.dma.changeDirection(address, mappedDirection(word), direction);
  }
  map.pfns[index] = (word & ~HMM_PFN_DMA_WRITE) | writeFlag(word);
  return address;
}

function mapFrame(map: HmmDmaMap, index: number, word: number): Result {
  const frame = ptePfn(asPte(word));
  return map.block === undefined
    ? map.dma.mapPage(frame, directionOf(word))
    : map.dma.link(map.block, index, frame, directionOf(word));
}

/** Where a mapped page is for the device. */
function addressOf(map: HmmDmaMap, index: number, word: number): number {
  if (word & HMM_PFN_P2PDMA_BUS) return map.dma.busAddress(ptePfn(asPte(word)));
  if (map.block !== undefined) return map.block.start + index * PAGE_SIZE;
  return map.addresses?.[index] ?? map.dma.directAddress(ptePfn(asPte(word)));
}

function routeFlags(route: number): number {
  if (route === PCI_P2PDMA_MAP_BUS_ADDR) return HMM_PFN_P2PDMA_BUS;
  return route === PCI_P2PDMA_MAP_THRU_HOST_BRIDGE ? HMM_PFN_P2PDMA : 0;
}

/** The sticky flag for what the page allows. */
const writeFlag = (word: number): number => (word & HMM_PFN_WRITE ? HMM_PFN_DMA_WRITE : 0);

/** The DMA direction that the page of a word allows. */
export const directionOf = (word: number): number =>
  word & HMM_PFN_WRITE ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;

/** What the mapping allows. */
const mappedDirection = (word: number): number =>
  word & HMM_PFN_DMA_WRITE ? DMA_BIDIRECTIONAL : DMA_TO_DEVICE;
