/**
 * What the memory manager asks of a CPU backend. Declared here, by the caller; implemented in
 * `cpu/`. A backend keeps a shadow of the page table: what user code can touch at once.
 */
import type { Vpn } from "../base/index.ts";

export interface CpuMmu {
  /**
   * Rights in [start, end) have shrunk: before this returns, no access by user code gets through
   * with the old ones. It may forget more than that; the next access faults again.
   */
  revoke(start: Vpn, end: Vpn): void;
  /**
   * The host may have given pages of [start, end) to the program without asking: they are put
   * into the page table, and from now on the host asks. Before anybody else looks or takes.
   * `isGoing`: all of it is about to be emptied, so that pages nobody knows of may go at once.
   */
  catchUp?(start: Vpn, end: Vpn, isGoing: boolean): void;
}
