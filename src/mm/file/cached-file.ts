/**
 * A file as memory sees it: pages by index, filled when they are first looked at. Without a
 * backing it lives in memory only (shared anonymous memory is such a file without a name); with
 * one, pages are read from it and written back. Linux: struct address_space, mm/filemap.c,
 * mm/shmem.c.
 */
import {
  assert,
  EINVAL,
  EIO,
  ENOMEM,
  isPageRange,
  PAGE_SIZE,
  type Pfn,
  pfn,
  type Result,
} from "../../base/index.ts";
import { PG_CACHED, PG_DIRTY, PG_POISONED, PG_REFERENCED } from "../../phys/index.ts";
import { RefCount, Shared, type Sleeps } from "../../sync/index.ts";
import type { Memory } from "../memory.ts";
import type { ReverseMap } from "../reverse-map.ts";
import { protectMappings, unmapMappings } from "./mappings.ts";

/** Where the content of a file comes from and goes to. Calls may take long but do not sleep. */
export interface FileBacking {
  /** Fills `page` with page `index`, zeros behind the end of the file. 0 or a negated errno. */
  readPage(index: number, page: Uint8Array): Result;
  /** Stores the first `bytes` of page `index`. 0 or a negated errno. */
  writePage(index: number, page: Uint8Array): Result;
  /** Makes the file `bytes` long. 0 or a negated errno. */
  resize(bytes: number): Result;
  /** Nobody uses the file any more. */
  close(): void;
}

export interface CachedFileOptions {
  readonly name: string;
  readonly bytes: number;
  readonly backing?: FileBacking;
}

const CHUNK = 512;

export class CachedFile {
  readonly name: string;
  readonly memory: Memory;
  /** The Vmas that map this file. */
  readonly reverse: ReverseMap;
  readonly #backing: FileBacking | undefined;
  // index / CHUNK -> frames, 0 where no page is cached
  readonly #chunks: (Uint32Array | undefined)[] = [];
  readonly #users: RefCount;
  readonly #shared: Shared;
  #length: number;
  #cachedCount = 0;

  /** The creator is its first user: `put` it when done. */
  constructor(memory: Memory, options: CachedFileOptions) {
    assert(Number.isSafeInteger(options.bytes) && options.bytes >= 0, "a file has a length");
    this.memory = memory;
    this.name = options.name;
    this.#shared = new Shared(memory.scheduler);
    this.#length = options.bytes;
    this.#backing = options.backing;
    this.#users = new RefCount(`file ${options.name}`, new Shared(memory.scheduler));
    this.reverse = memory.newFileMap(this);
  }

  get bytes(): number {
    this.#shared.read();
    return this.#length;
  }

