/**
 * Where threads leave blocks that are another thread's to free: a bag a thread number, cells
 * that hold an address or 0. Whoever changes a cell has the address, or has given it away, by
 * that one operation.
 *
 * Nothing else has to be true at once: `puts` is a hint. A thread that ends after its put and
 * before the hint leaves an address that is found when somebody looks for another reason.
 */
import { BAG_CELLS, type HeapShared } from "./shared.ts";

const NONE = -1;
/** Cells that are tried. A bag counts as full a little before it is. */
const PROBES = 32;

export class Bags {
  readonly #puts: Int32Array;
  readonly #cells: Int32Array;

  constructor(shared: HeapShared) {
    this.#puts = shared.puts;
    this.#cells = shared.cells;
  }

  /** Puts `address` into the bag of `number`; the cell, or -1 when the bag is full. */
  put(number: number, address: number): number {
    if (Atomics.load(this.#puts, number) >= BAG_CELLS) return NONE;
    const hash = Math.imul(address >>> 3, 0x9e3779b1) >>> 22;
    for (let probe = 0; probe < PROBES; probe++) {
      const cell = number * BAG_CELLS + ((hash + probe) & (BAG_CELLS - 1));
      if (Atomics.load(this.#cells, cell) !== 0) continue;
      if (Atomics.compareExchange(this.#cells, cell, 0, address | 0) !== 0) continue;
      Atomics.add(this.#puts, number, 1);
      return cell;
    }
    return NONE;
  }

  /** Takes `address` out again; false: somebody emptied the bag meanwhile and has it. */
  takeBack(cell: number, address: number): boolean {
    return Atomics.compareExchange(this.#cells, cell, address | 0, 0) === (address | 0);
  }

  /** Whether something was put into the bag since it was emptied last. */
  isHinted(number: number): boolean {
    return Atomics.load(this.#puts, number) !== 0;
  }

  /** Takes out what is in the bag. `onAddress` may put, also into this one. */
  empty(number: number, onAddress: (address: number) => void): void {
    // First the hint: a put that is missed below sets it again.
    Atomics.store(this.#puts, number, 0);
    const begin = number * BAG_CELLS;
    for (let cell = begin; cell < begin + BAG_CELLS; cell++) {
      if (Atomics.load(this.#cells, cell) === 0) continue;
      const address = Atomics.exchange(this.#cells, cell, 0);
      if (address !== 0) onAddress(address >>> 0);
    }
  }
}
