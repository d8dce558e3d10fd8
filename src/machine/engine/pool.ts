/**
 * One pool of addresses for mappings and the heap. The heap's addresses are mapped from the
 * beginning, so that malloc asks nobody; a mapping that finds no hole elsewhere gets one in spans
 * that no thread has, and when nothing is mapped in a span any more it is the heap's again.
 */
import { PAGE_SIZE, type Result, virtAddr, vpn, vpnOf } from "../../base/index.ts";
import type { Brackets } from "../../cpu/index.ts";
import {
  type AddressSpace,
  MapMode,
  MMAP_BASE,
  MMAP_END,
  mmap,
  munmap,
  VM_READ,
  VM_WRITE,
} from "../../mm/index.ts";
import type { Sleeps } from "../../sync/index.ts";
import { type HeapRange, LentSpans } from "../heap/index.ts";
import { leavePages } from "./leave-pages.ts";
import type { WindowCpu } from "./window-cpu.ts";

/** How often others may be faster before a mapping has to do with what is elsewhere. */
const TRIES_MAX = 8;

interface Addresses {
  readonly start: number;
  readonly end: number;
}

export class Pool {
  readonly #space: AddressSpace;
  readonly #cpu: WindowCpu;
  readonly #brackets: Brackets;
  readonly #heap: HeapRange;
  readonly #lent: LentSpans;

  constructor(space: AddressSpace, cpu: WindowCpu, brackets: Brackets, heap: HeapRange) {
    this.#space = space;
    this.#cpu = cpu;
    this.#brackets = brackets;
    this.#heap = heap;
    this.#lent = new LentSpans(heap);
  }

  /** Maps all of the heap: before anybody allocates. */
  reserve(): Sleeps<Result> {
    return this.#map(this.#heap);
  }

  /**
   * Makes a hole of `bytes` among the heap's spans unless there is one above the lowest addresses,
   * which modules want. Where there is no room it does nothing.
   */
  *makeRoom(bytes: number): Sleeps<void> {
    const hasHole = (): boolean =>
      this.#space.vmas.findHole(bytes, MMAP_BASE, MMAP_END) !== undefined;
    for (let tries = 0; tries < TRIES_MAX && !hasHole(); tries++) {
      const spans = this.#lent.take(bytes);
      if (spans === undefined) return;
      if (!(yield* this.#clear(spans))) this.#lent.give(spans);
    }
  }

  /** Spans that [start, end) touches and in which nothing is mapped any more are the heap's. */
  *giveBack(start: number, end: number): Sleeps<void> {
    const isEmpty = (span: Addresses): boolean =>
      this.#space.vmas.overlapping(virtAddr(span.start), virtAddr(span.end)).length === 0;
    for (const span of [...this.#lent.around(start, end, isEmpty)]) {
      // Refused where something is mapped, or has been since.
      if ((yield* this.#map(span)) >= 0) this.#lent.give(span);
    }
  }

  /** Nothing is mapped in spans that are the heap's no more. False: a bracket is open there. */
  *#clear({ start, end }: Addresses): Sleeps<boolean> {
    if (this.#brackets.find(vpnOf(virtAddr(start)), vpn(end / PAGE_SIZE)) !== undefined) {
      return false;
    }
    return (yield* munmap(this.#space, virtAddr(start), end - start)) >= 0;
  }

  *#map({ start, end }: Addresses): Sleeps<Result> {
    const flags = VM_READ | VM_WRITE;
    const where = { start: virtAddr(start), bytes: end - start, flags };
    const result = yield* mmap(this.#space, { ...where, mode: MapMode.noReplace });
    if (result >= 0) yield* leavePages(this.#space, this.#cpu, where.start, end);
    return result;
  }
}
