/**
 * The CPU itself: user code reads and writes the window with plain loads and stores, and a page
 * that it may not touch yet is a real page fault, served here. Every page's bytes are at its
 * address (identity frames).
 */
import {
  type AddrRange,
  assert,
  type Result,
  type VirtAddr,
  type Vpn,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import type { Shadow, ShadowVisitor } from "../../check/index.ts";
import type { AddressSpace, CpuMmu, PinnedPages } from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { Brackets } from "../brackets.ts";
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
  readonly #brackets: Brackets;

  constructor(space: AddressSpace, memory: HostMemory, options: FaultServiceOptions) {
    assert(space.isIdentity, "a window needs every page's frame at its address");
    this.space = space;
    this.memory = memory;
    this.#shadow = new HardwareShadow(space, memory);
    this.#left = new LeftPages(space, memory, this.#shadow.rights);
    this.#faults = new FaultService(space, memory, this.#shadow, options);
    this.#brackets = new Brackets(space);
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

  /**
   * Opens a bracket: every page of `range` is in RAM and installed, and stays until `close`; so
   * system calls may be given it, whose faults are not served otherwise. All pages or none; when
   * one cannot be had, a negated errno and `failure.address`.
   */
  *access(
    range: AddrRange,
    write: boolean,
    failure: { address: VirtAddr },
  ): Sleeps<PinnedPages | Result> {
    this.catchUp(vpnOf(range.start), vpnOf(range.end));
    const pinned = yield* this.#brackets.open(range, write, failure);
    if (typeof pinned === "number") return pinned;
    const result = this.install(pinned.start, vpn(pinned.start + pinned.frames.length));
    if (result === 0) return pinned;
    this.#brackets.close(pinned);
    failure.address = range.start;
    return result;
  }

  /** Closes a bracket, once. What was written in it is marked so. */
  close(pinned: PinnedPages): void {
    this.#brackets.close(pinned);
  }

  get openBrackets(): number {
    return this.#brackets.count;
  }

  /** An open bracket that covers a page of [start, end), if any. */
  bracketIn(start: Vpn, end: Vpn): PinnedPages | undefined {
    return this.#brackets.find(start, end);
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
