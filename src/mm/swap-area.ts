/**
 * Where pages go when RAM is full: slots of a page each, with a count of the entries that name
 * each. Linux: mm/swapfile.c.
 */
import { assert, ENOSPC, PAGE_SIZE, type Result } from "../base/index.ts";
import { SWAP_SLOTS_MAX } from "./pte.ts";

/** Keeps the bytes. Calls may take long but do not sleep. */
export interface SwapStore {
  /** 0 or a negated errno. */
  write(slot: number, page: Uint8Array): Result;
  read(slot: number, page: Uint8Array): Result;
}

/** Slots in memory: for tests, and where a page costs more here than there. */
export class MemorySwapStore implements SwapStore {
  // slot -> its page
  readonly #pages = new Map<number, Uint8Array>();

  write(slot: number, page: Uint8Array): Result {
    this.#pages.set(slot, page.slice());
    return 0;
  }

  read(slot: number, page: Uint8Array): Result {
    const stored = this.#pages.get(slot);
    assert(stored !== undefined && stored.length === PAGE_SIZE, () => `slot ${slot} is empty`);
    page.set(stored);
    return 0;
  }
}

export class SwapArea {
  // slot -> entries that name it
  readonly #uses: Int32Array;
  readonly #store: SwapStore;
  #usedCount = 0;
  #next = 0;

  /** `slots` pages of room; 0 for none. */
  constructor(slots: number, store: SwapStore = new MemorySwapStore()) {
    assert(slots >= 0 && slots <= SWAP_SLOTS_MAX, () => `a swap area of ${slots} slots`);
    this.#uses = new Int32Array(slots);
    this.#store = store;
  }

  get slotCount(): number {
    return this.#uses.length;
  }

  get usedCount(): number {
    return this.#usedCount;
  }

  /** Entries that name `slot`. */
  usesOf(slot: number): number {
    return this.#uses[slot]!;
  }

  /** Stores a page in a free slot that one entry names: the slot, -ENOSPC, or -EIO. */
  store(page: Uint8Array): Result {
    const slot = this.#findFree();
    if (slot < 0) return -ENOSPC;
    const result = this.#store.write(slot, page);
    if (result < 0) return result;
    assert(this.#uses[slot] === 0, () => `swap slot ${slot} is stored over`);
    this.#uses[slot] = 1;
    this.#usedCount++;
    assert(this.#usedCount <= this.slotCount, "more swap slots are in use than there are");
    this.#next = slot + 1;
    return slot;
  }

  /** The page of `slot`: 0 or a negated errno. */
  load(slot: number, page: Uint8Array): Result {
    assert(this.#uses[slot]! > 0, () => `swap slot ${slot} is free`);
    return this.#store.read(slot, page);
  }

  /** One more entry names `slot`: fork. */
  get(slot: number): void {
    assert(slot < this.slotCount, () => `there is no swap slot ${slot}`);
    assert(this.#uses[slot]! > 0, () => `swap slot ${slot} is free`);
    this.#uses[slot] = this.#uses[slot]! + 1;
  }

  put(slot: number): void {
    const left = this.#uses[slot]! - 1;
    assert(left >= 0, () => `swap slot ${slot} is given back once too often`);
    this.#uses[slot] = left;
    if (left === 0) this.#usedCount--;
    assert(this.#usedCount >= 0, "fewer swap slots are in use than none");
  }

  #findFree(): number {
    const count = this.slotCount;
    if (this.#usedCount === count) return -1;
    for (let i = 0; i < count; i++) {
      const slot = (this.#next + i) % count;
      if (this.#uses[slot] === 0) return slot;
    }
    return -1;
  }
}
