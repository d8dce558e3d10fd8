/**
 * From a thread that waits in a page fault to a mapping that lets it go on. What the page table
 * allows already is installed at once, without a task. What needs no sleep is done for all other
 * faults together; whoever must wait gets a task of its own. Each fault does one thing, then
 * whatever the page table allows is installed and the thread woken: if that does not suffice, the
 * hardware faults again.
 */
import {
  addrOf,
  assert,
  formatAddress,
  type Result,
  type VirtAddr,
  type Vpn,
  virtAddr,
  vpn,
  vpnOf,
} from "../../base/index.ts";
import {
  type AddressSpace,
  cpuFault,
  FAULT_WRITE,
  PTE_NONE,
  PTE_VALID,
  PTE_WRITE,
  tryFault,
  type Vma,
} from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import type { HardwareShadow } from "./hardware-shadow.ts";
import type { HostMemory } from "./host-memory.ts";
import { MESSAGES_MAX } from "./userfaultfd.ts";
import { type PageFault, WaitingFaults } from "./waiting-faults.ts";

/** An access that cannot be made possible; its thread waits until the owner decides. */
export interface BadAccess {
  readonly address: VirtAddr;
  readonly page: Vpn;
  readonly write: boolean;
  /** Linux thread id. */
  readonly thread: number;
  /** -EFAULT, `FAULT_SIGBUS`, -ENOMEM. */
  readonly result: Result;
}

export interface FaultServiceOptions {
  /**
   * Pages that one fault may serve, a power of two: its neighbours in the aligned block of so
   * many. Present ones are installed with it; those that nobody has touched are made with it when
   * it is written first. Default 16 (64 KiB). Linux: multi-size THP.
   */
  readonly around?: number;
  readonly onBadAccess: (bad: BadAccess) => void;
}

export class FaultService {
  readonly waiting = new WaitingFaults();
  readonly #space: AddressSpace;
  readonly #memory: HostMemory;
  readonly #shadow: HardwareShadow;
  readonly #around: number;
  readonly #onBadAccess: (bad: BadAccess) => void;

  constructor(
    space: AddressSpace,
    memory: HostMemory,
    shadow: HardwareShadow,
    { around = 16, onBadAccess }: FaultServiceOptions,
  ) {
    assert(around >= 1 && (around & (around - 1)) === 0, "around is a power of two");
    this.#space = space;
    this.#memory = memory;
    this.#shadow = shadow;
    this.#around = around;
    this.#onBadAccess = onBadAccess;
  }

