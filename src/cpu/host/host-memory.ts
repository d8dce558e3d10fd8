/**
 * A window whose pages the host maps one by one, as it is told: the mechanism under `HostCpu`,
 * which knows nothing of address spaces. The window lies over a memory file; a second mapping of
 * that file (the direct map, `bytes`) reaches every page at any time without a fault.
 */
import {
  assert,
  EAGAIN,
  EEXIST,
  EFAULT,
  ENOENT,
  ENOMEM,
  PAGE_SIZE,
  type Result,
  type Vpn,
  vpn,
} from "../../base/index.ts";
import {
  type Linux,
  loadLinux,
  MADV_DONTNEED,
  POLLIN,
  PROT_NONE,
  PROT_READ,
  PROT_WRITE,
  succeed,
} from "./linux.ts";
import { closeMappings, type Mappings, openMappings, restoreAnonymous } from "./mappings.ts";
import { MemoryFile } from "./memory-file.ts";
import { mergeRuns, type PageRun } from "./page-run.ts";
import { Scratch } from "./scratch.ts";
import {
  type KernelFaults,
  SCRATCH_USED,
  UFFD_PAGEFAULT_FLAG_MINOR,
  UFFD_PAGEFAULT_FLAG_WP,
  UFFD_PAGEFAULT_FLAG_WRITE,
  Userfaultfd,
} from "./userfaultfd.ts";

export interface HostMemoryOptions {
  /**
   * Faults that the kernel takes for a program, inside a system call, are served too; without,
   * such a call answers EFAULT on a page that is not installed. Default "auto": where the system
   * allows it (it needs privilege).
   */
  readonly kernelFaults?: KernelFaults;
}

/** Most pieces that `abandon` cuts a window into: a process may have 65,530 mappings in all. */
const PIECES_MAX = 16_000;

/** Sealed pages at a time, each a piece of its own. */
const SEALS_MAX = 64;

/** How often one page is tried: a hole is filled once, a race with the host lost a few times. */
const TRIES_MAX = 1000;

/** What `poll` saw. */
export const POLL_FAULTS = 1;
export const POLL_DOORBELL = 2;

// words of the scratch page
const POLL_ENTRIES = SCRATCH_USED;
const DOORBELL_COUNT = POLL_ENTRIES + 4;
const POLL_TIMEOUT = DOORBELL_COUNT + 2;

export class HostMemory {
  /** Held, because its memory must not be collected while pages of it are registered. */
  readonly buffer: SharedArrayBuffer;
  /** Pages of the window. */
  readonly pageCount: number;
  /** What another thread needs to take over (`adopt`): plain numbers. */
  readonly mappings: Mappings;
  /** System calls that changed what is mapped, by kind: for tests and measurements. */
  readonly calls = { install: 0, populate: 0, protect: 0, unprotect: 0, revoke: 0, wake: 0 };
  readonly #linux: Linux;
  readonly #scratch: Scratch;
  readonly #uffd: Userfaultfd;
  readonly #file: MemoryFile;
  #bytes: ArrayBuffer | undefined;
  readonly #sealed = new Set<Vpn>();
  #isClosed = false;

  private constructor(buffer: SharedArrayBuffer, mappings: Mappings, scratch: Scratch) {
    this.#linux = loadLinux();
    this.#scratch = scratch;
    this.#file = new MemoryFile(this.#linux, mappings.memfd);
    this.#uffd = new Userfaultfd(this.#linux, scratch, mappings.uffd);
    this.buffer = buffer;
    this.mappings = mappings;
    this.pageCount = buffer.byteLength / PAGE_SIZE;
    const { words } = scratch;
    [words[POLL_ENTRIES], words[POLL_ENTRIES + 1]] = [mappings.uffd, POLLIN];
    [words[POLL_ENTRIES + 2], words[POLL_ENTRIES + 3]] = [mappings.doorbell, POLLIN];
  }

