/**
 * The part of the space that a module thinks is its memory: from address 0 up to a size that
 * grows. What stands in for its `WebAssembly.Memory` is here too.
 */

import type { WasmMemory } from "../../cpu/index.ts";
import { type HmmError, hmmError } from "../error.ts";
import { SPACE_WASM_PAGES } from "./rewrite.ts";
import { wasmEngine } from "./wasm-api.ts";

export const WASM_PAGE = 65_536;

/** Whose memory a module gets. */
export interface ModuleHost {
  /** The whole space: shared, 4 GiB. */
  readonly memory: WasmMemory;
  /**
   * Makes [0, bytes) usable, all of it and at once; what was usable stays so. Throws an
   * `HmmError` when that cannot be.
   */
  map(bytes: number): void;
  /** Throws ENODEV once the memory is nobody's any more: for each call that is to use it. */
  check(call: string): void;
}

export class ModuleMemory {
  /**
   * A `WebAssembly.Memory` as far as JavaScript looks at it: `buffer.byteLength` is the module's
   * size and `grow` grows that. Typed arrays on `buffer` reach the whole space.
   */
  readonly facade: WasmMemory;
  readonly limitPages: number;
  readonly #host: ModuleHost;
  #pages = 0;
  #maxPages = SPACE_WASM_PAGES;
  #onSize: (pages: number) => void = () => {};
  #growFailure: HmmError | undefined;

  constructor(host: ModuleHost, limitPages: number) {
    this.#host = host;
    this.limitPages = limitPages;
    this.facade = this.#createFacade();
  }

  get bytes(): number {
    return this.#pages * WASM_PAGE;
  }

  get pages(): number {
    return this.#pages;
  }

  /** Why the memory last could not grow, if it ever could not. */
  get growFailure(): HmmError | undefined {
    return this.#growFailure;
  }

  /** The module wants `pages` at once and never more than `maxPages`. Throws ENOMEM. */
  open(pages: number, maxPages: number): void {
    this.#maxPages = Math.min(maxPages, this.limitPages);
    if (pages <= this.#pages) return;
    const failure = this.#growTo(pages);
    if (failure !== undefined) throw failure;
  }

  /** `listener` hears the size, now and whenever it changes. */
  onSize(listener: (pages: number) => void): void {
    this.#onSize = listener;
    listener(this.#pages);
  }

  /** memory.grow: the size before, in pages, or -1. */
  grow(delta: number): number {
    const before = this.#pages;
    const failure = this.#growTo(before + (delta >>> 0));
    this.#growFailure = failure ?? this.#growFailure;
    return failure === undefined ? before : -1;
  }

  /** At least `bytes` bytes from now on; false when they cannot be had. */
  resize(bytes: number): boolean {
    const pages = Math.ceil(bytes / WASM_PAGE);
    return pages <= this.#pages || this.grow(pages - this.#pages) >= 0;
  }

  #growTo(pages: number): HmmError | undefined {
    if (pages === this.#pages) return undefined;
    const most = this.#maxPages;
    if (pages > most) {
      const detail = `the module wants ${pages * WASM_PAGE} bytes, it may have ${most * WASM_PAGE}`;
      return hmmError({ code: "ENOMEM", call: "adopt", detail });
    }
    try {
      this.#host.map(pages * WASM_PAGE);
    } catch (cause) {
      const detail = `${pages * WASM_PAGE} bytes for the module cannot be had`;
      return hmmError({ code: "ENOMEM", call: "adopt", detail, cause });
    }
    this.#pages = pages;
    this.#onSize(pages);
    return undefined;
  }

  #createFacade(): WasmMemory {
    // Another object on the same bytes: that of the memory itself cannot be given a size, and
    // belongs to others too. Glue subtracts `buffer.byteLength` from what it wants to have.
    const buffer = structuredClone(this.#host.memory.buffer);
    Object.defineProperty(buffer, "byteLength", { get: () => this.bytes });
    const grow = (delta: number): number => {
      if (!(delta >= 0 && delta <= SPACE_WASM_PAGES)) {
        throw new TypeError(`WebAssembly.Memory.grow(): a number of pages, got ${String(delta)}`);
      }
      const before = this.grow(Math.trunc(delta));
      if (before >= 0) return before;
      throw new RangeError(`WebAssembly.Memory.grow(): ${this.#growFailure!.message}`, {
        cause: this.#growFailure,
      });
    };
    const members = { buffer: { get: () => buffer }, grow: { value: grow } };
    return Object.create(wasmEngine().Memory.prototype as object, members) as WasmMemory;
  }
}