  set #bytes(length: number) {
    this.#shared.write();
    this.#length = length;
  }

  /** Pages that may be touched; behind them is SIGBUS. */
  get pageCount(): number {
    return Math.ceil(this.bytes / PAGE_SIZE);
  }

  get cachedCount(): number {
    this.#shared.read();
    return this.#cachedCount;
  }

  /** It lives in memory only. */
  get isShmem(): boolean {
    return this.#backing === undefined;
  }

  get(): void {
    this.#users.get();
  }

  /** One user less. The last one writes back what is dirty and forgets every page. */
  put(): void {
    if (!this.#users.put()) return;
    this.#forEachCached((index, frame) => {
      if (this.isDirty(frame)) this.#writePage(index, frame);
      this.#uncache(index);
    });
    this.#backing?.close();
    this.memory.forgetReverseMap(this.reverse);
  }

  /** The frame of page `index` when it is cached, or 0. */
  find(index: number): Pfn | 0 {
    this.#shared.read();
    return pfn(this.#chunks[Math.floor(index / CHUNK)]?.[index % CHUNK] ?? 0);
  }

  /** The frame of page `index`, read in if need be; -ENOMEM, -EIO. */
  load(index: number): Pfn | Result {
    const cached = this.find(index);
    if (cached !== 0) return this.memory.pages.is(cached, PG_POISONED) ? -EIO : cached;
    const { memory } = this;
    const frame = memory.allocFrame();
    if (frame === 0) return -ENOMEM;
    if (this.#backing === undefined) memory.bytes.zero(frame);
    else {
      const result = this.#backing.readPage(index, memory.bytes.page(frame));
      if (result < 0) {
        memory.pages.put(frame);
        return result;
      }
    }
    this.#cache(index, frame);
    return frame;
  }

  /** Copies bytes out through the cache: how many, or a negated errno. Linux: read(). */
  read(offset: number, out: Uint8Array): Result {
    const end = Math.min(offset + out.length, this.bytes);
    return this.#forEachPart(offset, end, (frame, from, to, done) => {
      out.set(this.memory.bytes.page(frame).subarray(from, to), done);
    });
  }

  /** Copies bytes in, growing the file: how many, or a negated errno. Linux: write(). */
  write(offset: number, data: Uint8Array): Result {
    if (!Number.isSafeInteger(offset) || offset < 0) return -EINVAL;
    const end = offset + data.length;
    const before = this.bytes;
    if (end > before) {
      const resized = this.#backing?.resize(end) ?? 0;
      if (resized < 0) return resized;
      this.#bytes = end;
    }
    const done = this.#forEachPart(offset, end, (frame, from, to, done) => {
      this.memory.bytes.page(frame).set(data.subarray(done, done + to - from), from);
      this.memory.pages.setFlag(frame, PG_DIRTY);
    });
    if (end > before && done < data.length) {
      // What could not be written is not part of the file.
      this.#bytes = done > 0 ? Math.max(before, offset + done) : before;
      this.#backing?.resize(this.bytes);
    }
    assert(done <= data.length, "more is written than was given");
    assert(done <= 0 || this.bytes >= offset + done, "a file ends before what was written");
    return done;
  }

  /**
   * Makes the file `bytes` long. Behind the new end nothing stays mapped, not even private
   * copies. Linux: truncate_setsize().
   */
  *truncate(bytes: number): Sleeps<Result> {
    if (!Number.isSafeInteger(bytes) || bytes < 0) return -EINVAL;
    const resized = this.#backing?.resize(bytes) ?? 0;
    if (resized < 0) return resized;
    const shrunk = bytes < this.bytes;
    this.#bytes = bytes;
    if (!shrunk) return 0;
    yield* unmapMappings(this, { start: this.pageCount * PAGE_SIZE, evenCopies: true });
    this.#forget(this.pageCount, Number.POSITIVE_INFINITY);
    assert(this.bytes <= bytes, "a file grew while it was being cut");
    assert(this.find(this.pageCount) === 0, "a page behind the end of a file is cached");
    const tail = bytes % PAGE_SIZE;
    const last = this.find(this.pageCount - 1);
    if (tail !== 0 && last !== 0) this.memory.bytes.page(last).fill(0, tail);
    return 0;
  }

  /**
   * The pages of the byte range [start, end) are zeros again; private copies stay. Linux:
   * fallocate(FALLOC_FL_PUNCH_HOLE).
   */
  *punchHole(start: number, end: number): Sleeps<Result> {
    if (this.#backing !== undefined) return -EINVAL;
    if (!isPageRange(start, end)) return -EINVAL;
    // Whoever is told first may have faulted a page in again when the last one is told.
    do yield* unmapMappings(this, { start, end, evenCopies: false });
    while (this.#isMapped(start / PAGE_SIZE, end / PAGE_SIZE));
    this.#forget(start / PAGE_SIZE, end / PAGE_SIZE);
    assert(this.find(start / PAGE_SIZE) === 0, "the first page of a hole is still there");
    assert(this.find(end / PAGE_SIZE - 1) === 0, "the last page of a hole is still there");
    return 0;
  }

  /** Writes every dirty page back: how many, or -EIO. Linux: fsync(), msync(MS_SYNC). */
  *sync(): Sleeps<Result> {
    if (this.#backing === undefined) return 0;
    const dirty: number[] = [];
    this.#forEachCached((index, frame) => {
      if (this.isDirty(frame)) dirty.push(index);
    });
    for (const index of dirty) {
      const frame = this.find(index);
      if (frame === 0) continue;
      const result = yield* this.#clean(index, frame);
      if (result < 0) return result;
    }
    return dirty.length;
  }

  /** Clean before it is protected: whoever writes meanwhile faults and makes it dirty again. */
  *#clean(index: number, frame: Pfn): Sleeps<Result> {
    const { pages } = this.memory;
    // Held, because reclaim must not forget a page that is clean but not stored yet.
    assert(pages.is(frame, PG_CACHED), () => `frame ${frame} is stored and is not of a file`);
    pages.get(frame);
    pages.clearFlag(frame, PG_DIRTY);
    let result: Result = -EIO;
    try {
      yield* protectMappings(this, index);
      // Cut off meanwhile: nothing is left to store.
      result = this.find(index) === frame ? this.#writePage(index, frame) : 0;
    } finally {
      if (result < 0 && this.find(index) === frame) pages.setFlag(frame, PG_DIRTY);
      pages.put(frame);
    }
    return result;
  }

  /** Stores page `index`, which nobody can write meanwhile: 0, or why it stays dirty. */
  writeBack(index: number): Result {
    const frame = this.find(index);
    if (frame === 0 || !this.isDirty(frame)) return 0;
    const result = this.#writePage(index, frame);
    if (result >= 0) this.memory.pages.clearFlag(frame, PG_DIRTY);
    return result;
  }

  /** The page at `index` leaves the cache if nobody but the cache holds it and it is clean. */
  drop(index: number): boolean {
    const frame = this.find(index);
    if (frame === 0 || this.memory.pages.refs[frame] !== 1 || this.isDirty(frame)) return false;
    if (this.#backing === undefined) return false;
    this.#uncache(index);
    return true;
  }

  /** It differs from what the backing has. */
  isDirty(frame: Pfn): boolean {
    const { pages } = this.memory;
    // What is broken is not written back.
    if (this.#backing === undefined || pages.is(frame, PG_POISONED)) return false;
    return pages.is(frame, PG_DIRTY);
  }

  #writePage(index: number, frame: Pfn): Result {
    const bytes = Math.min(PAGE_SIZE, this.bytes - index * PAGE_SIZE);
    return this.#backing!.writePage(index, this.memory.bytes.page(frame).subarray(0, bytes));
  }

  /** Somebody maps a page of [start, end). */
  #isMapped(start: number, end: number): boolean {
    let found = false;
    this.#forEachCached((index, frame) => {
      if (index >= start && index < end) found ||= this.memory.pages.mapcount[frame]! > 0;
    });
    return found;
  }

  #cache(index: number, frame: Pfn): void {
    const { pages } = this.memory;
    this.#shared.write();
    assert(this.find(index) === 0, () => `page ${index} of ${this.name} is cached twice`);
    assert(pages.mapping[frame] === 0, () => `frame ${frame} belongs to somebody already`);
    const at = Math.floor(index / CHUNK);
    this.#chunks[at] ??= new Uint32Array(CHUNK);
    this.#chunks[at]![index % CHUNK] = frame;
    this.#cachedCount++;
    if (!this.isShmem) this.memory.forgettableCount++;
    pages.setFlag(frame, PG_CACHED | PG_REFERENCED);
    pages.mapping[frame] = this.reverse.id;
    pages.index[frame] = index;
  }

  #uncache(index: number): void {
    const frame = this.find(index);
    assert(frame !== 0, () => `page ${index} of ${this.name} is not cached`);
    const isOurs = this.memory.pages.mapping[frame] === this.reverse.id;
    assert(isOurs, () => `frame ${frame} is cached and is not of ${this.name}`);
    this.#shared.write();
    this.#chunks[Math.floor(index / CHUNK)]![index % CHUNK] = 0;
    this.#cachedCount--;
    if (!this.isShmem) this.memory.forgettableCount--;
    this.memory.pages.clearFlag(frame as Pfn, PG_CACHED | PG_DIRTY);
    this.memory.pages.put(frame as Pfn);
  }

  #forget(start: number, end: number): void {
    this.#forEachCached((index) => {
      if (index >= start && index < end) this.#uncache(index);
    });
  }

  #forEachCached(visit: (index: number, frame: Pfn) => void): void {
    this.#shared.read();
    this.#chunks.forEach((chunk, at) => {
      if (chunk === undefined) return;
      for (let i = 0; i < CHUNK; i++) if (chunk[i] !== 0) visit(at * CHUNK + i, pfn(chunk[i]!));
    });
  }

  #forEachPart(
    offset: number,
    end: number,
    visit: (frame: Pfn, from: number, to: number, done: number) => void,
  ): Result {
    if (!Number.isSafeInteger(offset) || offset < 0) return -EINVAL;
    let at = offset;
    while (at < end) {
      const index = Math.floor(at / PAGE_SIZE);
      const frame = this.load(index);
      if (frame < 0) return at > offset ? at - offset : frame;
      const from = at % PAGE_SIZE;
      const to = Math.min(PAGE_SIZE, from + end - at);
      visit(pfn(frame), from, to, at - offset);
      at += to - from;
    }
    return Math.max(at - offset, 0);
  }
}
