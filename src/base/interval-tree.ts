/**
 * A set of half-open ranges `[start, end)` of the 32-bit space that answers "which of them
 * overlap this one?". A B+tree of fan-out 32 in columns, ordered by start, with the greatest
 * last byte of every subtree beside its child; up to 32 ranges are one leaf, so a small set is
 * a scan. Invariant: slots of a node are sorted by start; an inner slot holds the smallest
 * start and the greatest last of its child; every node but the root has at least one slot.
 *
 * ```text
 *   node n owns slots n*32 .. n*32+31 of three columns        handle h owns one row of
 *   +---------+---------+----------------------------+        +----------------------+
 *   | start   | last    | child: handle (leaf), node |        | start | last | leaf  |
 *   +---------+---------+----------------------------+        +----------------------+
 * ```
 * Columns hold `last` (end - 1), so that everything fits 32 bits.
 */
import { assert } from "./assert.ts";
import type { Brand } from "./brand.ts";

/**
 * A small integer that names a range of one tree, dense from 0, so that the owner can keep more
 * columns by it. Removal recycles it at once (last freed, first used): whoever removes a range
 * forgets its handle. There is no generation; a stale handle may name a newer range.
 */
export type Handle = Brand<"IntervalHandle">;

const FAN_OUT_SHIFT = 5;
const FAN_OUT = 1 << FAN_OUT_SHIFT;
/** A node below this looks for a neighbour to join; above it nothing is moved. */
const JOIN_BELOW = FAN_OUT / 4;
/** What two joined nodes may hold together: room is left, so that they do not split at once. */
const JOINED_MAX = (FAN_OUT / 4) * 3;
const NONE = -1;

export class IntervalTree {
  // By slot.
  #start = new Uint32Array(FAN_OUT);
  #last = new Uint32Array(FAN_OUT);
  #child = new Int32Array(FAN_OUT);
  // By node. A free node keeps the next free one in #parent.
  #count = new Uint8Array(1);
  #parent = new Int32Array(1);
  // By handle. #leaf: Handle -> node | -1 - (1 + next free handle), so a live one is never < 0.
  #startOf = new Uint32Array(FAN_OUT);
  #lastOf = new Uint32Array(FAN_OUT);
  #leaf = new Int32Array(FAN_OUT);
  #hits = new Int32Array(FAN_OUT);

  #root = 0;
  #height = 0;
  #nodesUsed = 1;
  #nodeFree = NONE;
  #handlesUsed = 0;
  #handleFree = NONE;
  #size = 0;
  #found = 0;
  /** What is on its way into a node: a field, so that an insertion allocates nothing. */
  readonly #entry = { start: 0, last: 0, child: 0 };

  constructor() {
    this.#parent[0] = NONE;
  }

  /** Ranges in the tree. */
  get size(): number {
    return this.#size;
  }

  /** What the last `query` found; its count says how many are meant. Borrowed until the next. */
  get hits(): Int32Array {
    return this.#hits;
  }

  /** Adds a range; the same range may be added again and gets another handle. */
  insert(start: number, end: number): Handle {
    assertRange(start, end);
    const last = end - 1;
    const handle = this.#takeHandle();
    this.#startOf[handle] = start;
    this.#lastOf[handle] = last;
    const leaf = this.#descend(start, last);
    const begin = leaf << FAN_OUT_SHIFT;
    let at = this.#count[leaf]!;
    while (at > 0 && this.#start[begin + at - 1]! > start) at--;
    this.#entry.start = start;
    this.#entry.last = last;
    this.#entry.child = handle;
    this.#put(leaf, at, 0);
    this.#size++;
    return handle as Handle;
  }

  /** Takes the range out and gives its handle back. */
  remove(handle: Handle): void {
    this.#assertLive(handle);
    const leaf = this.#leaf[handle]!;
    this.#leaf[handle] = -2 - this.#handleFree;
    this.#handleFree = handle;
    this.#size--;
    this.#cut(leaf, this.#slotOf(leaf, handle));
    this.#repair(leaf);
  }

  /**
   * How many ranges overlap `[start, end)`; `hits[0 .. count)` are their handles, ordered by
   * start. Allocates nothing. Ranges that only touch do not overlap.
   */
  query(start: number, end: number): number {
    assertRange(start, end);
    this.#found = 0;
    this.#collect(this.#root, this.#height, start, end - 1);
    return this.#found;
  }

  startOf(handle: number): number {
    this.#assertLive(handle);
    return this.#startOf[handle]!;
  }

  endOf(handle: number): number {
    this.#assertLive(handle);
    return this.#lastOf[handle]! + 1;
  }

  #collect(node: number, height: number, start: number, last: number): void {
    const begin = node << FAN_OUT_SHIFT;
    const end = begin + this.#count[node]!;
    const starts = this.#start;
    const lasts = this.#last;
    const children = this.#child;
    if (height === 0) {
      const hits = this.#hits;
      let found = this.#found;
      for (let slot = begin; slot < end && starts[slot]! <= last; slot++) {
        if (lasts[slot]! >= start) hits[found++] = children[slot]!;
      }
      this.#found = found;
      return;
    }
    for (let slot = begin; slot < end && starts[slot]! <= last; slot++) {
      if (lasts[slot]! >= start) this.#collect(children[slot]!, height - 1, start, last);
    }
  }

