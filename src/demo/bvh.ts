/**
 * A bounding volume hierarchy in shared memory, built by plain TypeScript: nodes link to their
 * children by address, and each is a `malloc` of its own.
 *
 * ```
 *  node, 64 bytes                            triangle, 48 bytes
 *  +--------------------------+----------+   +-----------------+----------------+
 *  |  0 left box minimum  xyz | 12 left  |   |  0 corner 0 xyz | 12 its vertex  |
 *  | 16 left box maximum  xyz | 28   0   |   | 16 corner 1 xyz | 28 its vertex  |
 *  | 32 right box minimum xyz | 44 right |   | 32 corner 2 xyz | 44 its vertex  |
 *  | 48 right box maximum xyz | 60   0   |   +-----------------+----------------+
 *  +--------------------------+----------+
 *  left, right: the address of a node, or of triangles in a row with their count (1 to 15) in
 *  the low four bits, which are free because every address is a multiple of 16
 * ```
 */
import type { Mesh } from "./ply.ts";

/** @forTests */
export const NODE_BYTES = 64;
/** @forTests */
export const TRIANGLE_BYTES = 48;

/** What the builder needs of a space. */
export interface SharedMemory {
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  malloc(bytes: number, align?: number): number;
  need(address: number, bytes: number, write: boolean): void;
}

export interface Bvh {
  /** Address of the root node. */
  readonly root: number;
  readonly nodes: number;
  readonly bytes: number;
  readonly min: readonly [number, number, number];
  readonly max: readonly [number, number, number];
}

const BINS = 16;
/** Few triangles need few bins: most nodes are small, and there the bins are the work. */
const FEW_BINS = 8;
const FEW_TRIANGLES = 16;
/** More than these are parted across the widest axis without looking at the other two. */
const MANY_TRIANGLES = 2048;
const LEAF_TRIANGLES_MAX = 4;

/**
 * Builds the tree and writes it. Triangles are copied in the order of the leaves; a node comes
 * before what is below it.
 */
export function buildBvh(memory: SharedMemory, mesh: Mesh): Bvh {
  return new Builder(memory, mesh).build();
}

/** Where to part triangles: those up to `bin` of `axis` go left. */
interface Cut {
  axis: number;
  bin: number;
  cost: number;
}

/**
 * What the loops read is in the order in which they read it: the boxes of triangles change places
 * with the triangles. A child's box is written where it belongs at once, in the node above it.
 */
class Builder {
  readonly #memory: SharedMemory;
  readonly #mesh: Mesh;
  // triangles in the order of the leaves
  readonly #order: Uint32Array;
  // minimum xyz, maximum xyz of each triangle, in the same order
  readonly #boxes: Float32Array;
  // minimum xyz, maximum xyz of the centers (twice) of the triangles that are parted
  readonly #centers = new Float32Array(6);
  // axis * BINS + bin
  readonly #binCounts = new Uint32Array(3 * BINS);
  readonly #binBoxes = new Float32Array(3 * BINS * 6);
  readonly #scales = new Float32Array(3);
  // What the bins from one on would cost as the right side.
  readonly #rightCosts = new Float32Array(BINS);
  readonly #cut: Cut = { axis: 0, bin: 0, cost: 0 };
  #nodes = 0;
  #bytes = 0;

  constructor(memory: SharedMemory, mesh: Mesh) {
    const count = mesh.triangles.length / 3;
    this.#memory = memory;
    this.#mesh = mesh;
    this.#order = Uint32Array.from({ length: count }, (_, index) => index);
    this.#boxes = boxesOf(mesh);
  }

  build(): Bvh {
    const count = this.#order.length;
    // A mesh of one leaf still gets a node, with the leaf on both sides: the kernel begins at one.
    const isLeaf = count <= LEAF_TRIANGLES_MAX;
    const root = isLeaf ? this.#nodeOfLeaf(count) : this.#buildNode(0, count);
    const { f32 } = this.#memory;
    const at = root / 4;
    const low = (k: number): number => Math.min(f32[at + k]!, f32[at + 8 + k]!);
    const high = (k: number): number => Math.max(f32[at + 4 + k]!, f32[at + 12 + k]!);
    return {
      root,
      nodes: this.#nodes,
      bytes: this.#bytes,
      min: [low(0), low(1), low(2)],
      max: [high(0), high(1), high(2)],
    };
  }