  /**
   * Takes the window over: what was in it is gone, and every access from now on is a fault that
   * waits for `install`, also of the thread that calls this. Throws `HostUnavailable`; then the
   * window is as it was.
   */
  static open(buffer: SharedArrayBuffer, options: HostMemoryOptions = {}): HostMemory {
    const linux = loadLinux();
    const scratch = new Scratch(linux);
    try {
      const mappings = openMappings(linux, scratch, {
        base: linux.addressOf(new Uint8Array(buffer)),
        bytes: buffer.byteLength,
        kernelFaults: options.kernelFaults ?? "auto",
      });
      return new HostMemory(buffer, mappings, scratch);
    } catch (error) {
      scratch.free();
      throw error;
    }
  }

  /**
   * The same window on another thread, whose owner is dead: `close` or `abandon` it there. Two
   * threads must not serve one window.
   */
  static adopt(buffer: SharedArrayBuffer, mappings: Mappings): HostMemory {
    return new HostMemory(buffer, mappings, new Scratch(loadLinux()));
  }

  /**
   * The direct map: the bytes of all pages, a plain ArrayBuffer. Not to be used after `close` or
   * `abandon`: then there is no memory behind it, and the process would be killed.
   */
  get bytes(): ArrayBuffer {
    this.#assertOpen();
    this.#bytes ??= this.#linux.view(this.mappings.direct, this.buffer.byteLength);
    return this.#bytes;
  }