  /** The leaf where `start` belongs; the slots on the way cover the new range already. */
  #descend(start: number, last: number): number {
    const starts = this.#start;
    let node = this.#root;
    for (let height = this.#height; height > 0; height--) {
      const begin = node << FAN_OUT_SHIFT;
      let slot = begin + this.#count[node]! - 1;
      while (slot > begin && starts[slot]! > start) slot--;
      if (start < starts[slot]!) starts[slot] = start;
      if (last > this.#last[slot]!) this.#last[slot] = last;
      node = this.#child[slot]!;
    }
    return node;
  }

  /** Puts `#entry` into a node at `at`, splitting it, and those above it, when it is full. */
  #put(node: number, at: number, height: number): void {
    if (this.#count[node]! < FAN_OUT) {
      this.#fill(node, at, height);
      return;
    }
    const right = this.#takeNode();
    this.#moveSlots(node, FAN_OUT / 2, right, height);
    if (at <= FAN_OUT / 2) this.#fill(node, at, height);
    else this.#fill(right, at - FAN_OUT / 2, height);
    if (node === this.#root) this.#growRoot();
    const parent = this.#parent[node]!;
    const slot = this.#slotOf(parent, node);
    this.#summarize(node, parent, slot);
    this.#entry.start = this.#start[right << FAN_OUT_SHIFT]!;
    this.#entry.last = this.#lastIn(right);
    this.#entry.child = right;
    this.#put(parent, slot + 1, height + 1);
  }

