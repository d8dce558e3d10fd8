/** Words of the DMA API, as in include/linux/dma-direction.h and include/linux/pci-p2pdma.h. */

/** The device reads and writes. */
export const DMA_BIDIRECTIONAL = 0;
/** The device only reads. */
export const DMA_TO_DEVICE = 1;

/** The frame is RAM, or as good as RAM: it is mapped like any other. */
export const PCI_P2PDMA_MAP_NONE = 0;
/** Memory of another device that this one cannot reach. */
export const PCI_P2PDMA_MAP_NOT_SUPPORTED = 1;
/** Memory of another device on the same bus: its bus address does, nothing is mapped. */
export const PCI_P2PDMA_MAP_BUS_ADDR = 2;
/** Memory of another device, reached through the host bridge: mapped, and never cached. */
export const PCI_P2PDMA_MAP_THRU_HOST_BRIDGE = 3;
