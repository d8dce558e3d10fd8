/**
 * A run of frames and which of them are free, one bit each. Frames are handed out in rising
 * order, starting after the last one, so that a batch is one run and one copy moves it.
 */
import {
  assert,
  bitWords,
  clearBit,
  type Pfn,
  pfn,
  setBit,
  testBit,
  unreachable,
} from "../base/index.ts";
import type { Shared } from "../sync/index.ts";

export interface ZoneOptions {
  readonly name: string;
  readonly start: Pfn;
  /** Frames. */
  readonly count: number;
  /** 0 for RAM; else the device page map that owns the frames. */
  readonly pagemapId?: number;
  /** Free frames hold zeros only: `onFree` sees to it. Default false. */
  readonly isCleared?: boolean;
  /** Called when a frame's last reference is gone, before it may be handed out again. */
  readonly onFree?: (frame: Pfn) => void;
}

const ALL_USED = 2 ** 32 - 1;

export class Zone {
  readonly name: string;
  readonly start: Pfn;
  readonly count: number;
  readonly pagemapId: number;
  /** A frame that is handed out needs no clearing. */
  readonly isCleared: boolean;
  /** What an explorer knows its free frames by, once `Pages` has it. */
  shared: Shared | undefined = undefined;
  readonly #onFree: ((frame: Pfn) => void) | undefined;
  // bit (frame - start) set: used
  readonly #used: Uint32Array;
  #usedCount = 0;
  #next = 0;

  constructor(options: ZoneOptions) {
    assert(options.count > 0, () => `zone ${options.name} needs frames`);
    this.name = options.name;
    this.start = options.start;
    this.count = options.count;
    this.pagemapId = options.pagemapId ?? 0;
    this.isCleared = options.isCleared ?? false;
    this.#onFree = options.onFree;
    this.#used = new Uint32Array(bitWords(options.count));
    // Bits past the end count as used for ever.
    for (let past = options.count; past < this.#used.length * 32; past++) setBit(this.#used, past);
  }

  get usedCount(): number {
    this.shared?.read();
    return this.#usedCount;
  }

  get freeCount(): number {
    return this.count - this.usedCount;
  }

  contains(frame: Pfn): boolean {
    return frame >= this.start && frame < this.start + this.count;
  }

  isUsed(frame: Pfn): boolean {
    this.shared?.read();
    return testBit(this.#used, frame - this.start);
  }

  /** Calls `visit` for every used frame, in order. */
  forEachUsed(visit: (frame: Pfn) => void): void {
    this.shared?.read();
    for (let word = 0; word < this.#used.length; word++) {
      let bits = this.#used[word]!;
      while (bits !== 0) {
        const index = word * 32 + (31 - Math.clz32(bits & -bits));
        bits &= bits - 1;
        if (index < this.count) visit(pfn(this.start + index));
      }
    }
  }

  /** The next free frame, or 0. Only `Pages` calls this. */
  take(): Pfn | 0 {
    if (this.freeCount === 0) return 0;
    const words = this.#used.length;
    let word = this.#next >>> 5;
    // The word in which the search starts is looked at twice: its low bits come last.
    let mask = (1 << (this.#next & 31)) - 1;
    for (let looked = 0; looked <= words; looked++) {
      const free = ~(this.#used[word]! | mask);
      if (free !== 0) {
        const index = word * 32 + (31 - Math.clz32(free & -free));
        return this.#mark(index);
      }
      mask = 0;
      word = word + 1 === words ? 0 : word + 1;
    }
    assert(false, () => `zone ${this.name} lost count of its frames`);
    return 0;
  }

  /** The next free frames, in the order of `take`, as many as `most` if there are. */
  takeMany(most: number): Pfn[] {
    const taken: Pfn[] = [];
    const used = this.#used;
    let left = Math.min(most, this.freeCount);
    if (left > 0) this.shared?.write();
    this.#usedCount += left;
    let index = this.#next;
    while (left > 0) {
      const word = used[index >>> 5]!;
      const bit = 1 << (index & 31);
      if ((word & bit) === 0) {
        used[index >>> 5] = word | bit;
        taken.push(pfn(this.start + index));
        left--;
      }
      index = word === ALL_USED ? (index | 31) + 1 : index + 1;
      if (index >= this.count) index = 0;
    }
    this.#next = index;
    assert(this.#usedCount <= this.count, "a zone has fewer frames than are taken");
    return taken;
  }

  takeAt(frame: Pfn): boolean {
    if (!this.contains(frame) || this.isUsed(frame)) return false;
    this.#mark(frame - this.start);
    return true;
  }

  /**
   * `count` frames in a row, the first a multiple of `count` (a power of two, at least 32), taken
   * from the top down; the first of them, or 0.
   */
  takeRun(count: number): Pfn | 0 {
    const end = this.start + this.count;
    this.shared?.write();
    for (let at = end - (end % count) - count; at >= this.start; at -= count) {
      if (!this.#isRunFree(at - this.start, count)) continue;
      for (let i = 0; i < count; i++) setBit(this.#used, at - this.start + i);
      this.#usedCount += count;
      return pfn(at);
    }
    return 0;
  }

  #isRunFree(first: number, count: number): boolean {
    for (let index = first; index < first + count; index++) {
      if ((index & 31) === 0 && first + count - index >= 32) {
        if (this.#used[index >>> 5] !== 0) return false;
        index += 31;
      } else if (testBit(this.#used, index)) return false;
    }
    return true;
  }

  giveBack(frame: Pfn): void {
    if (!this.isUsed(frame)) unreachable(`frame ${frame} of zone ${this.name} is free already`);
    this.shared?.write();
    this.#onFree?.(frame);
    clearBit(this.#used, frame - this.start);
    this.#usedCount--;
  }

  #mark(index: number): Pfn {
    this.shared?.write();
    setBit(this.#used, index);
    this.#usedCount++;
    this.#next = index + 1 === this.count ? 0 : index + 1;
    return pfn(this.start + index);
  }
}