  #nodeOfLeaf(count: number): number {
    const node = this.#malloc(NODE_BYTES);
    this.#nodes++;
    this.#writeLeaf(0, count, node / 4);
    this.#memory.u32.copyWithin(node / 4 + 8, node / 4, node / 4 + 8);
    return node;
  }

  /** The address of a node over [from, to). Recursion is as deep as the tree, some 40 levels. */
  #buildNode(from: number, to: number): number {
    const node = this.#malloc(NODE_BYTES);
    this.#nodes++;
    const middle = this.#split(from, to);
    this.#buildChild(from, middle, node / 4);
    this.#buildChild(middle, to, node / 4 + 8);
    return node;
  }

  /** Builds what is below one side of a node and writes its box and reference at word `at`. */
  #buildChild(from: number, to: number, at: number): void {
    if (to - from <= LEAF_TRIANGLES_MAX) {
      this.#writeLeaf(from, to, at);
      return;
    }
    const node = this.#buildNode(from, to);
    const { u32, f32 } = this.#memory;
    const left = node / 4;
    const right = left + 8;
    for (let k = 0; k < 3; k++) {
      f32[at + k] = Math.min(f32[left + k]!, f32[right + k]!);
      f32[at + 4 + k] = Math.max(f32[left + 4 + k]!, f32[right + 4 + k]!);
    }
    u32[at + 3] = node;
    u32[at + 7] = 0;
  }

  #writeLeaf(from: number, to: number, at: number): void {
    const { positions, triangles } = this.#mesh;
    const { u32, f32 } = this.#memory;
    const boxes = this.#boxes;
    const ref = this.#malloc((to - from) * TRIANGLE_BYTES);
    for (let i = from; i < to; i++) {
      const triangle = 3 * this.#order[i]!;
      const leaf = (ref + (i - from) * TRIANGLE_BYTES) / 4;
      for (let corner = 0; corner < 3; corner++) {
        const vertex = triangles[triangle + corner]!;
        f32[leaf + 4 * corner] = positions[3 * vertex]!;
        f32[leaf + 4 * corner + 1] = positions[3 * vertex + 1]!;
        f32[leaf + 4 * corner + 2] = positions[3 * vertex + 2]!;
        u32[leaf + 4 * corner + 3] = vertex;
      }
    }
    for (let k = 0; k < 3; k++) {
      let low = boxes[6 * from + k]!;
      let high = boxes[6 * from + 3 + k]!;
      for (let i = from + 1; i < to; i++) {
        low = Math.min(low, boxes[6 * i + k]!);
        high = Math.max(high, boxes[6 * i + 3 + k]!);
      }
      f32[at + k] = low;
      f32[at + 4 + k] = high;
    }
    u32[at + 3] = ref + (to - from);
    u32[at + 7] = 0;
  }

  /** Sorts [from, to) into two parts by the surface area heuristic; gives the boundary. */
  #split(from: number, to: number): number {
    const count = to - from;
    const bins = count <= FEW_TRIANGLES ? FEW_BINS : BINS;
    this.#rangeCenters(from, to);
    const widest = count > MANY_TRIANGLES ? this.#widestAxis() : -1;
    const cut = this.#cut;
    cut.cost = Number.POSITIVE_INFINITY;
    this.#binCounts.fill(0);
    this.#binBoxes.set(EMPTY_BINS);
    for (let axis = 0; axis < 3; axis++) {
      const extent = this.#centers[3 + axis]! - this.#centers[axis]!;
      if (!(extent > 0) || (widest >= 0 && axis !== widest)) continue;
      this.#scales[axis] = (bins * 0.9999) / extent;
      this.#fillBins(from, to, axis);
      this.#tryAxis(axis, bins);
    }
    const middle = cut.cost === Number.POSITIVE_INFINITY ? from : this.#partition(from, to);
    return middle === from || middle === to ? (from + to) >>> 1 : middle;
  }

  #widestAxis(): number {
    const extent = (axis: number): number => this.#centers[3 + axis]! - this.#centers[axis]!;
    const widest = extent(1) > extent(0) ? 1 : 0;
    return extent(2) > extent(widest) ? 2 : widest;
  }

  #rangeCenters(from: number, to: number): void {
    const boxes = this.#boxes;
    for (let axis = 0; axis < 3; axis++) {
      let low = Number.POSITIVE_INFINITY;
      let high = Number.NEGATIVE_INFINITY;
      for (let at = 6 * from + axis; at < 6 * to; at += 6) {
        const center = boxes[at]! + boxes[at + 3]!;
        if (center < low) low = center;
        if (center > high) high = center;
      }
      this.#centers[axis] = low;
      this.#centers[3 + axis] = high;
    }
  }

  #fillBins(from: number, to: number, axis: number): void {
    const boxes = this.#boxes;
    const counts = this.#binCounts;
    const binBoxes = this.#binBoxes;
    const scale = this.#scales[axis]!;
    const least = this.#centers[axis]!;
    for (let at = 6 * from; at < 6 * to; at += 6) {
      const center = boxes[at + axis]! + boxes[at + 3 + axis]!;
      const bin = axis * BINS + (((center - least) * scale) | 0);
      counts[bin] = counts[bin]! + 1;
      grow(binBoxes, 6 * bin, boxes, at);
    }
  }

  /** After which bin of an axis to cut, and what a ray would pay; kept if nothing else was less. */
  #tryAxis(axis: number, bins: number): void {
    const first = axis * BINS;
    const costs = this.#rightCosts;
    const side = SIDE;
    side.set(EMPTY);
    let count = 0;
    for (let bin = bins - 1; bin > 0; bin--) {
      grow(side, 0, this.#binBoxes, 6 * (first + bin));
      count += this.#binCounts[first + bin]!;
      costs[bin] = count === 0 ? 0 : area(side) * count;
    }
    side.set(EMPTY);
    count = 0;
    for (let bin = 0; bin < bins - 1; bin++) {
      grow(side, 0, this.#binBoxes, 6 * (first + bin));
      count += this.#binCounts[first + bin]!;
      if (count === 0 || costs[bin + 1] === 0) continue;
      const cost = area(side) * count + costs[bin + 1]!;
      if (cost < this.#cut.cost) Object.assign(this.#cut, { axis, bin, cost });
    }
  }

  #partition(from: number, to: number): number {
    const { axis, bin } = this.#cut;
    const boxes = this.#boxes;
    const scale = this.#scales[axis]!;
    const least = this.#centers[axis]!;
    let low = from;
    let high = to - 1;
    while (low <= high) {
      const at = 6 * low + axis;
      if ((((boxes[at]! + boxes[at + 3]! - least) * scale) | 0) <= bin) low++;
      else this.#swap(low, high--);
    }
    return low;
  }

  #swap(a: number, b: number): void {
    const order = this.#order;
    const boxes = this.#boxes;
    const triangle = order[a]!;
    order[a] = order[b]!;
    order[b] = triangle;
    for (let k = 0; k < 6; k++) {
      const kept = boxes[6 * a + k]!;
      boxes[6 * a + k] = boxes[6 * b + k]!;
      boxes[6 * b + k] = kept;
    }
  }

  #malloc(bytes: number): number {
    const address = this.#memory.malloc(bytes, 16);
    this.#memory.need(address, bytes, true);
    this.#bytes += bytes;
    return address;
  }
}

