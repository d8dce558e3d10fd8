/**
 * # dma: what a device that is not the CPU may reach of memory
 *
 * A device does not use frames but addresses on its bus. A driver maps a page, gives the device
 * the address, and unmaps the page before its frame may go to somebody else. Linux:
 * Documentation/core-api/dma-api.rst; the blocks are its dma_iova_… calls of 6.16.
 *
 * **Nouns.** *DmaDevice*: one device and its live mappings. *Direct*: an address is frame *
 * PAGE_SIZE. *Behind an IOMMU*: addresses are the device's own. *DmaBlock*: such addresses in a
 * row, reserved first, linked to frames page by page later. *Peer route*: how the device reaches
 * memory of another device.
 *
 * **Invariants.**
 * - An address is a safe integer, a multiple of PAGE_SIZE and never 0: frame 0 does not exist and
 *   I/O page 0 is not handed out. So 0 can mean "no address".
 * - What is not mapped cannot be reached, and what is mapped `DMA_TO_DEVICE` cannot be written.
 *   In direct mode all mappings of a frame share its address, and its rights.
 * - A mapping holds no reference: the frame outlives it because the driver unmaps in time.
 *
 * **Locks.** None. The driver's lock, the one that its invalidation callback takes, guards its
 * mappings.
 *
 * **Example.**
 * ```ts
 * const dma = new DmaDevice({ name: "nic0", pages, iommu: { pages: 1024 } });
 * const address = dma.mapPage(frame, DMA_TO_DEVICE);
 * if (address < 0) return address;
 * dma.translate(address + 8, false);          // the device reads: the frame
 * dma.translate(address + 8, true);           // it writes: -EFAULT
 * dma.unmapPage(address, DMA_TO_DEVICE);
 * dma.translate(address, false);              // too late: -EFAULT
 * ```
 *
 * **What it refuses.** Copying: no bounce buffers, no cache maintenance. Knowing which pages a
 * program has (`hmm` maps those).
 */
export {
  DMA_BIDIRECTIONAL,
  DMA_TO_DEVICE,
  PCI_P2PDMA_MAP_BUS_ADDR,
  PCI_P2PDMA_MAP_NONE,
  PCI_P2PDMA_MAP_NOT_SUPPORTED,
  PCI_P2PDMA_MAP_THRU_HOST_BRIDGE,
} from "./directions.ts";
export { type DmaBlock, DmaDevice, type DmaDeviceOptions } from "./dma-device.ts";
