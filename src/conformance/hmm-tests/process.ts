/** A process of a test: a space, a CPU in it, and the devices that it has open. */
import { PAGE_SIZE, type Result, type VirtAddr, virtAddr } from "../../base/index.ts";
import { SoftCpu } from "../../cpu/index.ts";
import { Dmirror, type DmirrorDevice, type DmirrorResult } from "../../driver/dmirror/index.ts";
import {
  type AddressSpace,
  type Advice,
  type MmapOptions,
  madvise,
  mmap,
  mmput,
  mprotect,
  munmap,
  VM_READ,
  VM_WRITE,
} from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { expectDone, expectResult, fail } from "./expect.ts";
import { incrementPage, loadPage, storePage } from "./whole-pages.ts";
import { counted, expectWords, PAGE_WORDS, type WordAt, WordBuffer, wordsOf } from "./words.ts";

export const RW = VM_READ | VM_WRITE;

export class Process {
  readonly space: AddressSpace;
  readonly cpu: SoftCpu;
  readonly mirrors: readonly Dmirror[];
  #isOpen = true;

  constructor(space: AddressSpace, devices: readonly DmirrorDevice[]) {
    this.space = space;
    this.cpu = new SoftCpu(space);
    this.mirrors = devices.map((device) => {
      const mirror = Dmirror.open(device, space);
      return typeof mirror === "number" ? fail(`cannot open a device: ${mirror}`) : mirror;
    });
  }

  run<T>(body: Sleeps<T>): T {
    return this.space.memory.scheduler.runTask("test", body);
  }

  /** Maps new memory, for reading and writing unless told otherwise. */
  map(pages: number, options: Partial<MmapOptions> = {}): Buffer {
    const bytes = pages * PAGE_SIZE;
    const at = this.run(mmap(this.space, { bytes, flags: RW, ...options }));
    if (at < 0) expectResult("mmap", at, 0);
    return new Buffer(this, virtAddr(at), pages);
  }

  /** What is open is closed, as a test of the kernel does before it ends. */
  *close(): Sleeps<void> {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    for (const mirror of this.mirrors) yield* mirror.close();
  }

  /** The end of a process: the memory goes first, then what is open. */
  *exit(): Sleeps<void> {
    if (this.space.users.count > 0) yield* mmput(this.space);
    yield* this.close();
    this.cpu.dispose();
  }
}

/** Mapped pages of a process; word number 0 is the first of the mapping, also in parts of it. */
export class Buffer {
  readonly process: Process;
  readonly at: VirtAddr;
  readonly pages: number;
  readonly #firstPage: number;

  constructor(process: Process, at: VirtAddr, pages: number, firstPage = 0) {
    this.process = process;
    this.at = at;
    this.pages = pages;
    this.#firstPage = firstPage;
  }