/** Minimum xyz, maximum xyz of every triangle. */
function boxesOf({ positions, triangles }: Mesh): Float32Array {
  const boxes = new Float32Array(2 * triangles.length);
  for (let corner = 0; corner < triangles.length; corner += 3) {
    const a = 3 * triangles[corner]!;
    const b = 3 * triangles[corner + 1]!;
    const c = 3 * triangles[corner + 2]!;
    for (let axis = 0; axis < 3; axis++) {
      const x = positions[a + axis]!;
      const y = positions[b + axis]!;
      const z = positions[c + axis]!;
      boxes[2 * corner + axis] = Math.min(x, y, z);
      boxes[2 * corner + 3 + axis] = Math.max(x, y, z);
    }
  }
  return boxes;
}

const EMPTY = Float32Array.of(
  Number.POSITIVE_INFINITY,
  Number.POSITIVE_INFINITY,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
);
const EMPTY_BINS = Float32Array.from({ length: 3 * BINS * 6 }, (_, k) => EMPTY[k % 6]!);
/** A box that is used again at every bin. */
const SIDE = new Float32Array(6);

/** Makes the box at `to` of `target` contain the one at `from` of `source`. Unrolled: it counts. */
function grow(target: Float32Array, to: number, source: Float32Array, from: number): void {
  const x0 = source[from]!;
  const y0 = source[from + 1]!;
  const z0 = source[from + 2]!;
  const x1 = source[from + 3]!;
  const y1 = source[from + 4]!;
  const z1 = source[from + 5]!;
  if (x0 < target[to]!) target[to] = x0;
  if (y0 < target[to + 1]!) target[to + 1] = y0;
  if (z0 < target[to + 2]!) target[to + 2] = z0;
  if (x1 > target[to + 3]!) target[to + 3] = x1;
  if (y1 > target[to + 4]!) target[to + 4] = y1;
  if (z1 > target[to + 5]!) target[to + 5] = z1;
}

/** Half the surface of a box. */
function area(box: Float32Array): number {
  const x = box[3]! - box[0]!;
  const y = box[4]! - box[1]!;
  const z = box[5]! - box[2]!;
  return x * y + y * z + z * x;
}
