/** The CPU of a machine, as its engine sees it. */
import type { Result, VirtAddr, Vpn } from "../../base/index.ts";
import type { Shadow } from "../../check/index.ts";
import type { CpuMmu } from "../../mm/index.ts";

/** What a machine asks of its CPU's shadow: `ScopedCpu` and `HostCpu` are such. */
export interface WindowCpu extends CpuMmu, Shadow {
  mayTouch(address: VirtAddr, bytes: number, write: boolean): boolean;
  /** Takes over what the page table allows. Negative: the system has no memory for it. */
  install(start: Vpn, end: Vpn): Result;
  /**
   * Leaves [start, end) to the host until `catchUp`; the caller holds mmapLock for writing. Absent
   * where that helps nobody.
   */
  readonly leave?: ((start: Vpn, end: Vpn) => void) | undefined;
  /** Pages that are there and not in the page table. */
  readonly unknownPages?: number;
}
