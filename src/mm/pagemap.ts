/**
 * What the memory manager asks of device memory: when the CPU touches a page that lives on a
 * device, its owner must bring it home. Declared here, implemented in `devmem/` and drivers.
 * Linux: struct dev_pagemap, dev_pagemap_ops.
 */
import type { Result } from "../base/index.ts";
import type { Zone } from "../phys/index.ts";
import type { Sleeps } from "../sync/index.ts";
import type { Fault } from "./fault/index.ts";

export interface DevPagemap {
  /** 1 to 255; what `Pages.pagemap` says of its frames. */
  readonly id: number;
  /** Whose memory it is; compared for identity only. */
  readonly owner: object;
  readonly zone: Zone;
  /** The CPU can touch its frames: they are mapped like RAM. Linux: MEMORY_DEVICE_COHERENT. */
  readonly isCoherent: boolean;
  /**
   * Moves the page of `fault` to RAM. The caller holds mmapLock, the page's lock and a
   * reference. 0: done, or somebody else was faster; the access is tried again. Negative: it
   * cannot be brought home (the access gets SIGBUS). Positive: it stays for so many milliseconds;
   * the access sleeps so long, without any lock, and is tried again with FAULT_TRIED. Only a CPU
   * waits like that, and only once: never said to flags with FAULT_REMOTE or FAULT_TRIED.
   */
  migrateToRam(fault: Fault): Sleeps<Result>;
}
