/**
 * The CPU itself: user code reads and writes the window with plain loads and stores, and a page
 * that it may not touch yet is a real page fault, served here. Every page's bytes are at its
 * address (identity frames).
 */
import { assert, type Result, type VirtAddr, type Vpn } from "../../base/index.ts";
import type { Shadow, ShadowVisitor } from "../../check/index.ts";
import type { AddressSpace, CpuMmu } from "../../mm/index.ts";
import { allows, reachableBy } from "../rights.ts";
import { type BadAccess, FaultService, type FaultServiceOptions } from "./fault-service.ts";
import { HardwareShadow } from "./hardware-shadow.ts";
import type { HostMemory } from "./host-memory.ts";
import { LEFT, LeftPages } from "./left-pages.ts";
import type { Waiter } from "./waiting-faults.ts";

export class HostCpu implements CpuMmu, Shadow {
  readonly name = "CPU";
  readonly isCpu = true;
  readonly space: AddressSpace;
  readonly memory: HostMemory;
  readonly #shadow: HardwareShadow;
  readonly #left: LeftPages;
  readonly #faults: FaultService;

  constructor(space: AddressSpace, memory: HostMemory, options: FaultServiceOptions) {
    assert(space.isIdentity, "a window needs every page's frame at its address");
    this.space = space;
    this.memory = memory;
    this.#shadow = new HardwareShadow(space, memory);
    this.#left = new LeftPages(space, memory, this.#shadow.rights);
    this.#faults = new FaultService(space, memory, this.#shadow, options);
    this.leave = this.kernelFaults
      ? undefined
      : (start: Vpn, end: Vpn): void => this.#left.leave(start, end);
    space.mmus.push(this);
  }

  /**
   * Reads the faults that there are, without waiting, and starts tasks that serve them: how many.
   * The scheduler must run for anything to happen.
   */
  serveFaults(): number {
    return this.#faults.serve();
  }

  /** Threads whose fault was read and that were not woken yet, those of bad accesses too. */
  get waiting(): Iterable<Waiter> {
    return this.#faults.waiting;
  }

  /** Faults inside system calls are served, too. */
  get kernelFaults(): boolean {
    return this.memory.mappings.kernelFaults;
  }

  /**
   * A system call made this bad access: it answers EFAULT. Until `unseal`, which must come before
   * rights grow, the page allows reading only (`mayRead`) or nothing.
   */
  failSystemCall(bad: BadAccess, mayRead: boolean): void {
    this.#faults.failSystemCall(bad, mayRead);
  }

  /** Whoever has been refused a page has had the time to notice. */
  unseal(): void {
    this.memory.unseal();
  }

  /** Milliseconds that the longest wait has lasted at `nowMs` of the scheduler's clock. */
  oldestWaitMs(nowMs: number): number {
    return this.#faults.waiting.oldestMs(nowMs);
  }

  /**
   * Where faults inside system calls cannot be served, [start, end) is left to the host until
   * `catchUp`, so that those calls need no help there; see `LeftPages.leave` for what may be.
   */
  readonly leave: ((start: Vpn, end: Vpn) => void) | undefined;

  catchUp(start: Vpn, end: Vpn, isGoing = false): void {
    this.#left.catchUp(start, end, isGoing);
  }

  /** Pages that the host has given and the page table does not know of yet. */
  get unknownPages(): number {
    return this.#left.countUnknown();
  }

  revoke(start: Vpn, end: Vpn): void {
    this.#shadow.revoke(start, end);
  }

  /** Every page of [address, address + bytes) may be touched without a fault, as we know. */
  mayTouch(address: VirtAddr, bytes: number, write: boolean): boolean {
    return allows(this.#shadow.rights, address, bytes, write);
  }

  /** Takes over what the page table allows for the pages of [start, end). 0 or -ENOMEM. */
  install(start: Vpn, end: Vpn): Result {
    return this.#shadow.install(start, end);
  }

  forEachReachable(visit: ShadowVisitor): void {
    const { rights } = this.#shadow;
    // What is left to the host is not what the page table says, but what it will say.
    reachableBy(rights, this.space, (page, frame, reach) => {
      if ((rights[page]! & LEFT) === 0) visit(page, frame, reach);
    });
  }

  /** For tests: what the hardware maps at `page`, or that it is left to the host. */
  rightsOf(page: Vpn): number {
    return this.#shadow.rights[page]!;
  }
}
