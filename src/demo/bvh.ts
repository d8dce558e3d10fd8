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
  // axis * BINS + bin
  readonly #binCounts = new Uint32Array(3 * BINS);
  readonly #binBoxes = new Float32Array(3 * BINS * 6);
  readonly #scales = new Float32Array(3);
  readonly #areas = new Float32Array(BINS);
  // boxes that are used again at every level
  readonly #side = new Float32Array(6);
  readonly #centers = new Float32Array(6);
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
    if (to - from <= LEAF_TRIANGLES_MAX) return this.#writeLeaf(from, to, this.#boxOf(from, to));
    const middle = this.#split(from, to);
    const left = this.#buildPart(from, middle);
    const right = this.#buildPart(middle, to);
    const ref = this.#writeNode(left, right);
    grow(left.box, 0, right.box, 0);
    return { ref, count: 0, box: left.box };
  }

  #boxOf(from: number, to: number): Float32Array {
    const box = emptyBox();
    for (let i = from; i < to; i++) grow(box, 0, this.#boxes, 6 * this.#order[i]!);
    return box;
  }

  /** Sorts [from, to) into two parts by the surface area heuristic; gives the boundary. */
  #split(from: number, to: number): number {
    const centers = this.#centerRange(from, to);
    for (let axis = 0; axis < 3; axis++) {
      const extent = centers[3 + axis]! - centers[axis]!;
      this.#scales[axis] = extent > 0 ? (BINS * 0.9999) / extent : 0;
    }
    this.#fillBins(from, to, centers);
    let best = { cost: Number.POSITIVE_INFINITY, bin: 0, axis: -1 };
    for (let axis = 0; axis < 3; axis++) {
      if (this.#scales[axis] === 0) continue;
      const { cost, bin } = this.#cheapestCut(axis);
      if (cost < best.cost) best = { cost, bin, axis };
    }
    if (best.axis < 0) return (from + to) >>> 1;
    return this.#partition(from, to, { ...best, low: centers[best.axis]! });
  }

  #centerRange(from: number, to: number): Float32Array {
    const range = this.#centers;
    range.set(EMPTY);
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

  /** One pass for all three axes: the triangles lie anywhere in memory. */
  #fillBins(from: number, to: number, centers: Float32Array): void {
    this.#binCounts.fill(0);
    for (let bin = 0; bin < 3 * BINS; bin++) this.#binBoxes.set(EMPTY, 6 * bin);
    const boxes = this.#boxes;
    for (let i = from; i < to; i++) {
      const at = 6 * this.#order[i]!;
      for (let axis = 0; axis < 3; axis++) {
        const center = boxes[at + axis]! + boxes[at + 3 + axis]!;
        const bin = axis * BINS + (((center - centers[axis]!) * this.#scales[axis]!) | 0);
        this.#binCounts[bin] = this.#binCounts[bin]! + 1;
        grow(this.#binBoxes, 6 * bin, boxes, at);
      }
    }
  }

  /** After which bin of an axis to cut, and what a ray would pay. */
  #cheapestCut(axis: number): { readonly cost: number; readonly bin: number } {
    const first = axis * BINS;
    const side = this.#side;
    side.set(EMPTY);
    let count = 0;
    for (let bin = BINS - 1; bin > 0; bin--) {
      grow(side, 0, this.#binBoxes, 6 * (first + bin));
      count += this.#binCounts[first + bin]!;
      this.#areas[bin] = count === 0 ? 0 : area(side) * count;
    }
    side.set(EMPTY);
    count = 0;
    let cost = Number.POSITIVE_INFINITY;
    let best = 0;
    for (let bin = 0; bin < BINS - 1; bin++) {
      grow(side, 0, this.#binBoxes, 6 * (first + bin));
      count += this.#binCounts[first + bin]!;
      if (count === 0 || this.#areas[bin + 1] === 0) continue;
      const here = area(side) * count + this.#areas[bin + 1]!;
      if (here < cost) {
        cost = here;
        best = bin;
      }
    }
    return { cost, bin: best };
  }

  #partition(
    from: number,
    to: number,
    cut: { readonly axis: number; readonly bin: number; readonly low: number },
  ): number {
    const order = this.#order;
    const boxes = this.#boxes;
    const scale = this.#scales[cut.axis]!;
    let low = from;
    let high = to - 1;
    while (low <= high) {
      const triangle = order[low]!;
      const at = 6 * triangle + cut.axis;
      const bin = ((boxes[at]! + boxes[at + 3]! - cut.low) * scale) | 0;
      if (bin <= cut.bin) low++;
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
