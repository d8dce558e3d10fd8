/**
 * The address space as a program sees it: allocation, typed views, mappings, access brackets.
 * Calls that may have to wait for a device return promises; those that need not are plain.
 */
import {
  EAGAIN,
  formatAddress,
  isPageAligned,
  PAGE_SIZE,
  type Result,
  SPACE_BYTES,
  type VirtAddr,
  virtAddr,
  vpn,
  vpnOf,
} from "../base/index.ts";
import type { ScopedCpu, Window } from "../cpu/index.ts";
import {
  type AddressSpace,
  cpuFault,
  FAULT_WRITE,
  MapMode,
  madviseDontNeed,
  mmap,
  mprotect,
  munmap,
  type PinnedPages,
  VM_READ,
  VM_WRITE,
} from "../mm/index.ts";
import type { Sleeps } from "../sync/index.ts";
import { Access, type AccessMode } from "./access.ts";
import { errorCode, hmmError, invalid } from "./error.ts";
import { Heap } from "./heap.ts";
import type { MemoryAccess } from "./memory-access.ts";
import { type ArraySchema, array, type Ptr, type Schema, type StructSchema } from "./schema.ts";
import type { Tasks } from "./tasks.ts";
import { type ArrayView, type Cursor, viewOf } from "./view.ts";

/** The rights of a mapping, as `mmap` and `mprotect` take them. */
export type Rights = "rw" | "r" | "none";

const RIGHTS: Readonly<Record<Rights, number>> = { rw: VM_READ | VM_WRITE, r: VM_READ, none: 0 };

/** Freed runs of pages smaller than this are kept: giving them up would cost more. */
const DISCARD_PAGES = 16;
/** How often one page is faulted for one access before that is a bug. */
const FAULTS_MAX = 64;

export interface SpaceParts {
  readonly space: AddressSpace;
  readonly cpu: ScopedCpu;
  readonly window: Window;
  readonly tasks: Tasks;
  readonly heap: { readonly start: number; readonly end: number };
  /** Brings what lives on devices in [start, end) home, in bulk. */
  readonly bringHome: (start: VirtAddr, end: VirtAddr) => Sleeps<Result>;
}

/** A place in memory: what `access` takes besides any view. */
export interface MemoryRange {
  readonly start: number;
  readonly bytes: number;
}

export class Space implements MemoryAccess {
  /** The whole window as words. Touch it within a bracket, or after `need`. */
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly u8: Uint8Array;
  readonly #parts: SpaceParts;
  readonly #heap: Heap;