  /** Write 8 bytes (a 64-bit count above 0) to this descriptor, and `poll` returns. */
  get doorbell(): number {
    return this.mappings.doorbell;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Reads up to 64 faults without waiting: how many. The accessors below tell them. */
  readFaults(): number {
    this.#assertOpen();
    return this.#uffd.read();
  }

  /** The page of fault `i` of the last read. */
  faultPage(i: number): Vpn {
    return vpn(Math.floor(this.faultAddress(i) / PAGE_SIZE));
  }

  /** The exact byte of the window that was touched. */
  faultAddress(i: number): number {
    assert(this.#uffd.isFault(i), "the kernel tells an event that nobody asked for");
    return this.#uffd.address(i) - this.mappings.base;
  }

  isWrite(i: number): boolean {
    return (this.#uffd.flags(i) & UFFD_PAGEFAULT_FLAG_WRITE) !== 0;
  }

  /** The page is installed, but not for writing. */
  isWriteProtect(i: number): boolean {
    return (this.#uffd.flags(i) & UFFD_PAGEFAULT_FLAG_WP) !== 0;
  }

  /** The memory file has the page; it is only not installed. */
  isMinor(i: number): boolean {
    return (this.#uffd.flags(i) & UFFD_PAGEFAULT_FLAG_MINOR) !== 0;
  }

  /** The Linux thread id of who waits. */
  faultThread(i: number): number {
    return this.#uffd.thread(i);
  }

  /**
   * User code may read [start, end), and write if `write`; who waits for a page of it goes on.
   * Pages that the file does not have yet are made, all zero. -ENOMEM: the host has no memory;
   * the pages before that are installed. A page that is installed keeps the rights that it has.
   */
  install(start: Vpn, end: Vpn, write: boolean): Result {
    this.#assertRun(start, end);
    let tries = 0;
    for (let at = start; at < end; ) {
      this.calls.install++;
      const done = this.#uffd.continue(this.#addressOf(at), (end - at) * PAGE_SIZE, write);
      if (done > 0 || done === -EEXIST) {
        const next = vpn(at + (done > 0 ? done / PAGE_SIZE : 1));
        if (done < 0 && write) this.unprotect(at, next);
        else if (done < 0) this.wake(at, next);
        at = next;
        tries = 0;
        continue;
      }
      if (done === -ENOMEM) return -ENOMEM;
      // A seal cuts the window into pieces, and no call reaches over their borders.
      if (done === -ENOENT && this.unseal()) continue;
      if (done === -EFAULT) {
        this.calls.populate++;
        if (!this.#file.populate(at, end)) return -ENOMEM;
      }
      assert(done === -EFAULT || done === -EAGAIN, () => `UFFDIO_CONTINUE answers ${-done}`);
      assert(++tries < TRIES_MAX, () => `page ${at} cannot be installed`);
    }
    return 0;
  }

  /** Pages of [start, end) that are installed may be read only: the next write is a fault. */
  protect(start: Vpn, end: Vpn): void {
    this.#assertRun(start, end);
    this.calls.protect++;
    const result = this.#uffd.protect(this.#addressOf(start), (end - start) * PAGE_SIZE);
    assert(result === 0, () => `UFFDIO_WRITEPROTECT answers ${-result}`);
  }

  /** Installed pages of [start, end) may be written again; who waits for that goes on. */
  unprotect(start: Vpn, end: Vpn): void {
    this.#assertRun(start, end);
    this.calls.unprotect++;
    const result = this.#uffd.unprotect(this.#addressOf(start), (end - start) * PAGE_SIZE);
    assert(result === 0, () => `UFFDIO_WRITEPROTECT answers ${-result}`);
  }

  /** No access to [start, end) gets through any more. The file keeps the bytes. */
  revoke(start: Vpn, end: Vpn): void {
    this.#assertRun(start, end);
    this.calls.revoke++;
    const bytes = (end - start) * PAGE_SIZE;
    const result = this.#linux.madvise(this.#addressOf(start), bytes, MADV_DONTNEED);
    succeed(this.#linux, "madvise", result);
  }

  /** Who waits for a page of [start, end) tries again, and faults again if nothing is there. */
  wake(start: Vpn, end: Vpn): void {
    this.#assertRun(start, end);
    this.calls.wake++;
    const result = this.#uffd.wake(this.#addressOf(start), (end - start) * PAGE_SIZE);
    assert(result === 0, () => `UFFDIO_WAKE answers ${-result}`);
  }

  /**
   * Nobody may write `page`, or touch it at all without `mayRead`, whatever is installed: a system
   * call that waits for it answers EFAULT once it is woken. User code that does so ends the
   * process.
   */
  seal(page: Vpn, mayRead: boolean): void {
    this.#assertRun(page, page + 1);
    if (this.#sealed.size >= SEALS_MAX) this.unseal();
    this.#sealed.add(page);
    this.#mprotect(page, page + 1, mayRead ? PROT_READ : PROT_NONE);
  }

  /** All pages are as they were before `seal`. True if there were any. */
  unseal(): boolean {
    if (this.#sealed.size === 0) return false;
    for (const page of this.#sealed) this.#mprotect(page, page + 1, PROT_READ | PROT_WRITE);
    this.#sealed.clear();
    return true;
  }

  /**
   * Gives the memory of pages back to the host: they read as zero afterwards. For pages that are
   * revoked; one that is installed would be revoked without anybody having been told.
   */
  discard(start: Vpn, end: Vpn): void {
    this.#assertRun(start, end);
    this.#file.discard(start, end);
  }

  /**
   * Leaves [start, end) to the host, which gives memory at the first touch, system calls included,
   * and tells nobody. False: it has too many mappings.
   */
  unwatch(start: Vpn, end: Vpn): boolean {
    this.#assertRun(start, end);
    const bytes = (end - start) * PAGE_SIZE;
    return mayLackMappings(this.#uffd.unregister(this.#addressOf(start), bytes));
  }

  /** Faults in [start, end) are told again; what is mapped there stays. False as for `unwatch`. */
  watch(start: Vpn, end: Vpn): boolean {
    this.#assertRun(start, end);
    const bytes = (end - start) * PAGE_SIZE;
    return mayLackMappings(this.#uffd.register(this.#addressOf(start), bytes));
  }

  /** The first page of [page, end) that has memory, or `end`. */
  nextFilled(page: Vpn, end: Vpn): Vpn {
    return this.#file.nextFilled(page, end);
  }

  /** The first page of [page, end) that has none, or `end`. */
  nextHole(page: Vpn, end: Vpn): Vpn {
    return this.#file.nextHole(page, end);
  }

  /**
   * Sleeps until there is a fault to read or the doorbell was rung, at most `timeoutMs`
   * milliseconds (infinity: for ever, 0: not at all): `POLL_…` bits. Looks `spins` times before it
   * sleeps: a thread that sleeps takes 50 us to wake where one that looks takes 10.
   */
  poll(timeoutMs: number, spins = 0): number {
    this.#assertOpen();
    for (let spin = 0; spin < spins; spin++) {
      const seen = this.#pollOnce(0);
      if (seen !== 0) return seen;
    }
    return this.#pollOnce(timeoutMs);
  }

  /** Takes what has been written to the doorbell, so that `poll` can sleep again. */
  drainDoorbell(): void {
    this.#assertOpen();
    this.#linux.read(this.doorbell, this.#scratch.addressOf(DOORBELL_COUNT), 8);
  }

  /**
   * The window is ordinary memory again, all zero, and everybody goes on. Tear down what uses
   * `bytes` first. Idempotent.
   */
  close(): void {
    if (this.#isClosed) return;
    const { base } = this.mappings;
    // In this order nobody who goes on sees the file once more.
    restoreAnonymous(this.#linux, base, this.buffer.byteLength);
    this.wake(vpn(0), vpn(this.pageCount));
    this.#release();
  }

  /**
   * The owner of the pages is dead. What it had elsewhere (`lost`) cannot be reached any more: an
   * access there ends the process, or traps where WebAssembly loads or stores. Everything else
   * stays as it is, readable and writable, and everybody goes on.
   */
  abandon(lost: Iterable<PageRun>): void {
    if (this.#isClosed) return;
    this.unseal();
    const runs = mergeRuns(lost);
    // With too many pieces all of it goes: better out of reach than lost pages as zeros.
    const isWhole = runs.length > PIECES_MAX;
    for (const { start, end } of isWhole ? [{ start: 0, end: this.pageCount }] : runs) {
      this.#assertRun(start, end);
      this.#mprotect(start, end, PROT_NONE);
    }
    const result = this.#uffd.unregister(this.mappings.base, this.buffer.byteLength);
    assert(result === 0, () => `UFFDIO_UNREGISTER answers ${-result}`);
    this.#release();
  }

  #release(): void {
    this.#isClosed = true;
    this.#bytes = undefined;
    closeMappings(this.#linux, this.mappings, this.buffer.byteLength);
    this.#scratch.free();
  }

  #mprotect(start: number, end: number, protection: number): void {
    const bytes = (end - start) * PAGE_SIZE;
    const result = this.#linux.mprotect(this.#addressOf(start), bytes, protection);
    succeed(this.#linux, "mprotect", result);
  }

  #pollOnce(timeoutMs: number): number {
    const { words } = this.#scratch;
    const timeout = this.#scratch.setTime(POLL_TIMEOUT, timeoutMs);
    const count = this.#linux.ppoll(this.#scratch.addressOf(POLL_ENTRIES), 2, timeout, 0);
    // Below 0 a signal came in between: nothing was seen.
    if (count <= 0) return 0;
    const faults = words[POLL_ENTRIES + 1]! >>> 16 !== 0 ? POLL_FAULTS : 0;
    return faults | (words[POLL_ENTRIES + 3]! >>> 16 !== 0 ? POLL_DOORBELL : 0);
  }

  #addressOf(page: number): number {
    return this.mappings.base + page * PAGE_SIZE;
  }

  #assertRun(start: number, end: number): void {
    this.#assertOpen();
    assert(
      start >= 0 && start < end && end <= this.pageCount,
      () => `pages ${start} to ${end} are no run of this window`,
    );
  }

  #assertOpen(): void {
    assert(!this.#isClosed, "this window is not served any more");
  }
}

/** True when it was done; false when the host has no more mappings to give. */
function mayLackMappings(result: number): boolean {
  assert(result === 0 || result === -ENOMEM, () => `userfaultfd answers ${-result}`);
  return result === 0;
}
