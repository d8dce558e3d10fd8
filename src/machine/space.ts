/**
 * The address space as a program sees it: allocation, typed views, mappings, access brackets.
 * A call that may have to wait is a promise and has a twin that ends in `Sync`, for code that
 * cannot await: it blocks this thread where the engine lives on another one, and throws EAGAIN
 * where it would have to wait for itself.
 */
import { type Result, SPACE_BYTES, type VirtAddr, virtAddr } from "../base/index.ts";
import type { Window } from "../cpu/index.ts";
import { adoptInto } from "./adopt.ts";
import type { Answer, Ask, EnginePort } from "./engine/index.ts";
import { HmmError, invalid } from "./error.ts";
import type { Heap } from "./heap/index.ts";
import { INSPECT } from "./inspect.ts";
import type { MemoryAccess } from "./memory-access.ts";
import {
  Access,
  type AccessMode,
  type Advice,
  type Asker,
  advise,
  asAddress,
  ask,
  askFor,
  askNow,
  askSync,
  askToMap,
  type Cut,
  cutIntoPages,
  type MemoryRange,
  type MmapOptions,
  mustWait,
  notInSpace,
  notMapped,
  type Place,
  type PrefetchTarget,
  pagesOf,
  populate,
  populateSync,
  prefetchRange,
  type Rights,
  rangeOf,
  refusedHeap,
  refusedModule,
  rightsOf,
  throwIf,
  touched,
  zero,
} from "./place/index.ts";
import {
  type ArraySchema,
  array,
  type Infer,
  isSchema,
  type Ptr,
  type Schema,
  type StructSchema,
  showSchema,
} from "./schema.ts";
import { type ArrayView, type Cursor, viewOf } from "./view.ts";
import type { Adoption, AdoptOptions } from "./wasm/index.ts";

/** What this thread may touch without asking anybody. */
export interface TouchRights {
  mayTouch(address: VirtAddr, bytes: number, write: boolean): boolean;
  /** The lowest addresses, where else nothing ever is, are a module's memory from now on. */
  allowLow?(): void;
  /** This thread may touch nothing any more. */
  allowNothing?(): void;
}

export interface SpaceParts {
  readonly port: EnginePort;
  readonly window: Window;
  readonly heap: Heap;
  readonly rights: TouchRights;
}

export class Space implements MemoryAccess {
  /** The whole window as words. Without page faults: to be touched in a bracket or after `need`. */
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f32: Float32Array;
  readonly u8: Uint8Array;
  readonly #port: EnginePort;
  readonly #window: Window;
  readonly #heap: Heap;
  readonly #rights: TouchRights;
  // What an adopted module has ends here.
  #moduleEnd = 0;

  constructor(parts: SpaceParts) {
    this.#port = parts.port;
    this.#window = parts.window;
    this.#heap = parts.heap;
    this.#rights = parts.rights;
    this.u8 = parts.window.u8;
    this.u32 = parts.window.u32;
    this.i32 = parts.window.i32;
    this.f32 = parts.window.f32;
  }

  /** The window's memory: import it into wasm modules that take a shared memory. */
  get memory(): Window["memory"] {
    return this.#window.memory;
  }

  get window(): SharedArrayBuffer {
    return this.#window.buffer;
  }

  /** Bytes that `malloc` has given out and can still give. */
  get heapUsage(): Heap["usage"] {
    return this.#heap.usage;
  }

  /** `bytes` bytes, aligned; content undefined. Throws ENOMEM when the heap is full. */
  malloc(bytes: number, align = 8): number {
    this.#port.check("malloc");
    return this.#heap.malloc(bytes, align);
  }

  /** Gives back what `malloc` gave. Throws EINVAL for anything else. */
  free(address: number): void {
    this.#port.check("free");
    const meant = asAddress(address);
    try {
      this.#heap.free(meant);
    } catch (error) {
      if (Object.is(meant, address) || !(error instanceof HmmError)) throw error;
      throw invalid("free", `${error.detail}, given as ${address}`, error);
    }
  }