  constructor(parts: SpaceParts) {
    this.#parts = parts;
    this.u8 = parts.window.u8;
    this.u32 = parts.window.u32;
    this.i32 = parts.window.i32;
    this.f32 = parts.window.f32;
    this.#heap = new Heap({
      ...parts.heap,
      onPagesFree: (start, end) => this.#discard(start, end),
    });
  }

  /** The window's memory: import it into wasm modules that take a shared memory. */
  get memory(): Window["memory"] {
    return this.#parts.window.memory;
  }

  get window(): SharedArrayBuffer {
    return this.#parts.window.buffer;
  }

  /** Bytes that `malloc` has given out and can still give. */
  get heapUsage(): Heap["usage"] {
    return this.#heap.usage;
  }

  /** `bytes` bytes, aligned; content undefined. Throws ENOMEM when the heap is full. */
  malloc(bytes: number, align = 8): number {
    return this.#heap.malloc(bytes, align);
  }

  /** Gives back what `malloc` gave. Throws EINVAL for anything else. */
  free(address: number): void {
    this.#heap.free(address);
  }

  /** An array of `length` elements on the heap; zeroed? no: content undefined until written. */
  array<Element extends Schema>(element: Element, length: number): ArrayView<Element> {
    const schema = array(element, length);
    return this.at(schema, this.malloc(schema.size, Math.max(8, schema.align)));
  }

  /** A struct on the heap, with `init` stored; fields that `init` lacks are zero. */
  alloc<S extends StructSchema>(schema: S): Cursor<S> {
    const address = this.malloc(schema.size, Math.max(8, schema.align));
    this.need(address, schema.size, true);
    this.u8.fill(0, address, address + schema.size);
    return this.at(schema, address);
  }

  /** A view of what is at `address`; nothing is touched yet. */
  at<Element extends Schema>(schema: ArraySchema<Element>, address: number): ArrayView<Element>;
  at<S extends StructSchema>(schema: S, address: Ptr<S> | number): Cursor<S>;
  at(schema: ArraySchema | StructSchema, address: number): unknown {
    return viewOf(schema, this, address);
  }

  /** Maps zeroed pages; gives their address. Throws EINVAL, ENOMEM, EEXIST (address taken). */
  async mmap(options: {
    readonly bytes: number;
    readonly rights?: Rights;
    readonly address?: number;
  }): Promise<number> {
    const { bytes, address } = options;
    const flags = rightsOf("mmap", options.rights ?? "rw");
    checkCount("mmap", "bytes", bytes);
    if (address !== undefined) checkPageAddress("mmap", address);
    const { space, tasks } = this.#parts;
    const result = await tasks.run(
      "mmap",
      mmap(space, {
        bytes: Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE,
        flags,
        mode: address === undefined ? MapMode.anywhere : MapMode.noReplace,
        ...(address === undefined ? {} : { start: virtAddr(address) }),
      }),
    );
    if (result < 0) {
      const where = address === undefined ? "" : ` at ${formatAddress(address)}`;
      throw hmmError({
        code: errorCode(result),
        call: "mmap",
        detail: `cannot map ${bytes} bytes${where}`,
      });
    }
    return result;
  }

  /** Unmaps [address, address + bytes). Throws EBUSY while a bracket is open there. */
  async munmap(address: number, bytes: number): Promise<void> {
    this.#checkRange("munmap", address, bytes);
    const { space, tasks } = this.#parts;
    const result = await tasks.run("munmap", munmap(space, virtAddr(address), bytes));
    this.#throwIf(result, "munmap", { start: address, bytes });
  }

  /** Other rights for [address, address + bytes). Throws EBUSY, ENOMEM (over a hole). */
  async mprotect(address: number, bytes: number, rights: Rights): Promise<void> {
    const flags = rightsOf("mprotect", rights);
    this.#checkRange("mprotect", address, bytes);
    const { space, tasks } = this.#parts;
    const result = await tasks.run("mprotect", mprotect(space, virtAddr(address), bytes, flags));
    this.#throwIf(result, "mprotect", { start: address, bytes });
  }

  /** Forgets the content of whole pages; the next touch finds zeros. */
  async discard(address: number, bytes: number): Promise<void> {
    this.#checkRange("discard", address, bytes);
    const { space, tasks } = this.#parts;
    const result = await tasks.run("discard", madviseDontNeed(space, virtAddr(address), bytes));
    this.#throwIf(result, "discard", { start: address, bytes });
  }

  /**
   * Opens a bracket: the bytes of `range` are here, may be read (and written, in mode "write"),
   * and stay until the bracket is closed (`await using`, or `close`). A launch that needs one of
   * its pages for writing waits a second for that, then fails with EBUSY. Throws EFAULT where
   * nothing is mapped or the rights do not allow it.
   */
  async access(
    range: MemoryRange | { readonly address: number; readonly bytes: number },
    mode: AccessMode,
  ): Promise<Access> {
    const { start, bytes } = rangeOf(range);
    if (mode !== "read" && mode !== "write") {
      throw invalid("access", `mode must be "read" or "write", got ${String(mode)}`);
    }
    if (!Number.isInteger(start) || start < 0 || start >= SPACE_BYTES || start % 4 !== 0) {
      throw invalid("access", `start must be an address, a multiple of 4, got ${String(start)}`);
    }
    checkCount("access", "bytes", bytes);
    if (start + bytes > SPACE_BYTES) {
      throw invalid("access", `${formatAddress(start)} + ${bytes} bytes leaves the space`);
    }
    const pinned = await this.#bracket({ start, bytes }, mode);
    const { cpu, window } = this.#parts;
    return new Access({ start, bytes, mode, window, close: () => cpu.close(pinned) });
  }

  async #bracket(range: MemoryRange, mode: AccessMode): Promise<PinnedPages> {
    const { cpu, tasks, bringHome } = this.#parts;
    const start = virtAddr(range.start - (range.start % PAGE_SIZE));
    const end = virtAddr(Math.ceil((range.start + range.bytes) / PAGE_SIZE) * PAGE_SIZE);
    const failure = { address: start };
    const pinned = await tasks.run(
      "access",
      (function* (): Sleeps<PinnedPages | Result> {
        const home = yield* bringHome(start, end);
        if (home < 0) return home;
        return yield* cpu.access({ start, end }, mode === "write", failure);
      })(),
    );
    if (typeof pinned !== "number") return pinned;
    throw hmmError({
      code: errorCode(pinned),
      call: "access",
      detail: `cannot ${mode} ${range.bytes} bytes at ${formatAddress(range.start)}`,
      address: failure.address,
      access: mode,
    });
  }

  /**
   * Makes sure that [address, address + bytes) may be touched right now, faulting it in. Throws
   * EFAULT where the program may not, and EAGAIN when the bytes are on a device: that cannot be
   * waited for here; open a bracket.
   */
  need(address: number, bytes: number, write: boolean): void {
    const { cpu } = this.#parts;
    for (let tries = 0; !cpu.mayTouch(virtAddr(address), bytes, write); tries++) {
      if (tries === FAULTS_MAX) {
        throw hmmError({
          code: "EAGAIN",
          call: write ? "store" : "load",
          detail: `${formatAddress(address)} cannot be had: it moves all the time`,
          address,
        });
      }
      this.#faultNow(address, bytes, write);
    }
  }

  #faultNow(address: number, bytes: number, write: boolean): void {
    const { space, cpu, tasks } = this.#parts;
    const last = Math.floor((address + bytes - 1) / PAGE_SIZE);
    for (let page = Math.floor(address / PAGE_SIZE); page <= last; page++) {
      const at = virtAddr(page * PAGE_SIZE);
      if (cpu.mayTouch(at, 1, write)) continue;
      cpu.install(vpn(page), vpn(page + 1));
      if (cpu.mayTouch(at, 1, write)) continue;
      const result = tasks.runNow("fault", cpuFault(space, at, write ? FAULT_WRITE : 0));
      if (result === 0) {
        cpu.install(vpn(page), vpn(page + 1));
        continue;
      }
      const call = write ? "store" : "load";
      const detail =
        result === -EAGAIN
          ? "the page is on a device or in use; open a bracket: await space.access(…)"
          : "the program may not do that there";
      const access = write ? "write" : "read";
      throw hmmError({ code: errorCode(result), call, detail, address, access });
    }
  }

  /** Pages that the heap has no more use for lose their content, if that can be done at once. */
  #discard(start: number, end: number): void {
    if (end - start < DISCARD_PAGES) return;
    const { space, tasks } = this.#parts;
    const bytes = (end - start) * PAGE_SIZE;
    const discarding = madviseDontNeed(space, virtAddr(start * PAGE_SIZE), bytes);
    tasks.runNow("discard", discarding);
  }

  #checkRange(call: string, address: number, bytes: number): void {
    checkPageAddress(call, address);
    checkCount(call, "bytes", bytes);
    if (address + bytes > SPACE_BYTES) {
      throw invalid(call, `${formatAddress(address)} + ${bytes} bytes leaves the space`);
    }
    const end = vpnOf(virtAddr(address + Math.ceil(bytes / PAGE_SIZE) * PAGE_SIZE));
    const bracket = this.#parts.cpu.bracketIn(vpnOf(virtAddr(address)), end);
    if (bracket === undefined) return;
    throw hmmError({
      code: "EBUSY",
      call,
      detail: `an access bracket is open at ${formatAddress(bracket.start * PAGE_SIZE)}`,
      address,
    });
  }

  #throwIf(result: Result, call: string, range: MemoryRange): void {
    if (result >= 0) return;
    const detail = `${range.bytes} bytes at ${formatAddress(range.start)} are not all mapped`;
    throw hmmError({ code: errorCode(result), call, detail, address: range.start });
  }
}

function rangeOf(
  range: MemoryRange | { readonly address: number; readonly bytes: number },
): MemoryRange {
  if (typeof range !== "object" || range === null) {
    throw invalid("access", `range must be { start, bytes } or a view, got ${String(range)}`);
  }
  return "start" in range ? range : { start: range.address, bytes: range.bytes };
}

function rightsOf(call: string, rights: Rights): number {
  const flags = RIGHTS[rights];
  if (flags !== undefined) return flags;
  throw invalid(call, `rights must be "rw", "r" or "none", got ${String(rights)}`);
}

function checkCount(call: string, name: string, value: number): void {
  if (Number.isInteger(value) && value > 0 && value <= SPACE_BYTES) return;
  throw invalid(call, `${name} must be an integer above 0, got ${String(value)}`);
}

function checkPageAddress(call: string, address: number): void {
  const isAddress = Number.isInteger(address) && address >= 0 && address < SPACE_BYTES;
  if (isAddress && isPageAligned(address)) return;
  const got = Number.isInteger(address) ? formatAddress(address) : String(address);
  throw invalid(call, `address must be a multiple of ${PAGE_SIZE} in the space, got ${got}`);
}
