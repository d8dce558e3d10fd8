/**
 * Mapping a whole range for a device at once, and back: the classic form, for what is used now
 * and not kept. Linux 5.2: hmm_range_dma_map() and hmm_range_dma_unmap(); `dma-map.ts` is their
 * successor.
 *
 * The direction of a mapping is not kept anywhere but in its word (`HMM_PFN_WRITE`): between the
 * two calls the words stay as they are. 0 means that a page has no address, which no page has
 * (see the door of `dma`).
 */
import { EBUSY, EFAULT, EINVAL, EOPNOTSUPP, type Result } from "../../base/index.ts";
import { type DmaDevice, PCI_P2PDMA_MAP_BUS_ADDR } from "../../dma/index.ts";
import { asPte, ptePfn } from "../../mm/index.ts";
import { PG_DIRTY } from "../../phys/index.ts";
import { directionOf } from "../dma-map.ts";
import { HMM_PFN_VALID, HMM_PFN_WRITE } from "../hmm-range.ts";

/**
 * Maps every valid page of `words` for `dma`, for writing where the word allows it, and puts its
 * address into `addresses`; 0 where no page is. How many pages, or: -EBUSY when `isStillValid`
 * says so before a page, -EFAULT when a page cannot be mapped; either way what was mapped is
 * unmapped and all addresses are 0. -EINVAL: no words, or fewer addresses. -EOPNOTSUPP: the
 * device needs bounce buffers. Under the driver's lock, so that what was valid stays so.
 */
export function mapRangeForDma(
  words: Uint32Array,
  dma: DmaDevice,
  addresses: Float64Array,
  isStillValid: () => boolean,
): Result {
  if (words.length === 0 || addresses.length < words.length) return -EINVAL;
  if (dma.needsBounce) return -EOPNOTSUPP;
  addresses.fill(0, 0, words.length);
  let mapped = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if ((word & HMM_PFN_VALID) === 0) continue;
    const address = isStillValid() ? mapWord(dma, word) : -EBUSY;
    if (address < 0) {
      unmapWords(words.subarray(0, i), dma, addresses);
      return address === -EBUSY ? -EBUSY : -EFAULT;
    }
    addresses[i] = address;
    mapped++;
  }
  return mapped;
}

/**
 * Undoes `mapRangeForDma`: every page that has an address is unmapped, its word and address are
 * 0, and with `dirty` it is dirty if the device could write it. How many pages, or -EINVAL: no
 * words, or fewer addresses. Under the driver's lock.
 */
export function unmapRangeForDma(
  words: Uint32Array,
  dma: DmaDevice,
  addresses: Float64Array,
  options: { readonly dirty?: boolean } = {},
): Result {
  if (words.length === 0 || addresses.length < words.length) return -EINVAL;
  // Before the mappings go: who looks at a page that no device can write finds it dirty.
  if (options.dirty) markDirty(words, dma, addresses);
  const count = unmapWords(words, dma, addresses);
  for (let i = 0; i < words.length; i++) if (words[i]! & HMM_PFN_VALID) words[i] = 0;
  return count;
}

function mapWord(dma: DmaDevice, word: number): Result {
  const frame = ptePfn(asPte(word));
  const isOnBus = dma.peerRoute(frame) === PCI_P2PDMA_MAP_BUS_ADDR;
  return isOnBus ? dma.busAddress(frame) : dma.mapPage(frame, directionOf(word));
}

/** Unmaps every page that has an address, which is 0 then: how many. */
function unmapWords(words: Uint32Array, dma: DmaDevice, addresses: Float64Array): number {
  let unmapped = 0;
  for (let i = 0; i < words.length; i++) {
    const address = addresses[i]!;
    if (address === 0) continue;
    const word = words[i]!;
    const isOnBus = dma.peerRoute(ptePfn(asPte(word))) === PCI_P2PDMA_MAP_BUS_ADDR;
    if (!isOnBus) dma.unmapPage(address, directionOf(word));
    addresses[i] = 0;
    unmapped++;
  }
  return unmapped;
}

function markDirty(words: Uint32Array, dma: DmaDevice, addresses: Float64Array): void {
  for (let i = 0; i < words.length; i++) {
    const word = words[i]!;
    if (addresses[i] === 0 || (word & HMM_PFN_WRITE) === 0) continue;
    dma.pages.setFlag(ptePfn(asPte(word)), PG_DIRTY);
  }
}