  /** An array of `length` elements on the heap; zeroed? no: content undefined until written. */
  array<Element extends Schema>(element: Element, length: number): ArrayView<Element> {
    this.#port.check("array");
    const schema = array(element, length);
    return this.at(schema, this.#heap.malloc(schema.size, Math.max(8, schema.align), "array"));
  }

  /** A struct on the heap, with `init` stored; fields that `init` lacks are zero. */
  alloc<S extends StructSchema>(schema: S, init?: Partial<Infer<S>>): Cursor<S> {
    this.#port.check("alloc");
    if (!isSchema(schema) || schema.kind !== "struct") {
      throw invalid("alloc", `schema must be a struct, got ${showSchema(schema)}`);
    }
    const address = this.#heap.malloc(schema.size, Math.max(8, schema.align), "alloc");
    try {
      this.need(address, schema.size, true);
      this.u8.fill(0, address, address + schema.size);
      const made = this.at(schema, address);
      if (init !== undefined) made.assign(init);
      return made;
    } catch (error) {
      this.#heap.free(address);
      throw error;
    }
  }

  /** A view of what is at `address`; nothing is touched yet. */
  at<Element extends Schema>(schema: ArraySchema<Element>, address: number): ArrayView<Element>;
  at<S extends StructSchema>(schema: S, address: Ptr<S> | number): Cursor<S>;
  at(schema: ArraySchema | StructSchema, address: number): unknown {
    this.#port.check("at");
    return viewOf(schema, this, address);
  }

  /**
   * An existing WebAssembly module that is to run on this memory without being rebuilt: its
   * pointers are addresses here, for kernels too. It has [0, `adoption.limit`), so there can be
   * one. Where the CPU has no page faults, hold a bracket on `adoption.range` while its code
   * runs. Throws EBUSY for a second one, EINVAL for bad options and what is no module, EOPNOTSUPP
   * for one that cannot be moved, ENOMEM.
   */
  async adopt(options: AdoptOptions = {}): Promise<Adoption> {
    this.#port.check("adopt");
    // Without page faults what a module may use has to be there beforehand.
    const need = (address: number, bytes: number, write: boolean): void => {
      if (!this.#port.canBlock) this.need(address, bytes, write);
    };
    const adoption = await adoptInto({ memory: this.memory, port: this.#port, need }, options);
    this.#rights.allowLow?.();
    this.#moduleEnd = adoption.limit;
    return adoption;
  }

  /** Maps zeroed pages; gives their address. Throws EINVAL, ENOMEM, EEXIST (address taken). */
  async mmap(options: MmapOptions): Promise<number> {
    const what = askToMap("mmap", options);
    return this.#mapped("mmap", await ask(this.#asker("mmap"), "mmap", what), options);
  }

  mmapSync(options: MmapOptions): number {
    const what = askToMap("mmapSync", options);
    return this.#mapped("mmapSync", askSync(this.#asker("mmapSync"), "mmap", what), options);
  }

  /** Unmaps [address, address + bytes). Throws EBUSY under a bracket, EINVAL for the heap. */
  async munmap(address: number, bytes: number): Promise<void> {
    const range = this.#mappedPages("munmap", address, bytes);
    throwIf(await ask(this.#asker("munmap"), "munmap", range), "munmap", range);
  }

  munmapSync(address: number, bytes: number): void {
    const range = this.#mappedPages("munmapSync", address, bytes);
    throwIf(askSync(this.#asker("munmapSync"), "munmap", range), "munmapSync", range);
  }

  /**
   * Other rights for [address, address + bytes). Throws EBUSY under a bracket, ENOMEM over a hole
   * (what lies before it has them then), EINVAL for the heap.
   */
  async mprotect(address: number, bytes: number, rights: Rights): Promise<void> {
    const what = this.#askToProtect("mprotect", address, bytes, rights);
    throwIf(await ask(this.#asker("mprotect"), "mprotect", what), "mprotect", what);
  }

  mprotectSync(address: number, bytes: number, rights: Rights): void {
    const what = this.#askToProtect("mprotectSync", address, bytes, rights);
    throwIf(askSync(this.#asker("mprotectSync"), "mprotect", what), "mprotectSync", what);
  }

  /**
   * Forgets the content of `range`: the next touch finds zeros. Whole pages go back to the system;
   * with an address and a number of bytes they have to be whole, and not the heap's. Throws EBUSY
   * under a bracket.
   */
  discard(range: Place): Promise<void>;
  discard(address: number, bytes: number): Promise<void>;
  async discard(where: Place | number, bytes = 0): Promise<void> {
    const asker = this.#asker("discard");
    const { pages, edges } = this.#toDiscard("discard", where, bytes);
    if (pages !== undefined) throwIf(await ask(asker, "discard", pages), "discard", pages);
    for (const edge of edges) zero(await this.#access("discard", edge, "write"));
  }

  discardSync(range: Place): void;
  discardSync(address: number, bytes: number): void;
  discardSync(where: Place | number, bytes = 0): void {
    const asker = this.#asker("discardSync");
    const { pages, edges } = this.#toDiscard("discardSync", where, bytes);
    if (pages !== undefined) throwIf(askSync(asker, "discard", pages), "discardSync", pages);
    for (const edge of edges) zero(this.#accessSync("discardSync", edge, "write"));
  }

  /**
   * Opens a bracket: the bytes of `range` (a view, a typed array on the window, or a place, of any
   * alignment and length) are here, may be read (and written, in mode "write"),
   * and stay until the bracket is closed (`await using`, or `close`). A launch that needs one of
   * its pages for writing waits a second for that, then fails with EBUSY. Throws EFAULT where
   * nothing is mapped or the rights do not allow it.
   */
  access(range: Place, mode: AccessMode): Promise<Access> {
    return this.#access("access", range, mode);
  }

  accessSync(range: Place, mode: AccessMode): Access {
    return this.#accessSync("accessSync", range, mode);
  }

  /**
   * Brings the bytes of `range` here at once, instead of page by page as they are touched, and
   * makes them ready for access in `mode`. They may be taken away again at any time; a bracket
   * keeps them. Throws as `access` does.
   */
  async populate(range: Place, mode: AccessMode): Promise<void> {
    await populate(this.#asker("populate"), this.#askFor("populate", range, mode));
  }

  populateSync(range: Place, mode: AccessMode): void {
    populateSync(this.#asker("populateSync"), this.#askFor("populateSync", range, mode));
  }

  /**
   * Brings `range` to where it will be needed, beforehand; resolves with the bytes that came. A
   * hint: whatever does not come, for want of room or because somebody holds it, comes when it is
   * needed. To the "device" in mode "read" come copies, and CPUs go on reading; in mode "write"
   * pages move there, untouched ones as zeros. It waits for its turn between launches. To the
   * "cpu" comes what lives on the device. Throws EFAULT where the program has no such right,
   * ENODEV without a device, EINVAL.
   */
  async prefetch(range: Place, to: PrefetchTarget, mode: AccessMode = "read"): Promise<number> {
    const { start, bytes, write } = this.#askFor("prefetch", range, mode);
    return prefetchRange(this.#asker("prefetch"), { start, bytes }, to, write);
  }

  /**
   * Says who will access the pages that `range` touches, until it says otherwise; see `Advice` for
   * what follows. A hint, which changes nothing but where pages are and when they move. It goes
   * with `munmap`, not with `free`: it is the pages' own. Throws ENOMEM over a hole (what is mapped
   * has it all the same), EINVAL. CUDA: cudaMemAdvise().
   */
  async advise(range: Place, advice: Advice): Promise<void> {
    await advise(this.#asker("advise"), rangeOf("advise", this.window, range), advice);
  }

  /**
   * Makes sure that [address, address + bytes) may be touched right now, faulting it in. Throws
   * EFAULT where the program may not, and EAGAIN when the bytes are on a device and this thread
   * cannot wait for them. Where the CPU has page faults of its own there is nothing to do.
   */
  need(address: number, bytes: number, write: boolean): void {
    if (!(address >= 0 && address + bytes <= SPACE_BYTES)) {
      if (asAddress(address) > address) {
        this.need(asAddress(address), bytes, write);
        return;
      }
      throw notInSpace(address, bytes, write);
    }
    if (this.#rights.mayTouch(virtAddr(address), bytes, write)) return;
    const call = write ? "store" : "load";
    const what = { start: address, bytes, write };
    const outcome = askNow(this.#asker(call), "fault", what);
    if (outcome !== undefined) {
      touched(call, { ...outcome, address }, what);
      return;
    }
    throw mustWait(address, write);
  }

  #asker(call: string): Asker {
    return { port: this.#port, call };
  }

  #mapped(call: string, result: Result, options: MmapOptions): number {
    if (result >= 0) return result;
    const { address = 0, bytes } = options;
    const start = asAddress(address);
    throw notMapped(call, result, options, this.#heap.hasAny(start, start + bytes));
  }

  /**
   * Whether [address, address + bytes) may be read now; where the CPU has page faults of its own,
   * what is away comes for that. Never throws.
   */
  mayRead(address: number, bytes: number): boolean {
    try {
      // Only the engine knows what a page fault would find.
      const isKnown = !this.#port.canBlock;
      if (isKnown && this.#rights.mayTouch(virtAddr(address), bytes, false)) return true;
      const what = { start: address, bytes, write: false };
      return askNow(this.#asker("mayRead"), "fault", what)?.result === 0;
    } catch {
      return false;
    }
  }

  /** Not the window, which nobody may touch as a whole. */
  [INSPECT](): string {
    const { blocks, bytesUsed } = this.heapUsage;
    return `Space (${blocks} blocks of ${bytesUsed} bytes on the heap)`;
  }

  /** Whole pages of mappings of the program's own. */
  #mappedPages(call: string, address: number, bytes: number): MemoryRange {
    const range = pagesOf(call, address, bytes);
    if (this.#heap.hasAny(range.start, range.start + bytes)) throw refusedHeap(call, this.#heap);
    if (range.start < this.#moduleEnd) throw refusedModule(call, this.#moduleEnd);
    return range;
  }

  #askToProtect(call: string, at: number, bytes: number, rights: Rights): Ask<"mprotect"> {
    return { ...this.#mappedPages(call, at, bytes), flags: rightsOf(call, rights) };
  }

  async #access(call: string, range: Place, mode: AccessMode): Promise<Access> {
    const what = this.#askFor(call, range, mode);
    if (what.bytes === 0) return this.#bracket(what, mode, () => undefined);
    return this.#opened(call, await ask(this.#asker(call), "access", what), what, mode);
  }

  #accessSync(call: string, range: Place, mode: AccessMode): Access {
    const what = this.#askFor(call, range, mode);
    if (what.bytes === 0) return this.#bracket(what, mode, () => undefined);
    return this.#opened(call, askSync(this.#asker(call), "access", what), what, mode);
  }

  #opened(call: string, answer: Answer<"access">, what: Ask<"access">, mode: AccessMode): Access {
    touched(call, answer, what);
    const { bracket } = answer;
    return this.#bracket(what, mode, () => this.#port.callNow("release", { bracket }));
  }

  #bracket({ start, bytes }: MemoryRange, mode: AccessMode, close: () => void): Access {
    return new Access({ start, bytes, mode, window: this.#window, close });
  }

  #askFor(call: string, place: Place, mode: AccessMode): Ask<"access"> {
    return askFor(call, this.window, place, mode);
  }

  #toDiscard(call: string, where: Place | number, bytes: number): Cut {
    if (typeof where !== "number") return cutIntoPages(rangeOf(call, this.window, where));
    return { pages: this.#mappedPages(call, where, bytes), edges: [] };
  }
}