  /** Reads all faults that there are; serves them, or has a task serve them: how many. */
  serve(): number {
    const batch: PageFault[] = [];
    let total = 0;
    for (let got = MESSAGES_MAX; got === MESSAGES_MAX; total += got) {
      got = this.#memory.readFaults();
      for (let i = 0; i < got; i++) {
        if (this.#serveAtOnce(i)) continue;
        const fault = this.#note(i);
        if (fault.task === undefined && !batch.includes(fault)) batch.push(fault);
      }
    }
    if (batch.length > 0) this.#start("page faults", batch, this.#serveBatch(batch));
    return total;
  }

  /**
   * Only the hardware lacks the page, and nobody is at work on it: the page table allows the
   * access, and what it allows may be installed whenever no step of a task is under way. False:
   * it takes more than that.
   */
  #serveAtOnce(i: number): boolean {
    const page = this.#memory.faultPage(i);
    const need = PTE_VALID | (this.#memory.isWrite(i) ? PTE_WRITE : 0);
    if ((this.#space.pageTable.get(page) & need) !== need || this.waiting.has(page)) return false;
    const before = this.#observe(page, !this.#memory.isWriteProtect(i));
    if (this.#shadow.install(this.#blockStart(page), this.#blockEnd(page)) < 0) return false;
    // Whoever installs a page wakes who waits for it.
    if (this.#shadow.rights[page] === before) this.#memory.wake(page, vpn(page + 1));
    assert((this.#shadow.rights[page]! & need) === need, "what the page table allows is there");
    return true;
  }

  /** What the hardware allows at `page` now that it has faulted. */
  #observe(page: Vpn, isUnmapped: boolean): number {
    this.#shadow.observe(page, isUnmapped ? 0 : PTE_VALID);
    return this.#shadow.rights[page]!;
  }

  #note(i: number): PageFault {
    const page = this.#memory.faultPage(i);
    const fault = this.waiting.add({
      page,
      thread: this.#memory.faultThread(i),
      sinceMs: this.#space.memory.scheduler.nowMs,
      write: this.#memory.isWrite(i),
      address: virtAddr(this.#memory.faultAddress(i)),
    });
    if (!this.#memory.isWriteProtect(i)) fault.isUnmapped = true;
    return fault;
  }

  /**
   * A system call made this bad access: it answers EFAULT, and only the access is over. What the
   * program may still do with the page (`mayRead`) it may do meanwhile.
   */
  failSystemCall({ page, thread }: BadAccess, mayRead: boolean): void {
    this.waiting.forget(page, thread);
    this.#memory.seal(page, mayRead);
    this.#memory.wake(page, vpn(page + 1));
  }

  /** However the task ends, nobody whom it was to serve waits for ever. */
  #start(name: string, faults: readonly PageFault[], body: Sleeps<void>): void {
    const task = this.#space.memory.scheduler.spawn(name, body);
    for (const fault of faults) fault.task = task;
    task.onSettled = () => {
      for (const fault of faults) if (fault.task === task) this.#release(fault);
    };
  }

  *#serveBatch(batch: readonly PageFault[]): Sleeps<void> {
    using mmap = this.#space.mmapLock.tryAcquireRead();
    for (const fault of batch) {
      if (mmap !== undefined && this.#isPossible(fault)) this.#resolve(fault);
      else this.#serveLater(fault);
    }
  }

  #serveLater(fault: PageFault): void {
    const { page } = fault;
    const threads = fault.served.map(({ thread }) => thread).join(", ");
    const name = `page fault at ${formatAddress(addrOf(page))} of thread ${threads}`;
    this.#start(name, [fault], this.#serveSleeping(fault));
  }

  *#serveSleeping(fault: PageFault): Sleeps<void> {
    const { write } = fault;
    const result = yield* cpuFault(this.#space, addrOf(fault.page), write ? FAULT_WRITE : 0);
    if (this.#memory.isClosed) this.#forget(fault);
    else if (result < 0) this.#refuse(fault, write, result);
    else this.#resolve(fault);
  }

  /** The page table allows the access, or does after what can be done without sleeping. */
  #isPossible({ page, write }: PageFault): boolean {
    const pte = this.#space.pageTable.get(page);
    const need = PTE_VALID | (write ? PTE_WRITE : 0);
    if ((pte & need) === need) return true;
    const vma = this.#space.vmas.find(addrOf(page));
    if (vma === undefined) return false;
    if (tryFault(this.#space, vma, page, write ? FAULT_WRITE : 0) !== 0) return false;
    if (write && pte === PTE_NONE && vma.isAnonymous) this.#touchAround(vma, page);
    return true;
  }

  /** Makes the untouched neighbours of a page that is written first, as far as memory goes. */
  #touchAround(vma: Vma, page: Vpn): void {
    const start = Math.max(this.#blockStart(page), vpnOf(vma.start));
    const end = Math.min(this.#blockEnd(page), vpnOf(vma.end));
    for (let at = vpn(start); at < end; at = vpn(at + 1)) {
      const isThere = this.#shadow.rights[at] !== 0;
      if (isThere || this.#space.pageTable.get(at) !== PTE_NONE) continue;
      if (tryFault(this.#space, vma, at, FAULT_WRITE) !== 0) return;
    }
  }

  /** Installs what the page table allows, neighbours too, and wakes who waits for the page. */
  #resolve(fault: PageFault): void {
    const { page } = fault;
    const next = vpn(page + 1);
    const before = this.#observe(page, fault.isUnmapped);
    let result = this.#shadow.install(this.#blockStart(page), this.#blockEnd(page));
    // The host has no memory for all of them: the page itself counts.
    if (result < 0) result = this.#shadow.install(page, next);
    if (result < 0) this.#refuse(fault, false, result);
    // Whoever installs a page wakes who waits for it; where nothing was to be done, they sleep on.
    else if (this.#shadow.rights[page] === before) this.#release(fault);
    else this.#forget(fault);
  }

  #release(fault: PageFault): void {
    if (!this.#memory.isClosed) this.#memory.wake(fault.page, vpn(fault.page + 1));
    this.#forget(fault);
  }

  #forget(fault: PageFault): void {
    fault.task = undefined;
    this.waiting.remove(fault);
  }

  /** Nobody may write (`write`) or touch the page at all. Who only reads is served without. */
  #refuse(fault: PageFault, write: boolean, result: Result): void {
    fault.task = undefined;
    const refused = fault.served.filter((access) => access.write || !write);
    for (const access of refused) access.isBad = true;
    if (fault.served.length > 0) this.#serveLater(fault);
    for (const { address, page, thread, write: wrote } of refused) {
      this.#onBadAccess({ address, page, write: wrote, thread, result });
    }
  }

  #blockStart(page: Vpn): Vpn {
    return vpn(page - (page % this.#around));
  }

  #blockEnd(page: Vpn): Vpn {
    return vpn(Math.min(this.#blockStart(page) + this.#around, this.#memory.pageCount));
  }
}
