/**
 * Which pages are one mapping and which are two, page by page: between two pages there is a seam
 * or there is none. It knows what Linux 6.12 asks before it takes a seam away, and nothing of how
 * the engine keeps its Vmas. Anonymous private memory of one process.
 */

interface Cell {
  readonly isWritable: boolean;
  /** Whether it is counted as memory that may yet be needed; keeps neighbours apart. */
  readonly isCounted: boolean;
  /** How many pages it lies above where its reverse map has it: alike in what was mapped as one. */
  readonly shift: number;
  /** Which reverse map its area has; 0: none yet. */
  readonly anon: number;
}

export type AreaCode = "OK" | "EEXIST" | "EFAULT" | "EINVAL" | "ENOMEM";

/** An area: its first page and the one after its last, how it is mapped, its reverse map. */
export type Area = readonly [start: number, end: number, isWritable: boolean, anon: number];

export class AreaModel {
  readonly #cells: (Cell | undefined)[];
  // numbers of pages that an area begins at or ends before
  readonly #seams = new Set<number>();
  #anons = 0;
  /** Three that became one, or two: who had which reverse map -> how often. */
  readonly merges = new Map<string, number>();

  constructor(pages: number) {
    this.#cells = new Array(pages).fill(undefined);
  }

  get areas(): Area[] {
    const areas: Area[] = [];
    for (let at = 0; at < this.#cells.length; at++) {
      const cell = this.#cells[at];
      if (cell === undefined) continue;
      const end = this.#endOf(at);
      areas.push([at, end, cell.isWritable, cell.anon]);
      at = end - 1;
    }
    return areas;
  }

  map(start: number, end: number, isWritable: boolean): AreaCode {
    if (this.#cells.slice(start, end).some((cell) => cell !== undefined)) return "EEXIST";
    this.#put(start, end, { isWritable, isCounted: isWritable, shift: 0, anon: 0 });
    this.#join(start, end, true);
    return "OK";
  }

  unmap(start: number, end: number): AreaCode {
    this.#put(start, end, undefined);
    return "OK";
  }

  /** The first store to an area gives it a reverse map: a neighbour's if they may join one day. */
  store(at: number): AreaCode {
    const cell = this.#cells[at];
    if (!cell?.isWritable) return "EFAULT";
    if (cell.anon !== 0) return "OK";
    const [start, end] = [this.#startOf(at), this.#endOf(at)];
    const isNear = (near: Cell | undefined): boolean =>
      near?.shift === cell.shift && near.isCounted === cell.isCounted && near.anon !== 0;
    const near = [this.#cells[end], this.#cells[start - 1]].find(isNear);
    this.#paint(start, end, near?.anon ?? ++this.#anons);
    return "OK";
  }

  protect(from: number, to: number, isWritable: boolean): AreaCode {
    for (let at = from; at < to; ) {
      const cell = this.#cells[at];
      if (cell === undefined) return "ENOMEM";
      const end = Math.min(to, this.#endOf(at));
      if (cell.isWritable !== isWritable) {
        const isCounted = isWritable || (cell.isCounted && cell.anon !== 0);
        this.#put(at, end, { ...cell, isWritable, isCounted });
        this.#join(at, end, true);
      }
      at = end;
    }
    return "OK";
  }

  /** What is at the target is gone even when the move then fails. */
  move(from: number, count: number, to: number): AreaCode {
    const cell = this.#cells[from];
    if (cell === undefined) return "EFAULT";
    if (from < to + count && to < from + count) return "EINVAL";
    this.unmap(to, to + count);
    if (this.#endOf(from) < from + count) return "EFAULT";
    const shift = cell.anon === 0 ? 0 : cell.shift + to - from;
    this.#put(to, to + count, { ...cell, shift });
    this.#join(to, to + count, true);
    return this.unmap(from, from + count);
  }

  /** Longer, where it is. */
  grow(from: number, count: number, more: number): AreaCode {
    const end = from + count;
    const cell = this.#cells[from];
    if (cell === undefined || this.#endOf(from) < end) return "EFAULT";
    const room = this.#cells.slice(end, end + more);
    if (room.some((each) => each !== undefined) || this.#endOf(from) > end) return "ENOMEM";
    this.#put(end, end + more, cell);
    this.#seams.delete(end);
    this.#join(end, end + more, false);
    return "OK";
  }

  /** [start, end) is new or has changed: each side is asked for itself, then both together. */
  #join(start: number, end: number, asksBelow: boolean): void {
    const cell = this.#cells[start]!;
    const [below, above] = [this.#cells[start - 1], this.#cells[end]];
    const fits = (near: Cell | undefined): near is Cell =>
      near !== undefined &&
      near.isWritable === cell.isWritable &&
      near.isCounted === cell.isCounted &&
      near.shift === cell.shift &&
      (cell.anon === 0 || near.anon === cell.anon);
    const joinsBelow = asksBelow && fits(below);
    const areTwo =
      joinsBelow && below.anon !== 0 && above?.anon !== 0 && below.anon !== above?.anon;
    const joinsAbove = fits(above) && !areTwo;
    const all = [below?.anon ?? 0, cell.anon, above?.anon ?? 0];
    if (joinsBelow && joinsAbove) this.#count("one", all);
    if (areTwo && fits(above)) this.#count("two", all);
    if (joinsBelow) this.#seams.delete(start);
    if (joinsAbove) this.#seams.delete(end);
    const anon = Math.max(joinsBelow ? below.anon : 0, cell.anon, joinsAbove ? above.anon : 0);
    this.#paint(this.#startOf(start), this.#endOf(start), anon);
  }

  /** Each is called by the first that has the same reverse map: "1-1", "-2-", "--3". */
  #count(result: "one" | "two", anons: readonly number[]): void {
    const names = anons.map((anon) => (anon === 0 ? "-" : anons.indexOf(anon) + 1));
    const mix = `${names.join("")} ${result}`;
    this.merges.set(mix, (this.merges.get(mix) ?? 0) + 1);
  }

  #put(start: number, end: number, cell: Cell | undefined): void {
    this.#cells.fill(cell, start, end);
    for (let at = start + 1; at < end; at++) this.#seams.delete(at);
    this.#seams.add(start).add(end);
  }

  #paint(start: number, end: number, anon: number): void {
    for (let at = start; at < end; at++) this.#cells[at] = { ...this.#cells[at]!, anon };
  }

  #startOf(at: number): number {
    let start = at;
    while (start > 0 && !this.#seams.has(start) && this.#cells[start - 1] !== undefined) start--;
    return start;
  }

  #endOf(at: number): number {
    let end = at + 1;
    while (!this.#seams.has(end) && this.#cells[end] !== undefined) end++;
    return end;
  }
}
