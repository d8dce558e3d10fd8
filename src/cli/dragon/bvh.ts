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

export const NODE_BYTES = 64;
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
const LEAF_TRIANGLES_MAX = 4;

/** Builds the tree and writes it. Triangles are copied in the order of the leaves. */
export function buildBvh(memory: SharedMemory, mesh: Mesh): Bvh {
  return new Builder(memory, mesh).build();
}

/** A subtree or a leaf, as its parent refers to it. */
interface Part {
  readonly ref: number;
  readonly count: number;
  readonly box: Float32Array;
}

class Builder {
  readonly #memory: SharedMemory;
  readonly #mesh: Mesh;
  // triangles in the order of the leaves
  readonly #order: Uint32Array;
  // minimum xyz, maximum xyz of each triangle
  readonly #boxes: Float32Array;
  readonly #binCounts = new Uint32Array(BINS);
  readonly #binBoxes = new Float32Array(BINS * 6);
  readonly #areas = new Float32Array(BINS);
  #nodes = 0;
  #bytes = 0;

  constructor(memory: SharedMemory, mesh: Mesh) {
    const count = mesh.triangles.length / 3;
    this.#memory = memory;
    this.#mesh = mesh;
    this.#order = Uint32Array.from({ length: count }, (_, index) => index);
    this.#boxes = new Float32Array(count * 6);
    for (let triangle = 0; triangle < count; triangle++) this.#setBox(triangle);
  }

  build(): Bvh {
    const all = this.#buildPart(0, this.#order.length);
    // A mesh of one leaf still gets a node: the kernel begins at one.
    const root = all.count === 0 ? all.ref : this.#writeNode(all, all);
    const [x0, y0, z0, x1, y1, z1] = all.box as unknown as number[];
    return {
      root,
      nodes: this.#nodes,
      bytes: this.#bytes,
      min: [x0!, y0!, z0!],
      max: [x1!, y1!, z1!],
    };
  }