  /** Makes room at `at` of a node that has it, and writes `#entry` there. */
  #fill(node: number, at: number, height: number): void {
    const begin = node << FAN_OUT_SHIFT;
    const count = this.#count[node]!;
    const slot = begin + at;
    for (let i = begin + count; i > slot; i--) this.#move(i - 1, i);
    this.#start[slot] = this.#entry.start;
    this.#last[slot] = this.#entry.last;
    this.#child[slot] = this.#entry.child;
    this.#count[node] = count + 1;
    if (height > 0) this.#parent[this.#entry.child] = node;
    else this.#leaf[this.#entry.child] = node;
  }

  #cut(node: number, at: number): void {
    const begin = node << FAN_OUT_SHIFT;
    const count = this.#count[node]! - 1;
    for (let i = begin + at; i < begin + count; i++) this.#move(i + 1, i);
    this.#count[node] = count;
  }

  #move(from: number, to: number): void {
    this.#start[to] = this.#start[from]!;
    this.#last[to] = this.#last[from]!;
    this.#child[to] = this.#child[from]!;
  }

  /** Appends the slots of `from`, from `at` on, to node `to`; their children learn of it. */
  #moveSlots(from: number, at: number, to: number, height: number): void {
    const count = this.#count[from]!;
    let slot = (to << FAN_OUT_SHIFT) + this.#count[to]!;
    const owner = height > 0 ? this.#parent : this.#leaf;
    for (let i = at; i < count; i++, slot++) {
      this.#move((from << FAN_OUT_SHIFT) + i, slot);
      owner[this.#child[slot]!] = to;
    }
    this.#count[to] = this.#count[to]! + count - at;
    this.#count[from] = at;
  }

  #growRoot(): void {
    const child = this.#root;
    const root = this.#takeNode();
    this.#parent[root] = NONE;
    this.#parent[child] = root;
    this.#child[root << FAN_OUT_SHIFT] = child;
    this.#count[root] = 1;
    this.#root = root;
    this.#height++;
  }

  /** After a removal: drops empty nodes, joins small ones, makes the slots above exact again. */
  #repair(leaf: number): void {
    let node = leaf;
    for (let height = 0; node !== this.#root; height++) {
      const parent = this.#parent[node]!;
      const at = this.#slotOf(parent, node);
      if (this.#count[node] === 0) {
        this.#cut(parent, at);
        this.#giveNode(node);
      } else {
        this.#summarize(node, parent, at);
        const isSmall = this.#count[node]! < JOIN_BELOW;
        if (isSmall && !this.#join(parent, at, height)) this.#join(parent, at - 1, height);
      }
      node = parent;
    }
    while (this.#height > 0 && this.#count[this.#root] === 1) {
      const child = this.#child[this.#root << FAN_OUT_SHIFT]!;
      this.#giveNode(this.#root);
      this.#parent[child] = NONE;
      this.#root = child;
      this.#height--;
    }
    assert(this.#height === 0 || this.#count[this.#root]! > 1, "an inner root has two children");
  }

  /** Joins the children at `left` and after it when one node holds both with room to spare. */
  #join(parent: number, left: number, height: number): boolean {
    if (left < 0 || left + 1 >= this.#count[parent]!) return false;
    const into = this.#child[(parent << FAN_OUT_SHIFT) + left]!;
    const from = this.#child[(parent << FAN_OUT_SHIFT) + left + 1]!;
    if (this.#count[into]! + this.#count[from]! > JOINED_MAX) return false;
    this.#moveSlots(from, 0, into, height);
    this.#cut(parent, left + 1);
    this.#giveNode(from);
    this.#summarize(into, parent, left);
    return true;
  }

  /** Writes what is true of `node` into its slot of the parent. */
  #summarize(node: number, parent: number, at: number): void {
    const slot = (parent << FAN_OUT_SHIFT) + at;
    this.#start[slot] = this.#start[node << FAN_OUT_SHIFT]!;
    this.#last[slot] = this.#lastIn(node);
  }

  #lastIn(node: number): number {
    const begin = node << FAN_OUT_SHIFT;
    const end = begin + this.#count[node]!;
    let last = 0;
    for (let slot = begin; slot < end; slot++)
      if (this.#last[slot]! > last) last = this.#last[slot]!;
    return last;
  }

  #slotOf(node: number, child: number): number {
    const begin = node << FAN_OUT_SHIFT;
    const count = this.#count[node]!;
    for (let at = 0; at < count; at++) if (this.#child[begin + at] === child) return at;
    assert(false, () => `interval tree: node ${node} does not hold ${child}`);
    return NONE;
  }

  #takeHandle(): number {
    const free = this.#handleFree;
    if (free !== NONE) {
      this.#handleFree = -2 - this.#leaf[free]!;
      return free;
    }
    const handle = this.#handlesUsed++;
    if (handle === this.#leaf.length) {
      const length = handle * 2;
      this.#startOf = grown(this.#startOf, new Uint32Array(length));
      this.#lastOf = grown(this.#lastOf, new Uint32Array(length));
      this.#leaf = grown(this.#leaf, new Int32Array(length));
      // As long as there are handles: a query can never run out of room.
      this.#hits = new Int32Array(length);
    }
    return handle;
  }

  #takeNode(): number {
    let node = this.#nodeFree;
    if (node !== NONE) {
      this.#nodeFree = this.#parent[node]!;
    } else {
      node = this.#nodesUsed++;
      if (node === this.#count.length) this.#growNodes(node * 2);
    }
    this.#count[node] = 0;
    return node;
  }

  #giveNode(node: number): void {
    this.#parent[node] = this.#nodeFree;
    this.#nodeFree = node;
  }

  #growNodes(length: number): void {
    this.#count = grown(this.#count, new Uint8Array(length));
    this.#parent = grown(this.#parent, new Int32Array(length));
    this.#start = grown(this.#start, new Uint32Array(length * FAN_OUT));
    this.#last = grown(this.#last, new Uint32Array(length * FAN_OUT));
    this.#child = grown(this.#child, new Int32Array(length * FAN_OUT));
  }

  #assertLive(handle: number): void {
    const isLive = handle >= 0 && handle < this.#handlesUsed && this.#leaf[handle]! >= 0;
    assert(isLive, () => `interval tree: handle ${handle} names no range`);
  }
}

function grown<Column extends Uint8Array | Uint32Array | Int32Array>(
  from: Column,
  into: Column,
): Column {
  into.set(from);
  return into;
}

function assertRange(start: number, end: number): void {
  // Both conversions are exact only for integers of the space.
  const isRange = start >>> 0 === start && (end - 1) >>> 0 === end - 1 && start < end;
  assert(isRange, () => `interval tree: [${start}, ${end}) is not a range of the 32-bit space`);
}
