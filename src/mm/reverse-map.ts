/**
 * From a page to the Vmas that may map it. Anonymous pages name an `AnonVma`, cached pages of a
 * file the file's own `ReverseMap`; both list Vmas by the offset at which they begin, those with
 * the same offset in the order in which they came or last changed. Linux: mm/rmap.c,
 * mm/interval_tree.c.
 */
import { assert } from "../base/index.ts";
import type { Shared } from "../sync/index.ts";
import type { CachedFile } from "./file/index.ts";
import type { Vma } from "./vma.ts";

export interface ReverseMapOptions {
  /** Whose pages these are; absent for anonymous memory. */
  readonly file?: CachedFile;
  /** What an explorer knows all reverse maps of a machine by. */
  readonly shared?: Shared;
}

export class ReverseMap {
  readonly id: number;
  /** Whose pages these are; absent for anonymous memory. */
  readonly file: CachedFile | undefined;
  // sorted by offset
  readonly #vmas: Vma[] = [];
  readonly #shared: Shared | undefined;

  constructor(id: number, options: ReverseMapOptions = {}) {
    this.id = id;
    this.file = options.file;
    this.#shared = options.shared;
  }

  get vmas(): readonly Vma[] {
    this.#shared?.read();
    return this.#vmas;
  }

  /** Adds `vma` behind those that begin at the same offset. */
  link(vma: Vma): void {
    this.#shared?.write();
    assert(!this.#vmas.includes(vma), "a reverse map lists a Vma twice");
    let at = this.#vmas.length;
    while (at > 0 && this.#vmas[at - 1]!.offset > vma.offset) at--;
    this.#vmas.splice(at, 0, vma);
    assert(
      (this.#vmas[at + 1]?.offset ?? vma.offset) >= vma.offset,
      "a reverse map lost its order",
    );
  }

  unlink(vma: Vma): void {
    this.#shared?.write();
    const at = this.#vmas.indexOf(vma);
    assert(at >= 0, "a Vma leaves a reverse map that it is not in");
    this.#vmas.splice(at, 1);
    assert(!this.#vmas.includes(vma), "a reverse map listed a Vma twice");
  }

  /** Those that cover part of the byte offsets [start, end), in order; a copy. */
  overlapping(start: number, end: number): Vma[] {
    return this.vmas.filter(
      (vma) => vma.offset < end && vma.offset + (vma.end - vma.start) > start,
    );
  }
}

/**
 * Of anonymous pages. A child's Vma is in all reverse maps of its parent's, because it shares
 * the parent's pages, and has one of its own for the pages that it copies. Linux: struct anon_vma.
 */
export class AnonVma extends ReverseMap {
  /** The oldest ancestor: where a page belongs that several processes may write. */
  readonly root: AnonVma;

  constructor(
    id: number,
    options: ReverseMapOptions & { readonly root?: AnonVma | undefined } = {},
  ) {
    super(id, options);
    this.root = options.root ?? this;
  }
}