  #setBox(triangle: number): void {
    const { positions, triangles } = this.#mesh;
    for (let axis = 0; axis < 3; axis++) {
      const a = positions[3 * triangles[3 * triangle]! + axis]!;
      const b = positions[3 * triangles[3 * triangle + 1]! + axis]!;
      const c = positions[3 * triangles[3 * triangle + 2]! + axis]!;
      this.#boxes[6 * triangle + axis] = Math.min(a, b, c);
      this.#boxes[6 * triangle + 3 + axis] = Math.max(a, b, c);
    }
  }

  /** Recursion is as deep as the tree, some 40 levels. */
  #buildPart(from: number, to: number): Part {
    const box = this.#boxOf(from, to);
    if (to - from <= LEAF_TRIANGLES_MAX) return this.#writeLeaf(from, to, box);
    const middle = this.#split(from, to);
    const left = this.#buildPart(from, middle);
    const right = this.#buildPart(middle, to);
    return { ref: this.#writeNode(left, right), count: 0, box };
  }

  #boxOf(from: number, to: number): Float32Array {
    const box = emptyBox();
    for (let i = from; i < to; i++) grow(box, 0, this.#boxes, 6 * this.#order[i]!);
    return box;
  }

  /** Sorts [from, to) into two parts by the surface area heuristic; gives the boundary. */
  #split(from: number, to: number): number {
    let bestCost = Number.POSITIVE_INFINITY;
    let bestAxis = -1;
    let bestBin = 0;
    const centers = this.#centerRange(from, to);
    for (let axis = 0; axis < 3; axis++) {
      const low = centers[axis]!;
      const extent = centers[3 + axis]! - low;
      if (!(extent > 0)) continue;
      this.#fillBins(from, to, { axis, low, scale: (BINS * 0.9999) / extent });
      const { cost, bin } = this.#cheapestCut();
      if (cost < bestCost) {
        bestCost = cost;
        bestAxis = axis;
        bestBin = bin;
      }
    }
    if (bestAxis < 0) return (from + to) >>> 1;
    const low = centers[bestAxis]!;
    const scale = (BINS * 0.9999) / (centers[3 + bestAxis]! - low);
    return this.#partition(
      from,
      to,
      (triangle) => this.#binOf(triangle, bestAxis, low, scale) <= bestBin,
    );
  }

  #centerRange(from: number, to: number): Float32Array {
    const range = emptyBox();
    for (let i = from; i < to; i++) {
      const at = 6 * this.#order[i]!;
      for (let axis = 0; axis < 3; axis++) {
        const center = this.#boxes[at + axis]! + this.#boxes[at + 3 + axis]!;
        if (center < range[axis]!) range[axis] = center;
        if (center > range[3 + axis]!) range[3 + axis] = center;
      }
    }
    return range;
  }

  #binOf(triangle: number, axis: number, low: number, scale: number): number {
    const center = this.#boxes[6 * triangle + axis]! + this.#boxes[6 * triangle + 3 + axis]!;
    return ((center - low) * scale) | 0;
  }

  #fillBins(
    from: number,
    to: number,
    cut: { readonly axis: number; readonly low: number; readonly scale: number },
  ): void {
    this.#binCounts.fill(0);
    for (let bin = 0; bin < BINS; bin++) this.#binBoxes.set(EMPTY, 6 * bin);
    for (let i = from; i < to; i++) {
      const triangle = this.#order[i]!;
      const bin = this.#binOf(triangle, cut.axis, cut.low, cut.scale);
      this.#binCounts[bin] = this.#binCounts[bin]! + 1;
      grow(this.#binBoxes, 6 * bin, this.#boxes, 6 * triangle);
    }
  }

  /** After which bin to cut, and what a ray would pay. */
  #cheapestCut(): { readonly cost: number; readonly bin: number } {
    const right = emptyBox();
    let rightCount = 0;
    for (let bin = BINS - 1; bin > 0; bin--) {
      grow(right, 0, this.#binBoxes, 6 * bin);
      rightCount += this.#binCounts[bin]!;
      this.#areas[bin] = rightCount === 0 ? 0 : area(right) * rightCount;
    }
    const left = emptyBox();
    let leftCount = 0;
    let best = { cost: Number.POSITIVE_INFINITY, bin: 0 };
    for (let bin = 0; bin < BINS - 1; bin++) {
      grow(left, 0, this.#binBoxes, 6 * bin);
      leftCount += this.#binCounts[bin]!;
      if (leftCount === 0 || this.#areas[bin + 1] === 0) continue;
      const cost = area(left) * leftCount + this.#areas[bin + 1]!;
      if (cost < best.cost) best = { cost, bin };
    }
    return best;
  }

  #partition(from: number, to: number, isLeft: (triangle: number) => boolean): number {
    const order = this.#order;
    let low = from;
    let high = to - 1;
    while (low <= high) {
      const triangle = order[low]!;
      if (isLeft(triangle)) low++;
      else {
        order[low] = order[high]!;
        order[high] = triangle;
        high--;
      }
    }
    return low === from || low === to ? (from + to) >>> 1 : low;
  }

  #writeLeaf(from: number, to: number, box: Float32Array): Part {
    const { positions, triangles } = this.#mesh;
    const { u32, f32 } = this.#memory;
    const ref = this.#malloc((to - from) * TRIANGLE_BYTES);
    for (let i = from; i < to; i++) {
      for (let corner = 0; corner < 3; corner++) {
        const vertex = triangles[3 * this.#order[i]! + corner]!;
        const at = (ref + (i - from) * TRIANGLE_BYTES) / 4 + 4 * corner;
        for (let axis = 0; axis < 3; axis++) f32[at + axis] = positions[3 * vertex + axis]!;
        u32[at + 3] = vertex;
      }
    }
    return { ref, count: to - from, box };
  }

  #writeNode(left: Part, right: Part): number {
    const address = this.#malloc(NODE_BYTES);
    this.#nodes++;
    this.#writeChild(address, left);
    this.#writeChild(address + 32, right);
    return address;
  }

  #writeChild(address: number, part: Part): void {
    const { u32, f32 } = this.#memory;
    const at = address / 4;
    for (let axis = 0; axis < 3; axis++) {
      f32[at + axis] = part.box[axis]!;
      f32[at + 4 + axis] = part.box[3 + axis]!;
    }
    u32[at + 3] = part.ref + part.count;
    u32[at + 7] = 0;
  }

  #malloc(bytes: number): number {
    const address = this.#memory.malloc(bytes, 16);
    this.#memory.need(address, bytes, true);
    this.#bytes += bytes;
    return address;
  }
}

const EMPTY = Float32Array.of(
  Number.POSITIVE_INFINITY,
  Number.POSITIVE_INFINITY,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
);

const emptyBox = (): Float32Array => EMPTY.slice();

/** Makes the box at `to` of `target` contain the one at `from` of `source`. */
function grow(target: Float32Array, to: number, source: Float32Array, from: number): void {
  for (let axis = 0; axis < 3; axis++) {
    if (source[from + axis]! < target[to + axis]!) target[to + axis] = source[from + axis]!;
    const max = source[from + 3 + axis]!;
    if (max > target[to + 3 + axis]!) target[to + 3 + axis] = max;
  }
}

/** Half the surface of a box. */
function area(box: Float32Array): number {
  const x = box[3]! - box[0]!;
  const y = box[4]! - box[1]!;
  const z = box[5]! - box[2]!;
  return x * y + y * z + z * x;
}