  /** `count` pages from page `page` on. */
  part(page: number, count: number): Buffer {
    return new Buffer(this.process, this.addressOf(page), count, this.#firstPage + page);
  }

  /** The same addresses in another process. */
  in(process: Process): Buffer {
    return new Buffer(process, this.at, this.pages, this.#firstPage);
  }

  addressOf(page: number): VirtAddr {
    return virtAddr(this.at + page * PAGE_SIZE);
  }

  get bytes(): number {
    return this.pages * PAGE_SIZE;
  }

  get end(): VirtAddr {
    return virtAddr(this.at + this.bytes);
  }

  /** The number of the word that it begins with. */
  get firstWord(): number {
    return this.#wordOf(0);
  }

  unmap(): void {
    expectResult("munmap", this.process.run(munmap(this.process.space, this.at, this.bytes)), 0);
  }

  protect(rights: number): void {
    const done = mprotect(this.process.space, this.at, this.bytes, rights);
    expectResult("mprotect", this.process.run(done), 0);
  }

  advise(advice: Advice): void {
    const done = madvise(this.process.space, this.at, this.bytes, advice);
    expectResult("madvise", this.process.run(done), 0);
  }

  /** The CPU writes every word. */
  store(wordAt: WordAt): void {
    this.process.run(this.storing(wordAt));
  }

  /** The CPU reads every word. */
  expect(what: string, wordAt: WordAt): void {
    this.process.run(this.expecting(what, wordAt));
  }

  *storing(wordAt: WordAt): Sleeps<void> {
    for (let page = 0; page < this.pages; page++) {
      const done = storePage(this.process.cpu, this.addressOf(page), wordAt, this.#wordOf(page));
      expectResult(`CPU writes page ${page}`, yield* done, 0);
    }
  }

  *expecting(what: string, wordAt: WordAt): Sleeps<void> {
    for (let page = 0; page < this.pages; page++) {
      const words = yield* loadPage(this.process.cpu, this.addressOf(page));
      if (typeof words === "number") expectResult(`${what}, CPU reads page ${page}`, words, 0);
      else expectWords(what, words, wordAt, this.#wordOf(page));
    }
  }

  *incrementing(): Sleeps<void> {
    for (let page = 0; page < this.pages; page++) {
      const done = incrementPage(this.process.cpu, this.addressOf(page));
      expectResult(`CPU increments page ${page}`, yield* done, 0);
    }
  }

  /** The device reads the pages into `into`. */
  read(into: WordBuffer, device = 0): DmirrorResult {
    return this.process.run(this.reading(into, device));
  }

  reading(into: WordBuffer, device = 0): Sleeps<DmirrorResult> {
    return this.#mirror(device).read(this.at, this.pages, this.#taker(into));
  }

  /** The device writes the pages from `from`. */
  write(from: WordBuffer, device = 0): DmirrorResult {
    const first = this.at / PAGE_SIZE;
    return this.process.run(
      this.#mirror(device).write(this.at, this.pages, (page, bytes) => {
        wordsOf(bytes).set(from.page(page - first));
      }),
    );
  }

  /** Moves the pages to the device, which then reads them into `into`. */
  toDevice(into: WordBuffer, device = 0): DmirrorResult {
    return this.process.run(this.movingToDevice(into, device));
  }

  movingToDevice(into: WordBuffer, device = 0): Sleeps<DmirrorResult> {
    return this.#mirror(device).migrateToDevice(this.at, this.pages, this.#taker(into));
  }

  /** The same, where all must move with the right content. */
  moveToDevice(wordAt: WordAt = counted, device = 0): void {
    const mirror = new WordBuffer(this.pages);
    expectDone("migrate to device", this.toDevice(mirror, device), this.pages);
    mirror.expect("device memory", wordAt, this.firstWord);
  }

  toSystem(device = 0): DmirrorResult {
    return this.process.run(this.#mirror(device).migrateToRam(this.at, this.pages));
  }

  /** The device takes the pages for itself and reads them into `into`. */
  exclusive(into: WordBuffer): DmirrorResult {
    const taking = this.#mirror(0).exclusive(this.at, this.pages, this.#taker(into));
    return this.process.run(taking);
  }

  checkExclusive(): Result {
    return this.process.run(this.#mirror(0).checkExclusive(this.at, this.pages)).result;
  }

  /** What the device may know: a byte a page. */
  snapshot(device = 0): number[] {
    const out = new Uint8Array(this.pages);
    const done = this.process.run(this.#mirror(device).snapshot(this.at, this.pages, out));
    expectDone("snapshot", done, this.pages);
    return [...out];
  }

  #mirror(device: number): Dmirror {
    return this.process.mirrors[device]!;
  }

  #taker(into: WordBuffer): (page: number, bytes: Uint8Array) => void {
    const first = this.at / PAGE_SIZE;
    return (page, bytes) => into.page(page - first).set(wordsOf(bytes));
  }

  #wordOf(page: number): number {
    return (this.#firstPage + page) * PAGE_WORDS;
  }
}
